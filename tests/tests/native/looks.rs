//! How often peers are asked about collections, and what is seen of what one of them sees.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Who, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Run, Servers, Site};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{edited, failed, fault};

/// How many collections are backed up and restored.
const COLLECTIONS: usize = 20;

/// What the looks at a collection are.
const LOOK: &str = "GET qdrant /collections/{collection}/cluster";

/// So many peers, and collections of two shards on two of them.
async fn site(peers: usize, settle: u64) -> Site {
    let settle = Duration::from_millis(settle);
    let site = Site::native(Options { peers, settle, ..Options::default() }).await;
    let client = site.source.client();
    for number in 0..COLLECTIONS {
        let name = format!("c{number}");
        client.create(&name, json!({"shard_number": 2})).await;
        client.fill(&name, 0, 20).await;
    }
    tokio::time::sleep(settle).await;
    site
}

/// How many requests of each kind a run makes for each collection, and how long it takes.
async fn counted(site: &Site, task: &str) -> (BTreeMap<String, f64>, Duration) {
    let before = site.s3.faults().requests().len();
    let begun = Instant::now();
    site.run(&[task]).await.expect(0);
    let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
    let requests = site.s3.faults().requests().into_iter().skip(before);
    for request in requests.filter(|request| request.who() == Who::Program) {
        *kinds.entry(request.class()).or_default() += 1.0 / COLLECTIONS as f64;
    }
    (kinds, begun.elapsed())
}

/// All of it, but what is asked of each peer once, whatever there is to do: its version and who it is.
fn all(kinds: &BTreeMap<String, f64>, peers: usize) -> f64 {
    kinds.values().sum::<f64>() - 2.0 * peers as f64 / COLLECTIONS as f64
}

/// The same of a restore, in which each peer counts one collection, too.
fn all_of_restore(kinds: &BTreeMap<String, f64>, peers: usize) -> f64 {
    all(kinds, peers) - peers as f64 / COLLECTIONS as f64
}

#[tokio::test(start_paused = true)]
async fn a_backup_asks_no_peer_that_has_nothing_to_tell() {
    for peers in [10, 50] {
        let site = site(peers, 0).await;
        for (task, most) in [("create_snap", 34.0), ("create_snap_shards", 36.0)] {
            let (kinds, _) = counted(&site, task).await;
            let all = all(&kinds, peers);
            assert!(all < most && kinds[LOOK] < 4.0, "{task}, {peers} peers: {all}, {kinds:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_asks_each_peer_once_what_it_sees() {
    for peers in [10, 50] {
        let site = site(peers, 0).await;
        site.run(&["create_snap_shards"]).await.expect(0);
        site.source.client().wipe().await;
        let (kinds, _) = counted(&site, "recover_snap_shards").await;
        let all = all_of_restore(&kinds, peers) - peers as f64;
        // One look of all, and one before it; after the creation one of some peer and of the two that hold a shard.
        let looks = kinds[LOOK] - peers as f64;
        assert!(all < 25.0 && looks < 4.0, "{peers} peers: {all}, {looks} looks, {kinds:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_settles_is_rarely_asked_for() {
    let site = site(10, 500).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site.source.client().wipe().await;
    let (kinds, took) = counted(&site, "recover_snap_shards").await;
    let all = all_of_restore(&kinds, 10);
    assert!(all < 40.0, "{all}, {kinds:#?}");
    // Twice half a second, for all at the same time.
    assert!(took < Duration::from_millis(1700), "{took:?}");
}

/// Restores a collection whose shard is on two of four peers, where so many looks of one peer are told by `wrong`; how that
/// ended, and how often it was told.
async fn restored(peer: usize, times: usize, wrong: fn(&mut Value)) -> (Run, usize) {
    let site = Site::native(Options { peers: 4, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let faults = site.s3.faults();
    faults.add(Chosen::Peer(peer), fault(Method::GET, "/collections/docs/cluster", times, edited(wrong)));
    let run = site.run_with(&["recover_snap_shards"], &[("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", "5")]).await;
    (run, faults.hits())
}

/// The first replica that a peer tells of.
fn replica(answer: &mut Value) -> &mut Value {
    let list = if answer["result"]["local_shards"] == json!([]) { "remote_shards" } else { "local_shards" };
    &mut answer["result"][list][0]
}

fn dead(answer: &mut Value) {
    replica(answer)["state"] = json!("Dead");
}

fn moving(answer: &mut Value) {
    answer["result"]["shard_transfers"] = json!([{"shard_id": 0, "from": 1, "to": 2, "sync": true}]);
}

/// The replica is another shard's.
fn elsewhere(answer: &mut Value) {
    replica(answer)["shard_id"] = json!(1);
}

#[tokio::test(start_paused = true)]
async fn what_one_peer_alone_sees_is_no_settled_collection() {
    for (wrong, says) in [
        (dead as fn(&mut Value), "sees the replica of shard 0"),
        (moving, "sees 1 shard transfers running"),
        (elsewhere, "sees another layout than"),
    ] {
        for peer in 0..4 {
            let (run, _) = restored(peer, 99, wrong).await;
            failed(run).says(&["the cluster did not settle within 5 s", says]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_peer_sees_move_again_is_waited_for() {
    for wrong in [dead, moving, elsewhere] {
        for peer in 0..4 {
            let (run, told) = restored(peer, 3, wrong).await;
            run.expect(0).says(&["20 points, verified on every replica"]);
            assert_eq!(told, 3, "peer {peer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_one_peer_can_t_tell_another_one_does() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = crate::filled(2).await;
        for peer in 0..2 {
            let broken = Wrong::Status(403, r#"{"status":{"error":"no"}}"#.to_owned());
            site.s3.faults().add(Chosen::Peer(peer), fault(Method::GET, "/collections/docs/cluster", 99, broken));
            site.run(&[task]).await.expect(0).says(&["all done"]);
            site.s3.heal();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

/// What is not known of a collection, or may go wrong with it, is told.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_collection_is_warned_of() {
    let (site, plain) =
        (crate::filled(2).await, ["its status is red", "is not relied on", "not counted", "moved right"]);
    let run = site.run(&["create_snap_shards"]).await.expect(0);
    assert!(!plain.iter().any(|warning| run.stderr.contains(warning)), "{}", run.stderr);
    tokio::time::sleep(Duration::from_secs(2)).await;
    if let Servers::StandIn(qdrant) = &site.source {
        qdrant.set_status("docs", "red");
        qdrant.set_replica_state("docs", 0, 1, "Dead");
    }
    let denied = || Wrong::Status(403, r#"{"status":{"error":"no counts"}}"#.to_owned());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/collections/docs/points/count", 99, denied()));
    let run = site.run(&["create_snap_shards"]).await.expect(0);
    run.says(&["its status is red", "the replica of shard 0 on peer", "is Dead and is not relied on", "not counted"]);
    site.s3.heal();
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs/cluster", 99, edited(moving)));
    failed(site.run(&["create_snap_shards"]).await).says(&["a snapshot made meanwhile may miss the moving ones"]);
    // Before 1.10 no server knows of counts: that is nothing to be told.
    site.s3.heal();
    let unknown = Wrong::Status(404, String::new());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/collections/docs/points/count", 99, unknown));
    let run = site.run(&["create_snap_shards"]).await;
    assert!(!run.stderr.contains("not counted"), "{}", run.stderr);
}
