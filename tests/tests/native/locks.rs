//! Two runs at the same time, both of them real.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Canned, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Run, Site};
use serde_json::json;
use tempfile::TempDir;

use crate::{fault, manifests};

const SETS: [&str; 1] = ["create_snap_shards"];
const POD: (&str, &str) = ("HOSTNAME", "qdrant-backup-0");

/// A cluster whose snapshots take a minute each.
async fn slow() -> Site {
    let site = Site::native(Options { peers: 2, work: Duration::from_secs(60), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    site
}

/// Runs a task in a work directory of its own, some seconds from now.
async fn run(site: &Site, after: u64, arguments: &[&str], settings: &[(&str, &str)]) -> Run {
    tokio::time::sleep(Duration::from_secs(after)).await;
    let work = TempDir::new().unwrap();
    let mut all = vec![("CURL_TIMEOUT", "3600")];
    all.extend(settings);
    site.run_in(work.path(), arguments, &all).await
}

#[tokio::test(start_paused = true)]
async fn two_pods_of_one_name_are_two_runs() {
    let site = slow().await;
    let (first, second) = tokio::join!(run(&site, 0, &SETS, &[POD]), run(&site, 30, &SETS, &[POD]));
    first.expect(0);
    second.expect(1).says(&["another run holds the lock", "pod qdrant-backup-0", "run this one again"]);
    assert_eq!(manifests(&site).len(), 1);
    clock::another_second().await;
    let settings = [POD, ("QDRANT_RESTORE_FORCE", "true")];
    let restore = ["recover_snap_shards"];
    let (first, second) = tokio::join!(run(&site, 0, &restore, &settings), run(&site, 1, &restore, &settings));
    first.expect(0);
    second.expect(1).says(&["another run holds the lock", "pod qdrant-backup-0"]);
    assert!(site.s3.keys("run_locks/").is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_runs_that_begin_together_one_goes_on() {
    let site = slow().await;
    let (one, two, three) =
        tokio::join!(run(&site, 0, &SETS, &[]), run(&site, 0, &SETS, &[]), run(&site, 0, &SETS, &[]));
    let mut codes = [one.code, two.code, three.code];
    codes.sort_unstable();
    assert_eq!(codes, [0, 1, 1], "{}\n{}\n{}", one.stderr, two.stderr, three.stderr);
    assert_eq!(manifests(&site).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_version_0_1_0_is_respected() {
    let site = slow().await;
    run(&site, 0, &SETS, &[]).await.expect(0);
    let source = manifests(&site)[0].source.clone().unwrap();
    let lowest = source.peers.iter().map(|peer| peer.id).min().unwrap();
    clock::another_second().await;
    for (task, key) in [("create_snap_shards", "create_snap_shards"), ("prune_snap", "restore")] {
        let key = format!("run_locks/{key}-{lowest}.json");
        let beat = |beat: u64| json!({"holder": "old", "token": "0", "since": "2026-01-29T11:00:00Z", "beat": beat});
        let beating = async {
            for number in 0..4 {
                site.s3.put(&key, beat(number).to_string().into_bytes());
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        };
        let task = [task];
        let (refused, ()) = tokio::join!(run(&site, 1, &task, &[]), beating);
        let next = if task == ["prune_snap"] { "prune when it has ended" } else { "run this one again when" };
        refused.expect(1).says(&["pod old, since 2026-01-29T11:00:00Z", next]);
        // Its run was killed.
        run(&site, 0, &task, &[]).await.expect(0).says(&["no heartbeat, its stale lock is removed"]);
        assert!(site.s3.get(&key).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_killed_run_heals_itself() {
    let site = slow().await;
    let killed = tokio::time::timeout(Duration::from_secs(30), run(&site, 0, &SETS, &[POD])).await;
    assert!(killed.is_err() && site.s3.keys("run_locks/").len() == 1);
    let started = clock::now();
    run(&site, 0, &SETS, &[POD]).await.expect(0).says(&["waiting for its heartbeat", "its stale lock is removed"]);
    assert!(clock::now() - started > time::Duration::seconds(65));
}

/// Its run was killed before it knew whether it might begin; a lock of a run that is in nobody's way is left alone.
#[tokio::test(start_paused = true)]
async fn the_lock_of_a_run_killed_while_it_took_it_heals() {
    let site = slow().await;
    let killed = tokio::time::timeout(Duration::from_secs(30), run(&site, 0, &SETS, &[POD])).await;
    let [key] = site.s3.keys("run_locks/").try_into().unwrap();
    assert!(killed.is_err());
    crate::change(&site, &key, |lock| lock["held"] = json!(false));
    let other = json!({"token": "1", "work": "create_snap_shards", "source_id": "0", "peers": ["7"]});
    site.s3.put("run_locks/create_snap_shards-0.json", other.to_string().into_bytes());
    let next = run(&site, 0, &SETS, &[POD]).await.expect(0).says(&["its stale lock is removed"]);
    assert_eq!(next.stderr.matches("it started at the same time, trying again").count(), 3, "{}", next.stderr);
    assert_eq!(site.s3.keys("run_locks/"), ["run_locks/create_snap_shards-0.json"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_days_ago_needs_no_watching() {
    let site = slow().await;
    let killed = tokio::time::timeout(Duration::from_secs(30), run(&site, 0, &SETS, &[POD])).await;
    assert!(killed.is_err());
    tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    let next = run(&site, 0, &SETS, &[POD]).await.expect(0).says(&["its stale lock is removed"]);
    assert!(!next.stderr.contains("waiting for its heartbeat"), "{}", next.stderr);
}

/// It held the lock of its backup and that of what it pruned after it.
#[tokio::test(start_paused = true)]
async fn a_killed_run_is_watched_once_whatever_it_held() {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    site.source.client().create("docs", json!({"shard_number": 1})).await;
    let keep = ("QDRANT_BACKUP_RETENTION_SETS", "1");
    run(&site, 0, &SETS, &[keep]).await.expect(0);
    clock::another_second().await;
    let never = Wrong::Before(Event::new(std::future::pending));
    site.s3.fail(fault(Method::DELETE, "backup_manifests/docs/", 1, never));
    let killed = tokio::time::timeout(Duration::from_secs(30), run(&site, 0, &SETS, &[keep])).await;
    assert!(killed.is_err() && site.s3.keys("run_locks/").len() == 2, "{:?}", site.s3.keys("run_locks/"));
    let started = clock::now();
    let next = run(&site, 0, &SETS, &[keep]).await.expect(0);
    assert_eq!(next.stderr.matches("waiting for its heartbeat").count(), 1, "{}", next.stderr);
    assert!(clock::now() - started < time::Duration::seconds(80));
    assert!(site.s3.keys("run_locks/").is_empty());
    assert_eq!(manifests(&site).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_it_is_watched_is_not_called_silent() {
    let site = slow().await;
    let killed = tokio::time::timeout(Duration::from_secs(30), run(&site, 0, &SETS, &[])).await;
    let [key] = site.s3.keys("run_locks/").try_into().unwrap();
    assert!(killed.is_err());
    let released = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        site.s3.delete(&key);
    };
    let (second, ()) = tokio::join!(run(&site, 0, &SETS, &[]), released);
    let second = second.expect(0).says(&["waiting for its heartbeat"]);
    assert!(!second.stderr.contains("stale lock"), "{}", second.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_found_silent_stops() {
    let site = slow().await;
    let taken = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let [key] = site.s3.keys("run_locks/").try_into().unwrap();
        site.s3.delete(&key);
        run(&site, 0, &SETS, &[("HOSTNAME", "second")]).await
    };
    let (first, second) = tokio::join!(run(&site, 0, &SETS, &[]), taken);
    first.expect(1).says(&["this run was stopped, as its lock was taken over", "pod second"]);
    second.expect(0);
    assert_eq!(manifests(&site).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lock_is_another_s_stops() {
    let site = slow().await;
    let overwritten = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let [key] = site.s3.keys("run_locks/").try_into().unwrap();
        crate::change(&site, &key, |lock| {
            lock["token"] = json!("0000000000000000");
            lock["holder"] = json!("second");
        });
    };
    let (first, ()) = tokio::join!(run(&site, 0, &SETS, &[]), overwritten);
    first.expect(1).says(&["this run was stopped, as its lock was taken over", "pod second"]);
    assert!(manifests(&site).is_empty());
    // It is not this run's to remove.
    assert_eq!(site.s3.keys("run_locks/").len(), 1);
}

/// A store that takes a lock and does not show it: a delete marker, or replicas that disagree.
#[tokio::test(start_paused = true)]
async fn taking_a_lock_ends_whatever_the_store_answers() {
    let site = slow().await;
    run(&site, 0, &SETS, &[]).await.expect(0);
    clock::another_second().await;
    let nothing = Canned {
        status: 200,
        retry_after: None,
        content_type: "application/xml",
        body: b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_vec(),
    };
    site.s3.fail(fault(Method::GET, "prefix=run_locks", 9999, Wrong::Answer(nothing)));
    let before = site.s3.requests().len();
    run(&site, 0, &SETS, &[]).await.expect(0).says(&["does not list the lock", "no lock could be taken"]);
    let tries = site.s3.requests().into_iter().skip(before).filter(|request| request.uri.path().contains("run_locks/"));
    assert!(tries.count() < 40);
    let keys = site.s3.keys("backup_manifests/");
    run(&site, 0, &["prune_snap"], &[("QDRANT_BACKUP_RETENTION_SETS", "1")])
        .await
        .expect(1)
        .says(&["no lock could be taken", "nothing is removed"]);
    assert_eq!(site.s3.keys("backup_manifests/"), keys);
}

#[tokio::test(start_paused = true)]
async fn a_backup_and_a_restore_of_one_cluster_exclude_each_other() {
    let site = slow().await;
    run(&site, 0, &SETS, &[]).await.expect(0);
    clock::another_second().await;
    let restore = ["recover_snap_shards"];
    let force = [("QDRANT_RESTORE_FORCE", "true")];
    let (backup, restore) = tokio::join!(run(&site, 0, &SETS, &[]), run(&site, 30, &restore, &force));
    backup.expect(0);
    restore.expect(1).says(&["another run holds the lock `run_locks/create_snap_shards-"]);
}
