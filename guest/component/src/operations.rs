//! The way in of programs that embed the component by version 0.2.0 of the contract: functions by verb, jobs, and what
//! there is to know of the component.

// The glue that is generated exports functions under fixed names, which Rust calls unsafe.
#![allow(unsafe_code, missing_docs)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use qdrant_backup_contract::command_line::{self, Invocation};
use qdrant_backup_contract::exit::Status;
use qdrant_backup_contract::log_line::Level;
use qdrant_backup_contract::settings::{Accepted, Scope, VARIABLES};
use qdrant_backup_contract::tasks::Task;
use qdrant_backup_core::error::Code;
use qdrant_backup_core::event::Event;
use qdrant_backup_core::report::{Item, Outcome, Report};
use qdrant_backup_core::tasks::RunError;
use serde_json::Value;
use wasip2::clocks::monotonic_clock;

use crate::Run;
use crate::console::{Kept, Standard, Told};
use crate::executor::Work;

wit_bindgen::generate!({
    path: "../../wit/v0.2",
    world: "vectorkeep:qdrant-backup/embedder",
});

use exports::vectorkeep::qdrant_backup::operations as wit;

struct Operations;

export!(Operations);

impl wit::Guest for Operations {
    type Job = Job;

    fn backup(request: wit::Request) -> Result<wit::Report, wit::Error> {
        run(wit::Task::Backup, request)
    }

    fn restore(request: wit::Request) -> Result<wit::Report, wit::Error> {
        run(wit::Task::Restore, request)
    }

    fn verify(request: wit::Request) -> Result<wit::Report, wit::Error> {
        run(wit::Task::Verify, request)
    }

    fn prune(request: wit::Request) -> Result<wit::Report, wit::Error> {
        run(wit::Task::Prune, request)
    }

    fn drill(request: wit::Request) -> Result<wit::Report, wit::Error> {
        run(wit::Task::Drill, request)
    }

    fn plan(task: wit::Task, request: wit::Request) -> Result<Vec<wit::PlanStep>, wit::Error> {
        let mut run = prepare(task, request)?;
        // The last of a name counts.
        run.variables.push(("QDRANT_DRY_RUN".to_owned(), "true".to_owned()));
        let kept = Rc::new(Kept::default());
        let report = run.run_to_end(kept.clone()).map_err(error)?;
        refuse(report)?;
        Ok(kept.plan.take().into_iter().map(plan_step).collect())
    }

    fn list_sets(request: wit::Request) -> Result<Vec<wit::SetInfo>, wit::Error> {
        Ok(list(Task::ListSets, request)?.iter().map(set).collect())
    }

    fn list_sources(request: wit::Request) -> Result<Vec<wit::SourceInfo>, wit::Error> {
        Ok(list(Task::ListSources, request)?.iter().map(source).collect())
    }

    fn start(task: wit::Task, request: wit::Request) -> Result<wit::Job, wit::Error> {
        Ok(wit::Job::new(Job::new(prepare(task, request)?)))
    }

    fn info() -> wit::ComponentInfo {
        let ours = VARIABLES.iter().filter(|variable| variable.scope == Scope::Component);
        wit::ComponentInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("QDRANT_BACKUP_REVISION").filter(|revision| !revision.is_empty()).map(str::to_owned),
            settings: ours
                .map(|variable| wit::SettingInfo {
                    name: variable.name.to_owned(),
                    accepts: accepted(variable.accepted()),
                    default: variable.default(),
                    meaning: variable.meaning.to_owned(),
                    secret: variable.secret,
                })
                .collect(),
            tasks: Task::all().iter().map(|task| (task.row().name.to_owned(), task.row().summary.to_owned())).collect(),
        }
    }
}

/// A task at work.
pub struct Job {
    /// `None` once it has ended.
    work: RefCell<Option<Work<Result<Report, RunError>>>>,
    told: Rc<Told>,
    cancelled: Rc<Cell<bool>>,
    started: u64,
}

impl Job {
    fn new(run: Run) -> Self {
        let (told, cancelled) = (Rc::new(Told::default()), Rc::new(Cell::new(false)));
        let flag = Rc::clone(&cancelled);
        // Polled whenever the run is: `cancel` wakes it.
        let stop = std::future::poll_fn(move |_| if flag.get() { Poll::Ready(()) } else { Poll::Pending });
        let work = Work::new(run.begin(told.clone(), Box::pin(stop)));
        Self { work: RefCell::new(Some(work)), told, cancelled, started: monotonic_clock::now() }
    }
}

impl wit::GuestJob for Job {
    fn wait(&self, at_most_milliseconds: u32) -> Vec<wit::Event> {
        let mut work = self.work.borrow_mut();
        let Some(at_work) = work.as_mut() else { return Vec::new() };
        let limit = Duration::from_millis(at_most_milliseconds.into());
        let ended = at_work.work(Some(limit), &|| !self.told.0.borrow().is_empty());
        let mut events: Vec<_> = self.told.0.take().into_iter().filter_map(event).collect();
        if let Some(ended) = ended {
            *work = None;
            let finished = ended.map(|ended| report(ended, self.started)).map_err(error);
            events.push(wit::Event::Finished(finished));
        }
        events
    }

    fn cancel(&self) {
        self.cancelled.set(true);
        if let Some(work) = self.work.borrow().as_ref() {
            work.wake();
        }
    }
}

/// Runs a task to its end, for those who want one call.
fn run(task: wit::Task, request: wit::Request) -> Result<wit::Report, wit::Error> {
    let started = monotonic_clock::now();
    let ended = prepare(task, request)?.run_to_end(Rc::new(Standard));
    ended.map(|ended| report(ended, started)).map_err(error)
}

/// What a task prints as JSON, entry by entry. One that fails in part has no list: what could not be read may be what was
/// looked for.
fn list(task: Task, request: wit::Request) -> Result<Vec<Value>, wit::Error> {
    let kept = Rc::new(Kept::default());
    let mut run = prepared(task, Vec::new(), request)?;
    // The last of a name counts.
    run.variables.push(("QDRANT_OUTPUT".to_owned(), "json".to_owned()));
    run.run_to_end(kept.clone()).map_err(error)?;
    let text = kept.data.take();
    serde_json::from_str(&text).map_err(|why| plain(Code::Unsupported, why.to_string()))
}

/// The first thing that failed.
fn refuse(report: Report) -> Result<(), wit::Error> {
    match report.items.into_iter().find(Item::is_failed).map(item).map(|item| item.outcome) {
        Some(wit::Outcome::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

fn prepare(task: wit::Task, request: wit::Request) -> Result<Run, wit::Error> {
    let task = match task {
        wit::Task::Backup => Task::CreateSets,
        wit::Task::Restore => Task::RecoverSets,
        wit::Task::Verify => Task::Verify,
        wit::Task::Prune => Task::Prune { legacy: false },
        wit::Task::Drill => Task::Drill,
        wit::Task::Command(words) => {
            return match command_line::parse(&words) {
                Ok(Invocation::Run { task, settings }) => prepared(task, settings, request),
                Ok(Invocation::Print(_)) => Err(plain(Code::Configuration, "this is no task".to_owned())),
                Err(error) => Err(plain(Code::Configuration, error.to_string())),
            };
        }
    };
    prepared(task, Vec::new(), request)
}

/// The settings of `request`, and those that options of the command line stand for.
fn prepared(task: Task, options: Vec<(String, String)>, request: wit::Request) -> Result<Run, wit::Error> {
    let wit::Request { hosts, api_key, bucket, collections, settings, snapshots } = request;
    let list = |list: Vec<String>| Some(list.join(",")).filter(|list| !list.is_empty());
    let hosts = list(hosts);
    let needs = task.row().needs;
    let mut fields = vec![
        ("QDRANT_SOURCE_HOSTS", hosts.clone().filter(|_| needs.source || !needs.restore)),
        // With what a source is compared is another cluster, and said by a setting.
        ("QDRANT_RESTORE_HOSTS", hosts.filter(|_| needs.restore && !needs.source)),
        ("QDRANT_API_KEY", api_key),
        ("QDRANT_COLLECTIONS", list(collections)),
    ];
    if let Some(bucket) = bucket {
        fields.extend([
            ("QDRANT_S3_ENDPOINT_URL", Some(bucket.endpoint)),
            ("QDRANT_S3_BUCKET_NAME", Some(bucket.name)),
            ("QDRANT_S3_ACCESS_KEY_ID", bucket.access_key),
            ("QDRANT_S3_SECRET_ACCESS_KEY", bucket.secret_key),
            ("QDRANT_S3_REGION", bucket.region),
        ]);
    }
    let mut variables: Vec<_> = settings.into_iter().map(|setting| (setting.name, setting.value)).collect();
    let mut problems = Vec::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if variables.iter().any(|(given, _)| given == name) {
            let problem = "it is given twice: by a field of the request, and by name".to_owned();
            problems.push(wit::SettingProblem { variable: name.to_owned(), problem });
        }
        variables.push((name.to_owned(), value));
    }
    if !problems.is_empty() {
        return Err(configuration(problems));
    }
    variables.extend(options);
    Ok(Run { task, variables, snapshots })
}

fn report(report: Report, started: u64) -> wit::Report {
    let status = match report.status() {
        Status::Done => wit::Status::Done,
        Status::Failed => wit::Status::Failed,
        Status::Partial => wit::Status::Partial,
    };
    let milliseconds = monotonic_clock::now().saturating_sub(started) / 1_000_000;
    wit::Report { status, items: report.items.into_iter().map(item).collect(), milliseconds }
}

fn item(item: Item) -> wit::Item {
    let (outcome, note) = match item.outcome {
        Outcome::Done => (wit::Outcome::Done, item.cause),
        Outcome::Skipped => (wit::Outcome::Skipped, item.cause),
        Outcome::Failed(code) => (wit::Outcome::Failed(plain(code, item.cause.unwrap_or_default())), None),
    };
    wit::Item {
        outcome,
        kind: kind(item.kind),
        host: item.host,
        collection: item.collection,
        name: item.name,
        bytes: item.bytes,
        milliseconds: u64::try_from(item.elapsed.as_millis()).unwrap_or(u64::MAX),
        verified: item.verified,
        note,
    }
}

fn kind(name: &str) -> wit::Kind {
    match name {
        "snapshot" => wit::Kind::Snapshot,
        "collection" => wit::Kind::Collection,
        "set" => wit::Kind::Set,
        "alias" => wit::Kind::Alias,
        "manifest" => wit::Kind::Manifest,
        "cluster" => wit::Kind::Cluster,
        "file" => wit::Kind::File,
        "record" => wit::Kind::Record,
        "choice" => wit::Kind::Choice,
        "retention" => wit::Kind::Retention,
        "task" => wit::Kind::Task,
        _ => wit::Kind::Other,
    }
}

fn error(error: RunError) -> wit::Error {
    match error {
        RunError::Failed(error) => plain(error.code(), error.to_string()),
        RunError::Configuration(problems) => configuration(
            problems
                .into_iter()
                .map(|problem| wit::SettingProblem { variable: problem.variable, problem: problem.problem })
                .collect(),
        ),
    }
}

fn configuration(problems: Vec<wit::SettingProblem>) -> wit::Error {
    let told: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.variable, problem.problem)).collect();
    wit::Error { problems, ..plain(Code::Configuration, told.join("; ")) }
}

fn plain(code: Code, message: String) -> wit::Error {
    let kind = match code {
        Code::Configuration | Code::NothingSelected => wit::ErrorKind::Configuration,
        Code::QdrantUnauthorized | Code::StoreUnauthorized => wit::ErrorKind::Unauthorized,
        Code::QdrantUnreachable | Code::QdrantAnswer | Code::StoreUnreachable | Code::StoreAnswer | Code::NoPeer => {
            wit::ErrorKind::Unreachable
        }
        Code::Locked => wit::ErrorKind::Locked,
        Code::SnapshotMissing => wit::ErrorKind::NotFound,
        Code::SnapshotDamaged | Code::ManifestUnusable | Code::VerificationFailed => wit::ErrorKind::Damaged,
        Code::Incomplete => wit::ErrorKind::Incomplete,
        Code::Changed | Code::NotSettled => wit::ErrorKind::Changed,
        Code::Version | Code::Unsupported => wit::ErrorKind::Unsupported,
        Code::Cancelled => wit::ErrorKind::Cancelled,
        _ => wit::ErrorKind::Other,
    };
    wit::Error { kind, code: code.name().to_owned(), retryable: code.may_pass(), message, problems: Vec::new() }
}

/// Steps of a plan are no events: a plan is asked for by a call of its own.
fn event(event: Event) -> Option<wit::Event> {
    Some(match event {
        Event::Begun { host, collection, total } => {
            let total = u32::try_from(total).unwrap_or(u32::MAX);
            wit::Event::CollectionBegun(wit::Begun { host, collection, total })
        }
        Event::Step { host, collection, text } => wit::Event::Step(wit::Step { host, collection, text }),
        Event::Bytes { name, count, total } => wit::Event::Bytes(wit::Bytes { name, count, total }),
        Event::Ended(ended) => wit::Event::ItemEnded(item(ended)),
        Event::Waiting(text) => wit::Event::WaitingFor(text),
        Event::Line { level, host, text } => {
            let level = match level {
                Level::Info => wit::Level::Info,
                Level::Warn => wit::Level::Warn,
                Level::Error => wit::Level::Error,
            };
            wit::Event::Log(wit::LogLine { level, host, text })
        }
        Event::Planned(_) => return None,
    })
}

fn plan_step(cells: Vec<String>) -> wit::PlanStep {
    let mut cells = cells.into_iter();
    let (action, subject) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    wit::PlanStep { action, subject, details: cells.collect() }
}

/// The fields of `list_sets --output json`, which are documented in the README.
fn set(entry: &Value) -> wit::SetInfo {
    wit::SetInfo {
        collection: text(entry, "collection").unwrap_or_default(),
        set: text(entry, "set").unwrap_or_default(),
        source_id: text(entry, "source_id"),
        source_name: text(entry, "source_name"),
        shards: number(entry, "shards"),
        points: number(entry, "points"),
        bytes: number(entry, "bytes"),
        level: text(entry, "level").unwrap_or_default(),
        wrong: text(entry, "wrong"),
        dropped: entry.get("dropped").and_then(Value::as_bool),
        drilled_at: text(entry, "drilled_at"),
        qdrant_version: text(entry, "qdrant_version"),
        label: text(entry, "label"),
    }
}

/// The fields of `list_sources --output json`, which are documented in docs/identity.md.
fn source(entry: &Value) -> wit::SourceInfo {
    wit::SourceInfo {
        id: text(entry, "source_id").unwrap_or_default(),
        name: text(entry, "source_name").unwrap_or_default(),
        peers: texts(entry, "peers"),
        collections: texts(entry, "collections"),
        sets: number(entry, "sets"),
        snapshots: number(entry, "snapshots"),
        newest: text(entry, "newest"),
    }
}

fn text(entry: &Value, name: &str) -> Option<String> {
    entry.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(entry: &Value, name: &str) -> Vec<String> {
    let texts = entry.get(name).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn number(entry: &Value, name: &str) -> u64 {
    entry.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn accepted(accepted: Accepted) -> wit::Accepted {
    match accepted {
        Accepted::Text(words) => wit::Accepted::Text(words.to_owned()),
        Accepted::Flag => wit::Accepted::Flag,
        Accepted::Number(least, most) => wit::Accepted::Number((least, most)),
        Accepted::Seconds(least, most) => wit::Accepted::Duration((least, most)),
        Accepted::Choice(words) => wit::Accepted::Choice(words.into_iter().map(str::to_owned).collect()),
    }
}
