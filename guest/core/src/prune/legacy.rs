//! `prune_snap --legacy`: old archives of whole collections, as `create_snap` makes them.

use super::delete;
use crate::context::Context;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::naming::SnapshotFilter;
use crate::report::{Item, Outcome};
use crate::restore::{self, BucketArchive};
use crate::store::ObjectStore;
use std::collections::{BTreeMap, BTreeSet};

/// Deletes the archives of whole collections but the newest `QDRANT_LEGACY_KEEP_RUNS` of each peer. Those that the
/// newest complete manifest lists always stay: peers that fail must not cost the last whole backup.
///
/// # Errors
/// The bucket can't be listed.
pub async fn prune_legacy(
    context: &Context,
    bucket: &dyn ObjectStore,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut all: BTreeMap<String, Vec<BucketArchive>> = BTreeMap::new();
    for archive in restore::archives_in(bucket, &SnapshotFilter::new("")).await? {
        if wanted(&archive.collection) {
            all.entry(archive.collection.clone()).or_default().push(archive);
        }
    }
    for (collection, archives) in all {
        let item = |outcome, name: &str, cause: String| Item {
            collection: Some(collection.clone()),
            name: Some(name.to_owned()),
            cause: Some(cause),
            ..Item::new("snapshot", outcome)
        };
        let complete = match restore::newest_manifest(bucket, &collection, &archives).await {
            Ok(complete) => complete.map(|(_, archives)| archives).unwrap_or_default(),
            Err(cause) => {
                context.reporter.report(item(Outcome::Failed, "", format!("nothing was pruned: {cause}")));
                continue;
            }
        };
        let doomed = doomed(&archives, &complete, context.settings.sweep.legacy_runs);
        if context.settings.dry_run {
            for archive in &doomed {
                context.plan(&["remove", &collection, &archive.name, "older than the runs that are kept"]);
                context.reporter.report(item(Outcome::Skipped, &archive.name, "would be deleted".to_owned()));
            }
            continue;
        }
        let keys: BTreeSet<&str> = doomed.iter().map(|archive| archive.key.as_str()).collect();
        if let Err(cause) = forget(bucket, &collection, &keys).await {
            context.reporter.report(item(Outcome::Failed, "", format!("nothing was pruned: {cause}")));
            continue;
        }
        for archive in &doomed {
            let left = delete(bucket, &[archive.key.clone(), format!("{}.checksum", archive.key)]).await;
            context.reporter.report(if left.is_empty() {
                Item { bytes: Some(archive.bytes), ..item(Outcome::Done, &archive.name, "deleted".to_owned()) }
            } else {
                item(Outcome::Failed, &archive.name, left.join("; "))
            });
        }
    }
    Ok(())
}

/// All but the newest `runs` of each peer, and but those of the newest complete backup.
fn doomed(archives: &[BucketArchive], complete: &[BucketArchive], runs: u64) -> Vec<BucketArchive> {
    let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
    let mut doomed = Vec::new();
    let mut newest_first: Vec<&BucketArchive> = archives.iter().collect();
    newest_first.sort_by(|left, right| right.started.cmp(&left.started));
    for archive in newest_first {
        let count = kept.entry(archive.peer).or_default();
        *count += 1;
        if *count > runs && !complete.iter().any(|other| other.key == archive.key) {
            doomed.push(archive.clone());
        }
    }
    doomed
}

/// Deletes the manifests that list one of `keys`: before the archives, so that no manifest ever lists one that is gone.
async fn forget(bucket: &dyn ObjectStore, collection: &str, keys: &BTreeSet<&str>) -> Result<(), Error> {
    const LIMIT: usize = 64 << 20;
    let mut manifests = Vec::new();
    let mut note = |object: crate::store::Object| manifests.push((object.key, object.bytes));
    bucket.list_own(&Manifest::prefix(collection), &mut note).await?;
    for (key, bytes) in manifests {
        let json = bucket.get_listed(&key, bytes, LIMIT).await?.unwrap_or_default();
        // What can't be read lists nothing that a restore would take.
        let listed = Manifest::parse(&json).map(|manifest| manifest.archives).unwrap_or_default();
        if listed.iter().any(|archive| keys.contains(archive.key.as_str())) {
            bucket.delete(&key).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_last_runs_of_each_peer_and_the_last_whole_backup_stay() {
        let archive = |peer: u64, day: i64| BucketArchive {
            collection: "docs".to_owned(),
            name: format!("{peer}/{day}"),
            key: format!("{peer}/{day}"),
            bytes: 1,
            peer,
            started: datetime!(2026-01-01 00:00:00 UTC) + time::Duration::days(day),
            stored: None,
        };
        let all = [archive(1, 1), archive(1, 2), archive(1, 3), archive(1, 4), archive(2, 1), archive(2, 2)];
        let names = |archives: Vec<BucketArchive>| archives.into_iter().map(|archive| archive.name).collect::<Vec<_>>();
        assert_eq!(names(doomed(&all, &[], 2)), ["1/2", "1/1"]);
        // Peer 2 has not succeeded since day 2: the backup of that day is the last whole one.
        assert_eq!(names(doomed(&all, &[archive(1, 2), archive(2, 2)], 2)), ["1/1"]);
        assert!(doomed(&all, &[], 9).is_empty());
    }
}
