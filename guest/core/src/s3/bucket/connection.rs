//! How a call gets to the service and its answer back: signed, sent again where another region or other keys are the right
//! ones, repeated on passing faults, and looked at for what only S3 says.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::super::dialect::Dialect;
use super::super::error::{S3Error, S3ErrorKind};
use super::super::listing::parse_error;
use super::super::sign::{self, encode_key, encode_query};
use crate::credentials::{Lent, Provider};
use crate::log::Log;
use crate::places::Places;
use crate::ports::{Body, HttpError, LocalBoxFuture, Ports, Request, Response, Timeouts};
use crate::retry::{self, Retries};
use crate::settings::{Addressing, Endpoint, Host, S3Settings};

/// A page of 1,000 keys of 1,024 bytes has 2 MiB at most.
pub(super) const PAGE_LIMIT: usize = 16 << 20;

/// An error's text.
pub(super) const ERROR_LIMIT: usize = 64 << 10;

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
    pub(super) ports: Ports,
    pub(super) settings: Rc<S3Settings>,
    pub(super) credentials: Rc<Provider>,
    pub(super) region: Rc<RefCell<String>>,
    pub(super) places: Places,
    pub(super) retries: Retries,
    pub(super) dialect: Rc<Dialect>,
    pub(super) log: Log,
    /// By how much the store's clock is ahead of ours, as far as it tells.
    pub(super) ahead: Option<time::Duration>,
}

/// One call before it is signed.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// The key or, for listings, nothing.
    pub(super) key: &'a str,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Cow<'a, [u8]>,
    /// True where the body's SHA-256 is in the signature. Of megabytes it takes most of the time that their call takes here.
    pub(super) signed_body: bool,
    /// True where the body's MD5 goes with it: buckets with object locks ask for a checksum, and this one every store knows.
    pub(super) md5: bool,
    /// How long the answer may take, where a smaller limit is not set.
    pub(super) answer: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, key: &'a str) -> Self {
        let (query, headers, body) = (String::new(), HeaderMap::new(), Cow::default());
        let md5 = method == Method::PUT;
        Self { method, key, query, headers, body, signed_body: true, md5, answer: ANSWER }
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
    pub(super) fn url(&self, endpoint: &Endpoint, key: &str) -> String {
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

    /// Sends a call and reads its answer whole. Boxed, so that the many calls don't each contain it.
    pub(super) fn receive<'a>(
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
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        self.retries.run(async || self.send_once(call).await).await
    }

    /// Sends a call; once more where another region is the right one, and once more where lent keys have ended. The head of
    /// a 2xx answer.
    pub(super) async fn send_once(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        let (mut moved, mut renewed) = (false, false);
        loop {
            let keys = self
                .credentials
                .keys()
                .await
                .map_err(|error| self.error(call, S3ErrorKind::Credentials(Box::new(error))))?;
            let response = self.exchange(call, &keys).await?;
            if response.status.is_success() {
                return self.success_of_s3(call, response);
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
    fn success_of_s3(&self, call: &Call<'_>, response: Response) -> Result<Response, S3Error> {
        let is_of_s3 = match call.method {
            // What these answer is read.
            _ if call.key.is_empty() || call.method == Method::POST => true,
            Method::DELETE => {
                response.status == StatusCode::NO_CONTENT || header(&response.headers, &CONTENT_LENGTH) == Some("0")
            }
            _ => response.headers.contains_key(ETAG),
        };
        let encoding = header(&response.headers, &CONTENT_ENCODING).filter(|_| call.method == Method::GET);
        if let Some(encoding) = encoding.filter(|encoding| !matches!(*encoding, "" | "identity" | "aws-chunked")) {
            let what = format!("the answer is compressed ({encoding}), which was not requested");
            return Err(self.error(call, S3ErrorKind::Shape(what)));
        }
        if is_of_s3 {
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
        let sha256: Option<[u8; 32]> = call.signed_body.then(|| Sha256::digest(&call.body).into());
        let signed = sign::sign_headers(&lent.keys, &region, now, &call.method, &url, &call.headers, sha256.as_ref());
        let mut headers = call.headers.clone();
        headers.extend(signed.map_err(shape)?);
        // Not signed: Google's load balancers write it anew.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if call.md5 {
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

    pub(super) async fn read(&self, call: &Call<'_>, response: Response, limit: usize) -> Result<Vec<u8>, S3Error> {
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

    pub(super) fn error(&self, call: &Call<'_>, kind: S3ErrorKind) -> S3Error {
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

    /// The answer that there is no such object as `None`. Any other 404, such as a proxy's, says nothing about the object.
    pub(super) fn found<T>(&self, answer: Result<T, S3Error>) -> Result<Option<T>, S3Error> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(S3Error { kind: S3ErrorKind::Status { status: 404, ref code, .. }, .. }) if code == "NoSuchKey" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a bucket whose policy asks for it is told of encryption when an object is made.
    pub(super) fn ask_for_encryption(&self, call: &mut Call<'_>) {
        if let Some(encryption) = &self.settings.encryption {
            let algorithm = encryption.algorithm.header().unwrap_or_default().to_owned();
            call.headers.extend(text("x-amz-server-side-encryption", algorithm));
            let key = encryption.kms_key.clone();
            call.headers.extend(key.and_then(|key| text("x-amz-server-side-encryption-aws-kms-key-id", key)));
        }
    }
}

/// A header, where its value can be one.
pub(super) fn text(name: &str, value: String) -> Option<(HeaderName, HeaderValue)> {
    HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok())
}

/// A header's text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
