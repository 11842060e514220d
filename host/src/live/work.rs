//! What a run is at, as far as its events tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qdrant_backup_contract::printable;

use crate::sandbox::operations::{Event, Item, Kind, Outcome};

/// The longest time between two attempts at a server that is waited for, with its own wait for an answer to the first
/// byte: one of which nothing was heard for longer has answered.
const WAITING: Duration = Duration::from_secs(35);

/// A read or an upload that has not moved for so long is not what a collection is at.
const IDLE: Duration = Duration::from_secs(10);

/// How a collection ended; the worst of its parts counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Done and checked.
    Done,
    /// Nothing to do.
    Skipped,
    /// Not done.
    Failed,
}

/// What a run is at.
#[derive(Debug)]
pub struct Work {
    /// The name of the task.
    pub task: String,
    /// When it began.
    pub begun: Instant,
    /// The collections that are at work, those first that began first.
    pub at_work: Vec<Collection>,
    /// True once it was asked to end.
    pub is_ending: bool,
    ended: BTreeMap<Key, How>,
    /// How many collections each host's cluster has to do.
    totals: BTreeMap<String, usize>,
    /// Bytes of the snapshots that ended.
    bytes: u64,
    waiting: Option<Waiting>,
    spoke: Instant,
}

/// A collection of a cluster: host and name.
type Key = (String, String);

/// A collection that is at work.
#[derive(Debug)]
pub struct Collection {
    /// The host of its cluster.
    pub host: String,
    /// Its name.
    pub name: String,
    /// When it began.
    pub begun: Instant,
    /// What is done now, and since when.
    pub step: Option<(String, Instant)>,
    flows: BTreeMap<String, Flow>,
}

/// A snapshot that passes through the program.
#[derive(Debug)]
struct Flow {
    passed: u64,
    total: Option<u64>,
    /// What had passed at the first event, and when that was.
    first: (u64, Instant),
    last: Instant,
}

/// The bytes that pass for a collection at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The bytes that have passed.
    pub passed: u64,
    /// All bytes there are, where that is known of each.
    pub total: Option<u64>,
    /// Bytes in a second, once there are two times to tell by.
    pub rate: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    text: String,
    since: Instant,
    last: Instant,
}

impl Work {
    /// A run of `task` that begins `now`.
    pub fn new(task: &str, now: Instant) -> Self {
        Self {
            task: task.to_owned(),
            begun: now,
            at_work: Vec::new(),
            is_ending: false,
            ended: BTreeMap::new(),
            totals: BTreeMap::new(),
            bytes: 0,
            waiting: None,
            spoke: now,
        }
    }

    /// Something happens.
    pub fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::CollectionBegun(begun) => {
                let total = usize::try_from(begun.total).unwrap_or(usize::MAX);
                self.totals.insert(begun.host.clone(), total);
                if !self.at_work.iter().any(|one| one.host == begun.host && one.name == begun.collection) {
                    let (host, name) = (begun.host.clone(), begun.collection.clone());
                    self.at_work.push(Collection { host, name, begun: now, step: None, flows: BTreeMap::new() });
                }
            }
            Event::Step(step) => {
                let at_work = &mut self.at_work;
                let one = at_work.iter_mut().find(|one| one.host == step.host && one.name == step.collection);
                if let Some(one) = one {
                    one.step = Some((printable::in_one_line(&step.text), now));
                }
            }
            Event::Bytes(bytes) => {
                if let Some(one) = self.owner(&bytes.name) {
                    let flow = one.flows.entry(bytes.name.clone()).or_insert(Flow {
                        passed: 0,
                        total: None,
                        first: (bytes.count, now),
                        last: now,
                    });
                    flow.passed = flow.passed.saturating_add(bytes.count);
                    flow.total = bytes.total;
                    flow.last = now;
                }
            }
            Event::ItemEnded(item) => self.end(item),
            Event::WaitingFor(text) => {
                let since = self.waiting(now).map_or(now, |(_, since)| since);
                self.waiting = Some(Waiting { text: printable::in_one_line(text), since, last: now });
            }
            Event::Log(_) => self.spoke = now,
            Event::Finished(_) => self.at_work.clear(),
        }
    }

    /// A line was written.
    pub fn has_spoken(&mut self, now: Instant) {
        self.spoke = now;
    }

    /// When the last line was written.
    pub fn spoke(&self) -> Instant {
        self.spoke
    }

    /// What is waited for, and since when.
    pub fn waiting(&self, now: Instant) -> Option<(&str, Instant)> {
        let waiting = self.waiting.as_ref()?;
        (now.saturating_duration_since(waiting.last) < WAITING).then_some((waiting.text.as_str(), waiting.since))
    }

    /// How many collections there are, all in all; 0 where that is not known.
    pub fn total(&self) -> usize {
        self.totals.values().fold(0, |sum, total| sum.saturating_add(*total))
    }

    /// How many collections have ended, and how many of them failed.
    pub fn ended(&self) -> (usize, usize) {
        let failed = self.ended.values().filter(|how| **how == How::Failed).count();
        (self.ended.len(), failed)
    }

    /// The bytes of the snapshots that ended.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The collection whose snapshot is called `name`: its name is in front of it, or a folder of its key.
    fn owner(&mut self, name: &str) -> Option<&mut Collection> {
        let is_of = |one: &&mut Collection| {
            let in_front = name.strip_prefix(one.name.as_str()).is_some_and(|rest| rest.starts_with('-'));
            in_front || name.split('/').any(|folder| folder == one.name)
        };
        self.at_work.iter_mut().filter(is_of).max_by_key(|one| one.name.len())
    }

    /// All parts of a collection end together, and are told one after another.
    fn end(&mut self, item: &Item) {
        if item.kind == Kind::Snapshot && matches!(item.outcome, Outcome::Done) {
            self.bytes = self.bytes.saturating_add(item.bytes.unwrap_or_default());
        }
        let is_part = matches!(item.kind, Kind::Snapshot | Kind::Collection | Kind::Set | Kind::Manifest);
        let Some(collection) = item.collection.as_deref().filter(|_| is_part) else { return };
        let how = match item.outcome {
            Outcome::Done => How::Done,
            Outcome::Skipped if item.kind == Kind::Snapshot => How::Done,
            Outcome::Skipped => How::Skipped,
            Outcome::Failed(_) => How::Failed,
        };
        let host = item.host.as_deref();
        let same = |one: &Collection| one.name == collection;
        let own = self.at_work.iter().position(|one| same(one) && Some(one.host.as_str()) == host);
        if let Some(place) = own.or_else(|| self.at_work.iter().position(same)) {
            let one = self.at_work.remove(place);
            self.ended.insert((one.host, one.name), how);
            return;
        }
        // A snapshot that failed may have been made by another peer after all: the collection itself knows.
        let is_whole = matches!(item.kind, Kind::Collection | Kind::Set | Kind::Manifest);
        let known = self.ended.keys().rev().find(|(_, name)| name == collection).cloned();
        match known {
            Some(key) if is_whole => drop(self.ended.insert(key, how)),
            Some(key) => {
                self.ended.entry(key).and_modify(|before| *before = how.max(*before));
            }
            // One that failed before it began.
            None if is_whole => {
                self.ended.insert((host.unwrap_or_default().to_owned(), collection.to_owned()), how);
            }
            None => {}
        }
    }
}

impl Collection {
    /// The bytes that pass for it at the moment.
    pub fn passing(&self, now: Instant) -> Option<Passing> {
        let moves = |flow: &&Flow| {
            let is_whole = flow.total.is_some_and(|total| flow.passed >= total);
            !is_whole && now.saturating_duration_since(flow.last) < IDLE
        };
        let mut sum: Option<Passing> = None;
        for flow in self.flows.values().filter(moves) {
            let (before, since) = flow.first;
            let elapsed = now.saturating_duration_since(since).as_millis();
            let bytes = u128::from(flow.passed.saturating_sub(before)) * 1000;
            let rate = bytes.checked_div(elapsed).and_then(|rate| u64::try_from(rate).ok()).filter(|rate| *rate > 0);
            let one = Passing { passed: flow.passed, total: flow.total, rate };
            sum = Some(match sum {
                None => one,
                Some(sum) => Passing {
                    passed: sum.passed.saturating_add(one.passed),
                    total: sum.total.zip(one.total).map(|(left, right)| left.saturating_add(right)),
                    rate: sum.rate.zip(one.rate).map(|(left, right)| left.saturating_add(right)),
                },
            });
        }
        sum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;
    use crate::sandbox::operations::{Begun, Bytes, Error, ErrorKind, Step};

    pub fn begun(collection: &str, total: u32) -> Event {
        Event::CollectionBegun(Begun { host: "http://a:6333".to_owned(), collection: collection.to_owned(), total })
    }

    pub fn step(collection: &str, text: &str) -> Event {
        let (host, collection, text) = ("http://a:6333".to_owned(), collection.to_owned(), text.to_owned());
        Event::Step(Step { host, collection, text })
    }

    pub fn bytes(name: &str, count: u64, total: Option<u64>) -> Event {
        Event::Bytes(Bytes { name: name.to_owned(), count, total })
    }

    pub fn failed(code: &str, message: &str) -> Outcome {
        let (code, message) = (code.to_owned(), message.to_owned());
        Outcome::Failed(Error { kind: ErrorKind::Other, code, retryable: false, message, problems: Vec::new() })
    }

    pub fn item(kind: Kind, collection: &str, outcome: Outcome) -> Item {
        Item {
            outcome,
            kind,
            host: Some("http://a:6333".to_owned()),
            collection: Some(collection.to_owned()),
            name: None,
            bytes: None,
            milliseconds: 0,
            verified: None,
            note: None,
        }
    }

    fn ended(kind: Kind, collection: &str, outcome: Outcome) -> Event {
        Event::ItemEnded(item(kind, collection, outcome))
    }

    #[test]
    fn a_collection_is_at_work_until_it_ends() {
        let now = Instant::now();
        let mut work = Work::new("backup", now);
        for event in [begun("a", 3), begun("b", 3), begun("a", 3), step("b", "looking"), step("c", "unknown")] {
            work.take(&event, now);
        }
        let names: Vec<_> = work.at_work.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((names, work.total(), work.ended()), (vec!["a", "b"], 3, (0, 0)));
        assert_eq!(work.at_work[1].step.as_ref().unwrap().0, "looking");
        work.take(&ended(Kind::Snapshot, "a", failed("changed", "x")), now);
        assert_eq!((work.at_work.len(), work.ended()), (1, (1, 1)));
        // Another peer has made it.
        work.take(&ended(Kind::Set, "a", Outcome::Done), now);
        assert_eq!(work.ended(), (1, 0));
        // What failed before it began, and what is no part of a collection.
        work.take(&ended(Kind::Set, "c", failed("changed", "x")), now);
        work.take(&ended(Kind::Alias, "d", Outcome::Done), now);
        work.take(&ended(Kind::Set, "b", Outcome::Skipped), now);
        assert_eq!((work.at_work.len(), work.ended()), (0, (3, 1)));
    }

    #[test]
    fn clusters_add_up_and_keep_their_collections_apart() {
        let now = Instant::now();
        let mut work = Work::new("backup", now);
        let other = Begun { host: "http://b:6333".to_owned(), collection: "a".to_owned(), total: 2 };
        work.take(&begun("a", 3), now);
        work.take(&Event::CollectionBegun(other), now);
        assert_eq!((work.total(), work.at_work.len()), (5, 2));
        let mut of_other = item(Kind::Set, "a", Outcome::Done);
        of_other.host = Some("http://b:6333".to_owned());
        work.take(&Event::ItemEnded(of_other), now);
        assert_eq!((work.at_work[0].host.as_str(), work.ended()), ("http://a:6333", (1, 0)));
    }

    #[test]
    fn a_rate_needs_two_moments_and_a_total_all_of_them() {
        let now = Instant::now();
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let mut work = Work::new("backup", now);
        for collection in ["docs", "docs-2"] {
            work.take(&begun(collection, 2), now);
        }
        work.take(&bytes("docs-2-shard-0.snapshot", 100, Some(1000)), later(1));
        assert_eq!(work.at_work[0].passing(later(1)), None);
        let first = Passing { passed: 100, total: Some(1000), rate: None };
        assert_eq!(work.at_work[1].passing(later(1)), Some(first));
        work.take(&bytes("docs-2-shard-0.snapshot", 400, Some(1000)), later(3));
        let second = Passing { passed: 500, total: Some(1000), rate: Some(200) };
        assert_eq!(work.at_work[1].passing(later(3)), Some(second));
        work.take(&bytes("streamed/id/docs-2/set/0.snapshot", 10, None), later(3));
        assert_eq!(work.at_work[1].passing(later(3)), Some(Passing { passed: 510, total: None, rate: None }));
        // What is whole, and what does not move, is not what it is at.
        work.take(&bytes("docs-2-shard-0.snapshot", 500, Some(1000)), later(4));
        assert_eq!(work.at_work[1].passing(later(20)), None);
    }

    #[test]
    fn what_answers_again_is_not_waited_for() {
        let now = Instant::now();
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let mut work = Work::new("backup", now);
        work.take(&Event::WaitingFor("S3: 503".to_owned()), later(1));
        work.take(&Event::WaitingFor("S3: 503\nagain".to_owned()), later(31));
        let (text, since) = work.waiting(later(40)).unwrap();
        assert!(text.starts_with("S3: 503") && !text.contains('\n') && since == later(1), "{text}");
        assert_eq!(work.waiting(later(66)), None);
        work.take(&Event::WaitingFor("S3: 503".to_owned()), later(100));
        assert_eq!(work.waiting(later(100)).unwrap().1, later(100));
    }
}
