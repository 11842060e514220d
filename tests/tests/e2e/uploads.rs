//! Snapshots that go through the program, because Qdrant can't fetch or can't use them as they are.

use std::collections::BTreeMap;

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{Fault, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

/// The snapshot requests at the bucket that are broken off after so many bytes.
fn cut_short(bytes: usize, times: usize) -> Fault {
    let uri = "/snapshots/docs/".to_owned();
    Fault { method: Some(http::Method::GET), uri, skip: 0, times, wrong: Wrong::Truncate(bytes) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_clustering_gets_the_shards_of_all_peers() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 1})).await;
    client.index("docs").await;
    client.fill("docs", 0, 120).await;
    client.create("twice", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.fill("twice", 0, 90).await;
    let before = client.contents().await;
    site.run(&["create_snap"]).await.expect(0);

    let alone = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let host = alone.hosts()[0].clone();
    let target = [("QDRANT_RESTORE_HOSTS", host.as_str())];
    let work = TempDir::new().unwrap();
    let dry = site.run_in(work.path(), &["recover_snap", "--dry-run"], &target).await.expect(0);
    assert_eq!(dry.stdout.matches("sent through this program").count(), 6, "{}", dry.stdout);
    assert!(alone.client().collections().await.is_empty());
    let run = site.run_in(work.path(), &["recover_snap"], &target).await.expect(0);
    assert_same(&alone.client().contents().await, &before);
    assert!(run.stderr.contains("120 points, verified on every replica"), "{}", run.stderr);
    // What is there is not sent again.
    let again = site.run_in(work.path(), &["recover_snap"], &target).await.expect(0);
    assert_eq!(again.stderr.matches("restored before").count(), 2, "{}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_links_are_refused_the_snapshots_are_sent() {
    let site = Site::start(Options { peers: 2, url_recovery: false, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 100).await;
    let before: BTreeMap<_, _> = client.contents().await;
    for (back_up, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        site.run(&[back_up]).await.expect(0);
        client.wipe().await;
        let work = TempDir::new().unwrap();
        let run = site.run_in(work.path(), &[restore], &[]).await.expect(0);
        // Who reads the log learns how it would go faster.
        let run = run.says(&["QDRANT__SERVICE__ENABLE_SNAPSHOT_URL_RECOVERY=true", "sent through this program"]);
        assert!(!run.stderr.contains("watching the peer"), "{}", run.stderr);
        assert_same(&client.contents().await, &before);
        assert!(client.placed("docs").await.values().all(|replicas| replicas.len() == 2), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_breaks_off_while_it_is_sent_goes_on() {
    let site = Site::start(Options { peers: 1, url_recovery: false, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 100).await;
    let before = client.contents().await;
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    site.s3.fail(cut_short(70_000, 8));
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_can_not_be_read_to_its_end_restores_nothing() {
    let site = Site::start(Options { peers: 1, url_recovery: false, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 100).await;
    let before = client.contents().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    // The first pieces arrive, and then nothing more.
    let uri = "/shards/0/".to_owned();
    let fault = |skip, wrong| Fault { method: Some(http::Method::GET), uri: uri.clone(), skip, times: 99, wrong };
    site.s3.fail(fault(0, Wrong::Truncate(0)));
    let work = TempDir::new().unwrap();
    let run = site.run_in(work.path(), &["recover_snap_shards"], &[]).await;
    assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
    let run = run.says(&["of its 1 snapshots could not be recovered", "do not use it"]);
    assert!(!run.stderr.contains("panicked") && client.count(0, "docs").await == 0, "{}", run.stderr);
    // Nothing is lost by it.
    site.s3.heal();
    site.run_in(work.path(), &["recover_snap_shards"], &[]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_name_is_too_long_for_a_link_is_sent() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    // Qdrant unpacks what it fetches into a folder of the snapshot's name and 16 letters more.
    let name = "n".repeat(205);
    client.create(&name, json!({"shard_number": 1})).await;
    client.fill(&name, 0, 30).await;
    let before = client.contents().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["File name too long", "sent through this program"]);
    assert_same(&client.contents().await, &before);
}
