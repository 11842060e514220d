//! The calls: one method each, signed, repeated on passing faults.

mod connection;
mod reader;
mod upload;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderValue, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};

use super::error::{S3Error, S3ErrorKind};
use super::listing::{Following, parse_page};
use super::sign::{self, encode_query};
use crate::credentials::Provider;
use crate::error::{Code, Error};
use crate::log::Log;
use crate::places::{self, Places};
use crate::ports::{Ports, Response};
use crate::presigned_url::PresignedUrl;
use crate::retry::Retries;
use crate::settings::{LogFormat, S3Settings, Settings};
use crate::store::{Object, ObjectReader, ObjectStore, Part, Stat, Upload};
use crate::timestamp;

pub use connection::Bucket;

use connection::{Call, ERROR_LIMIT, PAGE_LIMIT, header, text};
use reader::Reader;

/// The region that servers without regions go by, and AWS's first.
const DEFAULT_REGION: &str = "us-east-1";

/// By how many seconds clocks may differ: where AWS refuses signatures.
const MOST_APART: u64 = 15 * 60;

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
            log: log.clone(),
            ahead: None,
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
        let (head, _) = self.list_one(prefix).await?;
        let date = header(&head, &DATE).and_then(timestamp::read_http);
        self.ahead = date.map(|date| date - self.ports.clock.now());
        Ok(())
    }

    /// At most one object whose key begins with `prefix`.
    async fn list_one(&self, prefix: &str) -> Result<(HeaderMap, Option<Object>), S3Error> {
        let query = format!("list-type=2&max-keys=1&prefix={}", encode_query(prefix));
        let call = Call { query, ..Call::new(Method::GET, "") };
        let (head, page) = self.receive(&call, PAGE_LIMIT).await?;
        let page = parse_page(&page).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
        Ok((head, page.objects.into_iter().next()))
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

    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        Ok(self.list_one(prefix).await?.1)
    }

    fn obeys_conditions(&self) -> bool {
        self.dialect.has_conditions()
    }

    fn clock_ahead(&self) -> Option<time::Duration> {
        self.ahead
    }

    fn check_clock(&self) -> Result<(), Error> {
        let seconds = self.ahead.unwrap_or_default().whole_seconds();
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
            "set whichever is wrong (this machine's may be {other} the real time): names and ages of backups, and links, \
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

fn etag(headers: &HeaderMap) -> String {
    header(headers, &ETAG).unwrap_or_default().trim_matches('"').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
