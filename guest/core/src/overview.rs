//! What is known of all backups in a bucket, and what is at risk: values and pure functions of them, and the page and the
//! table that show them. `tasks::report` reads the bucket.

mod calendar;
mod chart;
mod html;
mod page;
mod printed;
mod risk;
#[cfg(test)]
mod tests;

pub(crate) use page::page;
pub(crate) use printed::{as_json, table};

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::sets::Level;
use crate::settings::Keep;

/// All backups of a bucket at one moment.
pub(crate) struct Overview {
    pub made_at: OffsetDateTime,
    /// The bucket, with the prefix of the program's own objects.
    pub bucket: String,
    /// How old the newest good backup of a collection may be.
    pub max_age: Duration,
    /// The rules of retention.
    pub keep: Keep,
    pub sources: Vec<SourceRow>,
    /// By name, and then by source.
    pub collections: Vec<CollectionRow>,
    /// When the last `verify` ended whose report is in the bucket, RFC 3339.
    pub verified_at: Option<String>,
    /// What could not be read, and why.
    pub not_known: Vec<String>,
    /// What else is to be said.
    pub notes: Vec<String>,
}

/// A source.
pub(crate) struct SourceRow {
    pub id: String,
    pub name: String,
    pub peers: usize,
    pub collections: usize,
    pub sets: u64,
    /// Snapshots of whole collections.
    pub snapshots: u64,
    pub newest: Option<OffsetDateTime>,
    /// When it was last seen, RFC 3339; `None`: it has no record.
    pub seen_at: Option<String>,
}

/// A collection of one source.
pub(crate) struct CollectionRow {
    /// The source's id and name; `None` where whose it is can't be told.
    pub source: Option<(String, String)>,
    pub name: String,
    /// Its sets, the oldest first.
    pub sets: Vec<SetRow>,
    /// Whether it was gone when its source was last backed up whole; `None`: not known.
    pub dropped: Option<bool>,
    /// Snapshots of it as a whole, of which only the list is known.
    pub whole: Option<WholeSnapshots>,
    /// How many orphaned snapshots would be deleted, and their bytes.
    pub orphans: (usize, u64),
    /// Why orphaned snapshots are left.
    pub not_swept: Option<String>,
    /// Why it is not known what retention would do.
    pub unknown: Option<String>,
}

/// Snapshots of a whole collection, as `create_snap` makes them.
#[derive(Clone, Copy, Default)]
pub(crate) struct WholeSnapshots {
    pub count: u64,
    pub bytes: u64,
    pub newest: Option<OffsetDateTime>,
}

/// A set.
pub(crate) struct SetRow {
    pub id: String,
    pub started: Option<OffsetDateTime>,
    /// The bytes of its snapshots, where its manifest can be read.
    pub bytes: Option<u64>,
    pub points: Option<u64>,
    /// The smallest number of active replicas that a shard had; `None`: not recorded.
    pub replicas: Option<usize>,
    pub standing: Standing,
    /// Whether retention keeps it, and why; `None`: not known.
    pub verdict: Option<(bool, String)>,
    /// When a drill restored it and verified it, RFC 3339.
    pub drilled_at: Option<String>,
    pub label: Option<String>,
}

/// How good a set is, in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As far as a list tells.
    Good(Level),
    /// Good, and the last `verify` has found it so.
    Verified(Level),
    /// It lacks shards; says which.
    Partial(String),
    /// It is damaged, or the last `verify` found it so; says what is wrong.
    Failed(String),
    /// It could not be looked at; says why.
    Unknown(String),
}

impl Standing {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Good(_) | Self::Verified(_))
    }

    /// The word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Good(Level::Drilled) | Self::Verified(Level::Drilled) => "drilled",
            Self::Verified(_) => "verified",
            Self::Good(level) => level.name(),
            Self::Partial(_) => "partial",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "not known",
        }
    }

    /// What is wrong with it, or not known.
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::Good(_) | Self::Verified(_) => None,
            Self::Partial(why) | Self::Failed(why) | Self::Unknown(why) => Some(why),
        }
    }
}

impl CollectionRow {
    /// The newest good set that is not dated in the future.
    pub(crate) fn newest_good(&self, now: OffsetDateTime) -> Option<&SetRow> {
        let good = self.sets.iter().filter(|set| set.standing.is_good() && !set.is_ahead(now));
        good.filter(|set| set.started.is_some()).max_by_key(|set| set.started)
    }

    /// When its newest backup was begun: a good set, or where there are no sets at all, snapshots of the whole collection.
    pub(crate) fn newest_at(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let whole = self.whole.filter(|_| self.sets.is_empty()).and_then(|whole| whole.newest);
        self.newest_good(now).and_then(|set| set.started).or(whole)
    }

    /// The last drill of any of its sets.
    pub(crate) fn drilled_at(&self) -> Option<&str> {
        self.sets.iter().filter_map(|set| set.drilled_at.as_deref()).max()
    }

    pub(crate) fn bytes(&self) -> u64 {
        crate::report::total(self.sets.iter().filter_map(|set| set.bytes))
    }

    /// How many sets retention keeps (true) or removes (false), and their bytes.
    pub(crate) fn judged(&self, keep: bool) -> (usize, u64) {
        let judged = self.sets.iter().filter(|set| set.verdict.as_ref().is_some_and(|(kept, _)| *kept == keep));
        (judged.clone().count(), crate::report::total(judged.filter_map(|set| set.bytes)))
    }

    pub(crate) fn source_name(&self) -> &str {
        self.source.as_ref().map_or("not known", |(_, name)| name.as_str())
    }
}

impl SetRow {
    /// Its date is in the future, by more than clocks differ.
    pub(crate) fn is_ahead(&self, now: OffsetDateTime) -> bool {
        self.started.is_some_and(|started| started - now > Duration::minutes(1))
    }
}

impl Overview {
    /// The sources that collections are of, by name, and `None` for those of which that can't be told.
    pub(crate) fn origins(&self) -> Vec<Option<&(String, String)>> {
        let all: BTreeSet<_> = self.collections.iter().map(|collection| collection.source.as_ref()).collect();
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|origin| origin.map(|(id, name)| (name, id)));
        all
    }

    /// The rules of retention that are set, as settings.
    pub(crate) fn rules(&self) -> Vec<String> {
        let keep = &self.keep;
        let counts = [
            ("last", keep.last),
            ("hourly", keep.hourly),
            ("daily", keep.daily),
            ("weekly", keep.weekly),
            ("monthly", keep.monthly),
            ("yearly", keep.yearly),
        ];
        let mut rules: Vec<String> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("keep-{name} {count}")).collect();
        if !keep.within.is_zero() {
            rules.push(format!("keep-within {}", span(keep.within)));
        }
        if !keep.dropped.is_zero() {
            rules.push(format!("sets of dropped collections go after {}", span(keep.dropped)));
        }
        rules
    }
}

/// A length of time for people, exact in the largest unit that divides it.
pub(crate) fn span(length: std::time::Duration) -> String {
    let seconds = length.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    match units.iter().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}
