//! What is claimed of a restore, and what for. What takes faults that only the stand-in has is in `native/evidence.rs`.

use std::collections::BTreeMap;

use http::Method;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};
use tempfile::TempDir;

async fn docs(peers: usize, more: Value) -> Site {
    let site = Site::cluster(peers).await;
    let client = site.source.client();
    client.create("docs", more).await;
    client.fill("docs", 0, 40).await;
    site
}

/// Changes the one manifest of a kind.
fn edit(site: &Site, prefix: &str, change: impl FnOnce(&mut Value)) {
    let [key] = site.s3.keys(prefix).try_into().unwrap();
    let mut manifest: Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    change(&mut manifest);
    site.s3.put(&key, serde_json::to_vec(&manifest).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn force_replaces_points_that_were_overwritten() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let site = docs(2, json!({"shard_number": 2})).await;
        let client = site.source.client();
        let before = client.content("docs").await;
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        site.run(&[restore]).await.expect(0).says(&["40 points, verified on every replica"]);
        client.overwrite("docs", 40).await;
        // Without force nothing is done, and nothing is said of the points.
        let run = site.run(&[restore]).await.expect(0).says(&["restored before by", "its content was not compared"]);
        assert!(!run.stderr.contains("still as it was"), "{}", run.stderr);
        let force = ("QDRANT_RESTORE_FORCE", "true");
        for work in [TempDir::new().unwrap().path(), site.work.path()] {
            client.overwrite("docs", 40).await;
            site.run_in(work, &[restore], &[force]).await.expect(0);
            assert_eq!(client.content("docs").await, before, "{restore}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_restore_that_has_ended_does_nothing_more() {
    let site = docs(2, json!({"shard_number": 2})).await;
    let client = site.source.client();
    let before = client.content("docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.fill("docs", 40, 50).await;
    let run = async |id: &str, says: &str| {
        let work = TempDir::new().unwrap();
        let settings = [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_ID", id)];
        site.run_in(work.path(), &["recover_snap_shards"], &settings).await.expect(0).says(&[says]);
    };
    run("job-1", "deleting it to restore it").await;
    assert_eq!(client.content("docs").await, before);
    client.fill("docs", 60, 70).await;
    run("job-1", "this restore (job-1) has ended for it").await;
    assert_eq!(client.count(0, "docs").await, 50, "written after it had ended");
    run("job-2", "deleting it to restore it").await;
    assert_eq!(client.content("docs").await, before);
    site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_ID", "a/b")])
        .await
        .expect(2)
        .says(&["QDRANT_RESTORE_ID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_by_nobody_is_not_called_verified() {
    let site = docs(2, json!({"shard_number": 2})).await;
    let client = site.source.client();
    let before = client.content("docs").await;
    site.run(&["create_snap"]).await.expect(0);
    for key in site.s3.keys("snapshot_manifests/") {
        site.s3.delete(&key);
    }
    client.wipe().await;
    let settings = [("QDRANT_REPORT_FILE", "report.json"), ("QDRANT_METRICS_FILE", "metrics.prom")];
    let strict = [&settings[..], &[("QDRANT_REQUIRE_VERIFIED", "true")]].concat();
    site.run_with(&["recover_snap"], &strict).await.expect(3).says(&["could not be verified"]);
    site.run_with(&["recover_snap"], &settings)
        .await
        .expect(0)
        .says(&["warning: `docs`: restored and not verified", "how many points shard 0, 1 had is not known"]);
    assert_eq!(client.content("docs").await, before);
    let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
    let collection = report["items"].as_array().unwrap().iter().find(|item| item["kind"] == "collection").unwrap();
    assert_eq!((&collection["outcome"], &collection["verified"]), (&json!("done"), &json!(false)));
    assert!(site.file("metrics.prom").contains("qdrant_backup_last_restore_verified{task=\"recover_snap\"} 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_counts_under_writes_are_restored_and_not_verified() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    // As where a point is deleted before the snapshot, and another one inserted after it.
    edit(&site, "backup_manifests/docs/", |manifest| {
        manifest["shards"][0]["points"] = json!({"before": 41, "after": 41});
        manifest["source"]["points"] = json!({"before": 41, "after": 41});
    });
    client.wipe().await;
    site.run(&["recover_snap_shards"])
        .await
        .expect(3)
        .says(&["shard 0 has 40 points and had 41 when it was backed up, 1 fewer"]);
    let tolerant = [("QDRANT_VERIFY_TOLERANCE_PCT", "100")];
    site.run_with(&["recover_snap_shards"], &tolerant)
        .await
        .expect(0)
        .says(&["not verified: shard 0 has 40 points and had 41"]);
    assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_with_its_nulls() {
    let metadata = json!({"owner": null, "team": {"lead": null, "name": "x"}});
    let site = docs(1, json!({"shard_number": 1, "metadata": metadata})).await;
    let client = site.source.client();
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        site.run(&[restore]).await.expect(0).says(&["verified on every replica"]);
        let info = client.ok(Method::GET, "/collections/docs", None).await;
        // The mark of the restore is gone.
        assert_eq!(info["config"]["metadata"], metadata, "{restore}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_one_stays_where_nothing_led_to_it() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    client.fill("docs", 40, 140).await;
    let settings = [
        ("QDRANT_RESTORE_RENAME", "docs=docs-2"),
        ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
        ("QDRANT_RESTORE_DROP_OLD", "true"),
    ];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(3).says(&["moved no alias away from it"]);
    assert_eq!(client.count(0, "docs").await, 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_collections_are_not_restored_into_one() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    client.create("other", json!({"shard_number": 1})).await;
    client.fill("other", 0, 10).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let rename = ("QDRANT_RESTORE_RENAME", "docs=other");
    site.run_with(&["recover_snap_shards"], &[rename]).await.expect(1).says(&["would both be restored into `other`"]);
    assert!(client.collections().await.is_empty());
    // One that merely has sets of its own is no obstacle.
    site.run_with(&["recover_snap_shards"], &[rename, ("QDRANT_COLLECTIONS", "docs")]).await.expect(0);
    assert_eq!(client.count(0, "other").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_drops_what_it_made_and_no_user_s_collection() {
    let site = docs(1, json!({"shard_number": 1})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    let there = target.client();
    let theirs = ["qdrant-backup-drill-x", "qdrant-backup-drill-docs"];
    for name in theirs {
        there.create(name, json!({"shard_number": 1})).await;
    }
    there.fill(theirs[0], 0, 7).await;
    let host = target.hosts()[0].clone();
    // An empty one under the scratch name is not taken, either.
    site.run(&["drill", "--into", &host]).await.expect(1).says(&["a drill did not make it"]);
    assert_eq!(there.collections().await, theirs.map(str::to_owned).into());
    there.delete(theirs[1]).await;
    site.run(&["drill", "--into", &host]).await.expect(0).says(&["40 points, verified", "is left alone"]);
    assert_eq!(there.collections().await, [theirs[0].to_owned()].into());
    assert_eq!(there.count(0, theirs[0]).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_is_verified_beside_the_old_collection() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let site = docs(2, json!({"shard_number": 2, "replication_factor": 2})).await;
        let client = site.source.client();
        client.alias("live", "docs").await;
        let before = client.content("docs").await;
        site.run(&[backup]).await.expect(0);
        client.overwrite("docs", 40).await;
        let settings = [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_BESIDE", "true")];
        let run = site.run_with(&[restore], &settings).await.expect(0);
        run.says(&["its replacement was restored beside it and verified", "40 points, verified on every replica"]);
        assert_eq!(client.contents().await, BTreeMap::from([("docs".to_owned(), before)]), "{restore}");
        assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]), "{restore}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_a_cluster_comes_back_on_wish() {
    let site = docs(2, json!({"shard_number": 1})).await;
    let client = site.source.client();
    let path = "/cluster/metadata/keys/mine%2Fand%20yours";
    let set = async |value: Value| drop(client.ok(Method::PUT, &format!("{path}?wait=true"), Some(&value)).await);
    let was = json!({"a": [1, null], "b": "x"});
    set(was.clone()).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    set(json!(7)).await;
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["QDRANT_RESTORE_CLUSTER_STATE=true sets it"]);
    assert_eq!(client.ok(Method::GET, path, None).await, 7);
    let apply = ("QDRANT_RESTORE_CLUSTER_STATE", "true");
    site.run_with(&["recover_snap_shards"], &[apply]).await.expect(0).says(&["set as it was at the backup"]);
    assert_eq!(client.ok(Method::GET, path, None).await, was);
}
