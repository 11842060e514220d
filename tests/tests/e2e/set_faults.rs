//! Sets, when servers are slow or down, and while the cluster goes on living.

use std::time::Duration;

use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::Chosen;
use qdrant_backup_tests::fixtures::{Hold, back_up_and_wipe, sets};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{Fault, Wrong};
use qdrant_backup_tests::site::{Run, Site};
use serde_json::json;
use tempfile::TempDir;

/// Holds the first snapshot that is asked for.
fn first_snapshot(site: &Site) -> Hold {
    Hold::before(&site.s3, Chosen::Qdrant, http::Method::POST, "/snapshots")
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its snapshots take as long as the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_no_snapshot_is_made_twice() {
    let site = Site::start(Options { peers: 2, work: Duration::from_millis(2500), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let impatient = [("CURL_TIMEOUT", "1s")];
    site.run_with(&["create_snap_shards"], &impatient)
        .await
        .expect(0)
        .says(&["checking whether the snapshot was made"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    client.wipe().await;
    site.run_with(&["recover_snap_shards"], &[("CURL_TIMEOUT", "2s")]).await.expect(0).says(&["watching the peer"]);
    assert_eq!(client.content("docs").await.points.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_is_taken_where_a_peer_is_down() {
    let mut site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.fill("docs", 0, 60).await;
    site.source.stop_peer(2).await;
    // The set is whole; that a peer is down is a failure all the same.
    site.run_with(&["create_snap_shards"], &[("CURL_TIMEOUT", "5")]).await.expect(3).says(&["connection refused"]);
    let [manifest] = sets(&site, "docs").try_into().unwrap();
    assert_eq!((manifest.shards.len(), manifest.exact_points()), (3, Some(60)));
    site.source.start_peer(2).await;
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(client.content("docs").await.points.len(), 60);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its replica is dead when the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_an_active_replica_fails_its_collection() {
    let mut site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("one", json!({"shard_number": 2})).await;
    client.fill("one", 0, 20).await;
    let placed = client.placed("one").await;
    let peer = *placed[&0].keys().next().unwrap();
    site.source.stand_in().set_replica_state("one", 0, peer, "Dead");
    let run = site.run(&["create_snap_shards"]).await.expect(3);
    run.says(&["shard 0 has no active replica", "kept as a partial backup"]);
    assert_eq!(site.s3.keys("snapshots/one/").len(), 1);
    let [record] = site.s3.keys("backup_manifests/one/").try_into().unwrap();
    assert!(record.ends_with(".partial.json"), "{record}");
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are held")]
#[tokio::test(flavor = "multi_thread")]
async fn shards_that_move_meanwhile_are_noticed() {
    let mut site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    let placed = client.placed("docs").await;
    let from = *placed[&0].keys().next().unwrap();
    let peers = site.source.stand_in().peers();
    let (from, to) = (peers[from].id, peers[1 - from].id);
    let begun = first_snapshot(&site);
    let moving = async {
        begun.reached().await;
        let body = json!({"replicate_shard": {"shard_id": 0, "from_peer_id": from, "to_peer_id": to}});
        client.ok(http::Method::POST, "/collections/docs/cluster?timeout=60", Some(&body)).await;
        begun.release();
    };
    let (run, ()) = tokio::join!(site.run(&["create_snap_shards"]), moving);
    run.expect(1).says(&["its shards were moved", "deleted again"]);
    assert!(site.s3.keys("snapshots/docs/").is_empty() && site.s3.keys("backup_manifests/").is_empty());
    site.run(&["create_snap_shards"]).await.expect(0);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are held")]
#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_and_the_set_says_that_its_counts_are_not_exact() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 100).await;
    let begun = first_snapshot(&site);
    let writing = async {
        begun.reached().await;
        client.fill("docs", 100, 130).await;
        begun.release();
    };
    let (run, ()) = tokio::join!(site.run(&["create_snap_shards"]), writing);
    run.expect(0);
    let [manifest] = sets(&site, "docs").try_into().unwrap();
    let counted = manifest.source.as_ref().map(|source| (source.points.before, source.points.after));
    assert_eq!((manifest.exact_points(), counted), (None, Some((Some(100), Some(130)))));
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert!((100..=130).contains(&client.count(0, "docs").await));
}

/// A set of 100 points; its collection is gone.
async fn a_hundred_points() -> Site {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 100).await;
    back_up_and_wipe(&site, "create_snap_shards").await;
    site
}

/// Restores from that set, whose manifest says `points` instead: an exact count of each shard, or the bash script's of the
/// collection, which is not exact.
async fn restored_from_a_manifest_of(site: &Site, points: u64, exact: bool, more: &[(&str, &str)]) -> Run {
    let [key] = site.s3.keys("backup_manifests/docs/").try_into().unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    manifest["points_count"] = json!(points);
    manifest["source"]["points"] = json!({});
    manifest["shards"][0]["points"] = if exact { json!({"before": points, "after": points}) } else { json!({}) };
    site.s3.put(&key, serde_json::to_vec(&manifest).unwrap());
    site.source.client().wipe().await;
    site.run_in(TempDir::new().unwrap().path(), &["recover_snap_shards"], more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_lacks_points_is_not_called_one() {
    let site = a_hundred_points().await;
    restored_from_a_manifest_of(&site, 101, true, &[]).await.expect(3).says(&["had 101 when it was backed up"]);
    restored_from_a_manifest_of(&site, 99, true, &[]).await.expect(3).says(&["had 99 when it was backed up"]);
    // A tolerance that a person has set lets it pass, and nothing calls it verified.
    let all = [("QDRANT_VERIFY_TOLERANCE_PCT", "100")];
    restored_from_a_manifest_of(&site, 101, true, &all).await.expect(0).says(&["not verified", "1 fewer"]);
    restored_from_a_manifest_of(&site, 100, true, &[]).await.expect(0);
}

/// The bash script counts while others write, so that one percent more or less is no loss, and more than that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_not_exact_is_held_to_the_tolerance() {
    let site = a_hundred_points().await;
    let beyond = "differs by more than QDRANT_VERIFY_TOLERANCE_PCT=";
    for within in [100, 101] {
        restored_from_a_manifest_of(&site, within, false, &[]).await.expect(0);
    }
    for without in [98, 110] {
        restored_from_a_manifest_of(&site, without, false, &[]).await.expect(3).says(&[beyond]);
    }
    let none = [("QDRANT_VERIFY_TOLERANCE_PCT", "0")];
    restored_from_a_manifest_of(&site, 101, false, &none).await.expect(3).says(&[beyond]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_answer_is_lost_lists_no_lost_snapshots() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let lost = |method: http::Method, times| Fault {
        method: Some(method),
        uri: "backup_manifests/docs/".to_owned(),
        skip: 0,
        times,
        wrong: Wrong::Lost,
    };
    // Once: it is found to be there.
    site.s3.fail(lost(http::Method::PUT, 1));
    site.run(&["create_snap_shards"]).await.expect(0);
    assert_eq!(sets(&site, "docs").len(), 1);
    another_second().await;
    // Every time: what was stored is taken back, and then its snapshots.
    site.s3.fail(lost(http::Method::PUT, 999));
    let run = site.run(&["create_snap_shards"]).await;
    assert!(run.code != 0, "{}", run.stderr);
    site.s3.heal();
    assert_eq!((sets(&site, "docs").len(), site.s3.keys("snapshots/docs/").len()), (1, 2), "{}", run.stderr);
    site.run(&["verify"]).await.expect(0);
    another_second().await;
    // And where it can't even be looked up, the snapshots stay with it.
    site.s3.fail(lost(http::Method::PUT, 999));
    site.s3.fail(Fault { wrong: Wrong::Reset, ..lost(http::Method::GET, 999) });
    let run = site.run(&["create_snap_shards"]).await;
    assert!(run.code != 0, "{}", run.stderr);
    let run = run.says(&["whether its manifest"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 4, "{}", run.stderr);
}

/// What both kinds of backup store: the figures of the README's table.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_stores_each_shard_once_whatever_the_replication_factor() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    let bytes =
        |prefix: &str| -> usize { site.s3.keys(prefix).iter().map(|key| site.s3.get(key).unwrap().len()).sum() };
    for factor in 1..=3_usize {
        let name = format!("rf{factor}");
        client.create(&name, json!({"shard_number": 3, "replication_factor": factor})).await;
        client.fill(&name, 0, 300).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    site.run(&["create_snap"]).await.expect(0);
    for factor in 1..=3_usize {
        let set = bytes(&format!("snapshots/rf{factor}/shards/"));
        let whole = bytes(&format!("snapshots/rf{factor}/")) - set;
        let ratio = whole as f64 / set as f64;
        println!("replication factor {factor}: snapshots {whole} bytes, a set {set} bytes, {ratio:.2} to 1");
        // What a snapshot says of shards that are not in it weighs a little, too.
        assert!((ratio - factor as f64).abs() < 0.35, "replication factor {factor}: {ratio:.2}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_to_a_gateway_and_one_that_is_down_fails_nothing() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    // The S3 server takes any POST for something it refuses: what matters is that it is asked.
    let gateway = format!("{}/metrics/job/qdrant-backup", site.s3.endpoint());
    let push = [("QDRANT_METRICS_PUSH_URL", gateway.as_str())];
    site.s3.fail(Fault {
        method: Some(http::Method::POST),
        uri: "/metrics/job/qdrant-backup/task/create_snap_shards".to_owned(),
        skip: 0,
        times: 2,
        wrong: Wrong::Status(202, String::new()),
    });
    let run = site.run_with(&["create_snap_shards"], &push).await.expect(0);
    assert!(!run.stderr.contains("is not published"), "{}", run.stderr);
    let asked = |request: &qdrant_backup_tests::s3::Request| request.uri.path().ends_with("/task/create_snap_shards");
    assert_eq!(site.s3.requests().iter().filter(|request| asked(request)).count(), 2, "at the start and the end");
    let nobody = [("QDRANT_METRICS_PUSH_URL", "http://127.0.0.1:9/metrics/job/x")];
    site.run_with(&["verify"], &nobody).await.expect(0).says(&["is not published", "connection refused"]);
    let wrong = [("QDRANT_METRICS_PUSH_URL", "http://127.0.0.1:9/")];
    site.run_with(&["verify"], &wrong).await.expect(2).says(&["QDRANT_METRICS_PUSH_URL"]);
}
