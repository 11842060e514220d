//! A peer that is gone for good, and of which nothing is missed.

use std::time::Duration;

use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::scenarios::{Loss, a_peer_without_shards_is_gone};
use qdrant_backup_tests::site::Site;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_dead_peer_without_shards_costs_no_backup() {
    a_peer_without_shards_is_gone(&mut Site::native(Options::default()).await, Loss::Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn two_ids_at_one_address_cost_no_backup() {
    a_peer_without_shards_is_gone(&mut Site::native(Options::default()).await, Loss::NewVolume).await;
}

/// One that holds a replica of a collection is missed, whatever the other replicas are, and whatever is backed up.
#[tokio::test(start_paused = true)]
async fn a_dead_peer_with_a_replica_is_a_failure() {
    for task in ["create_snap", "create_snap_shards"] {
        let mut site = Site::native(Options { peers: 2, ..Options::default() }).await;
        let client = site.source.client();
        client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
        client.create("small", json!({"shard_number": 1})).await;
        let placed = client.placed("small").await;
        let holder = *placed.values().next().unwrap().keys().next().unwrap();
        site.source.stand_in().stop_peer(1 - holder).await;
        let host = site.source.hosts()[holder].clone();
        let settings = [("CURL_TIMEOUT", "5"), ("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_COLLECTIONS", "small")];
        let run = site.run_with(&[task], &settings).await.expect(3);
        assert!(!run.stderr.contains("no shard of any collection"), "{}", run.stderr);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// What can't be asked may be on it.
#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_missed_where_a_layout_is_not_known() {
    let mut site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    let placed = client.placed("docs").await;
    let holder = *placed.values().next().unwrap().keys().next().unwrap();
    site.source.stand_in().stop_peer(1 - holder).await;
    let broken =
        qdrant_backup_tests::faults::Wrong::Status(500, r#"{"status":{"error":"broken"},"time":0.0}"#.to_owned());
    let asked = crate::fault(http::Method::GET, "/collections/docs/cluster", 9, broken);
    site.s3.faults().add(qdrant_backup_tests::faults::Chosen::Qdrant, asked);
    let host = site.source.hosts()[holder].clone();
    let settings = [("CURL_TIMEOUT", "5"), ("QDRANT_SOURCE_HOSTS", host.as_str())];
    let run = crate::failed(site.run_with(&["create_snap_shards"], &settings).await);
    assert!(!run.stderr.contains("no shard of any collection"), "{}", run.stderr);
}

/// A port that is forwarded, or published by a container runtime: nobody is where the cluster says.
#[tokio::test(start_paused = true)]
async fn who_is_alone_is_asked_at_the_configured_host() {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    let port = [("QDRANT_HTTP_PORT", "1")];
    for task in ["create_snap_shards", "recover_snap_shards"] {
        let run = site.run_with(&[task], &port).await.expect(0);
        assert!(!run.stderr.contains("no connection"), "{task}: {}", run.stderr);
        client.wipe().await;
    }
}
