//! The calls: one method each, signed, repeated on passing faults.

mod reader;
mod upload;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, RANGE,
};
use http::{HeaderMap, Method, StatusCode};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::dialect::Dialect;
use super::error::{S3Error, S3ErrorKind};
use super::listing::{Following, parse_error, parse_page};
use super::sign::{self, encode_key, encode_query};
use crate::credentials::{Lent, Provider};
use crate::error::{Code, Error};
use crate::log::Log;
use crate::places::{self, Places};
use crate::ports::{Body, HttpError, LocalBoxFuture, Ports, Request, Response, Timeouts};
use crate::presigned_url::PresignedUrl;
use crate::retry::{self, Retries};
use crate::settings::{Addressing, Endpoint, Host, LogFormat, S3Settings, Settings};
use crate::store::{Object, ObjectReader, ObjectStore, Part, Stat, Upload};
use crate::timestamp;

use reader::Reader;

/// The region that servers without regions go by, and AWS's first.
const DEFAULT_REGION: &str = "us-east-1";

/// A page of 1,000 keys of 1,024 bytes has 2 MiB at most.
const PAGE_LIMIT: usize = 16 << 20;

/// An error's text.
const ERROR_LIMIT: usize = 64 << 10;

/// By how many seconds clocks may differ: where AWS refuses signatures.
const MOST_APART: u64 = 15 * 60;

/// How long a connection may take, and an answer or the next piece of it, where the user's own limit is not less.
const CONNECT: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(60);

/// A body may take a second more for each so many bytes.
const SLOWEST: u64 = 1 << 20;

/// Larger bodies are sent piece by piece, so that there is no second copy of them.
const PIECE: usize = 64 << 10;

/// A bucket that was found and may be read. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    ports: Ports,
    settings: Rc<S3Settings>,
    credentials: Rc<Provider>,
    region: Rc<RefCell<String>>,
    places: Places,
    retries: Retries,
    dialect: Rc<Dialect>,
    /// By how much the store's clock is ahead of ours, as far as it tells.
    ahead: time::Duration,
}

/// One call before it is signed.
struct Call<'a> {
    method: Method,
    /// The key or, for listings, nothing.
    key: &'a str,
    query: String,
    headers: HeaderMap,
    body: Cow<'a, [u8]>,
    /// How long the answer may take, where a smaller limit is not set.
    answer: Duration,
}

impl<'a> Call<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        let (query, headers, body) = (String::new(), HeaderMap::new(), Cow::default());
        Self { method, key, query, headers, body, answer: ANSWER }
    }
}

/// A body in pieces of [`PIECE`].
struct Pieces<'a>(&'a [u8]);

impl Body for Pieces<'_> {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        let (piece, rest) = self.0.split_at(self.0.len().min(PIECE));
        self.0 = rest;
        Box::pin(std::future::ready(Ok((!piece.is_empty()).then(|| piece.to_vec()))))
    }
}

impl Bucket {
    /// Proves by a small listing that the bucket is there and the keys are right, and finds its region where that
    /// is not set or wrong. What is listed is what the keys have to be allowed to list: keys whose `s3:ListBucket` is
    /// limited to prefixes (`s3:prefix`) may not list the root.
    ///
    /// # Errors
    /// It can't be reached or listed.
    pub async fn open(ports: &Ports, settings: &S3Settings) -> Result<Self, S3Error> {
        let log = Log::plain(ports, LogFormat::Text);
        Self::open_with(ports, settings, &log, Retries::without_settings(ports, server(settings))).await
    }

    /// As [`Bucket::open`], with the log and the limit of a run.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub(crate) async fn open_in(ports: &Ports, settings: &Settings, s3: &S3Settings) -> Result<Self, S3Error> {
        Self::open_with(ports, s3, &Log::new(ports, settings), Retries::new(ports, settings, server(s3))).await
    }

    async fn open_with(ports: &Ports, settings: &S3Settings, log: &Log, retries: Retries) -> Result<Self, S3Error> {
        let region = settings.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let mut bucket = Self {
            ports: ports.clone(),
            settings: Rc::new(settings.clone()),
            credentials: Rc::new(Provider::new(ports, log, &retries, &settings.credentials)),
            region: Rc::new(RefCell::new(region)),
            places: Places::new(&settings.backup_prefix, false),
            retries,
            dialect: Rc::default(),
            ahead: time::Duration::ZERO,
        };
        let below = |prefix: &str| if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let manifests = format!("{}/", places::SET_MANIFESTS);
        if settings.backup_prefix.is_empty() {
            // Keys for the tool's own objects alone are enough to list sets.
            match bucket.probe(&below(&settings.key_prefix)).await {
                Err(denied) if denied.is_denied() => bucket.probe(&manifests).await.map_err(|_| denied)?,
                probed => probed?,
            }
        } else {
            bucket.probe(&below(&settings.backup_prefix)).await?;
            let reads_root = match bucket.probe(&manifests).await {
                Err(denied) if denied.is_denied() => false,
                probed => probed.map(|()| true)?,
            };
            bucket.places = Places::new(&settings.backup_prefix, reads_root);
        }
        Ok(bucket)
    }

    /// Lists at most one key that begins with `prefix`, and sees what time it is there.
    async fn probe(&mut self, prefix: &str) -> Result<(), S3Error> {
        let query = format!("list-type=2&max-keys=1&prefix={}", encode_query(prefix));
        let call = Call { query, ..Call::new(Method::GET, "") };
        let (head, page) = self.receive(&call, PAGE_LIMIT).await?;
        parse_page(&page).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
        let date = header(&head, &DATE).and_then(timestamp::read_http);
        self.ahead = date.map_or(time::Duration::ZERO, |date| date - self.ports.clock.now());
        Ok(())
    }

    fn url(&self, endpoint: &Endpoint, key: &str) -> String {
        let bucket = &self.settings.bucket;
        match self.settings.addressing {
            Addressing::Path if key.is_empty() => format!("{endpoint}/{}", encode_query(bucket)),
            Addressing::Path => format!("{endpoint}/{}/{}", encode_query(bucket), encode_key(key)),
            Addressing::Virtual => {
                let host = Host { name: format!("{bucket}.{}", endpoint.host.name), ..endpoint.host.clone() };
                format!("{host}{}/{}", endpoint.path, encode_key(key))
            }
        }
    }

    /// The answer that there is no such object as `None`. Any other 404, such as a proxy's, says nothing about the object.
    fn found<T>(&self, answer: Result<T, S3Error>) -> Result<Option<T>, S3Error> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(S3Error { kind: S3ErrorKind::Status { status: 404, ref code, .. }, .. }) if code == "NoSuchKey" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The size and ETag of an object by its first byte, for what the answer to a HEAD does not say: it has no body in
    /// which a 404 could tell whether the object, the bucket or the whole service is missing.
    async fn stat_by_range(&self, key: &str) -> Result<Option<Stat>, S3Error> {
        let mut call = Call::new(Method::GET, key);
        call.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let response = match self.send(&call).await {
            // An empty object has no first byte.
            Err(S3Error { kind: S3ErrorKind::Status { status: 416, .. }, .. }) => {
                return Ok(Some(Stat { bytes: 0, etag: String::new() }));
            }
            answer => answer,
        };
        let Some(Response { status, headers, .. }) = self.found(response)? else { return Ok(None) };
        let total = match status {
            StatusCode::PARTIAL_CONTENT => header(&headers, &CONTENT_RANGE).and_then(|range| range.rsplit('/').next()),
            _ => header(&headers, &CONTENT_LENGTH),
        };
        match total.and_then(|total| total.trim().parse().ok()) {
            Some(bytes) => Ok(Some(Stat { bytes, etag: etag(&headers) })),
            None => {
                Err(self.error(&call, S3ErrorKind::Shape("an answer that does not tell the object's size".to_owned())))
            }
        }
    }

    /// Stores an object, with what the bucket or its policy may ask for.
    async fn store(&self, key: &str, content_type: &'static str, body: &[u8], condition: bool) -> Result<(), S3Error> {
        loop {
            let mut call = Call { body: Cow::Borrowed(body), ..Call::new(Method::PUT, key) };
            if self.dialect.wants_checksum() {
                call.headers.extend(text("x-amz-checksum-sha256", BASE64.encode(Sha256::digest(body))));
            }
            self.ask_for_encryption(&mut call);
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if condition {
                call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            match self.receive(&call, ERROR_LIMIT).await {
                Err(error) if self.dialect.asks_for_checksum(&error) => {}
                answer => return answer.map(drop),
            }
        }
    }

    /// What a bucket whose policy asks for it is told of encryption when an object is made.
    fn ask_for_encryption(&self, call: &mut Call<'_>) {
        if let Some(encryption) = &self.settings.encryption {
            let algorithm = encryption.algorithm.header().unwrap_or_default().to_owned();
            call.headers.extend(text("x-amz-server-side-encryption", algorithm));
            let key = encryption.kms_key.clone();
            call.headers.extend(key.and_then(|key| text("x-amz-server-side-encryption-aws-kms-key-id", key)));
        }
    }

    /// Whether the object at `key` is `body`; `None` where there is none.
    async fn holds(&self, key: &str, body: &[u8]) -> Result<Option<bool>, Error> {
        let Some(stat) = self.stat(key).await? else { return Ok(None) };
        if stat.bytes != body.len() as u64 {
            return Ok(Some(false));
        }
        Ok(self.get(key, body.len()).await?.map(|there| there == body))
    }

    /// Stores an object where none is, as well as it goes without a condition: by a look before, and one after, which
    /// tells who was the last of two.
    async fn store_and_look(&self, key: &str, content_type: &'static str, body: &[u8]) -> Result<bool, Error> {
        if let Some(same) = self.holds(key, body).await? {
            return Ok(same);
        }
        self.store(key, content_type, body, false).await?;
        self.holds(key, body).await?.ok_or_else(|| {
            let what = "it was stored, and is not there afterwards".to_owned();
            self.error(&Call::new(Method::PUT, key), S3ErrorKind::Shape(what)).into()
        })
    }

    /// Sends a call and reads its answer whole. Boxed, so that the many calls don't each contain it.
    fn receive<'a>(
        &'a self,
        call: &'a Call<'_>,
        limit: usize,
    ) -> LocalBoxFuture<'a, Result<(HeaderMap, Vec<u8>), S3Error>> {
        Box::pin(self.retries.run(async move || {
            let response = self.send_once(call).await?;
            let headers = response.headers.clone();
            Ok((headers, self.read(call, response, limit).await?))
        }))
    }

    /// Sends a call until the head of a 2xx answer is there.
    async fn send(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        self.retries.run(async || self.send_once(call).await).await
    }

    /// Sends a call; once more where another region is the right one, and once more where lent keys have ended. The head of
    /// a 2xx answer.
    async fn send_once(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        let (mut moved, mut renewed) = (false, false);
        loop {
            let keys = self
                .credentials
                .keys()
                .await
                .map_err(|error| self.error(call, S3ErrorKind::Credentials(Box::new(error))))?;
            let response = self.exchange(call, &keys).await?;
            if response.status.is_success() {
                return self.genuine(call, response);
            }
            let (error, region) = self.refused(call, response).await;
            // Before their time: they were withdrawn, or the clocks differ.
            if !renewed && error.says_keys_ended() && self.credentials.refused(&keys) {
                renewed = true;
                continue;
            }
            // Who isn't told a region, or a wrong one, is told the right one by the server.
            match region.filter(|region| !moved && *region != *self.region.borrow()) {
                Some(region) => *self.region.borrow_mut() = region,
                None => return Err(error),
            }
            self.retries.is_there();
            moved = true;
        }
    }

    /// A success as an S3 service gives it: an object's answers have its ETag, and a deletion has no content. A proxy's page
    /// that says 200 to everything has stored and deleted nothing.
    fn genuine(&self, call: &Call<'_>, response: Response) -> Result<Response, S3Error> {
        let genuine = match call.method {
            // What these answer is read.
            _ if call.key.is_empty() || call.method == Method::POST => true,
            Method::DELETE => {
                response.status == StatusCode::NO_CONTENT || header(&response.headers, &CONTENT_LENGTH) == Some("0")
            }
            _ => response.headers.contains_key(ETAG),
        };
        let encoding = header(&response.headers, &CONTENT_ENCODING).filter(|_| call.method == Method::GET);
        if let Some(encoding) = encoding.filter(|encoding| !matches!(*encoding, "" | "identity" | "aws-chunked")) {
            let what = format!("the answer is packed ({encoding}), which was not asked for");
            return Err(self.error(call, S3ErrorKind::Shape(what)));
        }
        if genuine {
            Ok(response)
        } else {
            let what =
                format!("the answer says {}, and is not an S3 service's: nothing is known to be done", response.status);
            Err(self.error(call, S3ErrorKind::Shape(what)))
        }
    }

    async fn exchange(&self, call: &Call<'_>, lent: &Lent) -> Result<Response, S3Error> {
        let shape = |what: String| self.error(call, S3ErrorKind::Shape(what));
        let separator = if call.query.is_empty() { "" } else { "?" };
        let url = format!("{}{separator}{}", self.url(&self.settings.endpoint, call.key), call.query);
        let now = self.ports.clock.now();
        let region = self.region.borrow().clone();
        let signed = sign::sign_headers(&lent.keys, &region, now, &call.method, &url, &call.headers, &call.body);
        let mut headers = call.headers.clone();
        headers.extend(signed.map_err(shape)?);
        // Not signed: Google's load balancers write it anew.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if call.method == Method::PUT {
            // Buckets with object locks ask for a checksum, and this one every store knows.
            let md5 = HeaderValue::from_str(&BASE64.encode(Md5::digest(&call.body)));
            headers.insert(HeaderName::from_static("content-md5"), md5.map_err(|error| shape(error.to_string()))?);
        }
        let sending = Duration::from_secs(call.body.len() as u64 / SLOWEST);
        let mut request = Request {
            method: call.method.clone(),
            uri: url.parse().map_err(|error| shape(format!("no valid address: {error}")))?,
            headers,
            body: Vec::new(),
            timeouts: Timeouts {
                connect: CONNECT.min(self.settings.timeout),
                first_byte: call.answer.min(self.settings.timeout).saturating_add(sending),
                between_bytes: ANSWER.min(self.settings.timeout),
            },
        };
        let http = &self.ports.http;
        let sent = if call.body.len() > PIECE {
            http.send_stream(request, call.body.len() as u64, &mut Pieces(&call.body)).await
        } else {
            request.body = call.body.to_vec();
            http.send(request).await
        };
        sent.map_err(|error| self.error(call, S3ErrorKind::Http(error)))
    }

    /// What an answer other than 2xx says, and the region that it names.
    async fn refused(&self, call: &Call<'_>, response: Response) -> (S3Error, Option<String>) {
        let status = response.status;
        let retry_after = retry::retry_after(&response.headers, self.ports.clock.now());
        let named = header(&response.headers, &HeaderName::from_static("x-amz-bucket-region")).map(str::to_owned);
        let body = response.read_all(ERROR_LIMIT, self.ports.clock.as_ref()).await.unwrap_or_default();
        let error = parse_error(&body).unwrap_or_default();
        let region = named.or(error.region).filter(|_| {
            status == StatusCode::BAD_REQUEST || status.is_redirection() || status == StatusCode::FORBIDDEN
        });
        let region =
            region.filter(|region| region.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        let kind = S3ErrorKind::Status {
            status: status.as_u16(),
            code: error.code,
            message: self.credentials.clean(&error.message),
            retry_after,
        };
        (self.error(call, kind), region)
    }

    async fn read(&self, call: &Call<'_>, response: Response, limit: usize) -> Result<Vec<u8>, S3Error> {
        let length = header(&response.headers, &CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
        let bytes = response.read_all(limit, self.ports.clock.as_ref()).await.map_err(|error| match error {
            None => self.error(call, S3ErrorKind::Shape(format!("an answer of more than {limit} bytes"))),
            Some(error) => self.error(call, S3ErrorKind::Http(error)),
        })?;
        match length.filter(|length| *length != bytes.len()) {
            None => Ok(bytes),
            Some(length) => {
                let what = format!("{} of {length} bytes arrived", bytes.len());
                Err(self.error(call, S3ErrorKind::Http(HttpError::Interrupted(what))))
            }
        }
    }

    fn error(&self, call: &Call<'_>, kind: S3ErrorKind) -> S3Error {
        let Call { method, key, query, .. } = call;
        let what = match key.is_empty() {
            true if query.contains("list-type") => "listing of".to_owned(),
            true if query.contains("uploads") => "uploads of".to_owned(),
            _ if query.starts_with("uploadId") && *method == Method::DELETE => "ABORT".to_owned(),
            _ => method.to_string(),
        };
        let path = if key.is_empty() { String::new() } else { format!("/{key}") };
        S3Error {
            endpoint: self.settings.endpoint.to_string(),
            call: format!("{what} {}{path}", self.settings.bucket),
            kind,
        }
    }
}

#[async_trait(?Send)]
impl ObjectStore for Bucket {
    fn name(&self) -> &str {
        &self.settings.bucket
    }

    fn key_prefix(&self) -> &str {
        &self.settings.key_prefix
    }

    fn places(&self) -> &Places {
        &self.places
    }

    async fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        let answer = self.send(&Call::new(Method::HEAD, key)).await;
        let Response { headers, .. } = match answer {
            Ok(response) => response,
            Err(S3Error { kind: S3ErrorKind::Status { status: 404, .. }, .. }) => {
                return Ok(self.stat_by_range(key).await?);
            }
            // It has no body in which it could stand that the keys have ended.
            Err(S3Error { kind: S3ErrorKind::Status { status: 400 | 403, .. }, .. }) if self.credentials.is_lent() => {
                return Ok(self.stat_by_range(key).await?);
            }
            Err(error) => return Err(error.into()),
        };
        match header(&headers, &CONTENT_LENGTH).and_then(|value| value.parse().ok()) {
            Some(bytes) => Ok(Some(Stat { bytes, etag: etag(&headers) })),
            // Which is not the same as none.
            None => Ok(self.stat_by_range(key).await?),
        }
    }

    fn reader<'a>(&'a self, key: &'a str, total: u64, start: u64, end: u64) -> Box<dyn ObjectReader + 'a> {
        Box::new(Reader::new(self, key, total, start, end))
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.found(self.receive(&Call::new(Method::DELETE, key), ERROR_LIMIT).await)?;
        Ok(())
    }

    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let call = Call::new(Method::GET, key);
        let Some((head, bytes)) = self.found(self.receive(&call, limit).await)? else { return Ok(None) };
        // Without a length, what broke off looks like the end.
        if header(&head, &CONTENT_LENGTH).is_none() {
            let stat = self.stat_by_range(key).await?;
            if stat.is_none_or(|stat| stat.bytes != bytes.len() as u64) {
                let what =
                    format!("an answer without Content-Length, whose {} bytes are not the object's", bytes.len());
                return Err(self.error(&call, S3ErrorKind::Shape(what)).into());
            }
        }
        Ok(Some(bytes))
    }

    async fn range(&self, key: &str, start: u64, length: usize) -> Result<Vec<u8>, Error> {
        let Some(last) = (length as u64).checked_sub(1).map(|last| start.saturating_add(last)) else {
            return Ok(Vec::new());
        };
        let mut call = Call::new(Method::GET, key);
        let range = HeaderValue::from_str(&format!("bytes={start}-{last}"));
        call.headers.insert(RANGE, range.map_err(|error| self.error(&call, S3ErrorKind::Shape(error.to_string())))?);
        let (head, bytes) = self.receive(&call, length).await?;
        let expected = format!("bytes {start}-{last}/");
        let right = header(&head, &CONTENT_RANGE).is_some_and(|range| range.starts_with(&expected));
        if right && bytes.len() == length {
            Ok(bytes)
        } else {
            Err(self
                .error(
                    &call,
                    S3ErrorKind::Shape(format!("the answer is not the range {start}-{last} that was asked for")),
                )
                .into())
        }
    }

    async fn put(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<(), Error> {
        Ok(self.store(key, content_type, &body, false).await?)
    }

    async fn put_new(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<bool, Error> {
        if !self.dialect.has_conditions() {
            return self.store_and_look(key, content_type, &body).await;
        }
        match self.store(key, content_type, &body, true).await {
            Ok(()) => Ok(true),
            Err(S3Error { kind: S3ErrorKind::Status { status: 412, .. }, .. }) => match self.holds(key, &body).await? {
                // A repeated attempt finds what an earlier one stored before its answer was lost.
                Some(same) => Ok(same),
                // The newest version is a delete marker, and some stores take that for an object.
                None => self.store_and_look(key, content_type, &body).await,
            },
            Err(error) if self.dialect.refuses_condition(&error) => self.store_and_look(key, content_type, &body).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload, Error> {
        self.begin(key).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: &[u8]) -> Result<Part, Error> {
        self.part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<Stat, Error> {
        self.complete(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.abort(upload).await
    }

    async fn list_uploads(&self, prefix: &str, each: &mut dyn FnMut(Upload)) -> Result<(), Error> {
        self.uploads(prefix, each).await
    }

    async fn try_condition(&self, key: &str) {
        if self.dialect.has_conditions() && self.store(key, "text/plain", b"", true).await.is_ok() {
            self.dialect.ignores_conditions();
        }
    }

    fn check_clock(&self) -> Result<(), Error> {
        let seconds = self.ahead.whole_seconds();
        if seconds.unsigned_abs() <= MOST_APART {
            return Ok(());
        }
        let (whose, other) = if seconds < 0 { ("behind", "ahead of") } else { ("ahead of", "behind") };
        Err(Error::new(
            Code::Clock,
            "the clock",
            format!(
                "that of S3 at {} is {} s {whose} this machine's",
                self.settings.endpoint,
                seconds.unsigned_abs()
            ),
        )
        .advice(format!(
            "set whichever is wrong (this machine's may be {other} the true time): names and ages of backups, and links, \
             depend on it"
        )))
    }

    async fn list(&self, prefix: &str, each: &mut dyn FnMut(Object)) -> Result<(), Error> {
        let mut following = Following::default();
        loop {
            let query = format!("{}list-type=2&prefix={}", following.query(), encode_query(prefix));
            let call = Call { query, ..Call::new(Method::GET, "") };
            let (_, xml) = self.receive(&call, PAGE_LIMIT).await?;
            let page = parse_page(&xml).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
            let more = following.turn(&page).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
            page.objects.into_iter().for_each(&mut *each);
            if !more {
                return Ok(());
            }
        }
    }

    async fn presigned_get(&self, key: &str, validity: Duration) -> Result<PresignedUrl, Error> {
        let error = |kind: S3ErrorKind| self.error(&Call::new(Method::GET, key), kind);
        let lent = self.credentials.keys_for_link(validity).await;
        let (lent, validity) = lent.map_err(|cause| error(S3ErrorKind::Credentials(Box::new(cause))))?;
        let url = self.url(&self.settings.endpoint_for_qdrant, key);
        let region = self.region.borrow();
        sign::presign(&lent.keys, &region, self.ports.clock.now(), &url, validity)
            .map_err(|what| error(S3ErrorKind::Shape(what)).into())
    }
}

/// The service, as the log names it.
fn server(settings: &S3Settings) -> String {
    format!("S3 at {}", settings.endpoint)
}

/// A header, where its value can be one.
fn text(name: &str, value: String) -> Option<(HeaderName, HeaderValue)> {
    HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok())
}

fn etag(headers: &HeaderMap) -> String {
    header(headers, &ETAG).unwrap_or_default().trim_matches('"').to_owned()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::ports::nothing::Nothing;
    use crate::ports::{Body, Clock, Http};
    use time::OffsetDateTime;

    use crate::settings::{CredentialSource, Keys, Secret};
    use serde_json::Value;

    /// Answers every request with a status and a body, in turn; tells the time it was given.
    struct Server {
        now: OffsetDateTime,
        answers: RefCell<Vec<(u16, String)>>,
        sent: RefCell<Vec<Request>>,
        slept: RefCell<Vec<Duration>>,
    }

    struct Text(Option<Vec<u8>>);

    impl Body for Text {
        fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
            Box::pin(std::future::ready(Ok(self.0.take().filter(|bytes| !bytes.is_empty()))))
        }
    }

    impl Http for Server {
        fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            self.sent.borrow_mut().push(request);
            let (status, body) = self.answers.borrow_mut().remove(0);
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"e\""))]);
            let body = match body.strip_prefix(CHUNKED) {
                Some(body) => body.to_owned(),
                None => {
                    headers.insert(CONTENT_LENGTH, body.len().into());
                    body
                }
            };
            if status == StatusCode::PARTIAL_CONTENT {
                let range = format!("bytes 0-0/{body}");
                headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).unwrap());
            }
            let body = Box::new(Text(Some(body.into_bytes())));
            if status == StatusCode::TOO_MANY_REQUESTS {
                headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("7"));
            }
            Box::pin(std::future::ready(Ok(Response { status, headers, body })))
        }
    }

    impl Clock for Server {
        fn now(&self) -> OffsetDateTime {
            self.now
        }
        fn monotonic(&self) -> Duration {
            self.slept.borrow().iter().sum()
        }
        fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
            self.slept.borrow_mut().push(duration);
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> u64 {
            0
        }
    }

    /// Marks an answer that has no Content-Length.
    const CHUNKED: &str = "chunked:";

    const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

    fn server(now: OffsetDateTime, answers: &[(u16, &str)]) -> (Rc<Server>, Ports) {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let server = Rc::new(Server {
            now,
            answers: RefCell::new(answers),
            sent: RefCell::default(),
            slept: RefCell::default(),
        });
        let ports =
            Ports { http: server.clone(), clock: server.clone(), files: Rc::new(Nothing), console: Rc::new(Nothing) };
        (server, ports)
    }

    fn settings(endpoint: &str) -> S3Settings {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        S3Settings::new(Endpoint::parse(endpoint).unwrap(), "qdrant-snapshots", "AKIAIOSFODNN7EXAMPLE", secret)
    }

    fn with_token(source: CredentialSource, session_token: Option<Secret>) -> CredentialSource {
        match source {
            CredentialSource::Keys(keys) => CredentialSource::Keys(Keys { session_token, ..keys }),
            other => other,
        }
    }

    fn data(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/s3/");
        std::fs::read_to_string(format!("{folder}{name}")).unwrap()
    }

    /// Host and path, and the parameters whose order is free.
    fn parts(url: &str) -> (String, BTreeSet<String>) {
        let (path, query) = url.split_once('?').unwrap();
        (path.to_owned(), query.split('&').map(str::to_owned).collect())
    }

    #[test]
    fn presigned_urls_are_boto3s() {
        let mut compared = 0;
        for line in data("boto3-presigned.jsonl").lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            let now = OffsetDateTime::from_unix_timestamp(entry["unix"].as_i64().unwrap()).unwrap();
            let (_, ports) = server(now, &[(200, EMPTY)]);
            let mut settings = settings(&text("endpoint"));
            settings.region = Some(text("region"));
            let token = entry["token"].as_str().map(Secret::new);
            settings.credentials = with_token(settings.credentials, token);
            settings.addressing = if entry["virtual"] == true { Addressing::Virtual } else { Addressing::Path };
            let bucket = futures_executor::block_on(Bucket::open(&ports, &settings)).unwrap();
            let validity = Duration::from_secs(entry["expires"].as_u64().unwrap());
            let url = futures_executor::block_on(bucket.presigned_get(&text("key"), validity)).unwrap();
            // boto3 writes a port that is the scheme's own; it is not signed, and means the same.
            let theirs = if text("endpoint").starts_with("https") {
                text("url").replacen(":443/", "/", 1)
            } else {
                text("url").replacen(":80/", "/", 1)
            };
            assert_eq!(parts(url.reveal()), parts(&theirs), "{line}");
            compared += 1;
        }
        assert_eq!(compared, 300);
    }

    /// Headers and links, for odd keys, hosts, dates and bodies.
    #[test]
    fn signatures_are_botocores() {
        let mut compared = 0;
        for line in data("botocore-signatures.jsonl").lines() {
            let (call, key, endpoint, is_virtual, region, token, expires, unix, body, signature): (
                String,
                String,
                String,
                bool,
                String,
                Option<String>,
                u64,
                i64,
                String,
                String,
            ) = serde_json::from_str(line).unwrap();
            let now = OffsetDateTime::from_unix_timestamp(unix).unwrap();
            let (seen, ports) = server(now, &[(200, EMPTY), (200, EMPTY)]);
            let mut settings = settings(&endpoint);
            settings.region = Some(region);
            settings.credentials = with_token(settings.credentials, token.map(Secret::new));
            settings.addressing = if is_virtual { Addressing::Virtual } else { Addressing::Path };
            let bucket = futures_executor::block_on(Bucket::open(&ports, &settings)).unwrap();
            futures_executor::block_on(async {
                match call.as_str() {
                    "put" => bucket.put(&key, "application/json", body.into_bytes()).await.unwrap(),
                    "list" => bucket.list(&key, &mut |_| {}).await.unwrap(),
                    // The answer is not the range; the request is what is looked at.
                    "range" => drop(bucket.range(&key, 5, 5).await.unwrap_err()),
                    _ => {}
                }
            });
            let signed = match call.as_str() {
                "link" => {
                    let link = bucket.presigned_get(&key, Duration::from_secs(expires));
                    futures_executor::block_on(link).unwrap().reveal().to_owned()
                }
                _ => seen.sent.borrow()[1].headers["authorization"].to_str().unwrap().to_owned(),
            };
            assert!(signed.contains(&format!("Signature={signature}")), "{line}: {signed}");
            compared += 1;
        }
        assert_eq!(compared, 4000);
    }

    #[test]
    fn a_server_that_says_when_to_come_back_is_obeyed() {
        let (seen, ports) = server(OffsetDateTime::UNIX_EPOCH, &[(429, ""), (503, ""), (200, EMPTY)]);
        futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
        assert_eq!(*seen.slept.borrow(), [Duration::from_secs(7), Duration::from_millis(500)]);
    }

    #[test]
    fn what_comes_with_another_size_than_listed_is_not_the_object() {
        let page = "<html>Down for maintenance</html>";
        let answers = [(200, EMPTY), (200, page), (200, page)];
        let (_, ports) = server(OffsetDateTime::UNIX_EPOCH, &answers);
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
        let read = |bytes| futures_executor::block_on(bucket.get_listed("key", bytes, 1000));
        assert!(read(1234).unwrap_err().to_string().contains("listed with 1234"));
        assert_eq!(read(page.len() as u64).unwrap().unwrap(), page.as_bytes());
    }

    fn code(code: &str) -> String {
        format!("<Error><Code>{code}</Code><Message>A header you provided</Message></Error>")
    }

    /// A bucket whose service gives `answers` after the one to the first listing, and all its requests.
    fn opened(answers: &[(u16, &str)], settings: &S3Settings) -> (Rc<Server>, Bucket) {
        let answers: Vec<(u16, &str)> = [(200, EMPTY)].into_iter().chain(answers.iter().copied()).collect();
        let (server, ports) = server(OffsetDateTime::UNIX_EPOCH, &answers);
        let bucket = futures_executor::block_on(Bucket::open(&ports, settings)).unwrap();
        server.sent.borrow_mut().clear();
        (server, bucket)
    }

    fn methods(server: &Server) -> Vec<String> {
        let sent = server.sent.borrow();
        let shown = |request: &Request| {
            let condition = if request.headers.contains_key(IF_NONE_MATCH) { " if new" } else { "" };
            format!("{}{condition}", request.method)
        };
        sent.iter().map(shown).collect()
    }

    #[test]
    fn conditions_that_are_refused_are_done_without() {
        let put_new = |bucket: &Bucket| {
            futures_executor::block_on(bucket.put_new("key", "text/plain", b"body".to_vec())).unwrap()
        };
        let (not_implemented, missing) = (code("NotImplemented"), code("NoSuchKey"));
        let unsupported =
            "<Error><Code>InvalidArgument</Code><Message>Unsupported header 'if-none-match'</Message></Error>";
        let absent = [(404, ""), (404, missing.as_str())];
        let stored = [(200, ""), (200, "body"), (200, "body")];
        for (refusal, remembered) in [
            ((501, ""), true),
            ((501, not_implemented.as_str()), true),
            ((400, not_implemented.as_str()), true),
            ((400, unsupported), true),
            ((404, missing.as_str()), false),
        ] {
            let answers = [&[refusal][..], &absent, &stored].concat();
            let (server, bucket) = opened(&answers, &settings("http://s3"));
            assert!(put_new(&bucket), "{refusal:?}");
            assert_eq!(methods(&server), ["PUT if new", "HEAD", "GET", "PUT", "HEAD", "GET"], "{refusal:?}");
            assert_eq!(bucket.dialect.has_conditions(), !remembered, "{refusal:?}");
        }
        // Over a delete marker.
        let answers = [&[(412, "")][..], &absent, &absent, &stored].concat();
        let (server, bucket) = opened(&answers, &settings("http://s3"));
        assert!(put_new(&bucket));
        assert_eq!(methods(&server), ["PUT if new", "HEAD", "GET", "HEAD", "GET", "PUT", "HEAD", "GET"]);
        // Another object, and what an earlier attempt stored.
        for (there, ours) in [("bodY", false), ("other", false), ("body", true)] {
            let (_, bucket) = opened(&[(412, ""), (200, there), (200, there)], &settings("http://s3"));
            assert_eq!(put_new(&bucket), ours, "{there}");
        }
        // It was accepted, and there is nothing.
        let answers = [&[(501, "")][..], &absent, &stored[..1], &absent].concat();
        let (_, bucket) = opened(&answers, &settings("http://s3"));
        let error = futures_executor::block_on(bucket.put_new("key", "text/plain", b"body".to_vec())).unwrap_err();
        assert!(error.to_string().contains("is not there afterwards"), "{error}");
    }

    #[test]
    fn what_a_bucket_asks_of_a_put_is_sent_with_it() {
        let settings = S3Settings {
            encryption: Some(crate::settings::Encryption {
                algorithm: crate::settings::Algorithm::Kms,
                kms_key: Some("alias/backups".to_owned()),
            }),
            ..settings("http://s3")
        };
        let asks =
            "<Error><Code>InvalidRequest</Code><Message>x-amz-checksum- HTTP header is required</Message></Error>";
        let (server, bucket) = opened(&[(200, ""), (400, asks), (200, ""), (200, "")], &settings);
        let put = || futures_executor::block_on(bucket.put("key", "text/plain", b"body".to_vec())).unwrap();
        put();
        put();
        put();
        let sent = server.sent.borrow();
        let header = |request: &Request, name: &str| {
            request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        for request in sent.iter() {
            assert_eq!(header(request, "content-md5"), "hBotaJrYa9FhFEdFPCLG/A==");
            assert_eq!(header(request, "x-amz-server-side-encryption"), "aws:kms");
            assert_eq!(header(request, "x-amz-server-side-encryption-aws-kms-key-id"), "alias/backups");
            assert_eq!(header(request, "accept-encoding"), "identity");
            assert!(header(request, "authorization").contains("x-amz-server-side-encryption;"));
        }
        let checksums: Vec<String> = sent.iter().map(|request| header(request, "x-amz-checksum-sha256")).collect();
        let checksum = "Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU=".to_owned();
        assert_eq!(checksums[..2], [String::new(), String::new()]);
        assert_eq!(checksums[2..], [checksum.clone(), checksum], "asked for once, it is sent with all");
    }

    #[test]
    fn an_object_is_missing_only_where_s3_says_so() {
        let stat = |answers: &[(u16, &str)]| {
            let (_, bucket) = opened(answers, &settings("http://s3"));
            futures_executor::block_on(bucket.stat("key")).map(|stat| stat.map(|stat| stat.bytes))
        };
        let (missing, bucket) = (code("NoSuchKey"), code("NoSuchBucket"));
        assert_eq!(stat(&[(404, ""), (404, &missing)]), Ok(None));
        assert!(stat(&[(404, ""), (404, "<html>no such page</html>")]).unwrap_err().is_unknown());
        assert!(stat(&[(404, ""), (404, "")]).unwrap_err().to_string().contains("lack its path"));
        assert!(stat(&[(404, ""), (404, &bucket)]).unwrap_err().to_string().contains("QDRANT_S3_BUCKET_NAME"));
        // A HEAD is wrong, or does not tell.
        assert_eq!(stat(&[(404, ""), (206, "4711")]), Ok(Some(4711)));
        assert_eq!(stat(&[(200, CHUNKED), (206, "4711")]), Ok(Some(4711)));
        assert_eq!(stat(&[(200, CHUNKED), (416, "")]), Ok(Some(0)));
        assert!(stat(&[(200, CHUNKED), (200, CHUNKED)]).unwrap_err().to_string().contains("does not tell"));
        let get = |answers: &[(u16, &str)]| {
            let (_, bucket) = opened(answers, &settings("http://s3"));
            futures_executor::block_on(bucket.get("key", 100))
        };
        assert_eq!(get(&[(404, &missing)]), Ok(None));
        assert!(get(&[(404, "<html>")]).is_err());
        // What broke off looks like an empty object.
        assert_eq!(get(&[(200, "chunked:body"), (206, "4")]), Ok(Some(b"body".to_vec())));
        assert!(get(&[(200, CHUNKED), (206, "4")]).unwrap_err().to_string().contains("without Content-Length"));
    }

    #[test]
    fn a_body_that_drips_is_given_up() {
        struct Drips(Rc<Server>);
        impl Body for Drips {
            fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
                self.0.slept.borrow_mut().push(Duration::from_secs(50));
                Box::pin(std::future::ready(Ok(Some(vec![0]))))
            }
        }
        let (server, _) = opened(&[], &settings("http://s3"));
        let dripping = |server: &Rc<Server>| Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Box::new(Drips(server.clone())),
        };
        let read = futures_executor::block_on(dripping(&server).read_all(1000, server.as_ref()));
        assert_eq!(read, Err(Some(HttpError::Timeout(crate::ports::Phase::Body))));
    }

    #[test]
    fn clocks_that_are_far_apart_are_told() {
        let now = time::macros::datetime!(2026-01-29 12:00 UTC);
        let check = |minutes: i64| {
            let (_, ports) = server(now, &[(200, EMPTY)]);
            let mut bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
            assert!(bucket.check_clock().is_ok(), "a store that doesn't tell");
            bucket.ahead = time::Duration::minutes(minutes);
            bucket.check_clock()
        };
        assert!(check(14).is_ok() && check(-14).is_ok());
        assert!(check(16).unwrap_err().to_string().contains("960 s ahead of"));
        assert!(check(-60).unwrap_err().to_string().contains("3600 s behind"));
    }

    #[test]
    fn endpoints_with_paths_and_tenants_are_asked_there() {
        let url = |endpoint: &str, bucket: &str| {
            let settings = S3Settings { bucket: bucket.to_owned(), ..settings(endpoint) };
            let (server, bucket) = opened(&[(404, &code("NoSuchKey"))], &settings);
            futures_executor::block_on(bucket.get("a/b", 10)).unwrap();
            let sent = server.sent.borrow();
            let link = bucket.presigned_get("a/b", Duration::from_secs(60));
            (sent[0].uri.to_string(), futures_executor::block_on(link).unwrap())
        };
        let (asked, link) = url("https://p.example.co/storage/v1/s3", "b");
        assert_eq!(asked, "https://p.example.co/storage/v1/s3/b/a/b");
        assert!(link.reveal().starts_with("https://p.example.co/storage/v1/s3/b/a/b?X-Amz-"));
        assert_eq!(url("http://ceph", "tenant:b").0, "http://ceph/tenant%3Ab/a/b");
    }

    /// Garage's recorded answers to a wrong region, with a body and without.
    #[test]
    fn the_region_is_learnt_from_a_strict_server() {
        let recorded = data("garage-2.5.jsonl");
        let recorded: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answer = |note: &str| {
            let entry = recorded.iter().find(|entry| entry["note"] == note).unwrap();
            (
                entry["response"]["status"].as_u64().unwrap() as u16,
                entry["response"]["body"].as_str().unwrap().to_owned(),
            )
        };
        let (wrong, listing) = (answer("list, wrong region"), answer("list v2"));
        let now = OffsetDateTime::UNIX_EPOCH;
        let (seen, ports) = server(now, &[(wrong.0, &wrong.1), (listing.0, &listing.1), (listing.0, &listing.1)]);
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://127.0.0.1:3900"))).unwrap();
        let mut keys = Vec::new();
        futures_executor::block_on(bucket.list("snapshots/", &mut |object| keys.push(object.key))).unwrap();
        assert_eq!(keys.len(), 6);
        assert!(keys.iter().any(|key| key.starts_with("snapshots/ge %C3%BCn%25,odd/")), "{keys:?}");
        let scope = |request: &Request| request.headers["authorization"].to_str().unwrap().to_owned();
        let scopes: Vec<String> = seen.sent.borrow().iter().map(scope).collect();
        assert!(
            scopes[0].contains("/us-east-1/s3/")
                && scopes[1].contains("/garage/s3/")
                && scopes[2].contains("/garage/s3/")
        );

        let (missing, secret) = (answer("missing bucket"), answer("wrong secret"));
        for (answer, advice) in [(missing, "QDRANT_S3_BUCKET_NAME"), (secret, "QDRANT_S3_SECRET_ACCESS_KEY")] {
            // Once more with the region that the error names, and once for the other folder that may be listed.
            let (_, ports) = server(now, &[(answer.0, &answer.1), (answer.0, &answer.1), (answer.0, &answer.1)]);
            let error =
                futures_executor::block_on(Bucket::open(&ports, &settings("http://127.0.0.1:3900"))).err().unwrap();
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    /// Keys that may list some prefixes and not the root are enough, and what they may not list is not looked at.
    #[test]
    fn keys_for_some_prefixes_are_enough() {
        let denied = "<Error><Code>AccessDenied</Code><Message>no s3:ListBucket</Message></Error>";
        let open = |prefix: &str, answers: &[(u16, &str)]| {
            let (seen, ports) = server(OffsetDateTime::UNIX_EPOCH, answers);
            let settings = S3Settings { backup_prefix: prefix.to_owned(), ..settings("http://s3") };
            let opened = futures_executor::block_on(Bucket::open(&ports, &settings));
            let asked: Vec<String> = seen.sent.borrow().iter().map(|sent| sent.uri.to_string()).collect();
            (opened, asked)
        };
        let (opened, asked) = open("", &[(200, EMPTY)]);
        assert!(opened.is_ok() && asked.len() == 1 && asked[0].ends_with("&prefix=snapshots%2F"), "{asked:?}");
        let (opened, asked) = open("", &[(403, denied), (200, EMPTY)]);
        assert!(opened.is_ok() && asked[1].ends_with("&prefix=backup_manifests%2F"), "{asked:?}");
        let (opened, asked) = open("team/a", &[(200, EMPTY), (403, denied)]);
        assert!(!opened.unwrap().places().is_whole() && asked[0].ends_with("&prefix=team%2Fa%2F"), "{asked:?}");
        let (opened, _) = open("team/a", &[(200, EMPTY), (200, EMPTY)]);
        assert!(opened.unwrap().places().is_whole());
        let (opened, _) = open("team/a", &[(403, denied)]);
        assert!(opened.err().unwrap().is_denied());
    }

    #[test]
    fn a_listing_follows_tokens_and_never_runs_in_circles() {
        let page = |token: &str| {
            format!(
                "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
            )
        };
        let (first, second) = (page("a/b+c="), page("d"));
        let now = OffsetDateTime::UNIX_EPOCH;
        let (seen, ports) = server(now, &[(200, EMPTY), (200, &first), (200, &second), (200, EMPTY)]);
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
        futures_executor::block_on(bucket.list("p", &mut |_| {})).unwrap();
        assert!(seen.sent.borrow()[2].uri.query().unwrap().contains("continuation-token=a%2Fb%2Bc%3D"));
        let (_, ports) = server(now, &[(200, EMPTY), (200, &first), (200, &first)]);
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
        let error = futures_executor::block_on(bucket.list("p", &mut |_| {})).unwrap_err();
        assert!(error.to_string().contains("says there is more and not where"), "{error}");
    }
}
