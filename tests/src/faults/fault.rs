//! Which requests go wrong, and how.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Uri};

use super::{ASKED_BY, class};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The bucket.
    S3,
    /// One peer of a Qdrant, by its place in the list of peers.
    Qdrant(usize),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The program.
    Program,
    /// The stand-in for Qdrant, which writes snapshots to the bucket and reads them.
    Qdrant,
    /// A test.
    Test,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it came to.
    pub place: Place,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
}

impl Request {
    /// Who sent it.
    pub fn who(&self) -> Who {
        match self.headers.get(ASKED_BY).map(|name| name.as_bytes()) {
            Some(b"qdrant") => Who::Qdrant,
            Some(b"test") => Who::Test,
            // A link: only Qdrant is given one.
            _ if self.uri.query().is_some_and(|query| query.contains("X-Amz-Signature=")) => Who::Qdrant,
            _ => Who::Program,
        }
    }

    /// What kind of request it is, whatever the names in it are.
    pub fn class(&self) -> String {
        let class = class(self.place, &self.method, &self.uri);
        if self.who() == Who::Qdrant { format!("{class}, by Qdrant") } else { class }
    }
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only of this method.
    pub method: Option<Method>,
    /// Only those whose path and query have this in them; `*` stands for anything.
    pub uri: String,
    /// How many such requests pass first.
    pub skip: usize,
    /// How many go wrong after that.
    pub times: usize,
    /// What goes wrong.
    pub wrong: Wrong,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// The connection is closed with the request unread, and nobody listens there for so long.
    Refuse(Duration),
    /// The connection is reset without an answer, nothing is done.
    Reset,
    /// The work is done, and the connection is reset in the middle of the answer.
    ResetWithin,
    /// The work is done, and the connection ends without an answer.
    Lost,
    /// This status and body, nothing is done.
    Status(u16, String),
    /// This answer, nothing is done.
    Answer(Canned),
    /// The work is done, and this is the answer all the same.
    DoneBut(Canned),
    /// The work is done, and the JSON of the answer is another one: of a server that is mistaken, or lies.
    Edited(Edit),
    /// Bytes that are not HTTP, nothing is done.
    NotHttp,
    /// One bit of the request's body is another one when it is served.
    Flipped,
    /// The work is done twice, the second answer is given.
    Twice,
    /// The answer ends after so many bytes of its body.
    Truncate(usize),
    /// The answer's body ends after so many bytes, as if it were whole.
    Short(usize),
    /// The answer ends in the middle of its body.
    TruncateHalf,
    /// The answer's body comes in many small pieces, with such a pause between them.
    Drip(Duration),
    /// Nothing happens for so long; what is then still waited for is done.
    Stall(Duration),
    /// Something happens first, and the request is served after that.
    Before(Event),
    /// Something happens when the work is done, and the answer is given after that.
    After(Event),
}

/// An answer that was never given by the server.
#[derive(Clone, Debug)]
pub struct Canned {
    /// Status code.
    pub status: u16,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u64>,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Something that happens at a request; it may never end.
#[derive(Clone)]
pub struct Event(Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>);

impl Event {
    /// What `make` begins.
    pub fn new<F: Future<Output = ()> + Send + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::pin(make())))
    }

    pub(super) async fn happen(&self) {
        (self.0)().await;
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event")
    }
}

/// A change of the JSON in an answer.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(&mut serde_json::Value) + Send + Sync>);

impl Edit {
    /// What `change` does.
    pub fn new(change: impl Fn(&mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(super) fn apply(&self, body: &[u8]) -> Vec<u8> {
        let mut value = serde_json::from_slice(body).expect("an answer of JSON");
        (self.0)(&mut value);
        value.to_string().into_bytes()
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edit")
    }
}

/// How requests are chosen besides their method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Of the bucket, whoever asks.
    S3,
    /// Of any peer, asked by the program.
    Qdrant,
    /// Of one peer, asked by the program.
    Peer(usize),
    /// Of any server, asked by the program.
    Program,
    /// Of this class.
    Class(String),
}

impl Chosen {
    fn takes(&self, request: &Request) -> bool {
        let program = request.who() == Who::Program;
        match self {
            Self::S3 => request.place == Place::S3,
            Self::Qdrant => program && matches!(request.place, Place::Qdrant(_)),
            Self::Peer(index) => program && request.place == Place::Qdrant(*index),
            Self::Program => program,
            Self::Class(class) => request.who() != Who::Test && request.class() == *class,
        }
    }
}

/// The requests that came and the faults that are to come, of all servers of a place. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    seen: Vec<Request>,
    faults: Vec<(Chosen, Fault)>,
    hits: usize,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has requests go wrong from now on.
    pub fn add(&self, chosen: Chosen, fault: Fault) {
        self.lock().faults.push((chosen, fault));
    }

    /// Has no more requests go wrong.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Has no more requests go wrong, and forgets those that came.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().seen.clone()
    }

    /// How many requests went wrong so far.
    pub fn hits(&self) -> usize {
        self.lock().hits
    }

    /// Notes a request and says what goes wrong with it.
    pub(super) fn see(&self, request: Request) -> Option<Wrong> {
        let uri = request.uri.to_string();
        let mut state = self.lock();
        let hit = state.faults.iter_mut().find(|(chosen, fault)| {
            fault.times > 0
                && fault.method.as_ref().is_none_or(|method| *method == request.method)
                && has(&uri, &fault.uri)
                && chosen.takes(&request)
        });
        let wrong = hit.and_then(|(_, fault)| {
            if fault.skip > 0 {
                fault.skip -= 1;
                return None;
            }
            fault.times -= 1;
            Some(fault.wrong.clone())
        });
        state.hits += usize::from(wrong.is_some());
        state.seen.push(request);
        wrong
    }
}

/// True where all parts of `pattern` are in `text`, one after another.
fn has(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
