//! What happens in a run, for programs that show it while it lasts. What counts is in the report.

use qdrant_backup_contract::log_line::Level;

use crate::report::Item;

/// Something that happens. Texts are for people, and without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Work at a collection begins.
    Begun {
        /// The host of its cluster.
        host: String,
        /// The collection.
        collection: String,
        /// How many the run is about, all in all.
        total: usize,
    },
    /// Work at a collection goes on.
    Step {
        /// The host of its cluster.
        host: String,
        /// The collection.
        collection: String,
        /// What is done now.
        text: String,
    },
    /// Bytes have passed.
    Bytes {
        /// The snapshot or object.
        name: String,
        /// How many, since the last event of this name.
        count: u64,
        /// How many there are all in all, where that is known.
        total: Option<u64>,
    },
    /// An item ended.
    Ended(Item),
    /// A server is waited for.
    Waiting(String),
    /// A line of the log.
    Line {
        /// How much it matters.
        level: Level,
        /// The server that it concerns.
        host: Option<String>,
        /// The line without its timestamp, level and host.
        text: String,
    },
    /// In a dry run: a step of the plan.
    Planned(Vec<String>),
}
