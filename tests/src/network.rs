//! A network in memory: servers by their addresses, all within this process and on one runtime.
//!
//! Its addresses begin with `10.`, so that whoever sends a request sees by the address whether it goes out by a socket.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_LENGTH, DATE, HOST};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes};
use tokio::sync::watch;

use crate::clock;
use crate::faults::Body;

type Answer = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

/// What serves the requests to one address.
pub type Handler = Arc<dyn Fn(Request<Bytes>) -> Answer + Send + Sync>;

struct Server {
    handler: Handler,
    /// False while it refuses connections; ends with the server.
    open: watch::Receiver<bool>,
}

static SERVERS: Mutex<BTreeMap<String, Server>> = Mutex::new(BTreeMap::new());

fn servers() -> MutexGuard<'static, BTreeMap<String, Server>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there; nothing was sent.
    Refused,
    /// The connection broke.
    Broken(String),
}

/// Serves an address until it is dropped; the requests at work break then.
pub struct Listening {
    authority: String,
    open: watch::Sender<bool>,
}

impl Listening {
    /// Has `handler` serve `authority`.
    pub fn at(authority: String, handler: Handler) -> Self {
        let (sender, open) = watch::channel(true);
        let before = servers().insert(authority.clone(), Server { handler, open });
        assert!(before.is_none(), "somebody listens at {authority} already");
        Self { authority, open: sender }
    }

    /// Takes connections, or refuses them.
    pub fn open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        servers().remove(&self.authority);
    }
}

/// True for an address of this network: `10.1.2.3:6333`, with or without a scheme before it.
pub fn has(address: &str) -> bool {
    address.split_once("://").map_or(address, |(_, rest)| rest).starts_with("10.")
}

/// The first three numbers of addresses that nobody has.
pub fn subnet() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % (1 << 16);
        let subnet = format!("10.{}.{}", next >> 8, next & 255);
        let within = format!("{subnet}.");
        if !servers().keys().any(|authority| authority.starts_with(&within)) {
            return subnet;
        }
    }
}

/// Sends a request to the server at the authority of its URI. Dropping the future closes the connection.
///
/// # Errors
/// There is no answer.
pub async fn send(mut request: Request<Bytes>) -> Result<Response<Body>, Failure> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let found = servers().get(&authority).map(|server| (Arc::clone(&server.handler), server.open.clone()));
    let (handler, mut open) = found.filter(|(_, open)| *open.borrow()).ok_or(Failure::Refused)?;
    as_on_the_wire(&mut request, &authority);
    let method = request.method().clone();
    let answer = tokio::select! {
        answer = handler(request) => answer,
        () = gone(&mut open) => Err(io::Error::other("the server went away")),
    };
    answer.map(|answer| as_received(answer, &method)).map_err(|error| Failure::Broken(error.to_string()))
}

async fn gone(open: &mut watch::Receiver<bool>) {
    while open.changed().await.is_ok() {}
}

/// What a transport adds to a request.
fn as_on_the_wire(request: &mut Request<Bytes>, authority: &str) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = path.parse().expect("the path of a URI");
    let (length, method) = (request.body().len(), request.method().clone());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.entry(HOST).or_insert(HeaderValue::from_str(authority).expect("an address"));
    if length > 0 || method == Method::PUT || method == Method::POST {
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

/// What a transport adds to an answer.
fn as_received(mut answer: Response<Body>, method: &Method) -> Response<Body> {
    answer.headers_mut().entry(DATE).or_insert_with(|| clock::http_date(clock::now()));
    if method == Method::HEAD {
        return answer.map(|_| UnsyncBoxBody::new(Empty::new().map_err(|never| match never {})));
    }
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    answer
}
