//! The surroundings of one run.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use crate::error::{Code, Error};
use crate::event::Event;
use crate::held::Held;
use crate::limits::Limits;
use crate::log::Log;
use crate::ports::{Files, Ports, read_only};
use crate::printable;
use crate::reporter::Reporter;
use crate::run_id::RunId;
use crate::settings::{Host, Output, ReportTo, Settings};
use crate::source::{Source, Turn};
use crate::store::ObjectStore;

/// What procedures need of their surroundings.
pub struct Context {
    /// The world.
    pub ports: Ports,
    /// The settings.
    pub settings: Settings,
    /// The id of this run.
    pub run: RunId,
    /// A random number that tells this process from all others, those of the same run included.
    pub token: u64,
    /// The sources that this run is about, by the hosts of their clusters.
    sources: RefCell<BTreeMap<Host, Source>>,
    /// When snapshots of shards are made, where sources take turns.
    turn: Cell<Option<Turn>>,
    /// The log.
    pub log: Log,
    /// How everything ended.
    pub reporter: Reporter,
    /// How much each peer does at a time.
    pub limits: Limits,
    /// The steps of a dry run, where they are printed as JSON.
    steps: RefCell<Vec<Vec<String>>>,
    /// The bucket, where the task uses one.
    pub store: Option<Rc<dyn ObjectStore>>,
    /// What this run has to let go of, however it ends.
    pub(crate) held: Held,
}

impl Context {
    /// The surroundings of a run, the bucket still to be opened. A dry run gets ports that can change nothing, and writes
    /// no report.
    pub fn new(mut ports: Ports, mut settings: Settings) -> Self {
        if settings.dry_run {
            ports = read_only(ports);
            settings.report = ReportTo::default();
        }
        let log = Log::new(&ports, &settings);
        let reporter = Reporter::new(&ports, &log, settings.dry_run);
        let limits = Limits::new(settings.snapshots_per_peer, settings.memory_limit);
        let token = ports.clock.random();
        let run = RunId::of_this(ports.clock.as_ref(), &settings);
        Self {
            run,
            token,
            sources: RefCell::default(),
            turn: Cell::default(),
            ports,
            settings,
            log,
            reporter,
            limits,
            steps: RefCell::default(),
            store: None,
            held: Held::default(),
        }
    }

    /// The bucket.
    ///
    /// # Errors
    /// None is configured.
    pub fn store(&self) -> Result<&dyn ObjectStore, Error> {
        self.store.as_deref().ok_or_else(|| {
            Error::new(Code::Configuration, "", "no bucket is configured")
                .advice("set QDRANT_S3_ENDPOINT_URL and the other QDRANT_S3_... settings")
        })
    }

    /// The bucket, for what a run writes there about itself and for others to know: its lock, its source, what
    /// collections there were. `None` without a bucket, and in a dry run, which leaves no trace.
    pub fn notes(&self) -> Option<&dyn ObjectStore> {
        self.store.as_deref().filter(|_| !self.settings.dry_run)
    }

    /// The work directory, for what a run leaves there for people and later runs. `None` in a dry run.
    pub fn state_files(&self) -> Option<&dyn Files> {
        (!self.settings.dry_run).then_some(self.ports.files.as_ref())
    }

    /// Notes whose backups are made or restored on the cluster behind `host`.
    pub fn note_source(&self, host: &Host, source: &Source) {
        self.sources.borrow_mut().insert(host.clone(), source.clone());
    }

    /// Notes when snapshots of shards are made, where other sources store theirs under the same keys.
    pub fn note_turn(&self, turn: Option<Turn>) {
        self.turn.set(turn);
    }

    /// When snapshots of shards are made; `None`: at any time.
    pub fn turn(&self) -> Option<Turn> {
        self.turn.get()
    }

    /// Whose backups are made or restored on the cluster behind `host`, where that is known.
    pub fn source_of(&self, host: &Host) -> Option<Source> {
        self.sources.borrow().get(host).cloned()
    }

    /// The source that this run is about; `None` where that is none, or several.
    pub fn source(&self) -> Option<Source> {
        let sources = self.sources.borrow();
        let first = sources.values().next()?;
        sources.values().all(|source| source == first).then(|| first.clone())
    }

    /// Tells programs that work at `collection` begins, one of `total`.
    pub fn begun(&self, host: &Host, collection: &str, total: usize) {
        let (host, collection) = (host.to_string(), collection.to_owned());
        self.ports.console.event(Event::Begun { host, collection, total });
    }

    /// Tells programs what is done now for `collection`.
    pub fn step(&self, host: &Host, collection: &str, text: &str) {
        let (host, collection) = (host.to_string(), collection.to_owned());
        self.ports.console.event(Event::Step { host, collection, text: text.to_owned() });
    }

    /// Tells programs that bytes of `name` have passed.
    pub fn passed(&self, name: &str, count: u64, total: Option<u64>) {
        self.ports.console.event(Event::Bytes { name: name.to_owned(), count, total });
    }

    /// For bytes of `name`, of `total`, that pass in small pieces.
    pub fn passing<'a>(&'a self, name: &'a str, total: u64) -> Passing<'a> {
        Passing { context: self, name, total, untold: 0 }
    }

    /// In a dry run: a line of the plan on standard output, its cells between tabs.
    pub fn plan(&self, cells: &[&str]) {
        if self.settings.dry_run {
            if self.settings.output == Output::Json {
                self.steps.borrow_mut().push(cells.iter().map(|cell| (*cell).to_owned()).collect());
                return;
            }
            let cells: Vec<_> = cells.iter().map(|cell| printable::visible(cell)).collect();
            self.ports.console.data(&format!("{}\n", cells.join("\t")));
            self.ports.console.event(Event::Planned(cells.into_iter().map(Cow::into_owned).collect()));
        }
    }

    /// In a dry run whose plan is wanted as JSON: prints it.
    pub fn end_plan(&self, task: &str) {
        if self.settings.dry_run && self.settings.output == Output::Json {
            let plan = json!({"version": 1, "task": task, "steps": self.steps.take()});
            self.ports.console.data(&format!("{}\n", printable::json(&plan)));
        }
    }
}

/// Tells programs of bytes that pass, some at a time: a snapshot comes in millions of pieces.
pub struct Passing<'a> {
    context: &'a Context,
    name: &'a str,
    total: u64,
    untold: u64,
}

impl Passing<'_> {
    /// So many have passed.
    pub fn add(&mut self, count: u64) {
        self.untold += count;
        if self.untold >= 1 << 20 {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.context.passed(self.name, std::mem::take(&mut self.untold), Some(self.total));
    }
}

/// What is left of it is told at the end, and where it was broken off.
impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if self.untold > 0 {
            self.tell();
        }
    }
}
