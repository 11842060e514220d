//! What counts for retention is what counts for a restore.

use std::time::Duration;

use http::Method;
use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::two::Two;
use crate::{change, fault, filled, manifest_keys, manifests};

const KEEP_ALL: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "0");
const KEEP_ONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "1");
const DAY: Duration = Duration::from_secs(86_400);

/// `number` sets, a day from each to the next.
async fn sets(number: usize) -> Site {
    let site = filled(1).await;
    for _ in 0..number {
        site.run_with(&["create_snap_shards"], &[KEEP_ALL]).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    site
}

/// Changes a byte of an object.
fn spoil(site: &Site, key: &str) {
    let mut bytes = site.s3.get(key).unwrap();
    bytes[600] ^= 1;
    site.s3.put(key, bytes);
}

#[tokio::test(start_paused = true)]
async fn without_a_rule_nothing_is_removed() {
    let site = sets(3).await;
    site.run_with(&["prune_snap"], &[KEEP_ALL]).await.expect(0).says(&["kept: no retention rule is set"]);
    assert_eq!(manifest_keys(&site).len(), 3);
    // Other rules apply all the same.
    let daily = [KEEP_ALL, ("QDRANT_BACKUP_KEEP_DAILY", "1")];
    site.run_with(&["create_snap_shards"], &daily).await.expect(0).says(&["removed: no rule keeps it"]);
    assert_eq!(manifest_keys(&site).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_bytes_of_the_same_size_push_out_no_good_set() {
    let site = sets(2).await;
    let keys = manifest_keys(&site);
    spoil(&site, &manifests(&site)[1].shards[0].s3_key);
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0).says(&["its SHA-256 is"]);
    assert_eq!(manifest_keys(&site), keys);
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["its SHA-256 is"]);
    assert_eq!(site.source.client().count(0, "docs").await, 40);
}

#[tokio::test(start_paused = true)]
async fn a_copied_bucket_has_other_etags_and_is_as_good() {
    let site = sets(2).await;
    let keys = manifest_keys(&site);
    for set in manifests(&site) {
        for shard in &set.shards {
            site.s3.put_with_etag(&shard.s3_key, site.s3.get(&shard.s3_key).unwrap(), "0123456789abcdef-3");
        }
    }
    site.run(&["verify"]).await.expect(0).says(&["restorable: 2 snapshots"]);
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0).says(&["kept: last 1"]);
    assert_eq!(manifest_keys(&site), keys[1..]);
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    // Without a SHA-256 nothing says that it is the same.
    change(&site, &keys[1], |manifest| manifest["shards"][0]["checksum"] = json!(""));
    site.run(&["verify"]).await.expect(1).says(&["its ETag is another"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_from_the_future_pushes_out_nothing() {
    let site = sets(2).await;
    let keys = manifest_keys(&site);
    let future = "backup_manifests/docs/2199-01-01T00-00-00Z-x.json";
    site.s3.put(future, site.s3.get(&keys[1]).unwrap());
    change(&site, future, |manifest| manifest["backup_set_id"] = json!("2199-01-01T00-00-00Z-x"));
    let run = site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    run.says(&["kept: last 1", "kept: its date is in the future"]);
    assert_eq!(manifest_keys(&site), [&keys[1], future]);
}

#[tokio::test(start_paused = true)]
async fn a_run_never_removes_what_it_has_made() {
    let site = sets(1).await;
    let (store, old) = (site.s3.store(), manifest_keys(&site).remove(0));
    // While it is at work, another run begins and ends.
    let overtaken = Event::new(move || {
        let (store, old) = (store.clone(), old.clone());
        async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let id = SetId::new(clock::now() - Duration::from_secs(10), "other");
            let text = String::from_utf8(store.get(&old).unwrap()).unwrap();
            let (_, old) = SetId::of_key(&old).unwrap();
            store.put(&id.key("docs"), text.replace(old.as_str(), id.as_str()).into_bytes());
        }
    });
    site.s3.fail(fault(Method::PUT, "backup_manifests/docs/", 1, Wrong::Before(overtaken)));
    site.run_with(&["create_snap_shards"], &[KEEP_ONE]).await.expect(0).says(&["kept: made by this run"]);
    assert_eq!(manifest_keys(&site).len(), 2);
}

/// Two clusters with one bucket, and rules of their own.
#[tokio::test(start_paused = true)]
async fn a_backup_prunes_its_own_source_alone() {
    for with_records in [true, false] {
        let two = Two::clusters().await;
        two.fill().await;
        if !with_records {
            let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
            two.site.s3.fail(fault(Method::PUT, "sources/", 999, denied));
        }
        for _ in 0..3 {
            two.run_first(&["create_snap_shards"], &[KEEP_ALL]).await.expect(0);
            two.run_second(&["create_snap_shards"], &[KEEP_ALL]).await.expect(0);
            tokio::time::sleep(DAY).await;
        }
        two.run_first(&["create_snap_shards"], &[KEEP_ONE]).await.expect(0).says(&["a backup prunes only its own"]);
        let counts = two.sets_of_each("v1");
        assert_eq!(counts, [1, 3], "with records: {with_records}");
        two.run_first(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
        assert_eq!(two.sets_of_each("v1"), [1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_needs_no_right_to_delete() {
    let site = sets(1).await;
    let client = site.source.client();
    client.create("more", json!({"shard_number": 1})).await;
    site.run_with(&["create_snap_shards"], &[KEEP_ALL]).await.expect(0);
    tokio::time::sleep(DAY).await;
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::DELETE, "", 999, denied));
    let run = site.run_with(&["create_snap_shards"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(run.stderr.matches("these keys may not delete").count(), 1, "{}", run.stderr);
    assert_eq!(manifest_keys(&site).len(), 3);
    // Nor has the next one, which finds the locks of this one.
    tokio::time::sleep(DAY).await;
    site.run_with(&["create_snap_shards"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(manifest_keys(&site).len(), 4);
    // To prune needs it.
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(1).says(&["AccessDenied"]);
    assert_eq!(manifest_keys(&site).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_can_t_be_looked_at_stops_the_pruning() {
    let site = sets(2).await;
    let keys = manifest_keys(&site);
    let newest = manifests(&site)[1].shards[0].s3_key.clone();
    site.s3.fail(fault(Method::HEAD, &newest, 99, Wrong::Status(403, String::new())));
    let (_, set) = SetId::of_key(&keys[1]).unwrap();
    let says = ["nothing was pruned", &format!("the set {set}")];
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(1).says(&says);
    assert_eq!(manifest_keys(&site), keys);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_generation_costs_no_good_one() {
    let site = filled(1).await;
    for _ in 0..3 {
        site.run(&["create_snap"]).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    let time = |key: &String| key[key.len() - "2026-01-29-11-44-22.snapshot".len()..].to_owned();
    let newest = site.s3.keys("snapshots/docs/docs-").into_iter().max_by_key(time).unwrap();
    // As long as before, and cut.
    let mut bytes = site.s3.get(&newest).unwrap();
    let length = bytes.len();
    bytes.truncate(length / 2);
    bytes.resize(length, 7);
    site.s3.put(&newest, bytes);
    let one = [("QDRANT_LEGACY_KEEP_RUNS", "1")];
    site.run_with(&["prune_snap", "--legacy"], &one).await.expect(0);
    assert_eq!(site.s3.keys("snapshots/docs/docs-").len(), 4, "the newest good generation, and the bad one after it");
    site.source.client().wipe().await;
    std::fs::remove_file(site.work.path().join("snapshots")).unwrap();
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(site.source.client().count(0, "docs").await, 40);
}

#[tokio::test(start_paused = true)]
async fn whole_generations_are_kept_and_not_single_snapshots() {
    let site = filled(1).await;
    site.run(&["create_snap"]).await.expect(0);
    tokio::time::sleep(DAY).await;
    site.run(&["create_snap"]).await.expect(0);
    let complete = site.s3.keys("snapshots/docs/docs-");
    // Since then one of the two peers fails.
    for _ in 0..3 {
        tokio::time::sleep(DAY).await;
        let failing = Wrong::Status(500, "no room".to_owned());
        site.s3
            .faults()
            .add(qdrant_backup_tests::faults::Chosen::Peer(1), fault(Method::POST, "/docs/snapshots", 1, failing));
        site.run(&["create_snap"]).await.expect(3).says(&["kept as a partial backup"]);
    }
    let one = [("QDRANT_LEGACY_KEEP_RUNS", "1")];
    site.run_with(&["prune_snap", "--legacy"], &one).await.expect(0);
    let left = site.s3.keys("snapshots/docs/docs-");
    assert_eq!(complete.iter().filter(|key| left.contains(key)).count(), 2, "{left:?}");
    assert_eq!(left.len(), 5, "partial ones that are newer stay, too");
    // They go when they are older than all good ones that are kept.
    tokio::time::sleep(DAY).await;
    site.run(&["create_snap"]).await.expect(0);
    site.run_with(&["prune_snap", "--legacy"], &one).await.expect(0);
    assert_eq!(site.s3.keys("snapshots/docs/docs-").len(), 2);
    assert_eq!(site.s3.keys("snapshot_manifests/docs/").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_of_an_unknown_source_is_left() {
    let site = sets(1).await;
    // Another source keeps its manifests where nobody sees them.
    let other = site.more(Options { peers: 1, ..Options::default() }).await;
    other.client().create("docs", json!({"shard_number": 1})).await;
    let before = site.s3.keys("snapshots/docs/shards/");
    other.client().ok(Method::POST, "/collections/docs/shards/0/snapshots?wait=true", None).await;
    let theirs = site.s3.keys("snapshots/docs/shards/").into_iter().find(|key| !before.contains(key)).unwrap();
    tokio::time::sleep(DAY * 5).await;
    let all = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    site.run_with(&["prune_snap"], &all).await.expect(0).says(&["1 orphaned snapshots are left"]);
    assert!(site.s3.get(&theirs).is_some());
    // One of a source that is known goes.
    let shard = manifests(&site)[0].shards[0].clone();
    let ours = theirs.replace("2026", "2025");
    site.s3.put(&ours, site.s3.get(&shard.s3_key).unwrap());
    tokio::time::sleep(DAY * 5).await;
    site.run_with(&["prune_snap"], &all).await.expect(0).says(&["1 orphaned snapshots deleted"]);
    assert!(site.s3.get(&ours).is_none() && site.s3.get(&theirs).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_set_under_another_prefix_is_no_damage() {
    let site = sets(2).await;
    let [older, newer] = manifest_keys(&site).try_into().unwrap();
    let text = String::from_utf8(site.s3.get(&older).unwrap()).unwrap();
    site.s3.put(&older, text.replace("snapshots/docs/shards/", "elsewhere/docs/shards/").into_bytes());
    // Its own is looked for there.
    site.run(&["verify"]).await.expect(3).says(&["the object is missing", "needs QDRANT_S3_KEY_PREFIX=elsewhere"]);
    change(&site, &older, |manifest| manifest["source_id"] = json!("0123456789abcdef"));
    site.run(&["verify"]).await.expect(0).says(&["another source's", "not checked"]);
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0).says(&["are below another QDRANT_S3_KEY_PREFIX"]);
    assert_eq!(site.s3.keys("backup_manifests/docs/"), [older, newer]);
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_can_t_be_looked_at_stops_the_pruning() {
    let site = filled(1).await;
    for _ in 0..2 {
        site.run(&["create_snap"]).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    let snapshots = site.s3.keys("snapshots/docs/");
    let newest = snapshots.iter().max_by_key(|key| key[key.len() - "2026-01-29-11-44-22.snapshot".len()..].to_owned());
    site.s3.fail(fault(Method::GET, newest.unwrap(), 99, Wrong::Status(403, String::new())));
    let run = site.run_with(&["prune_snap", "--legacy"], &[("QDRANT_LEGACY_KEEP_RUNS", "1")]).await;
    run.expect(1).says(&["nothing was pruned"]);
    assert_eq!(site.s3.keys("snapshots/docs/"), snapshots);
}

/// Where a set goes only partly nothing else goes in the same run.
#[tokio::test(start_paused = true)]
async fn a_set_that_stays_stops_the_sweep() {
    let site = sets(2).await;
    let shard = manifests(&site)[1].shards[0].clone();
    let orphan = shard.s3_key.replace("2026", "2025");
    site.s3.put(&orphan, site.s3.get(&shard.s3_key).unwrap());
    tokio::time::sleep(DAY * 5).await;
    let older = manifest_keys(&site).remove(0);
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::DELETE, &older, 1, denied));
    let all = [KEEP_ONE, ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    site.run_with(&["prune_snap"], &all).await.expect(1).says(&["only partly removed"]);
    assert!(site.s3.get(&orphan).is_some());
    site.run_with(&["prune_snap"], &all).await.expect(0).says(&["removed: no rule", "1 orphaned snapshots deleted"]);
    assert!(site.s3.get(&orphan).is_none() && manifest_keys(&site).len() == 1);
    // Where there is none, none is said to be deleted.
    let run = site.run_with(&["prune_snap"], &all).await.expect(0);
    assert!(!run.stderr.contains("orphaned"), "{}", run.stderr);
}
