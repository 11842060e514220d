//! The surroundings of one run.

use std::rc::Rc;

use crate::error::{Code, Error};
use crate::limits::Limits;
use crate::log::Log;
use crate::ports::Ports;
use crate::reporter::Reporter;
use crate::run_id::RunId;
use crate::settings::Settings;
use crate::store::ObjectStore;

/// What procedures need of their surroundings.
pub struct Context {
    /// The world.
    pub ports: Ports,
    /// The settings.
    pub settings: Settings,
    /// The id of this run.
    pub run: RunId,
    /// The log.
    pub log: Log,
    /// How everything ended.
    pub reporter: Reporter,
    /// How much each peer does at a time.
    pub limits: Limits,
    /// The bucket, where the task uses one.
    pub store: Option<Rc<dyn ObjectStore>>,
}

impl Context {
    /// The surroundings of a run, the bucket still to be opened.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let log = Log::new(&ports, &settings);
        let reporter = Reporter::new(&ports, &log);
        let limits = Limits::new(settings.snapshots_per_peer);
        let run = RunId::of_this(ports.clock.as_ref(), &settings);
        Self { run, ports, settings, log, reporter, limits, store: None }
    }

    /// The bucket.
    ///
    /// # Errors
    /// None is configured.
    pub fn store(&self) -> Result<&dyn ObjectStore, Error> {
        self.store.as_deref().ok_or_else(|| {
            Error::new(Code::Configuration, "", "no bucket is configured")
                .advice("set QDRANT_S3_ENDPOINT_URL and its kind")
        })
    }

    /// In a dry run: a line of the plan on standard output, its cells between tabs.
    pub fn plan(&self, cells: &[&str]) {
        if self.settings.dry_run {
            self.ports.console.data(&format!("{}\n", cells.join("\t")));
        }
    }
}
