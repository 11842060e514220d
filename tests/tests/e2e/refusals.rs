//! What cannot come out right is refused before anything is changed.

use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::fixtures::back_up_and_wipe;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

/// A backup of `docs` with a shard on each of three peers, and nothing on the target.
async fn backed_up() -> (Site, Client) {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 90).await;
    back_up_and_wipe(&site, "create_snap").await;
    (site, client)
}

async fn refused(site: &Site, client: &Client, texts: &[&str]) {
    site.run(&["recover_snap"]).await.expect(1).says(texts);
    assert!(client.collections().await.is_empty(), "something was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_data() {
    let (site, client) = backed_up().await;
    site.s3.delete(&site.s3.keys("snapshots/docs/")[1]);
    refused(&site, &client, &["no snapshot has data of an active replica of shard"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_different_lives_of_a_collection() {
    let (site, client) = backed_up().await;
    another_second().await;
    client.create("docs", json!({"shard_number": 3})).await;
    let first = site.s3.keys("snapshots/docs/");
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    // Two snapshots of one life and one of the other, without manifests, as a careless copy leaves them.
    for key in site.s3.keys("snapshot_manifests/") {
        site.s3.delete(&key);
    }
    let second: Vec<String> = site.s3.keys("snapshots/docs/").into_iter().filter(|key| !first.contains(key)).collect();
    let peer = |key: &str| key.rsplit('-').nth(6).unwrap().to_owned();
    let twin = second.iter().find(|key| peer(key) == peer(&first[0])).unwrap();
    site.s3.delete(&first[0]);
    for key in second.iter().filter(|key| *key != twin) {
        site.s3.delete(key);
    }
    refused(&site, &client, &["come from different collections of this name"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_not_stored_whole() {
    let (site, client) = backed_up().await;
    let key = site.s3.keys("snapshots/docs/")[0].clone();
    let mut bytes = site.s3.get(&key).unwrap();
    bytes.truncate(bytes.len() - 1024);
    site.s3.put(&key, bytes);
    refused(&site, &client, &["it is not the snapshot that was made"]).await;
    for key in site.s3.keys("snapshot_manifests/") {
        site.s3.delete(&key);
    }
    refused(&site, &client, &["it is not whole"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_that_is_no_snapshot() {
    let (site, client) = backed_up().await;
    for key in site.s3.keys("snapshot_manifests/") {
        site.s3.delete(&key);
    }
    for key in site.s3.keys("snapshots/docs/") {
        site.s3.put(&key, b"<html>".repeat(1000));
    }
    refused(&site, &client, &["no tar header"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_in_the_place_of_the_name() {
    let (site, client) = backed_up().await;
    client.create("live", json!({})).await;
    client.fill("live", 0, 5).await;
    client.alias("docs", "live").await;
    site.run_with(&["recover_snap"], &[("QDRANT_RESTORE_FORCE", "true")])
        .await
        .expect(1)
        .says(&["`docs`: on the target this is an alias of the collection `live`"]);
    assert_eq!(client.count(0, "live").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_sharding_into_a_server_without_clustering() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
    let key = json!("acme");
    client.ok(http::Method::PUT, "/collections/tenants/shards?timeout=60", Some(&json!({ "shard_key": key }))).await;
    client.fill_key("tenants", 0, 10, Some(&key)).await;
    site.run(&["create_snap"]).await.expect(0);
    let target = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let host = target.hosts()[0].clone();
    let run = site.run_with(&["recover_snap"], &[("QDRANT_RESTORE_HOSTS", &host)]).await.expect(1);
    run.says(&["custom sharding, which a Qdrant without clustering does not know"]);
    assert!(target.client().collections().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_snapshots_that_is_broken_or_names_what_is_not_there() {
    let (site, client) = backed_up().await;
    let work = TempDir::new().unwrap();
    for (text, code, what) in [
        (",docs\n", 1, "line 1: column 3 is missing"),
        (",docs,docs-1-2026-01-29-11-44-22.snapshot\n", 1, "is not in the bucket"),
        (",docs,docs.snapshot\n", 1, "is not the name of a snapshot"),
    ] {
        std::fs::write(work.path().join("snapshots"), text).unwrap();
        site.run_in(work.path(), &["recover_snap"], &[]).await.expect(code).says(&[what]);
        assert!(client.collections().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_restore_is_not_ok() {
    let site = Site::cluster(1).await;
    site.run(&["recover_snap"]).await.expect(1).says(&["the bucket holds no snapshots"]);
    site.run_with(&["recover_snap"], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", "2026-01")])
        .await
        .expect(1)
        .says(&["no snapshot in the bucket passes"]);
}
