//! Whose sets a run prunes, and which collections their sources have dropped.
//!
//! That a collection was dropped is known where its source is asked now, all of it, and has it not, and where every whole
//! backup since some time has missed it, too. A source without any collection may have lost them: its sets stay.

use std::cell::RefCell;
use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::inventory::{Inventory, Listed};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::generations::{self, BucketSnapshot};
use crate::naming::SnapshotFilter;
use crate::qdrant::{Cluster, discover_source};
use crate::report::Item;
use crate::runs::{self, Kind, RunRecord};
use crate::source::{self, Record, SourceId};
use crate::store::ObjectStore;
use crate::timestamp;

/// Whose sets are judged, by the records of all sources.
pub struct Scope {
    /// The records.
    pub(super) records: Vec<Record>,
    whose: Whose,
    asked: Vec<Asked>,
    keep_dropped: time::Duration,
    /// The sources of which there are sets below this run's `QDRANT_S3_KEY_PREFIX`.
    here: RefCell<BTreeSet<SourceId>>,
}

/// Whose sets are judged.
enum Whose {
    /// All, by the same rules.
    All,
    /// One source's, by its record.
    Own(SourceId),
    /// One source's that has no record, by its peers.
    OfPeers(BTreeSet<u64>),
}

/// A source that was asked.
struct Asked {
    source: SourceId,
    /// The collections that it has.
    there: BTreeSet<String>,
    /// Its whole backups, the newest first.
    runs: Vec<RunRecord>,
}

impl Scope {
    /// The sets of all sources. Where sets of dropped collections are to go, the sources behind `QDRANT_SOURCE_HOSTS` are
    /// asked; items say which can't be.
    ///
    /// # Errors
    /// The records of the sources can't be read.
    pub async fn of_all(context: &Context, store: &dyn ObjectStore) -> Result<(Self, Vec<Item>), Error> {
        let mut scope = Self::new(context, store, Whose::All).await?;
        let mut left = Vec::new();
        if scope.keep_dropped.is_zero() {
            return Ok((scope, left));
        }
        let found = discover_source(&context.ports, &context.settings).await;
        left.extend(found.missing.iter().map(|missing| unasked(&missing.host, &missing.cause)));
        if context.settings.source_hosts.is_empty() {
            left.push(unasked("the source", "QDRANT_SOURCE_HOSTS is not set"));
        }
        for cluster in &found.clusters {
            left.extend(scope.ask(store, cluster, None).await.err().map(|error| unasked(&cluster.host, &error)));
        }
        Ok((scope, left))
    }

    /// The sets of the source that `cluster` is, which was backed up just now.
    ///
    /// # Errors
    /// The records of the sources can't be read.
    pub async fn of_cluster(
        context: &Context,
        store: &dyn ObjectStore,
        cluster: &Cluster,
    ) -> Result<(Self, Vec<Item>), Error> {
        let own = context.source_of(&cluster.host).map(|source| source.id);
        let whose = match &own {
            Some(own) => Whose::Own(own.clone()),
            None => Whose::OfPeers(source::peers(cluster).await?),
        };
        let mut scope = Self::new(context, store, whose).await?;
        let mut left = Vec::new();
        let first = context.settings.share.is_none_or(|share| share.index == 0);
        if !scope.keep_dropped.is_zero() && first {
            left.extend(scope.ask(store, cluster, own).await.err().map(|error| unasked(&cluster.host, &error)));
        }
        Ok((scope, left))
    }

    async fn new(context: &Context, store: &dyn ObjectStore, whose: Whose) -> Result<Self, Error> {
        let records = source::list_allowed(context, store).await?;
        let keep_dropped = time::Duration::try_from(context.settings.keep.dropped).unwrap_or(time::Duration::MAX);
        Ok(Self { records, whose, asked: Vec::new(), keep_dropped, here: RefCell::default() })
    }

    /// Asks a source which collections it has.
    ///
    /// # Errors
    /// It is not known to be a source, or can't be asked whole, or has no collection at all.
    async fn ask(&mut self, store: &dyn ObjectStore, cluster: &Cluster, own: Option<SourceId>) -> Result<(), Error> {
        if let Some(missing) = cluster.missing.first() {
            return Err(Error::new(Code::NoPeer, missing.host.clone(), missing.cause.clone()));
        }
        let source = match own {
            Some(source) => source,
            None => {
                let record = source::matching(&self.records, &source::peers(cluster).await?)?;
                let unknown = || Error::new(Code::SourceUnclear, "", "it is not one of the sources in the bucket");
                record.map(|record| record.id.clone()).ok_or_else(unknown)?
            }
        };
        let mut there = BTreeSet::new();
        for peer in &cluster.peers {
            there.extend(peer.client.collections().await?);
        }
        if there.is_empty() {
            return Err(Error::new(Code::NothingSelected, "", "it has no collection at all, and may have lost them"));
        }
        let runs = runs::all(store, &source, Kind::Sets).await?;
        self.asked.push(Asked { source, there, runs });
        Ok(())
    }

    /// Takes note of whose sets there are.
    pub(super) fn note(&self, inventory: &Inventory) {
        // What can be used lies here, and what this program has stored itself lies below no prefix of Qdrant's.
        let below = |set: &Listed| set.header.key_prefix.as_ref() == Some(&inventory.key_prefix);
        let lie_here = |set: &&Listed| set.manifest.is_some() || below(set);
        let sources = inventory.sets.iter().filter(lie_here).filter_map(|set| set.source.clone());
        self.here.borrow_mut().extend(sources);
    }

    /// The sources that keep backups here: sets that were looked at, and snapshots of whole collections. What others keep
    /// can't be seen from here.
    ///
    /// # Errors
    /// The bucket can't be listed.
    pub async fn sources_here(&self, store: &dyn ObjectStore) -> Result<BTreeSet<SourceId>, Error> {
        let mut peers = BTreeSet::new();
        let mut note = |snapshot: BucketSnapshot| peers.extend([snapshot.peer]);
        generations::each_snapshot_in(store, &SnapshotFilter::new(""), &mut note).await?;
        let mut here = self.here.borrow().clone();
        let of = self.records.iter().filter(|record| !record.peers().is_disjoint(&peers));
        here.extend(of.map(|record| record.id.clone()));
        Ok(here)
    }

    /// Why a set is not for this run to judge.
    pub(super) fn leaves(&self, set: &Listed) -> Option<&'static str> {
        let own = match (&self.whose, &set.source) {
            (Whose::All, _) => true,
            (Whose::Own(own), source) => source.as_ref() == Some(own),
            (Whose::OfPeers(peers), _) => !set.header.peers.is_disjoint(peers),
        };
        (!own).then_some("of another or an unknown source: a backup prunes only its own")
    }

    /// Why all sets that `source` has of the collection go, where they do.
    pub(super) fn dropped(&self, inventory: &Inventory, source: &SourceId, now: OffsetDateTime) -> Option<String> {
        let asked = self.asked.iter().find(|asked| asked.source == *source)?;
        let sets = inventory.sets.iter().filter(|set| set.source.as_ref() == Some(source));
        let newest = sets.filter_map(|set| set.id().started().filter(|started| *started <= now)).max();
        let since = asked.missing_since(&inventory.collection, newest)?;
        (now - since > self.keep_dropped).then(|| {
            format!(
                "its source no longer has the collection, since {} at least (QDRANT_BACKUP_DROPPED_KEEP)",
                timestamp::RFC3339.write(since)
            )
        })
    }

    /// The collections that may be dropped ones of a source that was asked.
    pub(super) fn is_gone(&self, collection: &str) -> bool {
        self.asked.iter().any(|asked| !asked.there.contains(collection))
    }
}

impl Asked {
    /// The first of the newest whole backups in a row that missed the collection, after its newest set; `None` where it
    /// is there.
    fn missing_since(&self, collection: &str, newest_set: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
        if self.there.contains(collection) {
            return None;
        }
        let missed = self.runs.iter().map_while(|run| {
            let started = run.started()?;
            let listed = run.collections.iter().any(|listed| listed == collection);
            (!listed && newest_set.is_none_or(|set| set < started)).then_some(started)
        });
        missed.last()
    }
}

fn unasked(host: &(impl ToString + ?Sized), cause: &(impl ToString + ?Sized)) -> Item {
    let cause = cause.to_string();
    Item::skipped("retention", format!("the sets of dropped collections stay, as their source can't be asked: {cause}"))
        .host(host.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn run(started: OffsetDateTime, collections: &[&str]) -> RunRecord {
        RunRecord {
            version: 1,
            run_id: String::new(),
            source_id: SourceId::from_text("a"),
            started_at: timestamp::RFC3339.write(started),
            collections: collections.iter().map(ToString::to_string).collect(),
            cluster: None,
        }
    }

    #[test]
    fn a_collection_is_missing_since_the_first_backup_without_it() {
        let day = |day: i64| datetime!(2026-03-01 02:00:00 UTC) + time::Duration::days(day);
        let asked = |there: &[&str], runs: &[(i64, &[&str])]| Asked {
            source: SourceId::from_text("a"),
            there: there.iter().map(ToString::to_string).collect(),
            runs: runs.iter().map(|(at, collections)| run(day(*at), collections)).collect(),
        };
        let runs: &[(i64, &[&str])] = &[(5, &["docs"]), (4, &["docs"]), (3, &["docs", "old"]), (2, &["docs"])];
        let gone = asked(&["docs"], runs);
        assert_eq!(gone.missing_since("old", Some(day(3))), Some(day(4)));
        assert_eq!(gone.missing_since("old", None), Some(day(4)));
        // It was made anew, and backed up by a run of its own.
        assert_eq!(gone.missing_since("old", Some(day(4) + time::Duration::hours(1))), Some(day(5)));
        assert_eq!(gone.missing_since("old", Some(day(6))), None);
        assert_eq!(gone.missing_since("old", Some(day(5))), None, "within the same second");
        assert_eq!(gone.missing_since("docs", Some(day(1))), None);
        assert_eq!(gone.missing_since("never-listed", Some(day(1))), Some(day(2)));
        // It is back, and no whole backup has seen it yet.
        assert_eq!(asked(&["docs", "old"], runs).missing_since("old", Some(day(3))), None);
        assert_eq!(asked(&["docs"], &[]).missing_since("old", Some(day(3))), None);
    }
}
