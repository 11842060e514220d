//! `prune_snap --legacy`: old generations of snapshots of whole collections, as `create_snap` makes them.

use std::collections::{BTreeMap, BTreeSet};

use super::delete;
use crate::context::Context;
use crate::error::Error;
use crate::generations::{self, BucketSnapshot, Generation};
use crate::lock::{BackupAtWork, BackupsAtWork, Maker, Work};
use crate::naming::SnapshotFilter;
use crate::report::Item;
use crate::sets::quality;
use crate::sets::retention::{Candidate, judge};
use crate::settings::Keep;
use crate::source::{self, Record};
use crate::store::ObjectStore;

/// Deletes the generations of whole collections but the newest `QDRANT_LEGACY_KEEP_RUNS` good ones of each cluster.
///
/// # Errors
/// The bucket can't be listed.
pub async fn prune_legacy(
    context: &Context,
    bucket: &dyn ObjectStore,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut all: BTreeMap<String, Vec<BucketSnapshot>> = BTreeMap::new();
    for snapshot in generations::snapshots_in(bucket, &SnapshotFilter::new("")).await? {
        if wanted(&snapshot.collection) {
            all.entry(snapshot.collection.clone()).or_default().push(snapshot);
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    // After the snapshots and before the manifests, so that each snapshot of a backup has the one or the other.
    let at_work = BackupsAtWork::new(context, bucket, Work::Prune).look().await?;
    let records = source::list_allowed(context, bucket).await?;
    for (collection, snapshots) in all {
        let removed = match doomed(context, bucket, &collection, snapshots).await {
            Ok(doomed) => {
                let doomed = spare(context, &at_work, &records, &collection, doomed);
                remove(context, bucket, &collection, doomed).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            let item = Item::failed("snapshot", error.clone()).collection(&collection);
            context.reporter.report(item.cause(format!("nothing was pruned: {error}")));
        }
    }
    Ok(())
}

/// The snapshots of `doomed` without what a backup that is at work has, or may have, made; items say what is left.
fn spare(
    context: &Context,
    at_work: &[BackupAtWork],
    records: &[Record],
    collection: &str,
    doomed: Vec<Generation>,
) -> Vec<BucketSnapshot> {
    let mut going = Vec::new();
    for Generation { snapshots, manifest } in doomed {
        let by = at_work.iter().find(|backup| match &manifest {
            Some(manifest) => backup.run.is_some() && backup.run == manifest.run_id,
            None => snapshots.iter().any(|snapshot| backup.may_have_made(&Maker::Peer(snapshot.peer), records)),
        });
        let Some(by) = by else {
            going.extend(snapshots);
            continue;
        };
        let why = format!(
            "{} snapshots are left: a backup is at work, which may have made them ({})",
            snapshots.len(),
            by.who
        );
        context.reporter.report(Item::skipped("snapshot", why).collection(collection));
    }
    going
}

/// All generations that no rule keeps.
///
/// # Errors
/// Of one of them it can't be known whether it is good.
async fn doomed(
    context: &Context,
    bucket: &dyn ObjectStore,
    collection: &str,
    snapshots: Vec<BucketSnapshot>,
) -> Result<Vec<Generation>, Error> {
    let mut generations = generations::of_collection(bucket, collection, snapshots, usize::MAX).await?;
    generations.reverse();
    let mut candidates = Vec::new();
    for generation in &generations {
        let damage = match generations::of_generation(bucket, generation).await {
            Ok(_) => None,
            Err(wrong) if quality::is_unknown(&wrong) => return Err(quality::as_one(&wrong)),
            Err(wrong) => Some(quality::as_one(&wrong).to_string()),
        };
        candidates.push(candidate(generation, damage));
    }
    let keep = Keep { last: context.settings.sweep.legacy_runs, ..Keep::default() };
    let verdicts = judge(&candidates, &keep, context.ports.clock.now());
    let doomed = generations.into_iter().zip(verdicts).filter(|(_, verdict)| !verdict.keep);
    Ok(doomed.map(|(generation, _)| generation).collect())
}

fn candidate(generation: &Generation, damage: Option<String>) -> Candidate {
    Candidate {
        started: generation.snapshots.iter().map(|snapshot| snapshot.started).max(),
        damage,
        pinned: None,
        dropped: None,
        source: generation.manifest.as_ref().and_then(|manifest| manifest.source_id.clone()),
        peers: generation.snapshots.iter().map(|snapshot| snapshot.peer).collect(),
    }
}

async fn remove(
    context: &Context,
    bucket: &dyn ObjectStore,
    collection: &str,
    doomed: Vec<BucketSnapshot>,
) -> Result<(), Error> {
    if context.settings.dry_run {
        for snapshot in &doomed {
            context.plan(&["remove", collection, &snapshot.name, "older than the runs that are kept"]);
            let item = Item::skipped("snapshot", "would be deleted").collection(collection);
            context.reporter.report(item.name(&snapshot.name));
        }
        return Ok(());
    }
    let keys: BTreeSet<&str> = doomed.iter().map(|snapshot| snapshot.key.as_str()).collect();
    forget(bucket, collection, &keys).await?;
    for snapshot in &doomed {
        let left = delete(bucket, &[snapshot.key.clone(), format!("{}.checksum", snapshot.key)]).await;
        let item = match quality::any(&left) {
            None => Item::done("snapshot").bytes(snapshot.bytes).cause("deleted"),
            Some(error) => Item::failed("snapshot", error),
        };
        context.reporter.report(item.collection(collection).name(&snapshot.name));
    }
    Ok(())
}

/// Deletes the manifests that list one of `keys`: before the snapshots, so that no manifest ever lists one that is gone.
async fn forget(bucket: &dyn ObjectStore, collection: &str, keys: &BTreeSet<&str>) -> Result<(), Error> {
    for (key, bytes) in generations::manifests(bucket, collection).await? {
        let Some(manifest) = generations::read(bucket, collection, &key, bytes).await? else { continue };
        if manifest.snapshots.iter().any(|listed| keys.contains(listed.key.as_str())) {
            bucket.delete(&key).await?;
        }
    }
    Ok(())
}
