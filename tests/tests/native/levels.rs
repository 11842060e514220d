//! How good a set is, in the words that everyone sees: recorded, checked, restorable, drilled.

use qdrant_backup_tests::clock;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::{change, filled, manifest_keys, manifests};

/// What `list_sets` says of the sets, the oldest first.
async fn listed(site: &Site) -> Vec<Value> {
    let list = site.run(&["list_sets", "--output", "json"]).await;
    serde_json::from_str(&list.stdout).unwrap()
}

/// Their levels.
async fn levels(site: &Site) -> Vec<String> {
    listed(site).await.iter().map(|set| set["level"].as_str().unwrap().to_owned()).collect()
}

fn drills(site: &Site) -> Vec<String> {
    site.s3.keys("backup_manifests/").into_iter().filter(|key| key.ends_with(".drill")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_drill_is_recorded_beside_its_set_and_goes_with_it() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [key] = manifest_keys(&site).try_into().unwrap();
    let manifest = site.s3.get(&key).unwrap();
    assert_eq!(levels(&site).await, ["restorable"]);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    let into = target.hosts()[0].clone();
    site.run(&["drill", "--into", &into, "--dry-run"]).await.expect(0);
    assert_eq!(drills(&site).len(), 0);
    site.run(&["drill", "--into", &into]).await.expect(0).says(&["verified on every replica: counts of 2 of 2 shards"]);
    assert_eq!(site.s3.get(&key).unwrap(), manifest, "a manifest is never changed");
    let [set] = listed(&site).await.try_into().unwrap();
    assert_eq!((&set["level"], &set["drill_verified"]), (&json!("drilled"), &json!(true)));
    let at = set["drilled_at"].as_str().unwrap().to_owned();
    let table = site.run(&["list_sets"]).await.expect(0).stdout;
    assert!(table.contains("drilled") && table.contains(&at), "{table}");
    site.run(&["verify"]).await.expect(0).says(&["drilled: 2 snapshots", &format!("by a drill at {at}")]);

    // It goes with its set.
    clock::another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    assert_eq!(levels(&site).await, ["drilled", "restorable"]);
    site.run_with(&["prune_snap"], &[("QDRANT_BACKUP_RETENTION_SETS", "1")]).await.expect(0);
    assert_eq!((manifest_keys(&site).len(), drills(&site).len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_other_snapshots_says_nothing_of_these() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    let into = target.hosts()[0].clone();
    site.run(&["drill", "--into", &into]).await.expect(0);
    let [record] = drills(&site).try_into().unwrap();
    let good = site.s3.get(&record).unwrap();
    for (name, wrong) in
        [("snapshots", json!("00")), ("backup_set_id", json!("x")), ("version", json!(9)), ("verified", json!(false))]
    {
        change(&site, &record, |record| record[name] = wrong);
        assert_eq!(levels(&site).await, ["restorable"], "{name}");
        site.s3.put(&record, good.clone());
    }
    site.s3.put(&record, b"{".to_vec());
    assert_eq!(levels(&site).await, ["restorable"]);
    // A set that was restored and could not be verified was restored, and is not drilled.
    let [key] = manifest_keys(&site).try_into().unwrap();
    change(&site, &key, |manifest| manifest["shards"][0]["points"] = json!({}));
    site.run(&["drill", "--into", &into]).await.expect(0).says(&["restored and not verified"]);
    let [set] = listed(&site).await.try_into().unwrap();
    assert_eq!((&set["level"], &set["drill_verified"]), (&json!("checked"), &json!(false)));
    // A drill that fails notes nothing.
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [manifest] = manifests(&site).try_into().unwrap();
    site.s3.delete(&manifest.shards[0].s3_key);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    site.run(&["drill", "--into", &target.hosts()[0]]).await.expect(1);
    assert_eq!(drills(&site).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_says_what_each_set_is_worth() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [key] = manifest_keys(&site).try_into().unwrap();
    let good = site.s3.get(&key).unwrap();
    // Not counted, not walked, without a SHA-256.
    change(&site, &key, |manifest| manifest["shards"][1]["points"]["after"] = Value::Null);
    assert_eq!(levels(&site).await, ["checked"]);
    site.s3.put(&key, good.clone());
    change(&site, &key, |manifest| manifest["source"]["check"] = Value::Null);
    let before = site.s3.requests().len();
    assert_eq!(levels(&site).await, ["recorded"]);
    let read = site.s3.requests().split_off(before);
    // Some stores tell a size by the first byte alone.
    let reads = |request: &s3::Request| {
        request.method == "GET" && request.headers.get("range").is_none_or(|range| range != "bytes=0-0")
    };
    assert!(!read.iter().any(|request| request.uri.to_string().contains(".snapshot") && reads(request)));
    site.s3.put(&key, good.clone());
    change(&site, &key, |manifest| manifest["shards"][0]["checksum"] = json!(""));
    assert_eq!(levels(&site).await, ["recorded"]);
    site.s3.put(&key, good.clone());
    // Another object of the same size: only its SHA-256 can tell, which a list does not read.
    let [manifest] = manifests(&site).try_into().unwrap();
    let snapshot = &manifest.shards[0].s3_key;
    let bytes = site.s3.get(snapshot).unwrap();
    site.s3.put_with_etag(snapshot, bytes.clone(), "other");
    assert_eq!(levels(&site).await, ["recorded"]);
    site.s3.put(snapshot, bytes[1..].to_vec());
    site.run(&["list_sets"]).await.expect(3).says(&["and had"]);
    assert_eq!(levels(&site).await, ["damaged"]);
}
