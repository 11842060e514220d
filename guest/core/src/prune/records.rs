//! The tool's own records that nothing needs any more: lists and aliases of runs that have no backup left, records of
//! restores that have ended, locks of runs that were killed, and what was stored to see whether that is possible.
//!
//! A backup needs none of them to be removed, and a restore none of those that are.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use super::delete;
use crate::aliases;
use crate::context::Context;
use crate::error::Error;
use crate::generations;
use crate::lock;
use crate::naming::{self, SnapshotFilter};
use crate::places;
use crate::report::Item;
use crate::restore;
use crate::runs::{self, Kind};
use crate::sets::{self, SetId, quality};
use crate::source::SourceId;
use crate::store::{Object, ObjectStore};
use crate::timestamp;

/// For how long the record of a restore stays after that has ended, and while its backup is there.
const ENDED: Duration = Duration::days(30);

/// The largest record of a restore.
const LIMIT: usize = 1 << 20;

/// Removes the records of `sources`, and those that are nobody's, that nothing needs any more; an item says how many of
/// each kind. In a dry run, says which.
pub(crate) async fn remove_unneeded(
    context: &Context,
    store: &dyn ObjectStore,
    sources: &BTreeSet<SourceId>,
) -> Vec<Item> {
    let found = match unneeded(context, store, sources).await {
        Ok(found) => found,
        Err(error) => return vec![Item::failed("record", error)],
    };
    let mut items = Vec::new();
    for (what, objects) in found.into_iter().filter(|(_, objects)| !objects.is_empty()) {
        let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
        if context.settings.dry_run {
            for key in &keys {
                context.plan(&["sweep", "", key, what]);
                items.push(Item::skipped("record", format!("would be deleted: {what}")).name(key));
            }
            continue;
        }
        let left = delete(store, &keys).await;
        let deleted = format!("{} of {}: {what}", keys.len() - left.len(), keys.len());
        items.push(match quality::any(&left) {
            None => Item::done("record").cause(format!("deleted {deleted}")),
            Some(error) => Item::failed("record", error.clone()).cause(format!("deleted {deleted}; {error}")),
        });
    }
    items
}

/// What nothing needs any more, each kind with the reason.
async fn unneeded(
    context: &Context,
    store: &dyn ObjectStore,
    sources: &BTreeSet<SourceId>,
) -> Result<Vec<(&'static str, Vec<Object>)>, Error> {
    let now = context.ports.clock.now();
    let grace = Duration::try_from(context.settings.sweep.grace).unwrap_or(Duration::MAX);
    let dropped = Duration::try_from(context.settings.keep.dropped).unwrap_or(Duration::MAX);
    let backups = Backups { store, listed: OnceCell::new() };
    let (mut runs, mut aliases) = (Vec::new(), Vec::new());
    for source in sources {
        for kind in [Kind::Sets, Kind::Snapshots] {
            let records = runs::list(store, source, kind).await?;
            let dated = records.into_iter().map(|record| (record.started, record.object)).collect();
            // By these it is told how long a collection has been missing.
            let mut old = of_no_backup(dated, now - grace, &backups).await?;
            old.retain(|(started, _)| dropped.is_zero() || now - *started > dropped);
            let evidence = old.iter().map(|(started, _)| *started).max().filter(|_| !dropped.is_zero());
            old.retain(|(started, _)| Some(*started) != evidence);
            runs.extend(old);
        }
        aliases.extend(of_no_backup(aliases_of_runs(store, source).await?, now - grace, &backups).await?);
    }
    let is_old = |object: &Object, age: Duration| object.last_modified.is_some_and(|stored| now - stored > age);
    let mut probes = Vec::new();
    for folder in [places::SET_MANIFESTS, places::SNAPSHOT_MANIFESTS, places::STREAMED] {
        let mut note = |object: Object| {
            if is_old(&object, grace) {
                probes.push(object);
            }
        };
        store.list_own(&format!("{folder}/{}", crate::store::WRITE_CHECK), &mut note).await?;
    }
    let mut restores = Vec::new();
    let mut note = |object: Object| {
        if is_old(&object, ENDED) {
            restores.push(object);
        }
    };
    store.list_own(&format!("{}/", places::RESTORE_STATE), &mut note).await?;
    let undated = |dated: Vec<(OffsetDateTime, Object)>| dated.into_iter().map(|(_, object)| object).collect();
    let mut found: Vec<(&'static str, Vec<Object>)> = vec![
        ("lists of collections of runs that have no backup left", undated(runs)),
        ("aliases of runs that have no backup left", undated(aliases)),
        ("records of restores that ended more than 30 days ago", ended(store, restores, now, &backups).await?),
        ("locks of runs that were killed more than a day ago", lock::stale(context, store).await?),
        ("probes of backups and checks that may not delete, or were killed", probes),
    ];
    // What lies at the root of the bucket may be somebody else's.
    let places = store.places();
    for (_, objects) in &mut found {
        objects.retain(|object| places.ours(places.bare(&object.key)) == object.key);
    }
    Ok(found)
}

/// The sets that are listed, and when all backups were begun; asked for once, and only where it matters.
struct Backups<'a> {
    store: &'a dyn ObjectStore,
    listed: OnceCell<Listed>,
}

struct Listed {
    /// `<collection>/<set>`.
    sets: BTreeSet<String>,
    /// When sets, and snapshots of whole collections, were begun.
    started: BTreeSet<OffsetDateTime>,
}

impl Backups<'_> {
    async fn listed(&self) -> Result<&Listed, Error> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let (mut names, mut started) = (BTreeSet::new(), BTreeSet::new());
        for (collection, sets) in sets::list(self.store).await? {
            started.extend(sets.iter().filter_map(|set| set.id.started()));
            names.extend(sets.iter().map(|set| format!("{collection}/{}", set.id)));
        }
        let mut note = |snapshot: generations::BucketSnapshot| started.extend([snapshot.started]);
        generations::each_snapshot_in(self.store, &SnapshotFilter::new(""), &mut note).await?;
        Ok(self.listed.get_or_init(|| Listed { sets: names, started }))
    }
}

/// Of records of runs with their times those of which no backup is left: none was begun after the run before and before
/// the run after. The newest stays, and what is younger than `before`: a backup may be running.
async fn of_no_backup(
    mut dated: Vec<(OffsetDateTime, Object)>,
    before: OffsetDateTime,
    backups: &Backups<'_>,
) -> Result<Vec<(OffsetDateTime, Object)>, Error> {
    dated.sort_by_key(|(started, _)| *started);
    let times: Vec<OffsetDateTime> = dated.iter().map(|(started, _)| *started).collect();
    if !times.iter().rev().skip(1).any(|started| *started < before) {
        return Ok(Vec::new());
    }
    let begun = &backups.listed().await?.started;
    let mut unneeded = Vec::new();
    for (started, object) in dated {
        let earlier = times.iter().rev().find(|other| **other < started);
        let Some(later) = times.iter().find(|other| **other > started) else { continue };
        let is_left =
            begun.range(..*later).next_back().is_some_and(|last| earlier.is_none_or(|earlier| last > earlier));
        if started < before && !is_left {
            unneeded.push((started, object));
        }
    }
    Ok(unneeded)
}

/// The aliases of each run of a source. That of a run whose id has no date is as old as its object.
async fn aliases_of_runs(store: &dyn ObjectStore, source: &SourceId) -> Result<Vec<(OffsetDateTime, Object)>, Error> {
    let prefix = aliases::of_runs(source);
    let mut found = Vec::new();
    let mut note = |object: Object| {
        let run = store.places().bare(&object.key).strip_prefix(prefix.as_str()).unwrap_or_default();
        let dated = run.get(..timestamp::KEY.length()).and_then(|time| timestamp::KEY.read(time));
        if let Some(started) = dated.or(object.last_modified) {
            found.push((started, object));
        }
    };
    store.list_own(&prefix, &mut note).await?;
    Ok(found)
}

/// The records of restores that have ended, and whose sets are not there any more, or, of earlier versions, of sets that
/// are not.
async fn ended(
    store: &dyn ObjectStore,
    old: Vec<Object>,
    now: OffsetDateTime,
    backups: &Backups<'_>,
) -> Result<Vec<Object>, Error> {
    let mut found = Vec::new();
    for object in old {
        let bare = store.places().bare(&object.key);
        let Some((folder, name)) = bare.split_once('/').and_then(|(_, rest)| rest.split_once('/')) else { continue };
        let backup = if name.starts_with("restore-") {
            let Some(json) = store.get_listed(&object.key, object.bytes, LIMIT).await? else { continue };
            let ended = restore::ended(&json).filter(|ended| now - ended.at > ENDED);
            ended.map(|ended| ended.backup)
        } else {
            let set = name.strip_suffix(".json").or_else(|| name.strip_suffix(".csv"));
            let dated = set.filter(|set| SetId::from_text(set).started().is_some());
            dated.map(|set| format!("{}/{set}", naming::unescape_segment(folder)))
        };
        if let Some(backup) = backup
            && !backups.listed().await?.sets.contains(&backup)
        {
            found.push(object);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use futures_executor::block_on;
    use time::macros::datetime;

    #[test]
    fn a_run_s_record_goes_with_the_last_of_its_backups() {
        let hour = |hour: i64| datetime!(2026-03-01 00:00:00 UTC) + Duration::hours(hour);
        let object = |at: i64| Object { key: at.to_string(), bytes: 0, last_modified: None };
        let store = Memory::default();
        let unneeded = |runs: &[i64], backups: &[i64], before: i64| {
            let listed = Listed { sets: BTreeSet::new(), started: backups.iter().map(|at| hour(*at)).collect() };
            let backups = Backups { store: &store, listed: OnceCell::from(listed) };
            let dated = runs.iter().map(|at| (hour(*at), object(*at))).collect();
            let found = block_on(of_no_backup(dated, hour(before), &backups)).unwrap();
            found.into_iter().map(|(_, object)| object.key).collect::<Vec<_>>()
        };
        // A set is begun just before the list of its run is written.
        assert_eq!(unneeded(&[10, 20, 30], &[], 99), ["10", "20"]);
        assert_eq!(unneeded(&[10, 20, 30], &[9], 99), ["20"]);
        assert_eq!(unneeded(&[10, 20, 30], &[10], 99), ["20"], "within the same second");
        assert!(unneeded(&[10, 20, 30], &[19], 99).is_empty());
        assert_eq!(unneeded(&[10, 20, 30], &[29], 15), ["10"]);
        assert!(unneeded(&[10], &[], 99).is_empty() && unneeded(&[], &[], 99).is_empty());
    }
}
