//! `recover_snap`.

use std::collections::BTreeMap;
use std::path::Path;

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::Who;
use qdrant_backup_tests::fixtures::{back_up_and_wipe, fill_every_kind};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are counted")]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_that_was_answered_already() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 90).await;
    let calls = |class: &str| {
        let requests = site.s3.faults().requests();
        requests.iter().filter(|request| request.who() == Who::Program && request.class() == class).count()
    };
    site.s3.faults().clear();
    site.run(&["create_snap"]).await.expect(0);
    // Each peer's name is in its snapshot's.
    assert_eq!(calls("GET qdrant /collections/{collection}/cluster"), 2);
    assert_eq!(calls("POST qdrant /collections/{collection}/snapshots"), 3);
    assert_eq!(calls("POST qdrant /collections/{collection}/shards/{shard}/points/count"), 2 * 3);
    client.wipe().await;
    site.s3.faults().clear();
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(calls("PUT qdrant /collections/{collection}/snapshots/recover"), 3);
    assert_eq!(calls("POST qdrant /collections/{collection}/shards/{shard}/points/count"), 3);
    // Every peer is a reader once.
    assert_eq!(calls("POST qdrant /collections/{collection}/points/count"), 3);
    // A look from each peer after it was created, after the recoveries one from each and one before these, and those that
    // saw it move.
    let looks = calls("GET qdrant /collections/{collection}/cluster");
    assert!((7..19).contains(&looks), "{looks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_back_on_its_peers_under_its_aliases() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    let placed = client.placed("rf2").await;
    let before = back_up_and_wipe(&site, "create_snap").await;

    let run = site.run(&["recover_snap"]).await.expect(0).says(&["5 of 5 collections", "all done"]);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_same(&client.contents().await, &before);
    assert_eq!(client.placed("rf2").await, placed);
    assert_eq!(
        client.aliases().await,
        BTreeMap::from([("live".to_owned(), "rf1".to_owned()), ("tenants-live".to_owned(), "tenants".to_owned())])
    );
    // Written after the restore, everywhere: nothing was left read-only or half alive.
    client.fill("rf2", 200, 210).await;
    assert_eq!(client.content("rf2").await.points.len(), 210);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_without_a_manifest_are_enough() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    fill_every_kind(&client).await;
    let before = back_up_and_wipe(&site, "create_snap").await;
    for key in site.s3.keys("snapshot_manifests/") {
        site.s3.delete(&key);
    }
    site.run(&["recover_snap"]).await.expect(0).says(&["without a manifest"]);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn into_clusters_of_other_sizes() {
    let site = Site::cluster(3).await;
    fill_every_kind(&site.source.client()).await;
    let before = back_up_and_wipe(&site, "create_snap").await;
    for peers in [1, 2, 4] {
        let target = site.more(Options { peers, ..Options::default() }).await;
        let work = TempDir::new().unwrap();
        let host = target.hosts()[0].clone();
        let run = site.run_in(work.path(), &["recover_snap"], &[("QDRANT_RESTORE_HOSTS", &host)]).await.expect(0);
        assert_eq!(run.stderr.contains("the target has peers for 1"), peers == 1, "{}", run.stderr);
        assert_same(&target.client().contents().await, &before);
        let replicas = target.client().placed("rf2").await;
        assert!(replicas.values().all(|replicas| replicas.len() == peers.min(2)), "{peers} peers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_clustering_and_from_it_into_a_cluster() {
    let site = Site::standalone().await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 100).await;
    let before = back_up_and_wipe(&site, "create_snap").await;
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);

    let cluster = site.more(Options { peers: 2, ..Options::default() }).await;
    let host = cluster.hosts()[1].clone();
    let work = TempDir::new().unwrap();
    site.run_in(work.path(), &["recover_snap"], &[("QDRANT_RESTORE_HOSTS", &host)]).await.expect(0);
    assert_same(&cluster.client().contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_target_gets_everything_and_a_cluster_is_one_target() {
    let site = Site::standalone().await;
    site.source.client().create("docs", json!({})).await;
    site.source.client().fill("docs", 0, 30).await;
    let before = back_up_and_wipe(&site, "create_snap").await;
    let one = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let cluster = site.more(Options { peers: 2, ..Options::default() }).await;
    let hosts = format!("{}, {},{}", one.hosts()[0], cluster.hosts()[0], cluster.hosts()[1]);
    site.run_with(&["recover_snap"], &[("QDRANT_RESTORE_HOSTS", &hosts)]).await.expect(0);
    assert_same(&one.client().contents().await, &before);
    assert_same(&cluster.client().contents().await, &before);
    assert_eq!(site.file("snapshot_recovery_history").lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_does_what_is_missing_and_nothing_twice() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    for collection in ["a", "b"] {
        client.create(collection, json!({"shard_number": 2})).await;
        client.fill(collection, 0, 50).await;
    }
    let before = back_up_and_wipe(&site, "create_snap").await;
    site.run(&["recover_snap"]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0).says(&[
        "restored before by",
        "its content was not compared",
        "0 failed",
    ]);
    // The history is a hint: what the target says counts.
    client.delete("a").await;
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_file_snapshots_names() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    for collection in ["a", "b", "c"] {
        client.create(collection, json!({"shard_number": 2})).await;
        client.fill(collection, 0, 20).await;
    }
    site.run(&["create_snap"]).await.expect(0);
    let lines = site.file("snapshots");
    let chosen = |collection: &str| -> String {
        let of = lines.lines().filter(|line| line.split(',').nth(1) == Some(collection));
        of.map(|line| format!(",{}\r\n", line.split_once(',').unwrap().1)).collect()
    };
    client.wipe().await;
    std::fs::write(
        site.work.path().join("snapshots"),
        format!("\u{feff}host,collection,snapshot_name\r\n{}", chosen("b")),
    )
    .unwrap();
    site.run(&["recover_snap"]).await.expect(0).says(&["restoring the 2 snapshots named"]);
    assert_eq!(client.collections().await, ["b".to_owned()].into());

    let mounted = TempDir::new().unwrap();
    let file = mounted.path().join("chosen");
    std::fs::write(&file, chosen("c")).unwrap();
    site.run(&["recover_snap", "--snapshots", file.to_str().unwrap()]).await.expect(0);
    assert_eq!(client.collections().await, ["b".to_owned(), "c".to_owned()].into());
    assert_eq!(client.content("c").await.points.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_complete_backup_is_taken_and_the_others_are_named() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap"]).await.expect(0);
    let old = site.s3.keys("snapshots/docs/");
    another_second().await;
    client.fill("docs", 20, 30).await;
    site.run(&["create_snap"]).await.expect(0);
    let new: Vec<String> = site.s3.keys("snapshots/docs/").into_iter().filter(|key| !old.contains(key)).collect();
    client.wipe().await;
    site.forget_lists();

    site.run(&["recover_snap"]).await.expect(0).says(&["there is a newer backup", "2 skipped"]);
    assert_eq!(client.count(0, "docs").await, 30);

    // The newest lacks a peer: the one before is whole.
    site.s3.delete(&new[0]);
    client.wipe().await;
    let work = TempDir::new().unwrap();
    site.run_in(work.path(), &["recover_snap"], &[])
        .await
        .expect(0)
        .says(&["no snapshot has data of an active replica of shard"]);
    assert_eq!(client.count(0, "docs").await, 20);

    // Chosen by its date and time.
    client.wipe().await;
    let moment = new[1].rsplit('-').take(6).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("-");
    let filter = moment.trim_end_matches(".snapshot").to_owned();
    site.run_in(work.path(), &["recover_snap"], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", &filter)])
        .await
        .expect(1)
        .says(&["no backup of it can be restored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_replaces_a_collection_and_keeps_its_aliases() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap"]).await.expect(0);
    client.fill("docs", 20, 25).await;
    client.alias("later", "docs").await;
    site.run(&["recover_snap"]).await.expect(1).says(&["holds 25 points and is not overwritten"]);
    assert_eq!(client.count(0, "docs").await, 25);
    site.run_with(&["recover_snap"], &[("QDRANT_RESTORE_FORCE", "true")])
        .await
        .expect(0)
        .says(&["deleting it to restore it"]);
    assert_eq!(client.count(1, "docs").await, 20);
    assert!(client.aliases().await.contains_key("later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_come_last_are_back_too() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let strict = json!({"strict_mode_config": {"enabled": true, "max_query_limit": 5000, "search_allow_exact": false}, "params": {"read_fan_out_factor": 1}});
    client.ok(http::Method::PATCH, "/collections/docs?timeout=60", Some(&strict)).await;
    let before = client.content("docs").await;
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(client.content("docs").await, before);
}

/// A snapshot as a real Qdrant wrote it, of a peer of a cluster that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_snapshots_of_a_real_server_are_restored() {
    let site = Site::cluster(2).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/qdrant-1.18.3/archives");
    for file in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name.starts_with("one-") {
            site.s3.put(&format!("snapshots/one/{name}"), std::fs::read(file.path()).unwrap());
        }
    }
    site.run_with(&["recover_snap"], &[("BACKUP_COLLECTION_ALIASES_ON_S3", "false")]).await.expect(0);
    let content = site.source.client().content("one").await;
    assert_eq!(content.points.len(), 10);
}
