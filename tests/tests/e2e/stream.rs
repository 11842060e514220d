//! Servers with `snapshots_storage: local`: backed up by stream, wiped, restored, every point compared.

use http::Method;
use qdrant_backup_tests::client::{assert_same, path};
use qdrant_backup_tests::fixtures::{fill_every_kind, sets};
use qdrant_backup_tests::qdrant::{Options, sha256};
use qdrant_backup_tests::site::Site;
use serde_json::json;

const AUTO: (&str, &str) = ("QDRANT_SNAPSHOT_TRANSFER", "auto");

/// Backs up, wipes and restores; nothing may be left anywhere that belongs to no set.
async fn there_and_back(site: &Site) {
    let client = site.source.client();
    let before = client.contents().await;
    let said = ["does not store its snapshots in this bucket", "are streamed through this program", "all done"];
    site.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0).says(&said);
    let mut named = Vec::new();
    for collection in before.keys() {
        let [manifest] = sets(site, collection).try_into().unwrap();
        for shard in &manifest.shards {
            let bytes = site.s3.get(&shard.s3_key).unwrap();
            assert_eq!((shard.size, &shard.checksum), (Some(bytes.len() as u64), &sha256(&bytes)));
            assert_eq!(shard.transfer.as_deref(), Some("stream"));
            for peer in 0..client.hosts().len() {
                let folder = format!("{}/shards/{}/snapshots", path(collection), shard.id);
                let (status, listed) = client.call(peer, Method::GET, &folder, None).await;
                assert!(status != 200 || listed["result"] == json!([]), "{collection}, peer {peer}: {listed}");
            }
            named.push(shard.s3_key.clone());
        }
    }
    named.sort();
    assert_eq!(site.s3.keys("streamed/"), named);
    assert!(site.s3.uploads().is_empty() && site.s3.keys("snapshots/").is_empty());
    site.run(&["verify"]).await.expect(0);
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["all done"]);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_its_own_is_streamed_there_and_back() {
    let site = Site::start(Options { peers: 1, clustered: false, local_snapshots: true, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 2000).await;
    there_and_back(&site).await;
}

/// Of one replica and of two, custom sharding, an empty one, named vectors.
#[tokio::test(flavor = "multi_thread")]
async fn three_peers_are_streamed_there_and_back() {
    let site = Site::start(Options { local_snapshots: true, ..Options::default() }).await;
    fill_every_kind(&site.source.client()).await;
    there_and_back(&site).await;
}

/// Whole collections stay with Qdrant's own storage, and it is said what to do without it.
#[tokio::test(flavor = "multi_thread")]
async fn whole_collections_without_s3_storage_say_what_to_do() {
    let site = Site::start(Options { peers: 1, local_snapshots: true, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 20).await;
    let run = site.run(&["create_snap"]).await;
    assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
    run.says(&["use `create_snap_shards` with QDRANT_SNAPSHOT_TRANSFER=auto", "deleted again"]);
    assert_eq!(client.ok(Method::GET, &format!("{}/snapshots", path("docs")), None).await, json!([]));
}
