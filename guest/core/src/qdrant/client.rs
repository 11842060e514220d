//! One server's REST API: envelope, key, timeouts, and the retries that can do no harm.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_lock::Semaphore;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{QdrantError, QdrantErrorKind};
use crate::decode;
use crate::ports::{HttpError, LocalBoxFuture, Ports, Request, Response, Timeouts};
use crate::retry::{self, Fault, Nature, Retries};
use crate::settings::{Host, Secret, Settings};
use crate::timestamp;

/// What may stand in a path segment without escapes (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Answers are small: descriptions, states, counts. A larger one is not Qdrant's.
const ANSWER_LIMIT: usize = 64 << 20;

/// How long reading the state of things may take; work has the user's own limit.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How many calls that are no long work a server gets at the same time: hundreds of collections begin at once, and each
/// call that is under way has a connection, with its memory on both sides.
const SMALL_CALLS: usize = 32;

/// Calls one server.
#[derive(Clone)]
pub struct Client {
    pub(super) ports: Ports,
    host: Host,
    api_key: Option<Secret>,
    work_timeout: Duration,
    answered_as: Rc<Cell<Option<(u64, Duration)>>>,
    refuses_links: Rc<Cell<bool>>,
    small_calls: Arc<Semaphore>,
    retries: Retries,
}

/// How a call may be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads, or sets what is already so when sent twice: repeated on any passing fault.
    Idempotent,
    /// Creates or changes: repeated only when the server cannot have seen it.
    Once,
    /// Long work (a snapshot, a recovery) under the user's own timeout; repeated as [`Effect::Once`] is.
    Work,
}

impl Client {
    /// A client for `host`; `work_timeout` limits calls that do long work.
    pub fn new(ports: Ports, host: Host, api_key: Option<Secret>, work_timeout: Duration) -> Self {
        let retries = Retries::without_settings(&ports, host.to_string());
        Self::with(ports, host, api_key, work_timeout, retries)
    }

    /// As [`Client::new`], with the log and the limits of a run.
    pub(super) fn of(ports: &Ports, settings: &Settings, host: Host, api_key: Option<Secret>) -> Self {
        let retries = Retries::new(ports, settings, host.to_string());
        Self::with(ports.clone(), host, api_key, settings.request_timeout, retries)
    }

    fn with(ports: Ports, host: Host, api_key: Option<Secret>, work_timeout: Duration, retries: Retries) -> Self {
        let small_calls = Arc::new(Semaphore::new(SMALL_CALLS));
        let (answered_as, refuses_links) = Default::default();
        Self { ports, host, api_key, work_timeout, answered_as, refuses_links, small_calls, retries }
    }

    /// The same access to another host.
    pub fn to_host(&self, host: Host) -> Self {
        let retries = self.retries.for_server(host.to_string());
        Self::with(self.ports.clone(), host, self.api_key.clone(), self.work_timeout, retries)
    }

    /// How calls to this server are sent again.
    pub(crate) fn retries(&self) -> &Retries {
        &self.retries
    }

    /// The server's address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Notes that the server could not fetch a snapshot by a link: to find that out again may take it minutes.
    pub(crate) fn note_refused_link(&self) {
        self.refuses_links.set(true);
    }

    /// True where the server could not fetch a snapshot by a link before.
    pub(crate) fn has_refused_link(&self) -> bool {
        self.refuses_links.get()
    }

    /// Notes that the server has just answered as the peer `id`.
    pub(super) fn note_answered_as(&self, id: u64) {
        self.answered_as.set(Some((id, self.ports.clock.monotonic())));
    }

    /// True when the server was peer `id` within the last second and no call has gone without an answer since: in that
    /// time no other server takes over an address.
    pub(super) fn has_just_answered_as(&self, id: u64) -> bool {
        const FRESH: Duration = Duration::from_secs(1);
        self.answered_as
            .get()
            .is_some_and(|(answered, when)| answered == id && self.ports.clock.monotonic().saturating_sub(when) < FRESH)
    }

    /// By how much the server's clock is ahead of ours; `None` where it does not tell. Asked once.
    pub async fn clock_ahead(&self) -> Result<Option<time::Duration>, QdrantError> {
        let failed = |kind| self.error(&Method::GET, "/", kind);
        let request = self.request(&Method::GET, "/", None, Effect::Idempotent).map_err(failed)?;
        let answer = self.ports.http.send(request).await.map_err(|error| failed(QdrantErrorKind::Http(error)))?;
        let date = answer.headers.get(DATE).and_then(|date| timestamp::read_http(date.to_str().ok()?));
        Ok(date.map(|date| date - self.ports.clock.now()))
    }

    /// Sends a call and returns the `result` of its envelope; `None` for an answer without one (202).
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Option<T>, QdrantError> {
        match self.result(&method, path, body, effect).await? {
            Some(result) => self.typed(&method, path, decode::from_value(result)).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Client::call`] where an answer without a result is not one.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<T, QdrantError> {
        let result = self.result(&method, path, body, effect).await?;
        let typed = result.map_or_else(|| Err("no result".to_owned()), decode::from_value);
        self.typed(&method, path, typed)
    }

    /// What was read from an answer, or that it is not one.
    pub(super) fn typed<T>(&self, method: &Method, path: &str, read: Result<T, String>) -> Result<T, QdrantError> {
        read.map_err(|cause| self.error(method, path, QdrantErrorKind::Shape(cause)))
    }

    /// Boxed, so that the many calls share this code and don't each contain it.
    fn result<'a>(
        &'a self,
        method: &'a Method,
        path: &'a str,
        body: Option<&'a Value>,
        effect: Effect,
    ) -> LocalBoxFuture<'a, Result<Option<Value>, QdrantError>> {
        Box::pin(async move {
            let bytes = self.send(method.clone(), path, body, effect).await?;
            self.unwrap(method, path, &bytes)
        })
    }

    /// The `result` of an answer's envelope; `None` where the work is only accepted.
    pub(super) fn unwrap(&self, method: &Method, path: &str, bytes: &[u8]) -> Result<Option<Value>, QdrantError> {
        let shape = |what: String| self.error(method, path, QdrantErrorKind::Shape(what));
        let mut envelope: Value = serde_json::from_slice(bytes).map_err(|error| shape(error.to_string()))?;
        match envelope.get("status").and_then(Value::as_str) {
            Some("ok") => Ok(Some(envelope.get_mut("result").map(Value::take).unwrap_or_default())),
            Some("accepted") => Ok(None),
            _ => Err(shape(format!("status {}", envelope.get("status").unwrap_or(&Value::Null)))),
        }
    }

    /// Sends a call and returns the whole body of a 2xx answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Vec<u8>, QdrantError> {
        let idempotent = effect == Effect::Idempotent;
        let sent = self.retries.run(async || {
            let answer = self.send_once(&method, path, body, effect).await;
            answer.map_err(|kind| Failed { error: self.error(&method, path, kind), idempotent })
        });
        sent.await.map_err(|failed| failed.error)
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Vec<u8>, QdrantErrorKind> {
        let request = self.request(method, path, body, effect)?;
        let _permit = match effect {
            Effect::Work => None,
            Effect::Idempotent | Effect::Once => Some(self.small_calls.acquire().await),
        };
        self.receive(self.ports.http.send(request).await).await
    }

    /// The whole body of a 2xx answer.
    pub(super) async fn receive(&self, sent: Result<Response, HttpError>) -> Result<Vec<u8>, QdrantErrorKind> {
        let response = sent.map_err(|error| {
            self.answered_as.set(None);
            QdrantErrorKind::Http(error)
        })?;
        let status = response.status;
        let retry_after = retry::retry_after(&response.headers, self.ports.clock.now());
        match response.read_all(ANSWER_LIMIT, self.ports.clock.as_ref()).await {
            Ok(bytes) if status.is_success() => Ok(bytes),
            Ok(bytes) => {
                Err(QdrantErrorKind::Status { code: status.as_u16(), text: error_text(status, &bytes), retry_after })
            }
            // The status alone says enough about a failure whose text broke off.
            Err(_) if !status.is_success() => {
                Err(QdrantErrorKind::Status { code: status.as_u16(), text: String::new(), retry_after })
            }
            Err(Some(error)) => {
                self.answered_as.set(None);
                Err(QdrantErrorKind::Http(error))
            }
            Err(None) => Err(QdrantErrorKind::Shape(format!("an answer of more than {ANSWER_LIMIT} bytes"))),
        }
    }

    pub(super) fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Request, QdrantErrorKind> {
        let uri: Uri = format!("{}{path}", self.host)
            .parse()
            .map_err(|error| QdrantErrorKind::Http(HttpError::Invalid(format!("no valid address: {error}"))))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &self.api_key {
            let mut value = HeaderValue::from_str(key.reveal()).map_err(|_| {
                QdrantErrorKind::Http(HttpError::Invalid(
                    "the API key has characters that no header can carry".to_owned(),
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("api-key"), value);
        }
        let first_byte = if effect == Effect::Work { self.work_timeout } else { READ_TIMEOUT.min(self.work_timeout) };
        Ok(Request {
            method: method.clone(),
            uri,
            headers,
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            timeouts: Timeouts {
                connect: Duration::from_secs(30).min(self.work_timeout),
                first_byte,
                between_bytes: READ_TIMEOUT.min(self.work_timeout),
            },
        })
    }

    pub(super) fn error(&self, method: &Method, path: &str, kind: QdrantErrorKind) -> QdrantError {
        let path = path.split('?').next().unwrap_or(path);
        QdrantError { host: self.host.to_string(), call: format!("{method} {path}"), kind }
    }
}

/// A call that failed, and whether acting twice is the same as once.
struct Failed {
    error: QdrantError,
    idempotent: bool,
}

impl Fault for Failed {
    fn nature(&self) -> Nature {
        self.error.nature(self.idempotent)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.error.retry_after()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// `text` as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Qdrant's own words: `{"status":{"error":"..."}}`, or the plain text of its authentication.
fn error_text(status: StatusCode, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let from_json = serde_json::from_slice::<Value>(bytes)
        .ok()
        .and_then(|json| json.pointer("/status/error").and_then(Value::as_str).map(str::to_owned));
    let text = from_json.unwrap_or_else(|| text.trim().to_owned());
    let text = if status.is_redirection() { format!("a redirect, which is not followed: {text}") } else { text };
    let Some((end, _)) = text.char_indices().nth(600) else { return text };
    // A word is left whole, or out: it may be a secret, which is known only by the whole of it.
    let start = text.get(..end).unwrap_or_default();
    start.rfind(char::is_whitespace).and_then(|end| start.get(..end)).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use futures_util::future::join_all;

    use crate::ports::Http;
    use crate::ports::nothing::{Nothing, StoppedClock};
    use crate::settings::DefaultPort;

    /// A server that answers nothing, a moment later, and counts who waits.
    #[derive(Default)]
    struct Slow {
        waiting: Cell<usize>,
        most: Cell<usize>,
    }

    impl Http for Slow {
        fn send(&self, _: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            Box::pin(async move {
                self.waiting.set(self.waiting.get() + 1);
                self.most.set(self.most.get().max(self.waiting.get()));
                let mut pending = true;
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::take(&mut pending) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
                })
                .await;
                self.waiting.set(self.waiting.get() - 1);
                Err(HttpError::Denied)
            })
        }
    }

    #[test]
    fn a_server_gets_few_small_calls_at_a_time_and_work_beside_them() {
        let slow = Rc::new(Slow::default());
        let nothing = Rc::new(Nothing);
        let ports =
            Ports { http: slow.clone(), clock: Rc::new(StoppedClock(0)), files: nothing.clone(), console: nothing };
        let host = Host::parse("http://peer-1", DefaultPort::Always(6333)).unwrap();
        let client = Client::new(ports, host, None, Duration::from_secs(1));
        let call = |effect| client.send(Method::GET, "/", None, effect);
        block_on(join_all((0..100).map(|_| call(Effect::Idempotent))));
        assert_eq!(slow.most.take(), SMALL_CALLS);
        let both = [Effect::Idempotent, Effect::Work].into_iter().cycle();
        block_on(join_all(both.take(200).map(call)));
        assert_eq!(slow.most.get(), SMALL_CALLS + 100, "work has limits of its own");
    }

    #[test]
    fn names_become_one_path_segment() {
        assert_eq!(segment("ge ün%,odd"), "ge%20%C3%BCn%25%2Codd");
        assert_eq!(segment("a-b_c.d~1"), "a-b_c.d~1");
        assert_eq!(segment("a/../b"), "a%2F..%2Fb");
    }

    #[test]
    fn qdrants_words_are_found_in_every_form() {
        let json = br#"{"status":{"error":"Not found: Collection `x` doesn't exist!"},"time":0.1}"#;
        assert_eq!(error_text(StatusCode::NOT_FOUND, json), "Not found: Collection `x` doesn't exist!");
        assert_eq!(error_text(StatusCode::UNAUTHORIZED, b"Invalid API key or JWT"), "Invalid API key or JWT");
        assert_eq!(error_text(StatusCode::NOT_FOUND, b""), "");
        assert!(error_text(StatusCode::FOUND, b"").contains("redirect"));
        let long = format!("{} secret-that-goes-on", "word ".repeat(117));
        assert_eq!(error_text(StatusCode::BAD_REQUEST, long.as_bytes()), "word ".repeat(117));
        assert_eq!(error_text(StatusCode::BAD_REQUEST, "x".repeat(700).as_bytes()), "");
    }
}
