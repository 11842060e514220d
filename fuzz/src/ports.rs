//! A world in memory: servers that answer what they are told, files, a clock that does not wait.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use http::{HeaderMap, Method, StatusCode};
use qdrant_backup_core::ports::{
    Body, Clock, Console, FileError, Files, Http, HttpError, LocalBoxFuture, Ports, Request, Response,
};
use time::OffsetDateTime;

/// More requests than any check makes: beyond it something goes on without end.
const REQUESTS: usize = 20_000;

/// The world.
#[derive(Default)]
pub struct World {
    answer: RefCell<(u16, Vec<u8>)>,
    /// An object that is read by ranges, in place of the answer.
    object: RefCell<Option<Vec<u8>>>,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    requests: Cell<usize>,
    time: Cell<Duration>,
}

impl World {
    /// Every request is answered with `status` and `body`.
    pub fn answering(status: u16, body: &[u8]) -> Rc<Self> {
        Rc::new(Self { answer: RefCell::new((status, body.to_vec())), ..Self::default() })
    }

    /// From now on every request is answered with these.
    pub fn answer(&self, status: u16, body: &[u8]) {
        *self.answer.borrow_mut() = (status, body.to_vec());
    }

    /// From now on every request is for this object.
    pub fn serve(&self, object: &[u8]) {
        *self.object.borrow_mut() = Some(object.to_vec());
    }

    /// A file in the work directory.
    pub fn write(&self, name: &str, content: &[u8]) {
        self.files.borrow_mut().insert(name.to_owned(), content.to_vec());
    }

    /// The ports of this world.
    pub fn ports(self: &Rc<Self>) -> Ports {
        Ports { http: self.clone(), clock: self.clone(), files: self.clone(), console: self.clone() }
    }

    fn piece(&self, request: &Request, object: &[u8]) -> Response {
        let all = object.len();
        let range = request.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.and_then(|(start, end)| Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()?)));
        let piece = range.and_then(|(start, end)| Some((start, end, object.get(start..end.checked_add(1)?)?)));
        let Some((start, end, piece)) = piece else { return response(416, Vec::new()) };
        let mut response = response(206, piece.to_vec());
        let content = HeaderValue::from_str(&format!("bytes {start}-{end}/{all}")).expect("digits");
        response.headers.insert(CONTENT_RANGE, content);
        response
    }
}

fn response(status: u16, body: Vec<u8>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, body.len().into());
    Response { status: StatusCode::from_u16(status).expect("a status"), headers, body: Box::new(Piece(Some(body))) }
}

struct Piece(Option<Vec<u8>>);

impl Body for Piece {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(std::future::ready(Ok(self.0.take().filter(|bytes| !bytes.is_empty()))))
    }
}

impl Http for World {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        self.requests.set(self.requests.get() + 1);
        assert!(self.requests.get() < REQUESTS, "it asks without end");
        let answer = match self.object.borrow().as_deref() {
            Some(object) if request.method == Method::GET => self.piece(&request, object),
            _ => {
                let (status, body) = self.answer.borrow().clone();
                response(status, body)
            }
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl Clock for World {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_769_687_062)
    }
    fn monotonic(&self) -> Duration {
        self.time.get()
    }
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        self.time.set(self.time.get().saturating_add(duration));
        Box::pin(std::future::ready(()))
    }
    fn random(&self) -> u64 {
        7
    }
}

impl Files for World {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.files.borrow().get(name).cloned())
    }
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        self.write(name, content);
        Ok(())
    }
    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        self.files.borrow_mut().entry(name.to_owned()).or_default().extend_from_slice(content);
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let content = self.files.borrow_mut().remove(from).unwrap_or_default();
        self.write(to, &content);
        Ok(())
    }
    fn remove(&self, name: &str) -> Result<bool, FileError> {
        Ok(self.files.borrow_mut().remove(name).is_some())
    }
    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        Ok(self.files.borrow().get(path).cloned().unwrap_or_default())
    }
}

impl Console for World {
    fn data(&self, _: &str) {}
    fn log(&self, _: &str) {}
}
