//! The tool's own records go when nothing needs them any more.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::Wrong;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::two::{THEIRS, Two};
use crate::{failed, fault, filled};

const SETS: [&str; 1] = ["create_snap_shards"];
const KEEP_ONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "1");
const DAY: Duration = Duration::from_secs(86_400);

async fn days(site: &Site, days: usize, task: &str, settings: &[(&str, &str)]) {
    for _ in 0..days {
        site.run_with(&[task], settings).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_runs_go_with_their_sets() {
    let site = filled(1).await;
    site.source.client().create("old", json!({"shard_number": 1})).await;
    days(&site, 1, SETS[0], &[KEEP_ONE]).await;
    site.source.client().delete("old").await;
    days(&site, 10, SETS[0], &[KEEP_ONE]).await;
    // The sets of `docs` of the last run, that of `old` of the first, and two days in which a backup may be running.
    let first = site.s3.keys("backup_manifests/old/").remove(0)["backup_manifests/old/".len()..][..10].to_owned();
    let kept = site.s3.keys("runs/");
    assert!(kept.len() <= 5 && kept[0].contains(&first), "{kept:?}");
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["`old`", "it no longer existed"]);
    assert_eq!(site.source.client().collections().await, BTreeSet::from(["docs".to_owned()]));
    // With the last set of the first run its list goes.
    let set = site.s3.keys("backup_manifests/old/").remove(0);
    site.s3.delete(&set);
    let run = site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    run.says(&["lists of collections of runs that have no backup left"]);
    assert!(!site.s3.keys("runs/").iter().any(|key| key.contains(&first)));
}

/// An hourly run that chooses changes nothing about what "everything" is.
#[tokio::test(start_paused = true)]
async fn the_newest_list_stays_however_old_it_is() {
    let site = filled(1).await;
    days(&site, 1, SETS[0], &[KEEP_ONE]).await;
    let list = site.s3.keys("runs/");
    days(&site, 10, SETS[0], &[KEEP_ONE, ("QDRANT_COLLECTIONS", "docs")]).await;
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!((list.len(), site.s3.keys("runs/")), (1, list));
}

/// How long a collection has been missing is told by the lists of runs whose sets are gone.
#[tokio::test(start_paused = true)]
async fn lists_stay_that_tell_how_long_a_collection_is_missing() {
    let site = filled(1).await;
    site.source.client().create("old", json!({"shard_number": 1})).await;
    let settings = [KEEP_ONE, ("QDRANT_BACKUP_DROPPED_KEEP", "7d"), ("QDRANT_SWEEP_GRACE_SECONDS", "60")];
    days(&site, 1, SETS[0], &settings).await;
    site.source.client().delete("old").await;
    days(&site, 7, SETS[0], &settings).await;
    assert_eq!(site.s3.keys("backup_manifests/old/").len(), 1);
    days(&site, 3, SETS[0], &settings).await;
    assert!(site.s3.keys("backup_manifests/old/").is_empty());
    days(&site, 12, SETS[0], &settings).await;
    assert!(site.s3.keys("runs/").len() <= 9, "{:?}", site.s3.keys("runs/"));
}

#[tokio::test(start_paused = true)]
async fn aliases_of_a_run_go_with_its_snapshots() {
    let site = filled(1).await;
    site.source.client().alias("prod", "docs").await;
    days(&site, 10, "create_snap", &[]).await;
    assert_eq!((site.s3.keys("runs/").len(), aliases(&site)), (10, 11), "each has its backups");
    let one = [("QDRANT_LEGACY_KEEP_RUNS", "1")];
    site.run_with(&["prune_snap", "--legacy", "--dry-run"], &one).await.expect(0);
    site.run_with(&["prune_snap", "--legacy"], &one).await.expect(0).says(&["aliases of runs", "lists of collections"]);
    assert!(site.s3.keys("runs/").len() <= 4 && aliases(&site) <= 5, "{:?}", site.s3.keys(""));
    site.source.client().drop_aliases(&["prod"]).await;
    site.run(&["recover_colla"]).await.expect(0);
    assert_eq!(site.source.client().aliases().await.len(), 1);
    // The copies that all sources share are left to people.
    let shared = site.s3.keys("collection_aliases_store/collection_aliases-");
    assert_eq!(shared.len(), 10);
}

/// How many objects there are with aliases of a source.
fn aliases(site: &Site) -> usize {
    let keys = site.s3.keys("collection_aliases_store/");
    keys.iter().filter(|key| key.matches('/').count() == 2).count()
}

#[tokio::test(start_paused = true)]
async fn records_of_restores_go_when_they_ended_long_ago() {
    let site = filled(1).await;
    site.run(&SETS).await.expect(0);
    let target = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let to = target.hosts().remove(0);
    let target = [("QDRANT_RESTORE_HOSTS", to.as_str())];
    site.run_with(&["recover_snap_shards"], &target).await.expect(0);
    let [record] = site.s3.keys("restore_state/").try_into().unwrap();
    // While its set is there, the same restore is known to have ended.
    tokio::time::sleep(40 * DAY).await;
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(site.s3.keys("restore_state/"), std::slice::from_ref(&record));
    // One that has not ended stays.
    let begun = record.replace("restore-", "restore-begun-");
    let text = String::from_utf8(site.s3.get(&record).unwrap()).unwrap();
    site.s3.put(&begun, text.replace("\"ended\"", "\"begun\"").into_bytes());
    site.s3.put("restore_state/docs/restore-unreadable.json", b"{".to_vec());
    site.s3.put("restore_state/docs/2026-01-29T11-44-22Z-old.json", b"{}".to_vec());
    site.run_with(&SETS, &[KEEP_ONE]).await.expect(0).says(&["old records: deleted 1 of 1: records of restores"]);
    assert_eq!(site.s3.keys("restore_state/").len(), 3);
    tokio::time::sleep(40 * DAY).await;
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0).says(&["records of restores that ended"]);
    assert_eq!(site.s3.keys("restore_state/"), [begun, "restore_state/docs/restore-unreadable.json".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn locks_of_killed_runs_and_probes_go() {
    let site = filled(1).await;
    site.run(&SETS).await.expect(0);
    let beat = |at: &str| {
        json!({"holder": "old", "token": "0", "work": "create_snap", "source_id": "0", "beat_at": at})
            .to_string()
            .into_bytes()
    };
    // In nobody's way: a backup of another source.
    site.s3.put("run_locks/create_snap-7-0.json", beat("2020-01-01T00:00:00Z"));
    site.s3.put("backup_manifests/write-check-0", b"0".to_vec());
    site.run(&["prune_snap"]).await.expect(0);
    assert_eq!(site.s3.keys("run_locks/").len() + site.s3.keys("backup_manifests/write-check-").len(), 2);
    tokio::time::sleep(3 * DAY).await;
    let fresh = qdrant_backup_tests::clock::now();
    site.s3.put(
        "run_locks/create_snap-8-0.json",
        beat(&format!("{}-{:02}-{:02}T00:00:00Z", fresh.year(), u8::from(fresh.month()), fresh.day())),
    );
    site.run_with(&["create_snap"], &[]).await.expect(0).says(&["locks of runs that were killed", "probes of backups"]);
    assert_eq!(site.s3.keys("run_locks/"), ["run_locks/create_snap-8-0.json"]);
    assert!(site.s3.keys("backup_manifests/write-check-").is_empty());
}

/// Whose backups lie where this run can't see them has its records kept.
#[tokio::test(start_paused = true)]
async fn records_of_sources_that_are_elsewhere_stay() {
    let two = Two::with_prefixes().await;
    two.fill().await;
    let theirs = [("QDRANT_S3_KEY_PREFIX", THEIRS)];
    for _ in 0..5 {
        two.run_second(&["create_snap"], &theirs).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    two.run_first(&["create_snap", "--dry-run"], &[]).await;
    two.run_first(&["create_snap"], &[]).await.expect(0);
    let before = (two.site.s3.keys("runs/"), two.site.s3.keys("collection_aliases_store/"));
    two.run_first(&["prune_snap", "--legacy"], &[]).await.expect(0);
    assert_eq!((two.site.s3.keys("runs/"), two.site.s3.keys("collection_aliases_store/")), before);
}

#[tokio::test(start_paused = true)]
async fn records_that_may_not_be_deleted_fail_no_backup() {
    let site = filled(1).await;
    days(&site, 8, SETS[0], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await;
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::DELETE, "runs/", 999, denied));
    let run = site.run_with(&SETS, &[KEEP_ONE]).await.expect(0);
    assert!(run.stderr.contains("old records: deleted 0 of") && run.stderr.contains("AccessDenied"), "{}", run.stderr);
    failed(site.run_with(&["prune_snap"], &[KEEP_ONE]).await).says(&["AccessDenied"]);
}

/// Of the pods of one backup the first does it.
#[tokio::test(start_paused = true)]
async fn old_records_are_removed_by_the_first_share() {
    let site = filled(1).await;
    days(&site, 8, SETS[0], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await;
    crate::manifest_keys(&site)[..7].iter().for_each(|key| site.s3.delete(key));
    site.s3.keys("snapshots/").iter().for_each(|key| site.s3.delete(key));
    for (index, removes) in [("1", false), ("2", false), ("0", true)] {
        let share =
            [("QDRANT_BACKUP_SHARES", "3"), ("JOB_COMPLETION_INDEX", index), ("QDRANT_BACKUP_RUN", "r"), KEEP_ONE];
        let run = site.run_with(&SETS, &share).await.expect(0);
        assert_eq!(run.stderr.contains("old records: deleted"), removes, "{index}: {}", run.stderr);
    }
}

/// Which sources there are is not known where the store fails; keys that may not list them are enough.
#[tokio::test(start_paused = true)]
async fn records_of_sources_that_can_t_be_read_are_not_none() {
    let site = filled(1).await;
    days(&site, 2, "create_snap", &[]).await;
    let snapshots = site.s3.keys("snapshots/");
    let one = [("QDRANT_LEGACY_KEEP_RUNS", "1")];
    let broken = Wrong::Status(400, "<Error><Code>InvalidRequest</Code></Error>".to_owned());
    site.s3.fail(fault(Method::GET, "prefix=sources", 999, broken));
    failed(site.run_with(&["prune_snap", "--legacy"], &one).await);
    assert_eq!(site.s3.keys("snapshots/"), snapshots);
    site.s3.heal();
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::GET, "prefix=sources", 999, denied));
    let run = site.run_with(&["prune_snap", "--legacy"], &one).await.expect(0);
    run.says(&["the records of sources (`sources/`) can't be read"]);
    assert!(site.s3.keys("snapshots/").len() < snapshots.len());
}

/// Sets below another prefix say nothing of what lies here: whole collections of that source are not seen from here.
#[tokio::test(start_paused = true)]
async fn records_of_a_source_with_sets_elsewhere_stay() {
    let two = Two::with_prefixes().await;
    two.fill().await;
    let theirs = [("QDRANT_S3_KEY_PREFIX", THEIRS)];
    for _ in 0..5 {
        two.run_second(&["create_snap"], &theirs).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    two.run_second(&SETS, &theirs).await.expect(0);
    two.run_first(&SETS, &[]).await.expect(0);
    let before = two.site.s3.keys("runs/");
    two.run_first(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(two.site.s3.keys("runs/"), before);
}

/// What this program has stored itself lies below no prefix of Qdrant's.
#[tokio::test(start_paused = true)]
async fn lists_of_runs_go_with_their_streamed_sets() {
    let site = filled(1).await;
    days(&site, 6, SETS[0], &[("QDRANT_SNAPSHOT_TRANSFER", "stream"), ("QDRANT_BACKUP_RETENTION_SETS", "0")]).await;
    let run = site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    run.says(&["lists of collections of runs that have no backup left"]);
}
