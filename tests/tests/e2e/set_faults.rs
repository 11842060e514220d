//! Sets, when servers are slow or down, and while the cluster goes on living.

use std::sync::Arc;
use std::time::Duration;

use qdrant_backup_tests::faults::{Chosen, Event};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{Fault, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tokio::sync::Notify;

use crate::faults::stand_in_only;
use crate::sets::{another_second, manifests};

/// Tells when the first archive is asked for.
fn archives_begin(site: &Site) -> Arc<Notify> {
    let begun = Arc::new(Notify::new());
    let event = {
        let begun = Arc::clone(&begun);
        Event::new(move || {
            begun.notify_one();
            std::future::ready(())
        })
    };
    let (method, uri, wrong) = (Some(http::Method::POST), "/snapshots".to_owned(), Wrong::Before(event));
    site.s3.faults().add(Chosen::Qdrant, Fault { method, uri, skip: 0, times: 1, wrong });
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_looked_up_and_no_archive_is_made_twice() {
    stand_in_only!();
    let site = Site::start(Options { peers: 2, work: Duration::from_millis(2500), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let impatient = [("CURL_TIMEOUT", "1s")];
    site.run_with(&["create_snap_shards"], &impatient).await.expect(0).says(&["looking whether the snapshot was made"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    client.wipe().await;
    site.run_with(&["recover_snap_shards"], &[("CURL_TIMEOUT", "2s")]).await.expect(0).says(&["watching the peer"]);
    assert_eq!(client.content("docs").await.points.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_is_taken_where_a_peer_is_down_or_its_replica_is_dead() {
    stand_in_only!();
    let mut site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.fill("docs", 0, 60).await;
    site.source.stand_in().stop_peer(2).await;
    // The set is whole; that a peer is down is a failure all the same.
    site.run_with(&["create_snap_shards"], &[("CURL_TIMEOUT", "5")]).await.expect(3).says(&["connection refused"]);
    let [manifest] = manifests(&site, "docs").try_into().unwrap();
    assert_eq!((manifest.shards.len(), manifest.exact_points()), (3, Some(60)));
    site.source.stand_in().start_peer(2).await;
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(client.content("docs").await.points.len(), 60);

    // Without another one the collection fails, and nothing of it stays behind.
    client.create("one", json!({"shard_number": 2})).await;
    client.fill("one", 0, 20).await;
    let placed = client.placed("one").await;
    let peer = *placed[&0].keys().next().unwrap();
    site.source.stand_in().set_replica_state("one", 0, peer, "Dead");
    let only = [("QDRANT_COLLECTIONS", "one")];
    site.run_with(&["create_snap_shards"], &only).await.expect(1).says(&["shard 0 has no active replica"]);
    assert!(site.s3.keys("snapshots/one/").is_empty() && site.s3.keys("backup_manifests/one/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_move_during_the_backup_are_noticed_and_its_archives_deleted() {
    stand_in_only!();
    let mut site = Site::start(Options { peers: 2, work: Duration::from_millis(1500), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    let placed = client.placed("docs").await;
    let from = *placed[&0].keys().next().unwrap();
    let peers = site.source.stand_in().peers();
    let (from, to) = (peers[from].id, peers[1 - from].id);
    let begun = archives_begin(&site);
    let moving = async {
        begun.notified().await;
        let body = json!({"replicate_shard": {"shard_id": 0, "from_peer_id": from, "to_peer_id": to}});
        client.ok(http::Method::POST, "/collections/docs/cluster?timeout=60", Some(&body)).await;
    };
    let (run, ()) = tokio::join!(site.run(&["create_snap_shards"]), moving);
    run.expect(1).says(&["its shards were moved", "deleted again"]);
    assert!(site.s3.keys("snapshots/docs/").is_empty() && site.s3.keys("backup_manifests/").is_empty());
    site.run(&["create_snap_shards"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_and_the_set_says_that_its_counts_are_not_exact() {
    stand_in_only!();
    let site = Site::start(Options { peers: 2, work: Duration::from_millis(1500), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 100).await;
    let begun = archives_begin(&site);
    let writing = async {
        begun.notified().await;
        client.fill("docs", 100, 130).await;
    };
    let (run, ()) = tokio::join!(site.run(&["create_snap_shards"]), writing);
    run.expect(0);
    let [manifest] = manifests(&site, "docs").try_into().unwrap();
    assert_eq!((manifest.exact_points(), manifest.about()), (None, Some((100, 130))));
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert!((100..=130).contains(&client.count(0, "docs").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_lacks_points_is_not_called_one() {
    stand_in_only!();
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 100).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [key] = site.s3.keys("backup_manifests/docs/").try_into().unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    client.wipe().await;
    let mut expect = async |points: u64, exact: bool, code: u8, says: &str| {
        manifest["points_count"] = json!(points);
        manifest["source"]["points"] = json!({});
        manifest["shards"][0]["points"] = if exact { json!({"before": points, "after": points}) } else { json!({}) };
        site.s3.put(&key, serde_json::to_vec(&manifest).unwrap());
        client.wipe().await;
        let work = tempfile::TempDir::new().unwrap();
        site.run_in(work.path(), &["recover_snap_shards"], &[]).await.expect(code).says(&[says]);
    };
    expect(101, true, 3, "had 101 when it was backed up").await;
    // The bash script's counts are not exact: one percent is forgiven.
    expect(101, false, 0, "all done").await;
    expect(110, false, 3, "differs by more than QDRANT_VERIFY_TOLERANCE_PCT=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_answer_is_lost_never_lists_archives_that_are_gone() {
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
    assert_eq!(manifests(&site, "docs").len(), 1);
    another_second().await;
    // Every time: what was stored is taken back, and then its archives.
    site.s3.fail(lost(http::Method::PUT, 5));
    let run = site.run(&["create_snap_shards"]).await;
    assert!(run.code != 0, "{}", run.stderr);
    site.s3.fail(Fault { times: 0, ..lost(http::Method::PUT, 0) });
    assert_eq!((manifests(&site, "docs").len(), site.s3.keys("snapshots/docs/").len()), (1, 2), "{}", run.stderr);
    site.run(&["verify"]).await.expect(0);
    another_second().await;
    // And where it can't even be looked up, the archives stay with it.
    site.s3.fail(lost(http::Method::PUT, 5));
    site.s3.fail(Fault { wrong: Wrong::Reset, ..lost(http::Method::GET, 9) });
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
        println!("replication factor {factor}: archives {whole} bytes, a set {set} bytes, {ratio:.2} to 1");
        // What an archive says of shards that are not in it weighs a little, too.
        assert!((ratio - factor as f64).abs() < 0.35, "replication factor {factor}: {ratio:.2}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_to_a_gateway_and_a_gateway_that_is_down_fails_no_backup() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    // The S3 server takes any POST for something it refuses: what matters is that it is asked.
    let gateway = format!("{}/metrics/job/qdrant-backup", site.s3.endpoint());
    let push = [("QDRANT_METRICS_PUSH_URL", gateway.as_str())];
    site.s3.fail(Fault {
        method: Some(http::Method::POST),
        uri: "/metrics/job/qdrant-backup/task/create_snap_shards".to_owned(),
        skip: 0,
        times: 1,
        wrong: Wrong::Status(202, String::new()),
    });
    let run = site.run_with(&["create_snap_shards"], &push).await.expect(0);
    assert!(!run.stderr.contains("is not published"), "{}", run.stderr);
    let asked = |request: &qdrant_backup_tests::s3::Request| request.uri.path().ends_with("/task/create_snap_shards");
    assert_eq!(site.s3.requests().iter().filter(|request| asked(request)).count(), 1);
    let nobody = [("QDRANT_METRICS_PUSH_URL", "http://127.0.0.1:9/metrics/job/x")];
    site.run_with(&["verify"], &nobody).await.expect(0).says(&["is not published", "connection refused"]);
    let wrong = [("QDRANT_METRICS_PUSH_URL", "http://127.0.0.1:9/")];
    site.run_with(&["verify"], &wrong).await.expect(2).says(&["QDRANT_METRICS_PUSH_URL"]);
}
