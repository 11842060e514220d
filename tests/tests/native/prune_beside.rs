//! A prune beside a backup: neither waits for the other one, and what the backup has made stays, however short the grace and
//! whatever the clocks say.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Run, Site};
use serde_json::json;
use tempfile::TempDir;

use crate::two::Two;
use crate::{after, fault, manifest_keys};

const HOUR: Duration = Duration::from_secs(3600);
/// All that belongs to no set is old, and may go.
const SHORT: [(&str, &str); 2] = [("QDRANT_SWEEP_GRACE_SECONDS", "1"), ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
const PRUNE: [&str; 1] = ["prune_snap"];

/// One server with a collection of two shards, of which there is a backup already.
async fn site(task: &str, local_snapshots: bool) -> Site {
    let options = Options { peers: 2, local_snapshots, ..Options::default() };
    let site = Site::native(options).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    run(&site, 0, &[task], &[]).await.expect(0);
    tokio::time::sleep(HOUR).await;
    site
}

/// A run in a work directory of its own, some hours from now.
async fn run(site: &Site, after: u32, arguments: &[&str], settings: &[(&str, &str)]) -> Run {
    tokio::time::sleep(after * HOUR).await;
    let work = TempDir::new().unwrap();
    let mut all = vec![("CURL_TIMEOUT", "6d"), ("QDRANT_SNAPSHOT_TRANSFER", "auto")];
    all.extend(settings);
    site.run_in(work.path(), arguments, &all).await
}

/// The next such request takes three hours.
fn slow(site: &Site, method: Method, uri: &str) {
    let slow = Wrong::Before(Event::new(|| tokio::time::sleep(3 * HOUR)));
    site.s3.faults().add(Chosen::Qdrant, fault(method, uri, 1, slow));
}

fn snapshots(site: &Site) -> Vec<String> {
    let mut keys = site.s3.keys("snapshots/");
    keys.extend(site.s3.keys("streamed/"));
    keys
}

#[tokio::test(start_paused = true)]
async fn what_a_backup_at_work_has_made_of_a_set_stays() {
    for (local, call) in [(false, (Method::POST, "/shards/1/snapshots")), (true, (Method::GET, "/shards/1/snapshot"))] {
        let site = site("create_snap_shards", local).await;
        let before = snapshots(&site);
        slow(&site, call.0, call.1);
        let (backup, prune) = tokio::join!(run(&site, 0, &["create_snap_shards"], &[]), run(&site, 1, &PRUNE, &SHORT));
        prune.expect(0).says(&[
            "1 snapshots that belong to no set are left",
            "a backup is at work",
            "create_snap_shards-",
        ]);
        backup.expect(0).says(&["all done"]);
        assert_eq!((manifest_keys(&site).len(), snapshots(&site).len()), (2, before.len() + 2));
        site.run(&["verify"]).await.expect(0);
        // When the backup has ended there is nothing to spare.
        let prune = site.run_with(&PRUNE, &SHORT).await.expect(0);
        assert!(!prune.stderr.contains("at work"), "{}", prune.stderr);
        assert_eq!(snapshots(&site).len(), before.len() + 2);
    }
}

/// The clock of its peer is a year behind.
#[tokio::test(start_paused = true)]
async fn what_a_backup_at_work_has_made_of_a_collection_stays() {
    let site = site("create_snap", false).await;
    let before = snapshots(&site);
    let slow = Wrong::Before(Event::new(|| tokio::time::sleep(3 * HOUR)));
    site.s3.faults().add(Chosen::Peer(1), fault(Method::POST, "/docs/snapshots", 1, slow));
    let legacy = [("QDRANT_LEGACY_KEEP_RUNS", "1")];
    let prune = async {
        tokio::time::sleep(HOUR).await;
        let [made] =
            snapshots(&site).into_iter().filter(|key| !before.contains(key)).collect::<Vec<_>>().try_into().unwrap();
        let behind = made.replacen("-2026-", "-2025-", 1);
        site.s3.put(&behind, site.s3.get(&made).unwrap());
        (run(&site, 0, &["prune_snap", "--legacy"], &legacy).await, behind)
    };
    let (backup, (prune, behind)) = tokio::join!(run(&site, 0, &["create_snap"], &[]), prune);
    prune.expect(0).says(&["1 snapshots are left: a backup is at work", "create_snap-"]);
    backup.expect(0).says(&["all done"]);
    assert!(site.s3.get(&behind).is_some());
    // When it has ended, what is in no generation goes.
    site.run_with(&["prune_snap", "--legacy"], &legacy).await.expect(0);
    assert!(site.s3.get(&behind).is_none());
    assert_eq!(snapshots(&site).len(), 2);
}

/// A pod that was killed: its lock is watched, and what it has left goes in the same run.
#[tokio::test(start_paused = true)]
async fn what_a_killed_backup_has_left_goes_with_its_lock() {
    let site = site("create_snap_shards", false).await;
    let before = snapshots(&site);
    slow(&site, Method::POST, "/shards/1/snapshots");
    let killed = tokio::time::timeout(HOUR, run(&site, 0, &["create_snap_shards"], &[])).await;
    assert!(killed.is_err() && site.s3.keys("run_locks/").len() == 1);
    assert_eq!(snapshots(&site).len(), before.len() + 1);
    // A dry run says what would go, and leaves the lock.
    let dry = site.run_with(&["prune_snap", "--dry-run"], &SHORT).await.expect(0);
    assert!(dry.stdout.contains("sweep\tdocs"), "{}", dry.stdout);
    assert_eq!(site.s3.keys("run_locks/").len(), 1);
    site.run_with(&PRUNE, &SHORT).await.expect(0).says(&["no heartbeat, its stale lock is removed"]);
    assert_eq!(snapshots(&site), before);
    assert!(site.s3.keys("run_locks/").is_empty());
}

/// It ends between two looks of the prune: its snapshots were listed, its manifest was not.
#[tokio::test(start_paused = true)]
async fn a_backup_that_ends_while_a_prune_looks_loses_nothing() {
    let site = site("create_snap_shards", false).await;
    let [set] = manifest_keys(&site).try_into().unwrap();
    // The manifest of an older set, whose snapshots are orphans without it, comes back when the locks are looked at.
    clock::another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let all = snapshots(&site);
    tokio::time::sleep(HOUR).await;
    let hidden = site.s3.get(&set).unwrap();
    site.s3.delete(&set);
    let store = site.s3.store();
    let mut looks = fault(Method::GET, "prefix=run_locks", 1, after(move || store.put(&set, hidden.clone())));
    // Once when the prune takes its own lock, and once when it begins.
    looks.skip = 2;
    site.s3.fail(looks);
    let keep = [SHORT[0], SHORT[1], ("QDRANT_BACKUP_RETENTION_SETS", "9")];
    site.run_with(&PRUNE, &keep).await.expect(0).says(&["a backup has ended meanwhile"]);
    assert_eq!(snapshots(&site), all);
    site.run(&["verify"]).await.expect(0);
}

/// A set of the run that is at work is no older than it is, although a clock says so.
#[tokio::test(start_paused = true)]
async fn a_set_of_a_backup_at_work_stays_whatever_its_date() {
    let site = site("create_snap_shards", false).await;
    let client = site.source.client();
    client.create("more", json!({"shard_number": 1})).await;
    slow(&site, Method::POST, "/collections/more/shards/0/snapshots");
    let prune = async {
        tokio::time::sleep(HOUR).await;
        // As if its clock were a year behind.
        let [_, made] = manifest_keys(&site).try_into().unwrap();
        let id = made.rsplit('/').next().unwrap();
        let older = made.replace(id, &id.replacen("2026-", "2025-", 1));
        let text = String::from_utf8(site.s3.get(&made).unwrap()).unwrap();
        let id = id.trim_end_matches(".json");
        site.s3.put(&older, text.replace(id, &id.replacen("2026-", "2025-", 1)).into_bytes());
        let run = run(&site, 0, &PRUNE, &[("QDRANT_BACKUP_RETENTION_SETS", "1")]).await;
        (run, older)
    };
    let (backup, (prune, older)) = tokio::join!(run(&site, 0, &["create_snap_shards"], &[]), prune);
    prune.expect(0).says(&["the backup that made it is at work"]);
    backup.expect(0);
    assert!(site.s3.get(&older).is_some());
}

/// The same of a generation; those of other runs go, whoever is at work.
#[tokio::test(start_paused = true)]
async fn a_generation_of_a_backup_at_work_stays_whatever_its_date() {
    let site = site("create_snap", false).await;
    run(&site, 0, &["create_snap"], &[]).await.expect(0);
    tokio::time::sleep(HOUR).await;
    let (older, before) = (site.s3.keys("snapshot_manifests/docs/").remove(0), snapshots(&site));
    site.source.client().create("more", json!({"shard_number": 1})).await;
    slow(&site, Method::POST, "/collections/more/snapshots");
    let prune = async {
        tokio::time::sleep(HOUR).await;
        // As if its clock were a year behind.
        let [_, _, made] = site.s3.keys("snapshot_manifests/docs/").try_into().unwrap();
        let text = String::from_utf8(site.s3.get(&made).unwrap()).unwrap();
        site.s3.delete(&made);
        let behind = made.replacen("/2026-", "/2025-", 1);
        site.s3.put(&behind, text.replace("-2026-", "-2025-").into_bytes());
        let mut copies = Vec::new();
        for key in snapshots(&site).into_iter().filter(|key| key.contains("/docs/") && !before.contains(key)) {
            let copy = key.replacen("-2026-", "-2025-", 1);
            site.s3.put(&copy, site.s3.get(&key).unwrap());
            site.s3.delete(&key);
            copies.push(copy);
        }
        let run = run(&site, 0, &["prune_snap", "--legacy"], &[("QDRANT_LEGACY_KEEP_RUNS", "1")]).await;
        (run, behind, copies)
    };
    let (backup, (prune, behind, copies)) = tokio::join!(run(&site, 0, &["create_snap"], &[]), prune);
    backup.expect(0);
    prune.expect(0).says(&["2 snapshots are left: a backup is at work"]);
    assert!(site.s3.get(&behind).is_some() && copies.iter().all(|copy| site.s3.get(copy).is_some()), "{copies:?}");
    assert!(site.s3.get(&older).is_none(), "that of an earlier run goes");
}

/// Two sources with the same keys: what the one is making passes for orphans of the other.
#[tokio::test(start_paused = true)]
async fn what_another_source_makes_stays_when_one_prunes_its_own() {
    let two = Two::servers().await;
    two.fill().await;
    for _ in 0..2 {
        two.run_first(&["create_snap_shards"], &[]).await.expect(0);
        two.run_second(&["create_snap_shards"], &[]).await.expect(0);
        tokio::time::sleep(HOUR).await;
    }
    let waits = || tokio::time::sleep(3 * HOUR);
    let slow = fault(Method::POST, "/v1/shards/1/snapshots", 1, Wrong::Before(Event::new(waits)));
    two.site.s3.faults().add(Chosen::Qdrant, slow);
    let other = async {
        tokio::time::sleep(HOUR).await;
        two.run_second(&["create_snap_shards"], &SHORT).await
    };
    let (first, second) = tokio::join!(two.run_first(&["create_snap_shards"], &[("CURL_TIMEOUT", "6d")]), other);
    second.expect(0).says(&["1 snapshots that belong to no set are left", "a backup is at work"]);
    first.expect(0);
}
