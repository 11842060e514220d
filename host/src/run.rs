//! One run from its options to its exit code.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use qdrant_backup_contract::exit::{EXIT_DEADLINE, EXIT_USAGE, Status};
use qdrant_backup_contract::settings::{CredentialSource, credential_source};

use crate::client::{self, Client};
use crate::egress::AllowList;
use crate::ended::Ended;
use crate::environment::settings_problems;
use crate::io::Io;
use crate::live::{self, Shown};
use crate::messages::Messages;
use crate::options::Options;
use crate::sandbox::operations::{self, Event, Report};
use crate::sandbox::{self, Cancel, Grants, Watch};
use crate::signals::Signals;

/// How long a run that is to end gets to let go of its lock and its uploads. Kubernetes gives a pod 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a task on a runtime of its own, until it ends or SIGTERM or SIGINT arrives: then it is cancelled, and dropped where
/// it has not ended within 10 s, or at a second signal. The handlers of the two signals stay installed, so that this is for
/// programs whose business is the run.
///
/// Returns the exit code: 0 done, 1 failed, 2 wrong settings, 3 partly done, 124 deadline, 130 SIGINT,
/// 143 SIGTERM.
pub fn run(options: &Options, io: &Io) -> u8 {
    let io = &live::on_terminal(options, io);
    let messages = Messages::new(io.clone(), Messages::format_of(&options.settings));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            messages.error(&format!("can't start: {error}"));
            return Status::Failed.exit_code();
        }
    };
    let code = runtime.block_on(async {
        let mut signals = match Signals::install() {
            Ok(signals) => signals,
            Err(error) => {
                messages.error(&format!("can't handle signals: {error}"));
                return Status::Failed.exit_code();
            }
        };
        let cancel = Cancel::default();
        let mut nobody = |_: &Event| ();
        let ended = pin!(perform(options, io, Watch { events: &mut nobody, cancel: cancel.clone() }));
        let (stop, ended) = match select(ended, pin!(signals.wait())).await {
            Either::Left((ended, _)) => {
                live::end(options, io, Some(&ended));
                return ended.exit_code;
            }
            Either::Right((stop, ended)) => (stop, ended),
        };
        cancel.cancel();
        tokio::select! {
            _ = ended => {}
            () = tokio::time::sleep(GRACE) => {}
            _ = signals.wait() => {}
        }
        messages
            .error(&format!("stopped by {}; the state files are consistent, run the task again to go on", stop.name()));
        live::end(options, io, None);
        stop.exit_code()
    });
    // A name look-up can't be cancelled; a file that is being written gets its time.
    runtime.shutdown_timeout(Duration::from_millis(500));
    code
}

/// Runs a task on the current tokio runtime (of either kind, with time and I/O enabled). Dropping the future
/// stops the run as a kill does; the state files stay whole.
///
/// Returns the exit code, as [`run`] without those of signals.
pub async fn execute(options: &Options, io: &Io) -> u8 {
    perform(options, io, Watch { events: &mut |_| (), cancel: Cancel::default() }).await.exit_code
}

/// As [`execute`], for programs that show what happens while it lasts, want the report, or cancel the run.
pub async fn perform(options: &Options, io: &Io, watch: Watch<'_>) -> Ended {
    let messages = Arc::new(Messages::new(io.clone(), Messages::format_of(&options.settings)));
    let cancel = watch.cancel.clone();
    let shown = Shown::new(name(options), io, &messages, cancel.clone());
    let Watch { events, cancel: asked } = watch;
    let mut events = |event: &Event| {
        shown.take(event);
        events(event);
    };
    let attempt = pin!(async {
        tokio::select! {
            biased;
            outcome = attempt(options, io, &messages, Watch { events: &mut events, cancel: asked }) => outcome,
            never = shown.go_on() => match never {},
        }
    });
    let outcome = match within(options.deadline, attempt).await {
        Ok(outcome) => outcome,
        Err((deadline, attempt)) => {
            cancel.cancel();
            let _ = tokio::time::timeout(GRACE, attempt).await;
            Err(Failure::Deadline(deadline))
        }
    };
    match outcome {
        // The component has logged its summary.
        Ok(report) => Ended { exit_code: exit_code(report.status), report: Some(report), error: None },
        // Who has cancelled it says so.
        Err(failure) if matches!(failure, Failure::Cancelled) => {
            Ended { exit_code: failure.exit_code(), report: None, error: None }
        }
        Err(failure) => {
            failure.say(io, &messages);
            let exit_code = failure.exit_code();
            let error = if let Failure::Task(error) = failure { Some(error) } else { None };
            Ended { exit_code, report: None, error }
        }
    }
}

/// The name of the task as it was typed.
fn name(options: &Options) -> &str {
    options.typed.first().map_or_else(|| options.task.name(), String::as_str)
}

/// Why a run ended without a status of the component's.
enum Failure {
    /// Options or settings have values that can't be used: `NAME: what is wrong and what is accepted`.
    Configuration(Vec<String>),
    /// The component could not do its task, in its own words.
    Task(operations::Error),
    /// The sandbox could not start the component, or ended it.
    Sandbox(String),
    /// The run took longer than this.
    Deadline(Duration),
    /// It was asked to end before anything was done.
    Cancelled,
}

impl Failure {
    fn say(&self, io: &Io, messages: &Messages) {
        match self {
            Self::Configuration(problems) => problems.iter().for_each(|problem| io.line(problem)),
            Self::Task(error) => messages.failed(&error.message),
            Self::Sandbox(why) => messages.error(why),
            Self::Cancelled => messages.error("the run was cancelled"),
            Self::Deadline(deadline) => messages.error(&format!(
                "the run did not end within its deadline of {} s (--deadline, QDRANT_RUN_DEADLINE); the state files are consistent, run the task again to go on",
                deadline.as_secs()
            )),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => EXIT_USAGE,
            Self::Task(_) | Self::Sandbox(_) | Self::Cancelled => Status::Failed.exit_code(),
            Self::Deadline(_) => EXIT_DEADLINE,
        }
    }
}

impl From<operations::Error> for Failure {
    fn from(error: operations::Error) -> Self {
        match error.kind {
            operations::ErrorKind::Cancelled => Self::Cancelled,
            operations::ErrorKind::Configuration if !error.problems.is_empty() => Self::Configuration(
                error.problems.iter().map(|problem| format!("{}: {}", problem.variable, problem.problem)).collect(),
            ),
            _ => Self::Task(error),
        }
    }
}

async fn attempt(options: &Options, io: &Io, messages: &Arc<Messages>, watch: Watch<'_>) -> Result<Report, Failure> {
    let Prepared { client, snapshots, token_dir } = prepare(options).map_err(Failure::Configuration)?;
    let file = options.component.as_deref();
    let component = sandbox::component(file).map_err(|why| Failure::Sandbox(unusable(file, &why)))?;
    let grants = Grants {
        work_dir: &options.work_dir,
        token_dir: token_dir.as_deref(),
        client,
        allowed: allowed(options),
        memory_limit: options.memory_limit,
        io,
        messages: Arc::clone(messages),
    };
    let request = request(options, snapshots);
    let cancel = watch.cancel.clone();
    match sandbox::run(&component, grants, &options.task, &request, watch).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) if cancel.is_asked() => Err(Failure::Cancelled),
        Err(why) => Err(Failure::Sandbox(why)),
    }
}

fn unusable(component: Option<&Path>, why: &str) -> String {
    match component {
        Some(file) => format!("the component `{}` can't be used: {why}", file.display()),
        None => format!("the component can't be compiled: {why}"),
    }
}

/// What the component is asked to do: everything by name, as it came.
fn request(options: &Options, snapshots: Option<String>) -> operations::Request {
    let setting = |(name, value): &(String, String)| operations::Setting { name: name.clone(), value: value.clone() };
    let mut settings: Vec<_> = options.settings.iter().map(setting).collect();
    // How much it may hold at a time follows from it.
    let memory = ("QDRANT_MEMORY_LIMIT".to_owned(), options.memory_limit.to_string());
    settings.push(setting(&memory));
    let (hosts, api_key, bucket, collections) = Default::default();
    operations::Request { hosts, api_key, bucket, collections, settings, snapshots }
}

/// The outcome of `call`; or `call` itself, and the time that it had, when `deadline` runs out.
async fn within<F: Future + Unpin>(deadline: Option<Duration>, call: F) -> Result<F::Output, (Duration, F)> {
    let Some(deadline) = deadline else { return Ok(call.await) };
    match select(call, pin!(tokio::time::sleep(deadline))).await {
        Either::Left((outcome, _)) => Ok(outcome),
        Either::Right(((), call)) => Err((deadline, call)),
    }
}

/// What is read before anything starts.
struct Prepared {
    client: Client,
    snapshots: Option<String>,
    /// The folder of the token that the platform renews, by which the bucket's keys are lent.
    token_dir: Option<PathBuf>,
}

/// Every file that the options name, all problems at once.
fn prepare(options: &Options) -> Result<Prepared, Vec<String>> {
    let mut problems = Vec::new();
    if let Err(why) = check_work_dir(&options.work_dir) {
        problems.push(format!("--work-dir (QDRANT_WORK_DIR): {why}"));
    }
    let mut snapshots = None;
    if let Some(file) = &options.snapshots {
        match std::fs::read_to_string(file) {
            Ok(content) => snapshots = Some(content),
            Err(error) => problems.push(format!(
                "--snapshots (QDRANT_SNAPSHOTS_FILE): can't read `{}`: {error}; accepted is a CSV file with the \
                 columns host (may be empty), collection and snapshot",
                file.display()
            )),
        }
    }
    let token_dir = token_dir(options).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let tls = match &options.trust {
        trust if trust.is_default() => Ok(None),
        trust => client::configuration(trust).map(Some),
    };
    let tls = tls.map_err(|error| {
        problems.push(format!(
            "--ca-file, --extra-ca-file, --client-cert, --client-key (QDRANT_CA_FILE, QDRANT_EXTRA_CA_FILE, \
             QDRANT_CLIENT_CERT, QDRANT_CLIENT_KEY): {error}"
        ));
    });
    let client = tls.map(|tls| Client::new(tls, allowed(options), options.proxy.clone()));
    match client {
        Ok(client) if problems.is_empty() => Ok(Prepared { client, snapshots, token_dir }),
        _ => {
            problems.extend(settings_problems(&options.settings, &options.task));
            Err(problems)
        }
    }
}

fn check_work_dir(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("`{shown}` is not a directory")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("the directory `{shown}` does not exist; create or mount it, or name another"))
        }
        Err(error) => Err(format!("can't use the directory `{shown}`: {error}")),
    }
}

/// The folder with the token that says who the bucket's keys are lent to. The folder and not the file: the platform puts a
/// new file in its place.
fn token_dir(options: &Options) -> Result<Option<PathBuf>, String> {
    let source = credential_source(&options.settings);
    let Some(file) = source.as_ref().and_then(CredentialSource::token_file) else { return Ok(None) };
    let variable = match source {
        Some(CredentialSource::WebIdentity(_)) => "AWS_WEB_IDENTITY_TOKEN_FILE",
        _ => "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    };
    let folder = Path::new(file).parent().unwrap_or(Path::new("/"));
    // What lies beside the token can be read as well, and the component has its work directory there.
    if folder == Path::new("/") || folder == Path::new(sandbox::WORK) {
        return Err(format!(
            "{variable}: the token's file has to be in a folder of its own, which `{}` is not",
            folder.display()
        ));
    }
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(Some(folder.to_owned())),
        Ok(_) => Err(format!("{variable}: `{}` is not a folder", folder.display())),
        Err(error) => Err(format!("{variable}: can't use the folder `{}`: {error}", folder.display())),
    }
}

/// The configured servers and what the options add.
fn allowed(options: &Options) -> AllowList {
    let mut list = AllowList::of_settings(&options.settings);
    for rule in &options.allow_hosts {
        list.allow(rule.clone());
    }
    list
}

fn exit_code(status: operations::Status) -> u8 {
    match status {
        operations::Status::Done => Status::Done,
        operations::Status::Failed => Status::Failed,
        operations::Status::Partial => Status::Partial,
    }
    .exit_code()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use qdrant_backup_contract::tasks::Task;

    use super::*;
    use crate::egress::{Rule, Target};

    fn options(settings: &[(&str, &str)]) -> Options {
        Options {
            settings: settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            ..Options::new(Task::CreateSnapshots)
        }
    }

    fn allows(options: &Options, url: &str) -> bool {
        allowed(options).allows(&Target::of(&url.parse().unwrap()).unwrap())
    }

    #[test]
    fn the_token_s_folder_is_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let token = |file: &str| {
            let settings = [
                ("QDRANT_S3_ENDPOINT_URL", "http://minio:9000"),
                ("AWS_ROLE_ARN", "arn"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
            ];
            token_dir(&options(&settings))
        };
        let file = folder.path().join("token");
        assert_eq!(token(file.to_str().unwrap()), Ok(Some(folder.path().to_owned())));
        for wrong in ["/token", "/work/token", "/no/such/folder/token"] {
            assert!(token(wrong).unwrap_err().starts_with("AWS_WEB_IDENTITY_TOKEN_FILE: "), "{wrong}");
        }
        assert_eq!(token_dir(&options(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token")])), Ok(None));
    }

    #[test]
    fn without_settings_only_what_the_options_add_may_be_reached() {
        let mut options = options(&[("QDRANT_SOURCE_HOSTS", "")]);
        assert!(!allows(&options, "http://localhost:6333/"));
        options.allow_hosts = Rule::parse_list("*.qdrant-headless").unwrap();
        assert!(allows(&options, "http://qdrant-0.qdrant-headless:6333/"));
        assert!(!allows(&options, "http://localhost:6333/"));
    }
}
