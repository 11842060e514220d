//! The core without WASI: whole runs of tasks in this process, and ports by which its S3 client serves the stand-in.
//!
//! A native run is on the network in memory ([`crate::network`]) and on the runtime's clock ([`crate::clock`]): no
//! component, no process, no socket, and where the clock is paused no real waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use qdrant_backup_contract::command_line::{self, Invocation};
use qdrant_backup_contract::exit::{EXIT_USAGE, Status};
use qdrant_backup_contract::settings::{Scope, VARIABLES};
use qdrant_backup_core::ports::{
    Body, Clock, Console, FileError, Files, Http, HttpError, LocalBoxFuture, Phase, Ports, Request, Response,
};
use qdrant_backup_core::tasks::{self, RunError};
use send_wrapper::SendWrapper;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use crate::faults::Who;
use crate::{clock, faults, network};

/// Runs a task in the work directory `work` to its end; returns the exit code, standard output and standard error. Only on a
/// runtime of one thread; dropping the future stops the run, as a kill does.
pub fn task(
    arguments: &[&str],
    settings: Vec<(String, String)>,
    work: &Path,
) -> impl Future<Output = (u8, String, String)> + Send {
    SendWrapper::new(async move {
        let console = Rc::new(Captured::default());
        let ports = Ports {
            http: Rc::new(Memory(Who::Program)),
            clock: Rc::new(Tokio(Instant::now())),
            files: Rc::new(Directory(work.to_owned())),
            console: Rc::clone(&console) as Rc<dyn Console>,
        };
        let code = carry_out(arguments, settings, ports).await;
        (code, console.stdout.take(), console.stderr.take())
    })
}

/// As [`task`], on the network of this machine: for servers that are no stand-ins in memory.
pub async fn task_by_sockets(
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    work: PathBuf,
) -> (u8, String, String) {
    let ended = run(move |ports| {
        Box::pin(async move {
            let console = Rc::new(Captured::default());
            let ports = Ports {
                http: Rc::new(Hyper::of(Who::Program)),
                files: Rc::new(Directory(work)),
                console: Rc::clone(&console) as Rc<dyn Console>,
                ..ports
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let code = carry_out(&arguments, settings, ports).await;
            (code, console.stdout.take(), console.stderr.take())
        })
    });
    ended.await
}

/// What the host does around the component, as far as tests need it.
async fn carry_out(arguments: &[&str], mut settings: Vec<(String, String)>, ports: Ports) -> u8 {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let console = Rc::clone(&ports.console);
    let (task, options) = match command_line::parse(&arguments) {
        Ok(Invocation::Run { task, settings }) => (task, settings),
        Ok(Invocation::Print(text)) => {
            console.data(&text);
            return 0;
        }
        Err(error) => {
            console.log(&error.to_string());
            return EXIT_USAGE;
        }
    };
    settings.extend(options);
    // The last of a name counts; what is the host's, or empty, is not handed over.
    let ours = |name: &str| VARIABLES.iter().any(|variable| variable.name == name && variable.scope != Scope::Host);
    let settings: BTreeMap<String, String> = settings.into_iter().collect();
    let settings: Vec<_> =
        settings.into_iter().filter(|(name, value)| ours(name) && !value.trim().is_empty()).collect();
    match tasks::run(ports, task, &settings, None).await {
        Ok(report) => report.status().exit_code(),
        Err(RunError::Configuration(problems)) => {
            problems.iter().for_each(|problem| console.log(&format!("{}: {}", problem.variable, problem.problem)));
            EXIT_USAGE
        }
        Err(RunError::Failed(why)) => {
            console.log(&why.to_string());
            Status::Failed.exit_code()
        }
    }
}

/// As [`run`], on this thread and with the network in memory. Only on a runtime of one thread.
pub fn run_here<T>(work: impl FnOnce(Ports) -> LocalBoxFuture<'static, T>) -> impl Future<Output = T> + Send {
    SendWrapper::new(work(Ports { http: Rc::new(Memory(Who::Qdrant)), ..ports() }))
}

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
        http: Rc::new(Hyper::of(Who::Qdrant)),
        clock: Rc::new(Tokio(Instant::now())),
        files: Rc::new(InMemory::default()),
        console: Rc::new(Captured::default()),
    }
}

/// The files of a folder, to be read.
pub fn files_of(folder: &std::path::Path) -> Result<Rc<dyn Files>, std::io::Error> {
    let memory = InMemory::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        memory.0.borrow_mut().insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    Ok(Rc::new(memory))
}

/// The network of this machine, for the program or for the stand-in.
struct Hyper(Client<HttpConnector, Full<Bytes>>, Who);

impl Hyper {
    fn of(who: Who) -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http(), who)
    }
}

impl Http for Hyper {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let limit = request.timeouts.between_bytes;
            let mut outgoing = http::Request::new(Full::new(Bytes::from(request.body)));
            *outgoing.method_mut() = request.method;
            *outgoing.uri_mut() = request.uri;
            *outgoing.headers_mut() = request.headers;
            if self.1 == Who::Qdrant {
                outgoing.headers_mut().insert(faults::ASKED_BY, http::HeaderValue::from_static("qdrant"));
            }
            let response = self.0.request(outgoing).await.map_err(|error| match error.is_connect() {
                true => HttpError::Connect(error.to_string()),
                false => HttpError::Interrupted(error.to_string()),
            })?;
            let (head, body) = response.into_parts();
            Ok(Response { status: head.status, headers: head.headers, body: Box::new(Pieces { body, limit }) })
        })
    }
}

/// The network in memory, for the program or for the stand-in.
struct Memory(Who);

impl Http for Memory {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let timeouts = request.timeouts;
            let mut outgoing = http::Request::new(Bytes::from(request.body));
            *outgoing.method_mut() = request.method;
            *outgoing.uri_mut() = request.uri;
            *outgoing.headers_mut() = request.headers;
            if self.0 == Who::Qdrant {
                outgoing.headers_mut().insert(faults::ASKED_BY, http::HeaderValue::from_static("qdrant"));
            }
            let answer = timeout(timeouts.connect + timeouts.first_byte, network::send(outgoing)).await;
            let answer = answer.map_err(|_| HttpError::Timeout(Phase::FirstByte))?;
            let response = answer.map_err(|failure| match failure {
                network::Failure::Refused => HttpError::Connect("connection refused".to_owned()),
                network::Failure::Broken(why) => HttpError::Interrupted(why),
            })?;
            let (head, body) = response.into_parts();
            let body = Box::new(Pieces { body, limit: timeouts.between_bytes });
            Ok(Response { status: head.status, headers: head.headers, body })
        })
    }
}

struct Pieces<B> {
    body: B,
    limit: Duration,
}

impl<B: hyper::body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Body for Pieces<B> {
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
        clock::now()
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
struct InMemory(RefCell<BTreeMap<String, Vec<u8>>>);

impl Files for InMemory {
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

/// A folder. Nothing is synced: no machine crashes here.
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
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::failed(name, "read", &error)),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        fs::write(self.0.join(name), content).map_err(|error| Self::failed(name, "write", &error))
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let mut whole = self.read(name)?.unwrap_or_default();
        if whole.last().is_some_and(|last| *last != b'\n') {
            whole.push(b'\n');
        }
        whole.extend_from_slice(content);
        self.replace(name, &whole)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        fs::rename(self.0.join(from), self.0.join(to)).map_err(|error| Self::failed(from, "rename", &error))
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        match fs::remove_file(self.0.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Self::failed(name, "remove", &error)),
        }
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| Self::failed(path, "read", &error))
    }
}

/// What was printed.
#[derive(Default)]
struct Captured {
    stdout: RefCell<String>,
    stderr: RefCell<String>,
}

impl Console for Captured {
    fn data(&self, text: &str) {
        self.stdout.borrow_mut().push_str(text);
    }

    fn log(&self, line: &str) {
        self.stderr.borrow_mut().push_str(line);
        self.stderr.borrow_mut().push('\n');
    }
}
