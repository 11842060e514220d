//! The core's ports without WASI: HTTP with TLS, the clock, a directory, the console.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use qdrant_backup_core::ports::{
    Body, Clock, Console, FileError, Files, Http, HttpError, LocalBoxFuture, Phase, Ports, Request, Response,
};
use time::OffsetDateTime;
use tokio::time::timeout;

/// Ports for work in the directory `work`, with TLS that trusts `ca_file` or the system.
///
/// # Errors
/// The CA file can't be used.
pub fn ports(work: &Path, ca_file: Option<&Path>) -> Result<Ports, String> {
    use qdrant_backup::client::Trust;
    let tls =
        qdrant_backup::client::configuration(&Trust { ca_file: ca_file.map(Path::to_path_buf), ..Trust::default() })
            .map_err(|error| error.to_string())?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Ports {
        http: Rc::new(Hyper(Client::builder(TokioExecutor::new()).build(connector))),
        clock: Rc::new(Tokio(Instant::now())),
        files: Rc::new(Directory(work.to_owned())),
        console: Rc::new(Streams),
    })
}

struct Hyper(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http for Hyper {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let timeouts = request.timeouts;
            let mut outgoing = http::Request::new(Full::new(Bytes::from(request.body)));
            *outgoing.method_mut() = request.method;
            *outgoing.uri_mut() = request.uri;
            *outgoing.headers_mut() = request.headers;
            let answer = timeout(timeouts.connect + timeouts.first_byte, self.0.request(outgoing)).await;
            let answer = answer.map_err(|_| HttpError::Timeout(Phase::FirstByte))?;
            let response = answer.map_err(|error| match error.is_connect() {
                true => HttpError::Connect(error.to_string()),
                false => HttpError::Interrupted(error.to_string()),
            })?;
            let (head, body) = response.into_parts();
            let body = Box::new(Pieces { body, limit: timeouts.between_bytes });
            Ok(Response { status: head.status, headers: head.headers, body })
        })
    }
}

struct Pieces {
    body: Incoming,
    limit: Duration,
}

impl Body for Pieces {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            loop {
                let frame = timeout(self.limit, self.body.frame()).await;
                let Some(frame) = frame.map_err(|_| HttpError::Timeout(Phase::Body))? else { return Ok(None) };
                let frame = frame.map_err(|error| HttpError::Interrupted(error.to_string()))?;
                if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
                    return Ok(Some(data.to_vec()));
                }
            }
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

struct Directory(PathBuf);

impl Directory {
    fn failed(name: &str, action: &'static str, error: &std::io::Error) -> FileError {
        FileError { name: name.to_owned(), action, cause: error.to_string() }
    }
}

impl Files for Directory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        match fs::read(self.0.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::failed(name, "read", &error)),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(self.0.join(name)).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| Self::failed(name, "write", &error))
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let mut whole = self.read(name)?.unwrap_or_default();
        whole.extend_from_slice(content);
        self.replace(name, &whole)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        fs::rename(self.0.join(from), self.0.join(to)).map_err(|error| Self::failed(from, "rename", &error))
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        match fs::remove_file(self.0.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Self::failed(name, "remove", &error)),
        }
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| Self::failed(path, "read", &error))
    }
}

struct Streams;

impl Console for Streams {
    fn data(&self, text: &str) {
        // A closed pipe must not stop the drill.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn log(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
