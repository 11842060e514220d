//! The calls: one method each, signed, repeated on passing faults.

mod reader;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};

use super::error::{S3Error, S3ErrorKind};
use super::listing::{parse_error, parse_page};
use super::sign::{self, encode_key, encode_query};
use crate::error::Error;
use crate::places::{self, Places};
use crate::ports::{HttpError, LocalBoxFuture, Ports, Request, Response, Timeouts};
use crate::presigned_url::PresignedUrl;
use crate::retry;
use crate::settings::{Addressing, Host, S3Settings};
use crate::store::{Object, ObjectReader, ObjectStore, Stat};

use reader::Reader;

/// The region that servers without regions go by, and AWS's first.
const DEFAULT_REGION: &str = "us-east-1";

/// A page of 1,000 keys of 1,024 bytes has 2 MiB at most.
const PAGE_LIMIT: usize = 16 << 20;

/// An error's text.
const ERROR_LIMIT: usize = 64 << 10;

/// How long a connection may take, and an answer or the next piece of it, where the user's own limit is not less.
const CONNECT: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(60);

/// A bucket that was found and may be read. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    ports: Ports,
    settings: Rc<S3Settings>,
    region: Rc<RefCell<String>>,
    places: Places,
}

/// One call before it is signed.
struct Call<'a> {
    method: Method,
    /// The key or, for listings, nothing.
    key: &'a str,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self { method, key, query: String::new(), headers: HeaderMap::new(), body: Vec::new() }
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
        let region = settings.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let mut bucket = Self {
            ports: ports.clone(),
            settings: Rc::new(settings.clone()),
            region: Rc::new(RefCell::new(region)),
            places: Places::new(&settings.backup_prefix, false),
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

    /// Lists at most one key that begins with `prefix`.
    async fn probe(&self, prefix: &str) -> Result<(), S3Error> {
        let query = format!("list-type=2&max-keys=1&prefix={}", encode_query(prefix));
        let call = Call { query, ..Call::new(Method::GET, "") };
        let (_, page) = self.receive(&call, PAGE_LIMIT).await?;
        parse_page(&page).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
        Ok(())
    }

    fn url(&self, endpoint: &Host, key: &str) -> String {
        let bucket = &self.settings.bucket;
        match self.settings.addressing {
            Addressing::Path if key.is_empty() => format!("{endpoint}/{bucket}"),
            Addressing::Path => format!("{endpoint}/{bucket}/{}", encode_key(key)),
            Addressing::Virtual => {
                let endpoint = Host { name: format!("{bucket}.{}", endpoint.name), ..endpoint.clone() };
                format!("{endpoint}/{}", encode_key(key))
            }
        }
    }

    /// 404 for an object as `None`; a missing bucket stays an error.
    fn found<T>(&self, answer: Result<T, S3Error>) -> Result<Option<T>, S3Error> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(S3Error { kind: S3ErrorKind::Status { status: 404, ref code, .. }, .. }) if code != "NoSuchBucket" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a call and reads its answer whole. Boxed, so that the many calls don't each contain it.
    fn receive<'a>(
        &'a self,
        call: &'a Call<'_>,
        limit: usize,
    ) -> LocalBoxFuture<'a, Result<(HeaderMap, Vec<u8>), S3Error>> {
        Box::pin(self.received(call, limit))
    }

    /// Sends a call and reads its answer whole, beginning anew when it breaks off.
    async fn received(&self, call: &Call<'_>, limit: usize) -> Result<(HeaderMap, Vec<u8>), S3Error> {
        let mut attempt = 1;
        loop {
            let response = self.send(call).await?;
            let headers = response.headers.clone();
            match self.read(call, response, limit).await {
                Ok(bytes) => return Ok((headers, bytes)),
                Err(error) if attempt == retry::ATTEMPTS || !error.may_retry() => return Err(error),
                Err(_) => self.ports.clock.sleep(retry::pause(self.ports.clock.as_ref(), attempt, None)).await,
            }
            attempt += 1;
        }
    }

    /// Sends a call until the head of a 2xx answer is there.
    async fn send(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        let mut attempt = 1;
        let mut moved = false;
        loop {
            let (error, wish) = match self.send_once(call).await {
                Ok(response) if response.status.is_success() => return self.genuine(call, response),
                Ok(response) => {
                    let wish = retry::retry_after(&response.headers);
                    let (error, region) = self.refused(call, response).await;
                    // Who isn't told a region, or a wrong one, is told the right one by the server.
                    if let Some(region) = region.filter(|region| !moved && *region != *self.region.borrow()) {
                        *self.region.borrow_mut() = region;
                        moved = true;
                        continue;
                    }
                    (error, wish)
                }
                Err(error) => (error, None),
            };
            if attempt == retry::ATTEMPTS || !error.may_retry() {
                return Err(error);
            }
            self.ports.clock.sleep(retry::pause(self.ports.clock.as_ref(), attempt, wish)).await;
            attempt += 1;
        }
    }

    /// A success as an S3 service gives it: an object's answers have its ETag, and a deletion has no content. A proxy's page
    /// that says 200 to everything has stored and deleted nothing.
    fn genuine(&self, call: &Call<'_>, response: Response) -> Result<Response, S3Error> {
        let genuine = match call.method {
            _ if call.key.is_empty() => true,
            Method::DELETE => {
                response.status == StatusCode::NO_CONTENT || header(&response.headers, &CONTENT_LENGTH) == Some("0")
            }
            _ => response.headers.contains_key(ETAG),
        };
        if genuine {
            Ok(response)
        } else {
            let what =
                format!("the answer says {}, and is not an S3 service's: nothing is known to be done", response.status);
            Err(self.error(call, S3ErrorKind::Shape(what)))
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<Response, S3Error> {
        let shape = |what: String| self.error(call, S3ErrorKind::Shape(what));
        let separator = if call.query.is_empty() { "" } else { "?" };
        let url = format!("{}{separator}{}", self.url(&self.settings.endpoint, call.key), call.query);
        let now = self.ports.clock.now();
        let region = self.region.borrow().clone();
        let signed = sign::sign_headers(&self.settings, &region, now, &call.method, &url, &call.headers, &call.body);
        let mut headers = call.headers.clone();
        headers.extend(signed.map_err(shape)?);
        let request = Request {
            method: call.method.clone(),
            uri: url.parse().map_err(|error| shape(format!("no valid address: {error}")))?,
            headers,
            body: call.body.clone(),
            timeouts: Timeouts {
                connect: CONNECT.min(self.settings.timeout),
                first_byte: ANSWER.min(self.settings.timeout),
                between_bytes: ANSWER.min(self.settings.timeout),
            },
        };
        self.ports.http.send(request).await.map_err(|error| self.error(call, S3ErrorKind::Http(error)))
    }

    /// What an answer other than 2xx says, and the region that it names.
    async fn refused(&self, call: &Call<'_>, response: Response) -> (S3Error, Option<String>) {
        let status = response.status;
        let named = header(&response.headers, &HeaderName::from_static("x-amz-bucket-region")).map(str::to_owned);
        let body = response.read_all(ERROR_LIMIT).await.unwrap_or_default();
        let error = parse_error(&body).unwrap_or_default();
        let region = named.or(error.region).filter(|_| {
            status == StatusCode::BAD_REQUEST || status.is_redirection() || status == StatusCode::FORBIDDEN
        });
        let region =
            region.filter(|region| region.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        let kind = S3ErrorKind::Status { status: status.as_u16(), code: error.code, message: error.message };
        (self.error(call, kind), region)
    }

    async fn read(&self, call: &Call<'_>, response: Response, limit: usize) -> Result<Vec<u8>, S3Error> {
        let length = header(&response.headers, &CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
        let bytes = response.read_all(limit).await.map_err(|error| match error {
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
        let what =
            if key.is_empty() && query.contains("list-type") { "listing of".to_owned() } else { method.to_string() };
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
        let call = Call::new(Method::HEAD, key);
        let Some(response) = self.found(self.send(&call).await)? else { return Ok(None) };
        let bytes = header(&response.headers, &CONTENT_LENGTH).and_then(|value| value.parse().ok());
        let bytes = bytes
            .ok_or_else(|| self.error(&call, S3ErrorKind::Shape("an answer without Content-Length".to_owned())))?;
        let etag = header(&response.headers, &ETAG).unwrap_or_default().trim_matches('"').to_owned();
        Ok(Some(Stat { bytes, etag }))
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
        Ok(self.found(self.receive(&call, limit).await.map(|(_, bytes)| bytes))?)
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
        let mut call = Call { body, ..Call::new(Method::PUT, key) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.receive(&call, ERROR_LIMIT).await?;
        Ok(())
    }

    async fn put_new(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<bool, Error> {
        let mut call = Call { body, ..Call::new(Method::PUT, key) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        match self.receive(&call, ERROR_LIMIT).await {
            Ok(_) => Ok(true),
            // A repeated attempt finds what an earlier one stored before its answer was lost.
            Err(S3Error { kind: S3ErrorKind::Status { status: 412, .. }, .. }) => {
                Ok(self.get(key, call.body.len().saturating_add(1)).await?.as_ref() == Some(&call.body))
            }
            Err(S3Error { kind: S3ErrorKind::Status { status: 501, .. }, .. }) => {
                self.put(key, content_type, call.body).await.map(|()| true)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, prefix: &str, each: &mut dyn FnMut(Object)) -> Result<(), Error> {
        let mut from = String::new();
        loop {
            let query = format!("{from}list-type=2&prefix={}", encode_query(prefix));
            let call = Call { query, ..Call::new(Method::GET, "") };
            let (_, xml) = self.receive(&call, PAGE_LIMIT).await?;
            let page = parse_page(&xml).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
            let last = page.objects.last().map(|object| object.key.clone());
            page.objects.into_iter().for_each(&mut *each);
            if !page.truncated {
                return Ok(());
            }
            let next = match (page.next, last) {
                (Some(token), _) => format!("continuation-token={}&", encode_query(&token)),
                (None, Some(last)) => format!("start-after={}&", encode_query(&last)),
                (None, None) => from.clone(),
            };
            if next == from {
                let what = "a listing that says there is more and not where".to_owned();
                return Err(self.error(&call, S3ErrorKind::Shape(what)).into());
            }
            from = next;
        }
    }

    fn presigned_get(&self, key: &str, validity: Duration) -> Result<PresignedUrl, Error> {
        let url = self.url(&self.settings.endpoint_for_qdrant, key);
        let region = self.region.borrow();
        sign::presign(&self.settings, &region, self.ports.clock.now(), &url, validity)
            .map_err(|what| self.error(&Call::new(Method::GET, key), S3ErrorKind::Shape(what)).into())
    }
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

    use crate::settings::{DefaultPort, Secret};
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
            let body = Box::new(Text(Some(body.into_bytes())));
            let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"e\""))]);
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
            Duration::ZERO
        }
        fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
            self.slept.borrow_mut().push(duration);
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> u64 {
            0
        }
    }

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
        let endpoint = Host::parse(endpoint, DefaultPort::OfScheme).unwrap();
        S3Settings {
            endpoint_for_qdrant: endpoint.clone(),
            endpoint,
            bucket: "qdrant-snapshots".to_owned(),
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            region: None,
            addressing: Addressing::Path,
            backup_prefix: String::new(),
            key_prefix: "snapshots".to_owned(),
            timeout: Duration::from_secs(1800),
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
            settings.session_token = entry["token"].as_str().map(Secret::new);
            settings.addressing = if entry["virtual"] == true { Addressing::Virtual } else { Addressing::Path };
            let bucket = futures_executor::block_on(Bucket::open(&ports, &settings)).unwrap();
            let validity = Duration::from_secs(entry["expires"].as_u64().unwrap());
            let url = bucket.presigned_get(&text("key"), validity).unwrap();
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
            settings.session_token = token.map(Secret::new);
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
                "link" => bucket.presigned_get(&key, Duration::from_secs(expires)).unwrap().reveal().to_owned(),
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
