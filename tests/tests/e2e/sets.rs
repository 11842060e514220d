//! `create_snap_shards`, `recover_snap_shards`, `list_sets`.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::fixtures::{back_up_and_wipe, fill_every_kind, sets};
use qdrant_backup_tests::qdrant::{Options, sha256};
use qdrant_backup_tests::s3::{Fault, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_a_shard_its_checksum_and_a_manifest_of_it_all() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    let settings = [("QDRANT_BACKUP_LABEL", "before the upgrade"), ("HOSTNAME", "backup-1-abcde")];
    site.run_with(&["create_snap_shards"], &settings).await.expect(0).says(&["5 of 5 collections", "all done"]);

    for (collection, shards) in [("rf1", 3), ("rf2", 4), ("empty", 2), ("named", 3), ("tenants", 4)] {
        let [manifest] = sets(&site, collection).try_into().unwrap();
        let ids: BTreeSet<u32> = manifest.shards.iter().map(|shard| shard.id).collect();
        assert_eq!(ids.len(), manifest.shards.len());
        if collection != "named" {
            assert_eq!(manifest.shards.len(), shards, "{collection}");
        }
        let stored = site.s3.keys(&format!("snapshots/{collection}/"));
        assert_eq!(stored.len(), manifest.shards.len(), "{collection}: one snapshot of each shard, {stored:?}");
        for shard in &manifest.shards {
            let bytes = site.s3.get(&shard.s3_key).unwrap();
            assert_eq!((shard.size, &shard.checksum), (Some(bytes.len() as u64), &sha256(&bytes)));
        }
        assert!(manifest.backup_set_id.ends_with("Z-backup-1-abcde"));
        let source = manifest.source.as_ref().unwrap();
        assert_eq!(source.label.as_deref(), Some("before the upgrade"));
        assert!(source.peers.len() == 3 && source.peers.iter().all(|peer| peer.version.starts_with("1.")));
        assert_eq!(manifest.exact_points(), Some(client.count(0, collection).await));
    }
    let [manifest] = sets(&site, "rf2").try_into().unwrap();
    assert!(manifest.shards.iter().all(|shard| shard.replicas.len() == 2));
    let asked: BTreeSet<u64> = manifest.shards.iter().map(|shard| shard.source_peer_id).collect();
    assert!(asked.len() >= 2, "one peer made all snapshots");
    let [manifest] = sets(&site, "rf1").try_into().unwrap();
    assert_eq!(manifest.aliases, ["live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_back_on_its_peers_under_its_aliases() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    let placed = client.placed("rf2").await;
    let aliases = client.aliases().await;
    let before = back_up_and_wipe(&site, "create_snap_shards").await;

    let settings = [("QDRANT_RESTORE_PLACEMENT", "as-backed-up")];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(0).says(&["5 of 5 collections", "all done"]);
    assert_same(&client.contents().await, &before);
    assert_eq!(client.placed("rf2").await, placed);
    assert_eq!(client.aliases().await, aliases);
    client.fill("rf2", 200, 210).await;
    assert_eq!(client.content("rf2").await.points.len(), 210);
    // Again: nothing is done twice.
    client.delete("rf2").await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["restored before by", "its content was not compared"]);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn into_clusters_of_other_sizes_and_a_server_without_clustering() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    let before = back_up_and_wipe(&site, "create_snap_shards").await;
    for peers in [1, 2, 4] {
        let target = site.more(Options { peers, ..Options::default() }).await;
        let work = TempDir::new().unwrap();
        let host = target.hosts()[0].clone();
        site.run_in(work.path(), &["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", &host)]).await.expect(0);
        assert_same(&target.client().contents().await, &before);
        let replicas = target.client().placed("rf2").await;
        assert!(replicas.values().all(|replicas| replicas.len() == peers.min(2)), "{peers} peers");
    }
    let one = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let work = TempDir::new().unwrap();
    let host = one.hosts()[0].clone();
    let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("QDRANT_COLLECTIONS_EXCLUDE", "ten*")];
    site.run_in(work.path(), &["recover_snap_shards"], &settings).await.expect(0);
    let mut without = before.clone();
    without.remove("tenants");
    assert_same(&one.client().contents().await, &without);
    let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("QDRANT_COLLECTIONS", "tenants")];
    site.run_in(work.path(), &["recover_snap_shards"], &settings).await.expect(1).says(&["has custom sharding"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_server_without_clustering_into_a_cluster_and_back() {
    let site = Site::standalone().await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 100).await;
    let before = back_up_and_wipe(&site, "create_snap_shards").await;
    let cluster = site.more(Options { peers: 3, ..Options::default() }).await;
    let host = cluster.hosts()[1].clone();
    let work = TempDir::new().unwrap();
    site.run_in(work.path(), &["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", &host)]).await.expect(0);
    assert_same(&cluster.client().contents().await, &before);
    assert!(cluster.client().placed("docs").await.values().all(|replicas| replicas.len() == 2));
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_replication_factor_and_under_another_name() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 1})).await;
    client.index("docs").await;
    client.fill("docs", 0, 90).await;
    client.alias("live", "docs").await;
    let before = client.content("docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.fill("docs", 90, 95).await;

    let settings = [("QDRANT_RESTORE_RENAME", "docs=docs-old"), ("QDRANT_RESTORE_REPLICATION_FACTOR", "3")];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(0).says(&["all done"]);
    assert_eq!(client.content("docs-old").await.points, before.points);
    assert!(client.placed("docs-old").await.values().all(|replicas| replicas.len() == 3));
    // The old collection is as it was, and the alias still leads there.
    assert_eq!(client.count(0, "docs").await, 95);
    assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_chosen_and_the_one_before_a_damaged_newest() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    for (from, to) in [(0, 20), (20, 30), (30, 45)] {
        client.fill("docs", from, to).await;
        another_second().await;
        site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await.expect(0);
    }
    let [first, second, third] = sets(&site, "docs").try_into().unwrap();
    let restored = async |more: &[(&str, &str)], texts: &[&str]| {
        client.wipe().await;
        let work = TempDir::new().unwrap();
        site.run_in(work.path(), &["recover_snap_shards"], more).await.expect(0).says(texts);
        client.count(1, "docs").await
    };
    assert_eq!(restored(&[], &[&third.backup_set_id]).await, 45);
    assert_eq!(restored(&[("QDRANT_SNAPSHOT_DATETIME_FILTER", &first.backup_set_id)], &[]).await, 20);
    let begun = third.backup_set_id.get(..20).unwrap().replace("T", " ").replace('-', ":").replace('Z', "");
    let moment = format!("{}T{}Z", begun[..10].replace(':', "-"), &begun[11..]);
    assert_eq!(restored(&[("QDRANT_RESTORE_BEFORE", &moment)], &[&second.backup_set_id]).await, 30);

    // Not the bytes that were backed up: another size.
    site.s3.put(&third.shards[0].s3_key, vec![7; 100]);
    assert_eq!(restored(&[], &["has 100 bytes and had", "all done"]).await, 30);
    // Missing altogether.
    site.s3.delete(&second.shards[1].s3_key);
    assert_eq!(restored(&[], &["is missing", "all done"]).await, 20);
    site.s3.delete(&first.shards[1].s3_key);
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(1).says(&["no set of it can be restored"]);
    assert!(client.collections().await.is_empty(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytes_of_the_same_size_are_refused_by_their_checksum() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let key = SetId::folder("docs");
    let [key] = site.s3.keys(&key).try_into().unwrap();
    let mut manifest: Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    let snapshot = manifest["shards"][0]["s3_key"].as_str().unwrap().to_owned();
    let mut bytes = site.s3.get(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    site.s3.put(&snapshot, bytes.clone());
    site.run(&["recover_snap_shards"]).await.expect(1).says(&["its SHA-256 is", "it is not the one that was made"]);
    // Even where the ETag is of no help.
    manifest["shards"][0]["etag"] = json!(&sha256(&bytes)[..32]);
    site.s3.put(&key, serde_json::to_vec(&manifest).unwrap());
    site.run(&["recover_snap_shards"]).await.expect(1).says(&["checksum"]);
    assert_eq!(client.aliases().await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_for_people_and_for_programs() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    site.run(&["list_sets"]).await.expect(0).says(&["there are no sets"]);
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    client.create("other", json!({})).await;
    client.alias("live", "docs").await;
    site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_LABEL", "weekly"), ("HOSTNAME", "pod-1")]).await.expect(0);
    let table = site.run(&["list_sets"]).await.expect(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 5 && lines[0].starts_with("COLLECTION"), "{table}");
    assert!(lines[4].starts_with("2 sets of 2 collections, "), "{table}");
    assert!(lines[1].starts_with("docs ") && lines[1].ends_with("weekly"), "{table}");
    let list = site.run_with(&["list_sets", "--output", "json"], &[("QDRANT_COLLECTIONS", "do*")]).await.expect(0);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    let [set] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&set["collection"], &set["points"], &set["shards"]), (&json!("docs"), &json!(20), &json!(2)));
    assert_eq!((&set["aliases"], &set["label"], &set["checksums"]), (&json!(["live"]), &json!("weekly"), &json!(true)));

    // One that can't be read is told, and the others are listed.
    site.s3.put("backup_manifests/docs/2020-01-01T00-00-00Z-x.json", b"{".to_vec());
    let run = site.run(&["list_sets"]).await.expect(3).says(&["can't be used"]);
    assert_eq!(run.stdout.lines().count(), 5);
}

/// A manifest as the bash script writes it, of snapshots that its Qdrant made.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_the_bash_script_is_restored() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 60).await;
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [key] = site.s3.keys(&SetId::folder("docs")).try_into().unwrap();
    let mut manifest: Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("source");
    manifest["created_by"] = json!("qdrant_backup_recovery.sh@unknown");
    for shard in manifest["shards"].as_array_mut().unwrap() {
        shard["checksum"] = json!("");
        for ours in ["replicas", "points", "key"] {
            shard.as_object_mut().unwrap().remove(ours);
        }
    }
    site.s3.put(&key, serde_json::to_vec_pretty(&manifest).unwrap());
    let before = client.contents().await;
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["all done"]);
    assert_same(&client.contents().await, &before);
    assert!(client.placed("docs").await.values().all(|replicas| replicas.len() == 2));
    assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_is_missing_cut_or_changed() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    site.run(&["verify"]).await.expect(1).says(&["there is no set to verify"]);
    client.create("docs", json!({"shard_number": 4})).await;
    client.fill("docs", 0, 40).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site.run(&["verify"]).await.expect(0).says(&["4 snapshots complete, 4 of them by checksum"]);

    // Over all its runs a part reads everything.
    let mut read = 0;
    for _ in 0..4 {
        let log = site.run_with(&["verify"], &[("QDRANT_VERIFY_PERCENT", "25")]).await.expect(0).stderr;
        let of = log.split("complete, ").nth(1).unwrap();
        read += of.split(' ').next().unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(read, 4);

    let [manifest] = sets(&site, "docs").try_into().unwrap();
    let key = manifest.shards[2].s3_key.clone();
    let good = site.s3.get(&key).unwrap();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        // With an ETag that is right, as a disk gone bad would have it.
        site.s3.put_with_etag(&key, bytes, &manifest.shards[2].etag);
    };
    damaged(&|bytes| bytes[good.len() / 2] ^= 1);
    site.run(&["verify"]).await.expect(1).says(&["its SHA-256 is", "shard 2"]);
    damaged(&|bytes| bytes.truncate(good.len() / 2));
    site.run(&["verify"]).await.expect(1).says(&["bytes and had"]);
    site.s3.delete(&key);
    site.run(&["verify"]).await.expect(1).says(&["is missing"]);
    site.s3.put_with_etag(&key, good, &manifest.shards[2].etag);
    site.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pod_goes_on_with_a_restore_and_repeats_nothing() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 90).await;
    let before = back_up_and_wipe(&site, "create_snap_shards").await;
    let [manifest] = sets(&site, "docs").try_into().unwrap();
    // What Qdrant gets by the link of the second shard's snapshot is none: the restore ends half-way.
    let name = manifest.shards[1].s3_key.rsplit('/').next().unwrap().to_owned();
    site.s3.fail(Fault {
        method: Some(http::Method::GET),
        uri: format!("{name}*X-Amz-Signature"),
        skip: 0,
        times: 9999,
        wrong: Wrong::Status(200, "no snapshot".to_owned()),
    });
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    site.run_in(one.path(), &["recover_snap_shards"], &[]).await.expect(3);
    site.s3.heal();
    // Without what the first one wrote into its directory.
    let run = site.run_in(other.path(), &["recover_snap_shards"], &[]).await.expect(0).says(&["it exists already"]);
    assert!(run.stderr.matches("it exists already").count() >= 1, "{}", run.stderr);
    assert_same(&client.contents().await, &before);
    let third = TempDir::new().unwrap();
    site.run_in(third.path(), &["recover_snap_shards"], &[]).await.expect(0).says(&["restored before"]);
    // What was written since is nobody's to overwrite.
    client.fill("docs", 90, 95).await;
    site.run_in(third.path(), &["recover_snap_shards"], &[]).await.expect(1).says(&["is not overwritten"]);
    assert_eq!(client.count(0, "docs").await, 95);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_switched_and_the_old_one_dropped_only_when_asked() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.delete_points("docs", 0, 10).await;
    let rename = ("QDRANT_RESTORE_RENAME", "docs=docs-2");
    site.run_with(&["recover_snap_shards"], &[rename, ("QDRANT_RESTORE_DROP_OLD", "true")])
        .await
        .expect(2)
        .says(&["QDRANT_RESTORE_SWITCH_ALIASES"]);
    site.run_with(&["recover_snap_shards"], &[rename]).await.expect(0).says(&["the restore was beside it"]);
    assert_eq!(client.aliases().await["live"], "docs");
    let switch = ("QDRANT_RESTORE_SWITCH_ALIASES", "true");
    site.run_with(&["recover_snap_shards"], &[rename, switch]).await.expect(0);
    assert_eq!((client.aliases().await["live"].as_str(), client.count(0, "docs").await), ("docs-2", 30));
    // A run that moves no alias away from it does not know who uses it.
    let drop = ("QDRANT_RESTORE_DROP_OLD", "true");
    site.run_with(&["recover_snap_shards"], &[rename, switch, drop])
        .await
        .expect(1)
        .says(&["this run has moved no alias away from it"]);
    // An alias that came later still leads to the old one.
    client.alias("live", "docs").await;
    client.alias("later", "docs").await;
    site.run_with(&["recover_snap_shards"], &[rename, switch, drop])
        .await
        .expect(3)
        .says(&["the aliases later point to it"]);
    client.alias("later", "docs-2").await;
    client.alias("live", "docs").await;
    site.run_with(&["recover_snap_shards"], &[rename, switch, drop]).await.expect(0).says(&["takes its place"]);
    assert_eq!(client.collections().await, BTreeSet::from(["docs-2".to_owned()]));
    assert_eq!(client.content("docs-2").await.points.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_metrics_are_for_programs_and_outlive_failures() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let settings = [
        ("QDRANT_REPORT_FILE", "report.json"),
        ("QDRANT_REPORT_ON_S3", "true"),
        ("QDRANT_METRICS_FILE", "metrics.prom"),
    ];
    site.run_with(&["create_snap_shards"], &settings).await.expect(0);
    let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
    assert_eq!((&report["report_version"], &report["status"], &report["done"]), (&json!(1), &json!("done"), &json!(3)));
    // Two snapshots, the set, and that retention keeps it.
    assert_eq!(report["items"].as_array().unwrap().len(), 4);
    assert_eq!(site.s3.get("run_reports/create_snap_shards.json").unwrap(), site.file("report.json").into_bytes());
    let line = |start: &str| site.file("metrics.prom").lines().find(|line| line.starts_with(start)).map(str::to_owned);
    let success = line("qdrant_backup_collection_last_success_timestamp_seconds").unwrap();

    // A run that could not even begin is told, too.
    site.run_with(&["create_snap_shards"], &[&settings[..], &[("QDRANT_API_KEY", "wrong")]].concat()).await.expect(1);
    let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
    assert_eq!((&report["status"], &report["failed"]), (&json!("failed"), &json!(1)), "{report}");
    assert!(line("qdrant_backup_last_run_success").unwrap().ends_with(" 0"));
    assert_eq!(line("qdrant_backup_collection_last_success_timestamp_seconds"), Some(success));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_verifies_the_newest_sets_and_leaves_the_target_be() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    let there = target.client();
    there.create("docs", json!({})).await;
    there.fill("docs", 0, 5).await;
    // As a drill that was killed leaves it.
    let mark = json!({"qdrant_backup_restore": {"restore": "r", "backup": "old/s", "drill": true}});
    there.create("qdrant-backup-drill-old", json!({ "metadata": mark })).await;
    let before = there.content("docs").await;
    let host = target.hosts()[0].clone();
    site.run(&["drill", "--into", &host]).await.expect(0).says(&["all done", "`qdrant-backup-drill-rf2` deleted"]);
    assert_eq!(there.contents().await, BTreeMap::from([("docs".to_owned(), before.clone())]));
    assert_eq!(there.aliases().await, BTreeMap::new());

    // It can also be restored after the drill, by the same pod.
    site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", &host), ("QDRANT_COLLECTIONS", "rf1")])
        .await
        .expect(0);
    there.delete("rf1").await;

    // A set that can't be restored fails the drill, even where the bucket has an older one; and nothing is left.
    let [manifest] = sets(&site, "named").try_into().unwrap();
    site.s3.delete(&manifest.shards[0].s3_key);
    let work = TempDir::new().unwrap();
    site.run_in(work.path(), &["drill", "--into", &host], &[]).await.expect(3).says(&["is missing"]);
    assert_eq!(there.contents().await, BTreeMap::from([("docs".to_owned(), before)]));
    site.run(&["drill", "--into"]).await.expect(2);
}
