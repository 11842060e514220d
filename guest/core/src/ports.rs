//! The world as the logic sees it: HTTP, a clock, the work directory and the console.
//!
//! Everything is single-threaded and asynchronous without a runtime: many requests are in flight at once
//! because their futures are polled together, not because there are threads.

#[cfg(test)]
pub(crate) mod nothing;
mod read_only;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use time::OffsetDateTime;

use crate::error::{Code, Error};
use crate::event::Event;

pub(crate) use read_only::read_only;

/// A boxed future on the one thread there is.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The four ports together, cheap to clone and handed to every task.
#[derive(Clone)]
pub struct Ports {
    /// Sends requests.
    pub http: Rc<dyn Http>,
    /// Tells the time and waits.
    pub clock: Rc<dyn Clock>,
    /// The work directory.
    pub files: Rc<dyn Files>,
    /// Standard output (data) and standard error (log lines).
    pub console: Rc<dyn Console>,
}

/// Sends HTTP requests; the only way to reach a server.
pub trait Http {
    /// Sends `request` and waits for the head of the answer. Dropping the future closes the connection.
    /// A non-2xx status is an answer, not an error; redirects are not followed.
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>>;

    /// As [`Http::send`], with a body of `length` bytes that is sent as it comes. Where it breaks off or has another
    /// length, so does the request. A transport that can't stream holds it in memory.
    fn send_stream<'a>(
        &'a self,
        mut request: Request,
        length: u64,
        body: &'a mut dyn Body,
    ) -> LocalBoxFuture<'a, Result<Response, HttpError>> {
        Box::pin(async move {
            while let Some(chunk) = body.chunk().await? {
                request.body.extend_from_slice(&chunk);
            }
            if request.body.len() as u64 == length {
                self.send(request).await
            } else {
                Err(HttpError::Interrupted("the request's body has another length".to_owned()))
            }
        })
    }
}

/// A request with its body in memory.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URI; the `Host` header is its authority as written.
    pub uri: Uri,
    /// Headers besides `Host` and `Content-Length`, which the transport sets.
    pub headers: HeaderMap,
    /// The body; empty means none (sent with `Content-Length: 0` for PUT and POST).
    pub body: Vec<u8>,
    /// How long to wait for each phase.
    pub timeouts: Timeouts,
}

/// How long to wait, phase by phase. No phase is ever unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included where the transport can tell.
    pub connect: Duration,
    /// From the request's last byte to the answer's first: the server's own work.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub between_bytes: Duration,
}

/// The head of an answer, its body still to be read.
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, piece by piece.
    pub body: Box<dyn Body>,
}

impl Response {
    /// The whole body, of at most `limit` bytes, in the time of a [`Pace`] by `clock`.
    ///
    /// # Errors
    /// `None`: there is more than that. `Some`: it broke off, or comes too slowly.
    pub async fn read_all(mut self, limit: usize, clock: &dyn Clock) -> Result<Vec<u8>, Option<HttpError>> {
        let mut bytes = Vec::new();
        let mut pace = Pace::default();
        while let Some(chunk) = pace.chunk(self.body.as_mut(), clock).await.map_err(Some)? {
            if chunk.len() > limit.saturating_sub(bytes.len()) {
                return Err(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// How fast a body has to arrive: one that drips would otherwise never end, as each of its pieces is in time.
#[derive(Debug, Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The time that every body may take, however small it is.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// How many bytes have to arrive each second after that: a tenth of a slow modem line.
    const SLOWEST: u64 = 1 << 10;

    /// The next piece of `body`.
    ///
    /// # Errors
    /// It breaks off, or all of them together came too slowly.
    pub async fn chunk(&mut self, body: &mut dyn Body, clock: &dyn Clock) -> Result<Option<Vec<u8>>, HttpError> {
        let before = clock.monotonic();
        let chunk = body.chunk().await?;
        self.waited += clock.monotonic().saturating_sub(before);
        self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let is_end = chunk.is_none();
        let allowed = Self::PATIENCE + Duration::from_secs(self.bytes / Self::SLOWEST);
        if is_end || self.waited <= allowed { Ok(chunk) } else { Err(HttpError::Timeout(Phase::Body)) }
    }
}

/// A body that arrives in pieces, so that an object of any size passes in constant memory.
pub trait Body {
    /// The next piece (never empty), or `None` at the end. After an error nothing more comes.
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>>;
}

/// Why there is no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The host that runs the component does not let it talk to this address. Nothing was sent.
    Denied,
    /// In a dry run: the request, which might change something. Nothing was sent.
    ReadOnly(String),
    /// The request can't be made as it is. Nothing was sent.
    Invalid(String),
    /// No connection: refused, no such name. Nothing was sent, so that it is safe to try again.
    Connect(String),
    /// A connection, and no TLS on it: a certificate that is not trusted, or one that is asked for. Nothing was sent.
    Tls(String),
    /// No answer in time; the server may still be working on it.
    Timeout(Phase),
    /// The connection broke after the request may have been sent: the outcome is unknown.
    Interrupted(String),
}

/// The phase in which a timeout ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting: nothing was sent.
    Connect,
    /// Waiting for the answer's first byte.
    FirstByte,
    /// Waiting for more of the answer's body.
    Body,
}

impl HttpError {
    /// True when the server cannot have seen the request, so that any request may be sent again.
    pub fn nothing_was_sent(&self) -> bool {
        matches!(
            self,
            Self::Denied
                | Self::ReadOnly(_)
                | Self::Invalid(_)
                | Self::Connect(_)
                | Self::Tls(_)
                | Self::Timeout(Phase::Connect)
        )
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("connections to this address are not allowed"),
            Self::ReadOnly(request) => write!(f, "a dry run changes nothing, and does not send {request}"),
            Self::Invalid(why) => write!(f, "the request can't be sent: {why}"),
            Self::Connect(why) | Self::Tls(why) => write!(f, "no connection: {why}"),
            Self::Timeout(Phase::Connect) => f.write_str("no connection in time"),
            Self::Timeout(Phase::FirstByte) => f.write_str("no answer in time"),
            Self::Timeout(Phase::Body) => f.write_str("the answer stalled, or hardly moved"),
            Self::Interrupted(why) => write!(f, "the connection broke: {why}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// Wall-clock time for names and signatures, monotonic time for durations.
pub trait Clock {
    /// The wall clock in UTC.
    fn now(&self) -> OffsetDateTime;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()>;
    /// A random number, for jitter and unique names; not for secrets.
    fn random(&self) -> u64;
}

/// The work directory: a flat set of small named files. Names have no `/`.
pub trait Files {
    /// The whole file, or `None` where there is none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError>;
    /// Replaces the file atomically: a reader, or a crash, sees the old content or the new, never a mix.
    ///
    /// # Errors
    /// The directory is missing, read-only or full.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError>;
    /// Adds whole lines at the end (made if missing), so that a crash of the program loses none, and one of the machine
    /// no more than those of its last second. Where a crash left half a line at the end, a new one is begun first.
    ///
    /// # Errors
    /// As for [`Files::replace`].
    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError>;
    /// Renames a file, with all that was added to it; the target is replaced.
    ///
    /// # Errors
    /// As for [`Files::replace`].
    fn rename(&self, from: &str, to: &str) -> Result<(), FileError>;
    /// Removes a file; true when it was there.
    ///
    /// # Errors
    /// As for [`Files::replace`].
    fn remove(&self, name: &str) -> Result<bool, FileError>;
    /// Writes a file and removes it, so that a directory that can't be written is known before it matters.
    ///
    /// # Errors
    /// As for [`Files::replace`].
    fn check_writable(&self) -> Result<(), FileError> {
        const NAME: &str = ".write-check";
        self.replace(NAME, b"")?;
        self.remove(NAME).map(drop)
    }

    /// Reads a file outside the work directory by its path as the component sees it.
    ///
    /// # Errors
    /// The file is missing, not mounted into the sandbox, or unreadable.
    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError>;
}

/// What went wrong with a file, in words that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub name: String,
    /// What was tried: "read", "use" (its content isn't what it has to be), "write", "rename", "remove", or
    /// [`FileError::CHANGE`].
    pub action: &'static str,
    /// The cause, as the operating system put it.
    pub cause: String,
}

impl FileError {
    /// What is refused in a dry run.
    pub const CHANGE: &str = "change";
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} the file `{}`: {}", self.action, self.name, self.cause)?;
        match self.action {
            "write" | "rename" | "remove" => f.write_str(" (is the work directory there, writable and not full?)"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let code = match error.action {
            "use" => Code::Configuration,
            FileError::CHANGE => Code::DryRun,
            _ => Code::WorkDirectory,
        };
        Self::new(code, "", error.to_string())
    }
}

/// Where text goes. Output errors are ignored: a closed pipe must not stop a backup.
pub trait Console {
    /// Data that was asked for: standard output.
    fn data(&self, text: &str);
    /// One log line without its line end: standard error.
    fn log(&self, line: &str);
    /// Something happens; for programs that show it. Nobody else listens.
    fn event(&self, _event: Event) {}
}
