//! What a run did, item by item, and the exit code that says so truthfully.

use std::collections::BTreeSet;
use std::time::Duration;

use qdrant_backup_contract::exit::Status;

use crate::error::{Code, Error};

/// The report of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One entry for each thing that was to be done, in the order in which they ended.
    pub items: Vec<Item>,
}

/// One thing that was to be done: a snapshot of one peer, a collection restored, an alias, a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// How it ended.
    pub outcome: Outcome,
    /// What it is: `snapshot`, `collection`, `alias`, `manifest`, `cluster`, `file`, `task` (the run itself).
    pub kind: &'static str,
    /// The host or peer it concerns.
    pub host: Option<String>,
    /// The collection it concerns.
    pub collection: Option<String>,
    /// The name of the snapshot, alias, object or file.
    pub name: Option<String>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it failed or was skipped; a note where it was done.
    pub cause: Option<String>,
    /// Of a collection that was restored: whether it was verified.
    pub verified: Option<bool>,
    /// Of a collection whose content was compared: `verified`, with the backup's; `replicas-equal`, with one another's only;
    /// `equal`, `sample-equal` or `different`, with another cluster's.
    pub content: Option<&'static str>,
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done and checked.
    Done,
    /// There was nothing to do, for the reason given.
    Skipped,
    /// It was not done, for the reason given; the code is that of the error.
    Failed(Code),
}

impl Item {
    fn new(kind: &'static str, outcome: Outcome) -> Self {
        Self {
            outcome,
            kind,
            host: None,
            collection: None,
            name: None,
            bytes: None,
            elapsed: Duration::ZERO,
            cause: None,
            verified: None,
            content: None,
        }
    }

    /// Something that was done and checked.
    pub fn done(kind: &'static str) -> Self {
        Self::new(kind, Outcome::Done)
    }

    /// Something that was not to be done, for this reason.
    pub fn skipped(kind: &'static str, reason: impl Into<String>) -> Self {
        Self::new(kind, Outcome::Skipped).cause(reason)
    }

    /// Something that could not be done.
    pub fn failed(kind: &'static str, error: impl Into<Error>) -> Self {
        let error = error.into();
        Self::new(kind, Outcome::Failed(error.code())).cause(error.to_string())
    }

    /// True where it was done.
    pub fn is_done(&self) -> bool {
        self.outcome == Outcome::Done
    }

    /// True where it was skipped.
    pub fn is_skipped(&self) -> bool {
        self.outcome == Outcome::Skipped
    }

    /// True where it failed.
    pub fn is_failed(&self) -> bool {
        self.code().is_some()
    }

    /// The code of the error, where it failed.
    pub fn code(&self) -> Option<Code> {
        match self.outcome {
            Outcome::Failed(code) => Some(code),
            Outcome::Done | Outcome::Skipped => None,
        }
    }

    /// At this host or peer.
    #[must_use]
    pub fn host(self, host: impl ToString) -> Self {
        Self { host: Some(host.to_string()), ..self }
    }

    /// Of this collection.
    #[must_use]
    pub fn collection(self, collection: impl Into<String>) -> Self {
        Self { collection: Some(collection.into()), ..self }
    }

    /// Called so: a snapshot, an alias, an object, a file.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Of this size in bytes.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// It took so long.
    #[must_use]
    pub fn elapsed(self, elapsed: Duration) -> Self {
        Self { elapsed, ..self }
    }

    /// Restored, and verified or not.
    #[must_use]
    pub fn verified(self, verified: bool) -> Self {
        Self { verified: Some(verified), ..self }
    }

    /// Its content was compared, so far.
    #[must_use]
    pub fn content(self, content: Option<&'static str>) -> Self {
        Self { content, ..self }
    }

    /// With this reason, or note.
    #[must_use]
    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }
}

impl Report {
    /// How many items were done.
    pub fn done(&self) -> usize {
        self.items.iter().filter(|item| item.is_done()).count()
    }

    /// How many items failed.
    pub fn failed(&self) -> usize {
        self.items.iter().filter(|item| item.is_failed()).count()
    }

    /// How many items were skipped.
    pub fn skipped(&self) -> usize {
        self.items.iter().filter(|item| item.is_skipped()).count()
    }

    /// The bytes of what was done. A set has those of its snapshots again.
    pub fn bytes(&self) -> u64 {
        let done = || self.items.iter().filter(|item| item.is_done());
        let snapshots = || done().filter(|item| item.kind == "snapshot");
        let of_snapshots: BTreeSet<_> = snapshots().map(|item| &item.collection).collect();
        let counts = |item: &&Item| item.kind != "set" || !of_snapshots.contains(&item.collection);
        total(done().filter(counts).filter_map(|item| item.bytes))
    }

    /// How the run ended.
    pub fn status(&self) -> Status {
        match (self.failed(), self.done()) {
            (0, _) => Status::Done,
            (_, 0) => Status::Failed,
            _ => Status::Partial,
        }
    }
}

/// Adds up sizes or counts. They come from elsewhere, and absurd ones must not end a run.
pub(crate) fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

impl Outcome {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed(_) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        Report { items: outcomes.iter().map(|outcome| Item::new("snapshot", *outcome)).collect() }
    }

    #[test]
    fn bytes_are_counted_once_and_only_of_what_was_done() {
        let items = vec![
            Item::done("snapshot").collection("a").bytes(5),
            Item::done("snapshot").collection("a").bytes(6),
            Item::done("set").collection("a").bytes(12),
            Item::skipped("snapshot", "older").collection("a").bytes(70),
            Item::failed("snapshot", Error::new(Code::Changed, "", "")).collection("b").bytes(100),
            Item::done("set").collection("c").bytes(1000),
        ];
        assert_eq!(Report { items }.bytes(), 1011);
    }

    #[test]
    fn the_exit_code_never_hides_a_failure() {
        use Outcome::{Done, Skipped};
        let failed = Outcome::Failed(Code::Changed);
        assert_eq!(report(&[]).status().exit_code(), 0);
        assert_eq!(report(&[Done, Skipped]).status().exit_code(), 0);
        assert_eq!(report(&[failed]).status().exit_code(), 1);
        assert_eq!(report(&[failed, Skipped]).status().exit_code(), 1);
        assert_eq!(report(&[Done, failed]).status().exit_code(), 3);
    }
}
