//! The snapshots in the bucket, and which of them belong together.

use crate::error::Error;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::naming::{self, SnapshotFilter};
use crate::store::ObjectStore;

/// A snapshot of a whole collection, made by one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSnapshot {
    /// The collection whose folder it is in.
    pub collection: String,
    /// Snapshot name.
    pub name: String,
    /// Object key.
    pub key: String,
    /// Object size in bytes.
    pub bytes: u64,
    /// The peer that made it, from its name.
    pub peer: u64,
    /// When Qdrant began to make it, from its name.
    pub started: OffsetDateTime,
    /// When the object was stored; unknown, or later than it was, in a copied bucket.
    pub stored: Option<OffsetDateTime>,
}

/// All snapshots of whole collections in the bucket whose names pass `filter`, by collection and time.
///
/// # Errors
/// The bucket can't be listed.
pub async fn snapshots_in(bucket: &dyn ObjectStore, filter: &SnapshotFilter) -> Result<Vec<BucketSnapshot>, Error> {
    let mut snapshots = Vec::new();
    each_snapshot_in(bucket, filter, &mut |snapshot| snapshots.push(snapshot)).await?;
    by_time(&mut snapshots);
    Ok(snapshots)
}

/// Sorts by collection and time.
pub fn by_time(snapshots: &mut [BucketSnapshot]) {
    snapshots.sort_by(BucketSnapshot::order);
}

/// Calls `each` for every snapshot of a whole collection in the bucket whose name passes `filter`. Those of one collection
/// come one after another.
///
/// # Errors
/// The bucket can't be listed; `each` may have been called for some.
pub async fn each_snapshot_in(
    bucket: &dyn ObjectStore,
    filter: &SnapshotFilter,
    each: &mut dyn FnMut(BucketSnapshot),
) -> Result<(), Error> {
    let prefix = bucket.key_prefix().to_owned();
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    bucket
        .list(&folder, &mut |object| {
            let Some(found) = naming::snapshot_of_key(&prefix, &object.key) else { return };
            let name = found.to_string();
            if filter.matches(&name) {
                each(BucketSnapshot {
                    // Not as listed: some servers undo the escapes within keys.
                    key: naming::snapshot_key(&prefix, &found.collection, &name),
                    collection: found.collection,
                    name,
                    bytes: object.bytes,
                    peer: found.peer,
                    started: found.started,
                    stored: object.last_modified,
                });
            }
        })
        .await
}

/// How long after one peer's snapshot was stored the next peer's may have begun, in the same backup.
const SLACK: Duration = Duration::minutes(10);

/// No snapshot is stored more slowly than this, in bytes a second: bounds what a copied bucket's dates say.
const SLOWEST: u64 = 2 << 20;

/// Divides the snapshots of one collection into the backups they were made by, newest first.
///
/// One backup has each peer at most once, and its snapshots follow closely on one another: the next one began
/// before, or shortly after, the one before was stored. So a peer that failed in the newest backup is not
/// quietly taken from last week's.
pub fn generations(mut snapshots: Vec<BucketSnapshot>) -> Vec<Vec<BucketSnapshot>> {
    newest_first(&mut snapshots);
    let mut generations: Vec<Vec<BucketSnapshot>> = Vec::new();
    let mut peers = BTreeSet::new();
    for snapshot in snapshots {
        let joins = generations
            .last()
            .and_then(|generation| generation.last())
            .is_some_and(|earliest| !peers.contains(&snapshot.peer) && earliest.started - snapshot.ended() <= SLACK);
        match generations.last_mut() {
            Some(generation) if joins => generation.push(snapshot.clone()),
            _ => {
                peers.clear();
                generations.push(vec![snapshot.clone()]);
            }
        }
        peers.insert(snapshot.peer);
    }
    generations
}

/// Sorts the snapshots of one collection.
pub(crate) fn newest_first(snapshots: &mut [BucketSnapshot]) {
    snapshots.sort_by(BucketSnapshot::order);
    snapshots.reverse();
}

impl BucketSnapshot {
    fn order(&self, other: &Self) -> Ordering {
        (&self.collection, self.started, &self.name).cmp(&(&other.collection, other.started, &other.name))
    }

    fn ended(&self) -> OffsetDateTime {
        let seconds = i64::try_from(self.bytes / SLOWEST).unwrap_or(i64::MAX / 4);
        let latest = self.started.saturating_add(Duration::seconds(seconds)).saturating_add(SLACK);
        self.stored.map_or(self.started, |stored| stored.clamp(self.started, latest))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn snapshot(peer: u64, started: OffsetDateTime, seconds: i64) -> BucketSnapshot {
        BucketSnapshot {
            collection: "docs".to_owned(),
            name: format!("docs-{peer}-{}", started.unix_timestamp()),
            key: String::new(),
            bytes: 1000,
            peer,
            started,
            stored: Some(started + Duration::seconds(seconds)),
        }
    }

    fn peers(generations: &[Vec<BucketSnapshot>]) -> Vec<BTreeSet<u64>> {
        generations.iter().map(|generation| generation.iter().map(|snapshot| snapshot.peer).collect()).collect()
    }

    #[test]
    fn weekly_backups_are_told_apart() {
        let (old, new) = (datetime!(2026-01-22 11:44:22 UTC), datetime!(2026-01-29 11:44:22 UTC));
        let found = generations(vec![
            snapshot(1, old, 2),
            snapshot(2, old + Duration::seconds(3), 2),
            snapshot(1, new, 2),
            snapshot(2, new + Duration::seconds(3), 2),
        ]);
        assert_eq!(peers(&found), [BTreeSet::from([1, 2]), BTreeSet::from([1, 2])]);
        assert!(found.first().is_some_and(|newest| newest.iter().all(|snapshot| snapshot.started >= new)));
    }

    #[test]
    fn a_peer_that_failed_is_not_taken_from_last_week() {
        let (old, new) = (datetime!(2026-01-22 11:44:22 UTC), datetime!(2026-01-29 11:44:22 UTC));
        let found = generations(vec![
            snapshot(1, old, 1),
            snapshot(2, old, 1),
            snapshot(3, old, 1),
            snapshot(1, new, 1),
            snapshot(2, new, 1),
        ]);
        assert_eq!(peers(&found), [BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])]);
    }

    #[test]
    fn one_after_the_other_for_hours_is_still_one_backup() {
        let start = datetime!(2026-01-29 00:00 UTC);
        let mut second = snapshot(1, start, 7200);
        second.bytes = 100 << 30;
        let found = generations(vec![second, snapshot(2, start + Duration::hours(2), 10)]);
        assert_eq!(peers(&found), [BTreeSet::from([1, 2])]);
    }

    #[test]
    fn the_dates_of_a_copied_bucket_do_not_join_backups() {
        let (old, new) = (datetime!(2026-01-22 11:44:22 UTC), datetime!(2026-01-29 11:44:22 UTC));
        let mut copied = snapshot(3, old, 1);
        copied.stored = Some(datetime!(2026-03-01 00:00 UTC));
        let found = generations(vec![copied, snapshot(1, new, 1)]);
        assert_eq!(peers(&found), [BTreeSet::from([1]), BTreeSet::from([3])]);
    }

    #[test]
    fn a_backup_repeated_within_minutes_is_two() {
        let start = datetime!(2026-01-29 11:44:22 UTC);
        let again = start + Duration::minutes(1);
        let found = generations(vec![
            snapshot(1, start, 1),
            snapshot(2, start, 1),
            snapshot(1, again, 1),
            snapshot(2, again, 1),
        ]);
        assert_eq!(peers(&found), [BTreeSet::from([1, 2]), BTreeSet::from([1, 2])]);
    }

    /// Whatever is in the bucket: nothing is left out and nothing used twice, no backup has a peer twice, and the newest
    /// comes first.
    #[test]
    fn every_snapshot_is_in_one_backup_which_has_each_peer_once() {
        let mut state = 7_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        // The last moment that a name can have is one of them.
        let moments =
            [datetime!(0000-01-01 00:00 UTC), datetime!(2026-01-29 11:44:22 UTC), datetime!(9999-12-31 23:59:59 UTC)];
        for _ in 0..2000 {
            let snapshots: Vec<BucketSnapshot> = (0..below(12))
                .map(|number| {
                    let moment = moments[below(3) as usize];
                    let started = moment.saturating_sub(Duration::seconds(below(7200) as i64));
                    let stored = [None, Some(started), Some(moments[below(3) as usize])][below(3) as usize];
                    let bytes = [0, 1 << 30, u64::MAX][below(3) as usize];
                    BucketSnapshot { name: number.to_string(), bytes, stored, ..snapshot(1 + below(4), started, 0) }
                })
                .collect();
            let found = generations(snapshots.clone());
            let mut used: Vec<&str> = found.iter().flatten().map(|snapshot| snapshot.name.as_str()).collect();
            let mut all: Vec<&str> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
            used.sort_unstable();
            all.sort_unstable();
            assert_eq!(used, all);
            for generation in &found {
                let peers: BTreeSet<u64> = generation.iter().map(|snapshot| snapshot.peer).collect();
                assert_eq!(peers.len(), generation.len(), "{generation:?}");
            }
            let newest: Vec<_> =
                found.iter().map(|generation| generation.iter().map(|snapshot| snapshot.started).max()).collect();
            assert!(newest.is_sorted_by(|left, right| left >= right), "{found:?}");
        }
    }
}
