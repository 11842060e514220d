//! Servers that are down, late or odd.

use std::time::Duration;

use qdrant_backup_tests::client::point;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{API_KEY, Servers, Site};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_down_is_a_failure_whatever_others_hold() {
    let mut site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.fill("docs", 0, 60).await;
    site.source.stop_peer(2).await;
    site.run_with(&["create_snap"], &[("CURL_TIMEOUT", "5")]).await.expect(3).says(&["connection refused"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    // All shards are in the two snapshots, and the restore needs no third.
    site.source.start_peer(2).await;
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(client.content("docs").await.points.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_a_peer_down_is_not_restored_into() {
    let mut site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    site.source.stop_peer(1).await;
    site.run_with(&["recover_snap"], &[("CURL_TIMEOUT", "5")])
        .await
        .expect(1)
        .says(&["there is no target to restore into"]);
    assert!(client.collections().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_on_the_peers_own_disks_are_not_called_a_backup() {
    let site = Site::cluster(1).await;
    let disk = Servers::start(Options { peers: 1, api_key: Some(API_KEY.to_owned()), ..Options::default() }).await;
    disk.client().create("docs", json!({})).await;
    let run = site.run_with(&["create_snap"], &[("QDRANT_SOURCE_HOSTS", &disk.hosts()[0])]).await;
    run.expect(3).says(&["there is no object", "on its own disk"]);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its replicas differ")]
#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_different_moments_are_made_equal() {
    let mut site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
    client.fill("docs", 0, 50).await;
    // As when points are written while the snapshots are made.
    site.source.stand_in().write_to_one_replica("docs", 0, 1, &[point(50), point(51)]);
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0).says(&["made at different moments"]);
    // What was written counts: the replica that has it wins.
    assert_eq!(client.content("docs").await.points.len(), 52);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its replica is dead when the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_of_a_dead_replica_is_not_trusted() {
    let mut site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
    client.fill("docs", 0, 50).await;
    site.source.stand_in().set_replica_state("docs", 0, 0, "Dead");
    client.fill("docs", 50, 60).await;
    site.run(&["create_snap"]).await.expect(0).says(&["is Dead and is not relied on"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 1);
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(client.content("docs").await.points.len(), 60);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: it says that it is older than it is")]
#[tokio::test(flavor = "multi_thread")]
async fn an_older_qdrant_is_refused_unless_told_otherwise() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    site.run(&["create_snap"]).await.expect(0);
    let older = site.more(Options { peers: 1, version: "1.17.4".to_owned(), ..Options::default() }).await;
    let host = older.hosts()[0].clone();
    site.run_with(&["recover_snap"], &[("QDRANT_RESTORE_HOSTS", &host)])
        .await
        .expect(1)
        .says(&["Qdrant 1.17.4 is older than 1.18.3"]);
    assert!(older.client().collections().await.is_empty());
    let all_the_same = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("QDRANT_SKIP_VERSION_CHECK", "true")];
    site.run_with(&["recover_snap"], &all_the_same).await.expect(0);
    assert_eq!(older.client().count(0, "docs").await, 10);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its snapshots take as long as the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_slower_than_the_timeout_is_found_in_the_end() {
    let site = Site::start(Options { peers: 2, work: Duration::from_millis(2500), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let run = site
        .run_with(&["create_snap"], &[("CURL_TIMEOUT", "1s")])
        .await
        .expect(0)
        .says(&["checking whether the snapshot was made"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2, "{}", run.stderr);
    client.wipe().await;
    site.run_with(&["recover_snap"], &[("CURL_TIMEOUT", "2s")]).await.expect(0).says(&["watching the peer"]);
    assert_eq!(client.content("docs").await.points.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_key_is_told_what_it_lacks() {
    let site =
        Site::start(Options { peers: 1, read_only_api_key: Some("read-only".to_owned()), ..Options::default() }).await;
    site.source.client().create("docs", json!({})).await;
    site.run_with(&["create_snap"], &[("QDRANT_API_KEY", "read-only")])
        .await
        .expect(3)
        .says(&["the API key lacks the right"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_outside_the_allow_list_are_named_with_the_rule_to_add() {
    let site = Site::cluster(2).await;
    site.source.client().create("docs", json!({"shard_number": 2})).await;
    let run = site.run_with(&["create_snap"], &[("QDRANT_ALLOW_HOSTS", "")]).await.expect(3);
    let other = site.source.hosts()[1].trim_start_matches("http://").to_owned();
    run.says(&[&format!("connections to {other} are not allowed"), "QDRANT_ALLOW_HOSTS="]);
}
