//! `create_snap`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use qdrant_backup_core::manifest::Manifest;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

/// The manifests of a collection.
fn manifests(site: &Site, collection: &str) -> Vec<Manifest> {
    site.s3
        .keys(&Manifest::prefix(collection))
        .iter()
        .map(|key| Manifest::parse(&site.s3.get(key).unwrap()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_that_holds_a_part_is_asked_and_nobody_else() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 6, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 300).await;
    client.create("one", json!({"shard_number": 1})).await;
    client.fill("one", 0, 20).await;
    client.alias("docs-live", "docs").await;

    let run = site.run(&["create_snap"]).await.expect(0).says(&[
        "2 of 2 collections",
        "all done",
        "done: snapshot of `docs`",
    ]);
    assert_eq!(run.stdout, "");
    assert!(site.s3.keys("snapshots/docs/").len() == 3 && site.s3.keys("snapshots/one/").len() == 1);
    let lines = site.file("snapshots");
    assert_eq!(lines.lines().count(), 4);
    for line in lines.lines() {
        let [host, collection, name] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
        assert!(site.source.hosts().iter().any(|peer| peer == host));
        assert!(site.s3.get(&format!("snapshots/{collection}/{name}")).is_some(), "{line}");
    }
    assert_eq!(site.file("collections").lines().filter(|line| !line.starts_with('#')).count(), 2);
    assert_eq!(site.file("collection_aliases"), "docs,docs-live\n");
    assert_eq!(site.s3.get("collection_aliases_store/collection_aliases").unwrap(), b"docs,docs-live\n");
    // And the source's own.
    assert_eq!(site.s3.keys("collection_aliases_store/").len(), 4);

    let [manifest] = manifests(&site, "docs").try_into().unwrap();
    assert_eq!((manifest.points.before, manifest.points.after), (Some(300), Some(300)));
    assert_eq!((manifest.snapshots.len(), manifest.shards.len(), manifest.peers.len()), (3, 6, 3));
    assert_eq!(manifest.aliases, ["docs-live"]);
    assert!(manifest.payload_schema.contains_key("city") && manifest.payload_schema.contains_key("n"));
    assert!(manifest.peers.iter().all(|peer| peer.version.starts_with("1.")));
    for snapshot in &manifest.snapshots {
        assert_eq!(site.s3.get(&snapshot.key).unwrap().len() as u64, snapshot.bytes);
    }
    // Each shard counted on each of its peers: twice 300 points with replication factor 2.
    let counted: u64 = manifest
        .snapshots
        .iter()
        .flat_map(|snapshot| snapshot.shards.values())
        .map(|points| points.exact().unwrap())
        .sum();
    assert_eq!(counted, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_clustering_and_a_plain_list_of_hosts_work() {
    let site = Site::standalone().await;
    site.source.client().create("docs", json!({"shard_number": 2})).await;
    site.source.client().fill("docs", 0, 50).await;
    site.run(&["create_snapshot"]).await.expect(0).says(&["without clustering"]);
    assert_eq!(manifests(&site, "docs").len(), 1);

    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 50).await;
    let hosts = site.source.hosts().join(", ");
    site.run_with(&["create_snap"], &[("GET_PEERS_FROM_CLUSTER_INFO", "false"), ("QDRANT_SOURCE_HOSTS", &hosts)])
        .await
        .expect(0);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_of_several_without_discovery_is_incomplete() {
    let site = Site::cluster(3).await;
    site.source.client().create("docs", json!({"shard_number": 3})).await;
    let run = site.run_with(&["create_snap"], &[("GET_PEERS_FROM_CLUSTER_INFO", "false")]).await;
    run.expect(3).says(&["incomplete", "GET_PEERS_FROM_CLUSTER_INFO=false"]);
    let written = site.s3.keys("snapshot_manifests/docs/");
    assert!(written.iter().all(|key| key.ends_with(".partial.json")), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_a_snapshot_is_made_when_it_is_found() {
    let site = Site::cluster(2).await;
    site.source.client().create("docs", json!({"shard_number": 2})).await;
    site.source.client().fill("docs", 0, 40).await;
    let run = site.run_with(&["create_snap"], &[("QDRANT_WAIT_ON_TASK", "false")]).await.expect(0);
    assert!(run.stderr.contains("accepted"), "{}", run.stderr);
    assert!(!site.file("snapshots").contains("unknown"));
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_collections_chooses() {
    let site = Site::cluster(1).await;
    for collection in ["a", "b", "c"] {
        site.source.client().create(collection, json!({})).await;
    }
    std::fs::write(site.work.path().join("collections"), ",b\r\n# not c\nhttp://elsewhere:6333,c\n").unwrap();
    site.run(&["create_snap"]).await.expect(0).says(&["the file `collections`: leaves out 2 collections: `a`, `c`"]);
    assert_eq!(site.s3.keys("snapshots/").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_a_bucket_says_what_it_did_not_check() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    let none = [("QDRANT_S3_ENDPOINT_URL", ""), ("BACKUP_COLLECTION_ALIASES_ON_S3", "false")];
    site.run_with(&["create_snap"], &none).await.expect(3).says(&["are not checked in S3, and no manifest is written"]);
    assert_eq!(site.file("snapshots").lines().count(), 1);
    assert!(manifests(&site, "docs").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_source_is_told_and_is_no_failure() {
    let site = Site::standalone().await;
    site.run(&["create_snap"]).await.expect(0).says(&["nothing to back up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_wrong_bucket_and_a_wrong_host_are_told_apart() {
    let site = Site::start(Options { peers: 1, ..Options::default() }).await;
    for (change, texts) in [
        (("QDRANT_API_KEY", "wrong"), ["401", "QDRANT_API_KEY"]),
        (("QDRANT_S3_BUCKET_NAME", "nobodys"), ["NoSuchBucket", "QDRANT_S3_BUCKET_NAME"]),
        (("QDRANT_S3_SECRET_ACCESS_KEY", "wrong-secret"), ["SignatureDoesNotMatch", "QDRANT_S3_SECRET_ACCESS_KEY"]),
        (("QDRANT_SOURCE_HOSTS", "http://127.0.0.99:1"), ["127.0.0.99:1", "connection"]),
    ] {
        let run = site.run_with(&["create_snap"], &[change, ("CURL_TIMEOUT", "5")]).await.expect(1).says(&texts);
        assert!(!run.stderr.contains("wrong-secret"));
    }
}

/// 1,000 collections, by seven pods and by fewer: each share is what the others leave. Only the seven make snapshots,
/// which takes the stand-in half a minute; the others list them.
#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_an_indexed_job_share_the_collections() {
    let site = Site::standalone().await;
    let client = site.source.client();
    let all = 100;
    let names: BTreeSet<String> = (0..all).map(|number| format!("tenant-{number}")).collect();
    for name in &names {
        client.create(name, json!({})).await;
    }
    client.alias("live", "tenant-7").await;
    for (task, of) in [("create_snap", 7), ("get_snap", 1), ("get_snap", 2), ("get_snap", 3)] {
        let mut taken = BTreeSet::new();
        for index in 0..of {
            let work = tempfile::tempdir().unwrap();
            let (of_shares, number) = (of.to_string(), index.to_string());
            let share = [("QDRANT_BACKUP_SHARES", of_shares.as_str()), ("JOB_COMPLETION_INDEX", &number)];
            let run = site.run_in(work.path(), &[task], &share).await.expect(0);
            assert_eq!(run.stderr.contains("collection_aliases"), task == "create_snap" && index == 0, "{index}");
            let snapshots = std::fs::read_to_string(work.path().join("snapshots")).unwrap();
            let share: Vec<&str> = snapshots.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
            assert!(share.len() > all / of / 2, "share {index} of {of} has {}", share.len());
            assert!(share.iter().all(|name| taken.insert((*name).to_owned())), "share {index} of {of} has another's");
        }
        assert_eq!(taken, names, "{of} shares");
    }
    // Every collection has its own part of the records.
    assert_eq!(site.s3.keys("snapshots/").len(), all);
    assert_eq!(site.s3.keys("snapshot_manifests/").len(), all);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its snapshots take as long as the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn no_peer_is_given_more_than_it_may_do_at_once() {
    let site = Site::start(Options { peers: 2, work: Duration::from_millis(300), ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["a", "b", "c", "d"] {
        client.create(collection, json!({"shard_number": 2})).await;
        client.fill(collection, 0, 10).await;
    }
    let most = Arc::new(AtomicU64::new(0));
    let (seen, eye) = (Arc::clone(&most), client.clone());
    let watching = tokio::spawn(async move {
        loop {
            for peer in 0..2 {
                let (_, answer) = eye.call(peer, Method::GET, "/telemetry?details_level=2&anonymize=false", None).await;
                let counts = answer["result"]["collections"]["snapshots"].as_array().cloned().unwrap_or_default();
                let count = |name: &str| counts.iter().filter_map(|entry| entry[name].as_u64()).sum::<u64>();
                seen.fetch_max(count("running_snapshots") + count("running_snapshot_recovery"), Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for (task, per_peer, expected) in [
        ("create_snap", 1, 1..=1),
        ("create_snap", 3, 2..=3),
        ("create_snap_shards", 1, 1..=1),
        ("recover_snap", 1, 0..=1),
    ] {
        most.store(0, Ordering::SeqCst);
        if task == "recover_snap" {
            client.wipe().await;
            site.run(&["reset"]).await.expect(0);
        }
        site.run_with(&[task], &[("QDRANT_SNAPSHOTS_PER_PEER", &per_peer.to_string())]).await.expect(0);
        let most = most.load(Ordering::SeqCst);
        assert!(expected.contains(&most), "{task}: {most} at once, {per_peer} allowed");
    }
    watching.abort();
}
