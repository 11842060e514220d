//! What is not deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Event, Wrong};
use qdrant_backup_tests::site::Site;

use crate::{change, fault, filled, manifest_keys, manifests};

/// No rule; a backup prunes nothing then.
const KEEP_NONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "0");
const KEEP_ONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "1");

/// `number` sets, a day from each to the next.
async fn sets(number: usize) -> Site {
    let site = filled(1).await;
    for _ in 0..number {
        site.run_with(&["create_snap_shards"], &[KEEP_NONE]).await.expect(0);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
    }
    site
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_a_kept_set_names_too_stays() {
    let site = sets(2).await;
    let [older, newer] = manifest_keys(&site).try_into().unwrap();
    let shared = manifests(&site)[0].shards.clone();
    // As two sets of one second name the same snapshots.
    let bytes = site.s3.get(&older).unwrap();
    let of_older: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    change(&site, &newer, |manifest| manifest["shards"] = of_older["shards"].clone());
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(manifest_keys(&site), [newer]);
    for shard in shared {
        assert!(site.s3.get(&shard.s3_key).is_some(), "{} is gone", shard.s3_key);
    }
    site.run(&["verify"]).await.expect(0);
}

#[tokio::test(start_paused = true)]
async fn snapshots_stay_while_a_manifest_cannot_be_read() {
    let site = sets(2).await;
    let [older, newer] = manifest_keys(&site).try_into().unwrap();
    let of_newer = manifests(&site)[1].shards.clone();
    site.s3.put(&newer, b"{".to_vec());
    tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    let settings = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    site.run_with(&["prune_snap"], &settings).await.expect(0).says(&["a manifest can't be read"]);
    assert_eq!(manifest_keys(&site), [older, newer]);
    for shard in of_newer {
        assert!(site.s3.get(&shard.s3_key).is_some(), "{} is gone", shard.s3_key);
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_stay_where_there_is_no_set_at_all() {
    let site = sets(1).await;
    tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    let snapshots = site.s3.keys("snapshots/");
    manifest_keys(&site).iter().for_each(|key| site.s3.delete(key));
    let settings = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    site.run_with(&["prune_snap"], &settings).await.expect(0).says(&["manifests may have been lost"]);
    assert_eq!(site.s3.keys("snapshots/"), snapshots);
}

#[tokio::test(start_paused = true)]
async fn snapshots_of_a_backup_that_may_be_running_stay() {
    let site = sets(1).await;
    let orphan = {
        let shards = &manifests(&site)[0].shards;
        let (folder, _) = shards[0].s3_key.rsplit_once('/').unwrap();
        format!("{folder}/docs-shard-0-2020-01-01-00-00-00.snapshot")
    };
    site.s3.put(&orphan, vec![0; 1024]);
    let settings = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "100"), ("QDRANT_SWEEP_GRACE_SECONDS", "86400")];
    tokio::time::sleep(Duration::from_secs(86_400 - 60)).await;
    site.run_with(&["prune_snap"], &settings).await.expect(0);
    assert!(site.s3.get(&orphan).is_some());
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.run_with(&["prune_snap"], &settings).await.expect(0);
    assert!(site.s3.get(&orphan).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_set_with_a_missing_or_shortened_snapshot_is_no_good_one() {
    for is_missing in [true, false] {
        let site = sets(2).await;
        let keys = manifest_keys(&site);
        let damaged = manifests(&site)[1].shards[0].s3_key.clone();
        let mut bytes = site.s3.get(&damaged).unwrap();
        bytes.pop();
        if is_missing {
            site.s3.delete(&damaged);
        } else {
            site.s3.put(&damaged, bytes);
        }
        site.run_with(&["prune_snap"], &[KEEP_ONE])
            .await
            .expect(0)
            .says(&["damaged, and newer than the oldest set that is kept: the snapshot of shard 0"]);
        assert_eq!(manifest_keys(&site), keys, "the older one is the newest good set");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pruned_while_a_restore_runs() {
    for task in ["create_snap_shards", "prune_snap"] {
        let site = sets(2).await;
        let keys = manifest_keys(&site);
        let mut target = site.more(qdrant_backup_tests::qdrant::Options { peers: 1, ..Default::default() }).await;
        // A restore that stays at its first snapshot until the other run has ended.
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let held = Wrong::Before(Event::new(move || {
            let until = Arc::clone(&until);
            async move {
                while !until.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }));
        target.stand_in().fail(fault(Method::PUT, "/snapshots/recover", 1, held));
        let work = tempfile::TempDir::new().unwrap();
        let host = target.hosts()[0].clone();
        let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("CURL_TIMEOUT", "3600")];
        let restore = site.run_in(work.path(), &["recover_snap_shards"], &settings);
        let other = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let run = site.run_with(&[task], &[KEEP_ONE]).await;
            over.store(true, Ordering::SeqCst);
            run
        };
        let (restore, other) = tokio::join!(restore, other);
        other.says(&["another run holds the lock `run_locks/restore-"]);
        restore.expect(0);
        assert!(keys.iter().all(|key| manifest_keys(&site).contains(key)), "{task}");
        // When it has ended, the old ones go.
        clock::another_second().await;
        site.run_with(&[task], &[KEEP_ONE]).await.expect(0);
        assert!(!manifest_keys(&site).contains(&keys[0]), "{task}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pinned_set_and_the_newest_good_one_stay() {
    let site = sets(3).await;
    let keys = manifest_keys(&site);
    let (_, oldest) = SetId::of_key(&keys[0]).unwrap();
    site.run(&["pin_set", oldest.as_str()]).await.expect(0);
    // No rule keeps any.
    site.run_with(&["prune_snap"], &[KEEP_NONE, ("QDRANT_BACKUP_KEEP_WITHIN", "1s")]).await.expect(0);
    assert_eq!(manifest_keys(&site), [keys[0].clone(), keys[2].clone()]);
}

/// By its name it is no snapshot of a shard of this collection: somebody has put it there.
#[tokio::test(start_paused = true)]
async fn what_is_no_snapshot_by_its_name_is_nobody_s_to_sweep() {
    let site = sets(1).await;
    let strange = [
        "snapshots/docs/shards/notes.txt",
        "snapshots/docs/shards/0/notes.txt",
        "snapshots/docs/shards/0/docs-shard-1-2020-01-01-00-00-00.snapshot",
        "snapshots/docs/shards/0/else-shard-0-2020-01-01-00-00-00.snapshot",
        "streamed/0123456789abcdef/docs/notes.txt",
    ];
    strange.iter().for_each(|key| site.s3.put(key, vec![0; 1024]));
    let ours =
        [0, 1].map(|shard| format!("snapshots/docs/shards/{shard}/docs-shard-{shard}-2020-01-01-00-00-00.snapshot"));
    ours.iter().for_each(|key| site.s3.put(key, vec![0; 1024]));
    tokio::time::sleep(Duration::from_secs(5 * 86_400)).await;
    // Two of four are no more than half.
    let settings = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "50")];
    let run = site.run_with(&["prune_snap"], &settings).await.expect(0).says(&["2 orphaned snapshots deleted"]);
    assert!(ours.iter().all(|key| site.s3.get(key).is_none()) && !run.stderr.contains("are left"), "{}", run.stderr);
    assert!(strange.iter().all(|key| site.s3.get(key).is_some()), "{:?}", site.s3.keys(""));
}
