//! The core's ports without WASI (hyper, tokio, memory), so that its S3 client serves the stand-in and the tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use qdrant_backup_core::ports::{
    Body, Clock, Console, FileError, Files, Http, HttpError, LocalBoxFuture, Ports, Request, Response,
};
use time::OffsetDateTime;

use crate::faults;

/// Runs `work` with native ports on a thread of its own, since the core is single-threaded.
pub async fn run<T: Send + 'static>(work: impl FnOnce(Ports) -> LocalBoxFuture<'static, T> + Send + 'static) -> T {
    let task = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move { work(ports()).await })
    });
    task.await.expect("the work ends")
}

/// Native ports; files are in memory, the console is silent.
pub fn ports() -> Ports {
    Ports {
        http: Rc::new(Hyper::default()),
        clock: Rc::new(Tokio(Instant::now())),
        files: Rc::new(Memory::default()),
        console: Rc::new(Silence),
    }
}

/// The files of a folder, to be read.
pub fn files_of(folder: &std::path::Path) -> Result<Rc<dyn Files>, std::io::Error> {
    let memory = Memory::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        memory.0.borrow_mut().insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    Ok(Rc::new(memory))
}

struct Hyper(Client<HttpConnector, Full<Bytes>>);

impl Default for Hyper {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

impl Http for Hyper {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let mut outgoing = http::Request::new(Full::new(Bytes::from(request.body)));
            *outgoing.method_mut() = request.method;
            *outgoing.uri_mut() = request.uri;
            *outgoing.headers_mut() = request.headers;
            outgoing.headers_mut().insert(faults::ASKED_BY, http::HeaderValue::from_static("qdrant"));
            let response = self.0.request(outgoing).await.map_err(|error| match error.is_connect() {
                true => HttpError::Connect(error.to_string()),
                false => HttpError::Interrupted(error.to_string()),
            })?;
            let (head, body) = response.into_parts();
            Ok(Response { status: head.status, headers: head.headers, body: Box::new(Pieces(body)) })
        })
    }
}

struct Pieces(Incoming);

impl Body for Pieces {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            while let Some(frame) = self.0.frame().await {
                let frame = frame.map_err(|error| HttpError::Interrupted(error.to_string()))?;
                if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
                    return Ok(Some(data.to_vec()));
                }
            }
            Ok(None)
        })
    }
}

struct Tokio(Instant);

impl Clock for Tokio {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().0
    }
}

#[derive(Default)]
struct Memory(RefCell<BTreeMap<String, Vec<u8>>>);

impl Files for Memory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.0.borrow().get(name).cloned())
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        self.0.borrow_mut().insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        self.0.borrow_mut().entry(name.to_owned()).or_default().extend_from_slice(content);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let content = self.0.borrow_mut().remove(from).unwrap_or_default();
        self.replace(to, &content)
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        Ok(self.0.borrow_mut().remove(name).is_some())
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let missing = || FileError { name: path.to_owned(), action: "read", cause: "there is no such file".to_owned() };
        self.read(path)?.ok_or_else(missing)
    }
}

struct Silence;

impl Console for Silence {
    fn data(&self, _: &str) {}

    fn log(&self, _: &str) {}
}
