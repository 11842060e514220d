//! What an answer does not prove is not concluded from it.

use http::Method;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::{Api, Canned, Chosen, Fault, Wrong, native};
use qdrant_backup_tests::fixtures::sets;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

/// A proxy's page, with the status of a success.
fn page() -> Canned {
    let body = b"<html><body><h1>Down for maintenance</h1></body></html>".to_vec();
    Canned { status: 200, retry_after: None, content_type: "text/html", body }
}

fn fault(method: Method, uri: &str, times: usize, wrong: Wrong) -> Fault {
    Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times, wrong }
}

/// Two backups of both kinds: the older one of 10 points, the newer one of 20.
async fn two_backups() -> Site {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    for from in [0, 10] {
        client.fill("docs", from, from + 10).await;
        another_second().await;
        site.run_with(&["create_snap"], &[]).await.expect(0);
        site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await.expect(0);
    }
    client.wipe().await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_is_no_substitute_for_an_unread_one() {
    let site = two_backups().await;
    let client = site.source.client();
    let newest = |prefix: &str| site.s3.keys(prefix).pop().unwrap();
    let unread = |task: &'static str, key: String, method: Method, wrong: Wrong| {
        let (site, client) = (&site, &client);
        async move {
            site.s3.fail(fault(method, &key, 99, wrong));
            let work = TempDir::new().unwrap();
            let run = site.run_in(work.path(), &[task], &[]).await;
            assert!(matches!(run.code, 1 | 3), "{task} {key}: {}", run.stderr);
            run.says(&["and no older one is used instead"]);
            assert!(client.collections().await.is_empty());
            site.s3.heal();
            site.run_in(work.path(), &[task], &[]).await.expect(0);
            assert_eq!(client.count(0, "docs").await, 20);
            client.wipe().await;
        }
    };
    let denied = || Wrong::Answer(native(Api::S3, 403, "AccessDenied"));
    let manifest = newest("backup_manifests/docs/");
    unread("recover_snap_shards", manifest.clone(), Method::GET, denied()).await;
    unread("recover_snap_shards", manifest, Method::GET, Wrong::Answer(page())).await;
    let snapshot = newest("snapshots/docs/shards/0/");
    unread("recover_snap_shards", snapshot, Method::HEAD, denied()).await;
    let snapshots = site.s3.keys("snapshots/docs/docs-");
    // The time at the end of a name, from the year on.
    let moment = |key: &String| key[key.len() - "2026-01-01-00-00-00.snapshot".len()..].to_owned();
    let of_newest = snapshots.iter().max_by_key(|key| moment(key)).unwrap().clone();
    unread("recover_snap", of_newest, Method::GET, denied()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_a_manifest_costs_no_set() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    for _ in 0..2 {
        another_second().await;
        site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await.expect(0);
    }
    let [older, _] = site.s3.keys("backup_manifests/docs/").try_into().unwrap();
    site.s3.fail(fault(Method::GET, &older, 1, Wrong::Answer(page())));
    let two = [("QDRANT_BACKUP_RETENTION_SETS", "2")];
    site.run_with(&["prune_snap"], &two).await.expect(1).says(&["nothing was pruned"]);
    assert_eq!(sets(&site, "docs").len(), 2);
    site.run_with(&["prune_snap"], &two).await.expect(0);
    assert_eq!(sets(&site, "docs").len(), 2);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its answers are a proxy's")]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_whole_is_not_left_for_the_next_run() {
    // A snapshot list: one of two collections can't be read.
    let site = Site::cluster(1).await;
    let client = site.source.client();
    for collection in ["a", "b"] {
        client.create(collection, json!({})).await;
    }
    site.run(&["create_snap"]).await.expect(0);
    let work = TempDir::new().unwrap();
    let there = |name: &str| std::fs::read_to_string(work.path().join(name)).unwrap_or_default();
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/b/snapshots", 1, Wrong::Answer(page())));
    site.run_in(work.path(), &["get_snap"], &[]).await.expect(1).says(&["`snapshots` is not written"]);
    assert_eq!(there("snapshots"), "");
    site.run_in(work.path(), &["get_snap"], &[]).await.expect(0);
    assert_eq!(there("snapshots").lines().count(), 2);

    // Collections of two servers, one of which is away at first.
    let mut other = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    other.client().create("c", json!({})).await;
    let hosts = format!("{},{}", site.source.hosts()[0], other.hosts()[0]);
    let both = [("QDRANT_SOURCE_HOSTS", hosts.as_str()), ("CURL_TIMEOUT", "5")];
    for task in ["create_snap", "get_coll"] {
        let work = TempDir::new().unwrap();
        other.stand_in().stop_peer(0).await;
        let first = site.run_in(work.path(), &[task], &both).await;
        assert!(matches!(first.code, 1 | 3), "{}", first.stderr);
        other.stand_in().start_peer(0).await;
        site.run_in(work.path(), &[task], &both).await.expect(0);
        let collections = std::fs::read_to_string(work.path().join("collections")).unwrap();
        let lines = collections.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(lines, 3, "{task}: {collections}");
    }
    assert!(!site.s3.keys("snapshots/c/").is_empty());
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its answers are a proxy's")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_says_of_work_is_looked_up_before_a_repetition() {
    for status in [502, 503, 504] {
        for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
            let mut site = Site::cluster(2).await;
            let client = site.source.client();
            client.create("docs", json!({"shard_number": 2})).await;
            client.fill("docs", 0, 20).await;
            let broken = Canned { status, ..page() };
            let lost = |method: Method, uri: &str| fault(method, uri, 1, Wrong::DoneBut(broken.clone()));
            let faults = site.s3.faults().clone();
            faults.add(Chosen::Qdrant, lost(Method::POST, "/snapshots"));
            site.run(&[backup]).await.expect(0).says(&["checking whether the snapshot was made"]);
            client.wipe().await;
            faults.add(Chosen::Qdrant, lost(Method::PUT, "/collections/docs?"));
            faults.add(Chosen::Qdrant, lost(Method::PUT, "/snapshots/recover"));
            site.run(&[restore]).await.expect(0).says(&["checking whether it was created", "watching the peer"]);
            assert_eq!(client.content("docs").await.points.len(), 20);
            let work = site.source.stand_in().work();
            assert_eq!(work.len(), 4, "two snapshots, each made and put in place once: {work:?}");
        }
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its answers are a proxy's")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_was_away_did_not_do_is_asked_for_again() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
    let key = json!("acme");
    client.ok(Method::PUT, "/collections/tenants/shards?timeout=60", Some(&json!({"shard_key": key}))).await;
    client.fill_key("tenants", 0, 10, Some(&key)).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let away = Canned { status: 503, ..page() };
    for uri in ["/collections/tenants?", "/collections/tenants/shards?"] {
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, uri, 1, Wrong::Answer(away.clone())));
    }
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(client.content("tenants").await.points.len(), 10);
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its counts fail")]
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_could_not_be_counted_says_so() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    for task in ["create_snap", "create_snap_shards"] {
        let wrong = Wrong::Answer(native(Api::Qdrant, 500, "NoCount"));
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/points/count", 99, wrong));
        site.run(&[task]).await.expect(0).says(&["`docs`: not counted"]);
        site.s3.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_an_answer_is_not_taken_for_a_success() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    let page_for = |method: Method, uri: &str| site.s3.fail(fault(method, uri, 1, Wrong::Answer(page())));
    for (task, uri) in [
        ("create_snap", "collection_aliases_store/collection_aliases-"),
        ("create_snap", "snapshot_manifests/docs/"),
        ("create_snap_shards", "backup_manifests/docs/"),
    ] {
        page_for(Method::PUT, uri);
        let run = site.run(&[task]).await;
        assert!(matches!(run.code, 1 | 3), "{task} {uri}: {}", run.stderr);
        run.says(&["is not an S3 service's"]);
    }
    another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let sets = sets(&site, "docs");
    page_for(Method::DELETE, &sets[0].shards[0].s3_key);
    let one = [("QDRANT_BACKUP_RETENTION_SETS", "1")];
    let run = site.run_with(&["prune_snap"], &one).await;
    assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
    run.says(&["only partly removed", "is not an S3 service's"]);
    page_for(Method::PUT, ".pin");
    site.run(&["pin_set", &sets[1].backup_set_id]).await.expect(1);
}
