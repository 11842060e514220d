//! The core without WASI: whole runs of tasks in this process, and ports by which its S3 client serves the stand-in.
//!
//! A native run is on the network in memory ([`crate::network`]) and on the runtime's clock ([`crate::clock`]): no
//! component, no process, no socket, and where the clock is paused no real waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hyper::body::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use qdrant_backup_contract::command_line::{self, Invocation};
use qdrant_backup_contract::exit::{EXIT_USAGE, Status};
use qdrant_backup_contract::settings::{Scope, VARIABLES};
use qdrant_backup_core::ports::{
    Console, FileError, Files, Http, HttpError, LocalBoxFuture, Phase, Ports, Request, Response,
};
use qdrant_backup_core::tasks::{self, RunError};
use qdrant_backup_native::{Directory, Hyper, Tokio};
use send_wrapper::SendWrapper;
use tokio::time::timeout;

use crate::faults::Who;
use crate::{clock, faults, network};

/// Runs a task in the work directory `work` to its end; returns the exit code, standard output and standard error. Only on a
/// runtime of one thread; dropping the future stops the run, as a kill does.
pub fn task(
    arguments: &[&str],
    settings: Vec<(String, String)>,
    work: &Path,
) -> impl Future<Output = (u8, String, String)> + Send {
    task_until(arguments, settings, work, std::future::pending())
}

/// As [`task`], until `cancelled` ends: the run is cancelled then, and comes to its end by itself.
pub fn task_until(
    arguments: &[&str],
    settings: Vec<(String, String)>,
    work: &Path,
    cancelled: impl Future<Output = ()> + Send,
) -> impl Future<Output = (u8, String, String)> + Send {
    SendWrapper::new(async move {
        let console = Rc::new(Captured::default());
        let ports = Ports {
            http: Rc::new(Memory(Who::Program)),
            clock: Rc::new(Tokio::new(clock::now)),
            files: Rc::new(Directory(work.to_owned())),
            console: Rc::clone(&console) as Rc<dyn Console>,
        };
        let code = carry_out(arguments, settings, ports, cancelled).await;
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
                http: Rc::new(Sockets::of(Who::Program)),
                files: Rc::new(Directory(work)),
                console: Rc::clone(&console) as Rc<dyn Console>,
                ..ports
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let code = carry_out(&arguments, settings, ports, std::future::pending()).await;
            (code, console.stdout.take(), console.stderr.take())
        })
    });
    ended.await
}

/// What the host does around the component, as far as tests need it.
async fn carry_out(
    arguments: &[&str],
    mut settings: Vec<(String, String)>,
    ports: Ports,
    cancelled: impl Future<Output = ()>,
) -> u8 {
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
    match tasks::run_until(ports, task, &settings, None, Box::pin(cancelled)).await {
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
        http: Rc::new(Sockets::of(Who::Qdrant)),
        clock: Rc::new(Tokio::new(clock::now)),
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
struct Sockets(Hyper<HttpConnector>, Who);

impl Sockets {
    fn of(who: Who) -> Self {
        Self(Hyper::new(HttpConnector::new()), who)
    }
}

impl Http for Sockets {
    fn send(&self, mut request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        if self.1 == Who::Qdrant {
            request.headers.insert(faults::ASKED_BY, http::HeaderValue::from_static("qdrant"));
        }
        self.0.send(request)
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
            let (head, incoming) = response.into_parts();
            let body = qdrant_backup_native::body(incoming, timeouts.between_bytes);
            Ok(Response { status: head.status, headers: head.headers, body })
        })
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
