//! Everything a run is given.

use std::path::PathBuf;
use std::time::Duration;

use qdrant_backup_contract::tasks::Task;

use crate::client::{Proxy, Trust};
use crate::egress::Rule;

/// A run's task, its settings and the limits of its sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// Settings by the names of their environment variables; names that are none are an error.
    pub settings: Vec<(String, String)>,
    /// The directory with the state files, the only one that the component sees (as `/work`).
    pub work_dir: PathBuf,
    /// A `snapshots` file to restore from in place of the one in the work directory. It is read once and
    /// never written.
    pub snapshots: Option<PathBuf>,
    /// Which certificates are trusted, and which one is shown.
    pub trust: Trust,
    /// By whom `https://` servers are reached.
    pub proxy: Option<Proxy>,
    /// What may be reached besides the configured servers.
    pub allow_hosts: Vec<Rule>,
    /// A component to run in place of the built-in one.
    pub component: Option<PathBuf>,
    /// How much memory the component may have, in bytes.
    pub memory_limit: u64,
    /// How long the run may take; `None`: as long as it needs.
    pub deadline: Option<Duration>,
    /// Whether [`crate::run`] shows on a terminal what it is at.
    pub progress: bool,
    /// Whether it does so in colours.
    pub colours: bool,
    /// The words that were typed for the task: what a person may type next is made of them. Empty where nobody has typed.
    pub typed: Vec<String>,
    /// The program's own options among what was typed.
    pub typed_own: Vec<String>,
}

impl Options {
    /// 256 MiB. A run keeps lists, not snapshots, in memory: 1,500 objects take a few MiB.
    pub const DEFAULT_MEMORY_LIMIT: u64 = 256 << 20;

    /// `task` in the current directory, without settings, with the default limits.
    pub fn new(task: Task) -> Self {
        Self {
            task,
            settings: Vec::new(),
            work_dir: PathBuf::from("."),
            snapshots: None,
            trust: Trust::default(),
            proxy: None,
            allow_hosts: Vec::new(),
            component: None,
            memory_limit: Self::DEFAULT_MEMORY_LIMIT,
            deadline: None,
            progress: true,
            colours: true,
            typed: Vec::new(),
            typed_own: Vec::new(),
        }
    }
}
