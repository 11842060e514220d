//! Several sources in one bucket: each gets its own back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::{Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Run, Site};
use serde_json::{Value, json};

use crate::two::Two;

async fn points(client: &Client) -> Vec<u64> {
    vec![client.count(0, "v1").await, client.count(0, "v2").await]
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_lost_everything_gets_its_own_back() {
    let two = Two::clusters().await;
    two.fill().await;
    two.back_up_both().await;
    for task in ["recover_snap", "recover_snap_shards"] {
        two.first().wipe().await;
        two.run_first(&[task], &[]).await.expect(0).says(&["the source `first`", "the target is this source"]);
        assert_eq!(points(&two.first()).await, [11, 22], "{task}");
        // Its own aliases, and none that only the other one has.
        let own = BTreeMap::from([("prod".to_owned(), "v2".to_owned())]);
        assert_eq!(two.first().aliases().await, own, "{task}");
    }
    assert_eq!(points(&two.second()).await, [33, 44]);
}

/// What the others have is no backup of it.
#[tokio::test(start_paused = true)]
async fn a_source_without_backups_gets_none_of_others() {
    let two = Two::clusters().await;
    two.fill().await;
    for task in ["create_snap", "create_snap_shards"] {
        two.run_second(&[task], &[("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
    }
    two.first().wipe().await;
    two.run_first(&["create_snap"], &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
    for task in ["recover_snap", "recover_snap_shards", "drill"] {
        two.run_first(&[task], &[]).await.expect(1).says(&["the source `first`", "QDRANT_RESTORE_SOURCE selects one"]);
        let named = [("QDRANT_COLLECTIONS", "v1")];
        two.run_first(&[task], &named).await.expect(1).says(&["the source `first`"]);
        assert!(two.first().collections().await.is_empty(), "{task}");
    }
}

#[tokio::test(start_paused = true)]
async fn aliases_alone_are_those_of_the_target_s_own_source() {
    let two = Two::clusters().await;
    two.fill().await;
    two.back_up_both().await;
    two.first().drop_aliases(&["prod"]).await;
    two.run_first(&["recover_colla"], &[]).await.expect(0);
    assert_eq!(two.first().aliases().await, BTreeMap::from([("prod".to_owned(), "v2".to_owned())]));
    // Of versions that saved them for the whole bucket only: whose they are is not known.
    for key in two.site.s3.keys("collection_aliases_store/").iter().filter(|key| key.matches('/').count() == 2) {
        two.site.s3.delete(key);
    }
    two.first().drop_aliases(&["prod"]).await;
    two.run_first(&["recover_colla"], &[]).await.expect(1).says(&["backups of several sources"]);
    assert!(two.first().aliases().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_asked_whose_backups_it_is_to_get() {
    let two = Two::clusters().await;
    two.fill().await;
    two.back_up_both().await;
    let stranger = two.site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let host = stranger.hosts().remove(0);
    for task in ["recover_snap", "recover_snap_shards", "drill"] {
        two.run_at(&host, &[task], &[]).await.expect(1).says(&[
            "the target is not one of the sources",
            "`first` (",
            "`second` (",
            "QDRANT_RESTORE_SOURCE",
        ]);
        assert!(stranger.client().collections().await.is_empty(), "{task}");
    }
    let id = two.records()["second"]["id"].as_str().unwrap().to_owned();
    for (task, source, expected) in
        [("recover_snap", "first", [11, 22]), ("recover_snap_shards", id.as_str(), [33, 44])]
    {
        stranger.client().wipe().await;
        two.run_at(&host, &[task], &[("QDRANT_RESTORE_SOURCE", source)]).await.expect(0);
        assert_eq!(points(&stranger.client()).await, expected, "{task}");
    }
    two.run_at(&host, &["recover_snap"], &[("QDRANT_RESTORE_SOURCE", "third")]).await.expect(1).says(&["third"]);
    // With one source there is nothing to ask.
    for task in ["create_snap", "create_snap_shards"] {
        let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
        site.source.client().create("docs", json!({})).await;
        site.run(&[task]).await.expect(0);
        let stranger = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
        let restore = task.replace("create", "recover");
        let work = tempfile::tempdir().unwrap();
        let to = [("QDRANT_RESTORE_HOSTS", &*stranger.hosts()[0])];
        let run = site.run_in(work.path(), &[&restore], &to).await;
        run.expect(0).says(&["it is the only source in the bucket"]);
    }
}

/// What version 0.1.0 wrote says whose it is by the peers that it names.
#[tokio::test(start_paused = true)]
async fn backups_without_a_source_s_id_are_told_apart_by_peers() {
    let two = Two::clusters().await;
    two.fill().await;
    two.back_up_both().await;
    two.site.s3.keys("sources/").iter().chain(&two.site.s3.keys("runs/")).for_each(|key| two.site.s3.delete(key));
    for key in two.site.s3.keys("backup_manifests/").iter().chain(&two.site.s3.keys("snapshot_manifests/")) {
        let mut manifest: Value = serde_json::from_slice(&two.site.s3.get(key).unwrap()).unwrap();
        for field in ["source_id", "source_name", "run_id"] {
            assert!(manifest.as_object_mut().unwrap().remove(field).is_some(), "{key} has no {field}");
        }
        two.site.s3.put(key, manifest.to_string().into_bytes());
    }
    for task in ["recover_snap", "recover_snap_shards"] {
        two.first().wipe().await;
        two.run_first(&[task], &[("BACKUP_COLLECTION_ALIASES_ON_S3", "false")]).await.expect(0);
        assert_eq!(points(&two.first()).await, [11, 22], "{task}");
    }
    // Without manifests, whole collections are told apart by the peers in the snapshots' names, and what these say of others.
    two.site.s3.keys("snapshot_manifests/").iter().for_each(|key| two.site.s3.delete(key));
    let stranger = two.site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let run = two.run_at(&stranger.hosts()[0], &["recover_snap"], &[]).await.expect(1);
    assert_eq!(run.stderr.matches("`peers ").count() % 2, 0, "two sources, and not one for each peer:\n{}", run.stderr);
}

/// Of one there are snapshots of whole collections, of the other sets alone, and nobody has written down which there are.
#[tokio::test(start_paused = true)]
async fn a_source_with_backups_of_the_other_kind_is_one_too() {
    for [first, second] in [["create_snap", "create_snap_shards"], ["create_snap_shards", "create_snap"]] {
        let two = Two::clusters().await;
        two.fill().await;
        two.run_first(&[first], &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
        two.run_second(&[second], &[("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
        two.site.s3.keys("sources/").iter().for_each(|key| two.site.s3.delete(key));
        let stranger = two.site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
        for task in ["recover_snap", "recover_snap_shards"] {
            let run = two.run_at(&stranger.hosts()[0], &[task], &[]).await.expect(1);
            run.says(&["the target is not one of the sources", "QDRANT_RESTORE_SOURCE"]);
        }
        assert!(stranger.client().collections().await.is_empty());
    }
}

/// Each by its own record.
#[tokio::test(start_paused = true)]
async fn a_source_was_seen_when_its_own_record_says() {
    let two = Two::clusters().await;
    two.fill().await;
    two.run_first(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
    tokio::time::sleep(std::time::Duration::from_secs(2 * 86_400)).await;
    two.run_second(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
    let json = two.site.run(&["list_sources", "--output", "json"]).await.expect(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&json).unwrap();
    let seen = |source: &Value| source["seen_at"].as_str().unwrap().to_owned();
    for source in &listed {
        let key = format!("sources/{}.json", source["source_id"].as_str().unwrap());
        let record: Value = serde_json::from_slice(&two.site.s3.get(&key).unwrap()).unwrap();
        assert_eq!(record["seen_at"], source["seen_at"], "{json}");
    }
    assert!(listed.len() == 2 && seen(&listed[0]) != seen(&listed[1]), "{json}");
}

/// In two namespaces, both may be called http://qdrant:6333; here the names differ, and nothing goes by them.
#[tokio::test(start_paused = true)]
async fn two_servers_are_backed_up_at_the_same_time() {
    let two = Two::servers().await;
    for (client, collection) in [(two.first(), "red"), (two.second(), "blue")] {
        client.create(collection, json!({})).await;
        client.fill(collection, 0, 10).await;
    }
    for task in ["create_snap", "create_snap_shards"] {
        let task = [task];
        let (first, second) = tokio::join!(two.run_first(&task, &[]), two.run_second(&task, &[]));
        first.expect(0);
        second.expect(0);
    }
    assert_eq!(two.records().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_survives_that_its_peers_are_replaced() {
    let two = Two::servers().await;
    two.fill().await;
    two.run_first(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "prod")]).await.expect(0);
    let before = two.records()["prod"].clone();
    // The record says that the second one's peer was seen, too: as after a replacement.
    two.run_second(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "tmp")]).await.expect(0);
    let peers = |record: &Value| record["peers"].as_array().unwrap().clone();
    let mut joined = before.clone();
    joined["peers"].as_array_mut().unwrap().extend(peers(&two.records()["tmp"]));
    let id = before["id"].as_str().unwrap();
    let tmp = two.records()["tmp"]["id"].as_str().unwrap().to_owned();
    two.site.s3.put(&format!("sources/{id}.json"), joined.to_string().into_bytes());
    // Two sources with one peer: which one it is can't be told.
    for task in ["create_snap_shards", "recover_snap_shards"] {
        two.run_second(&[task], &[]).await.expect(1).says(&["peers of several sources", "`prod`", "`tmp`"]);
    }
    two.site.s3.delete(&format!("sources/{tmp}.json"));
    another_second().await;
    let run = two.run_second(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "prod")]).await.expect(0);
    assert!(run.stderr.contains(&format!("source `prod` ({id})")), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_on_purpose_does_not_come_back() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["docs", "dropped"] {
        client.create(collection, json!({})).await;
        client.fill(collection, 0, 10).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    client.delete("dropped").await;
    another_second().await;
    // A choice changes nothing about what there is.
    site.run_with(&["create_snap_shards"], &[("QDRANT_COLLECTIONS", "do*")]).await.expect(0);
    let target = || async { site.more(Options { peers: 1, clustered: false, ..Options::default() }).await };
    let both = target().await;
    site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", &both.hosts()[0])]).await.expect(0);
    assert_eq!(both.client().collections().await.len(), 2);
    another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let one = target().await;
    let to = one.hosts().remove(0);
    let run = site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", &to)]).await.expect(0);
    let run = run.says(&["it no longer existed when the run"]);
    assert_eq!(one.client().collections().await, BTreeSet::from(["docs".to_owned()]), "{}", run.stderr);
    let named = [("QDRANT_RESTORE_HOSTS", to.as_str()), ("QDRANT_COLLECTIONS", "dropped")];
    site.run_with(&["recover_snap_shards"], &named).await.expect(0);
    assert_eq!(one.client().count(0, "dropped").await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_moment_before_a_collection_was_there_is_no_failure() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [first] = site.s3.keys("backup_manifests/docs/").try_into().unwrap();
    let manifest: Value = serde_json::from_slice(&site.s3.get(&first).unwrap()).unwrap();
    let run = manifest["run_id"].as_str().unwrap().to_owned();
    another_second().await;
    client.create("later", json!({})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let of_run = [("QDRANT_SNAPSHOT_DATETIME_FILTER", run.as_str())];
    site.run_with(&["recover_snap_shards"], &of_run).await.expect(0);
    assert_eq!(client.collections().await, BTreeSet::from(["docs".to_owned()]));
    client.wipe().await;
    let named = [of_run[0], ("QDRANT_COLLECTIONS", "later,docs")];
    let run = site.run_with(&["recover_snap_shards"], &named).await.expect(3);
    let run = run.says(&["`later`", "no set of it begins with"]);
    assert!(!run.stderr.contains("in the backups of"), "there are no others: {}", run.stderr);
    let run = site.run(&["recover_snap"]).await.expect(1);
    assert!(!run.stderr.contains("other sources"), "there are no others: {}", run.stderr);
}

/// What chooses for a restore chooses for `verify` and `list_sets`.
#[tokio::test(start_paused = true)]
async fn the_sets_of_a_run_are_verified_and_listed() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    site.source.client().create("docs", json!({})).await;
    for _ in 0..2 {
        site.run(&["create_snap_shards"]).await.expect(0);
        another_second().await;
    }
    let keys = site.s3.keys("backup_manifests/docs/");
    let manifest = |key: &str| serde_json::from_slice::<Value>(&site.s3.get(key).unwrap()).unwrap();
    let told = |at: usize, name: &str| manifest(&keys[at])[name].as_str().unwrap().to_owned();
    let (first, second) = (told(0, "backup_set_id"), told(1, "backup_set_id"));
    let (run, id) = (told(0, "run_id"), first.clone());
    assert!(!id.starts_with(&run));
    let is_alone = |text: &str| text.contains(&first) && !text.contains(&second);
    for filter in [&run, &id] {
        for task in ["verify", "list_sets"] {
            let chosen = site.run_with(&[task], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", filter)]).await.expect(0);
            assert!(is_alone(&chosen.stdout), "{task} {filter}: {}", chosen.stdout);
        }
    }
    // Of which run a set is that can't be read nobody knows; of which time, its id tells.
    site.s3.put(&keys[1], b"{".to_vec());
    for (filter, code) in [(&run, 3), (&id, 0)] {
        for task in ["verify", "list_sets"] {
            site.run_with(&[task], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", filter)]).await.expect(code);
        }
    }
}

/// Nor where no run has said what there was: its sets lie outside of what is chosen.
#[tokio::test(start_paused = true)]
async fn a_collection_that_came_after_the_moment_is_skipped() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["docs", "later"] {
        client.create(collection, json!({})).await;
        site.run_with(&["create_snap_shards"], &[("QDRANT_COLLECTIONS", collection)]).await.expect(0);
        tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    }
    let now = qdrant_backup_tests::clock::now() - time::Duration::hours(36);
    let moment = format!("{}-{:02}-{:02}T{:02}:00:00Z", now.year(), u8::from(now.month()), now.day(), now.hour());
    client.wipe().await;
    let before = [("QDRANT_RESTORE_BEFORE", moment.as_str())];
    let run = site.run_with(&["recover_snap_shards"], &before).await.expect(0);
    run.says(&["skipped: collection `later`", "no set of it was begun before QDRANT_RESTORE_BEFORE"]);
    assert_eq!(client.collections().await, BTreeSet::from(["docs".to_owned()]));
}

/// A collection that merely has sets of its own is in nobody's way.
#[tokio::test(start_paused = true)]
async fn two_collections_that_end_in_one_name_are_refused() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for (collection, points) in [("a", 10), ("b", 20)] {
        client.create(collection, json!({})).await;
        client.fill(collection, 0, points).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let rename = ("QDRANT_RESTORE_RENAME", "a=b");
    for chosen in ["a,b", "*"] {
        let both = [rename, ("QDRANT_COLLECTIONS", chosen)];
        site.run_with(&["recover_snap_shards"], &both).await.expect(1).says(&["would both be restored into `b`"]);
    }
    site.run_with(&["recover_snap_shards"], &[rename]).await.expect(1).says(&["would both be restored into `b`"]);
    assert!(client.collections().await.is_empty());
    site.run_with(&["recover_snap_shards"], &[rename, ("QDRANT_COLLECTIONS", "a")]).await.expect(0);
    assert_eq!(client.count(0, "b").await, 10);
}

/// Keys with access to one prefix, and Qdrant's, are enough for every task; what lies at the root is read where they may.
#[tokio::test(start_paused = true)]
async fn keys_for_one_prefix_are_enough() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    another_second().await;
    let prefix = [("QDRANT_BACKUP_PREFIX", "team/a"), ("QDRANT_REPORT_ON_S3", "true")];
    let before = site.s3.keys("");
    site.run_with(&["create_snap_shards"], &prefix).await.expect(0);
    for key in site.s3.keys("").iter().filter(|key| !before.contains(key)) {
        assert!(key.starts_with("team/a/") || key.starts_with("snapshots/"), "{key}");
    }
    let sets = |run: &Run| run.stdout.lines().filter(|line| line.starts_with("docs ")).count();
    assert_eq!(sets(&site.run_with(&["list_sets"], &prefix).await.expect(0)), 2);
    // From now on the root may not be listed.
    let denied = "<Error><Code>AccessDenied</Code><Message>no s3:ListBucket</Message></Error>".to_owned();
    for folder in ["backup_manifests", "snapshot_manifests", "run_locks", "sources", "runs"] {
        site.s3.fail(Fault {
            method: Some(http::Method::GET),
            uri: format!("prefix={folder}"),
            skip: 0,
            times: 9999,
            wrong: Wrong::Status(403, denied.clone()),
        });
    }
    assert_eq!(sets(&site.run_with(&["list_sets"], &prefix).await.expect(0)), 1);
    for task in ["create_snap", "create_snap_shards", "verify", "prune_snap", "drill", "recover_colla"] {
        another_second().await;
        site.run_with(&[task], &prefix).await.expect(0);
    }
    for task in ["recover_snap", "recover_snap_shards"] {
        client.wipe().await;
        site.run_with(&[task], &prefix).await.expect(0);
        assert_eq!(client.count(0, "docs").await, 10, "{task}");
    }
    // The sets at the root may be of this collection: what they name looks like orphans, and is none.
    tokio::time::sleep(std::time::Duration::from_secs(30 * 86_400)).await;
    let snapshots = site.s3.keys("snapshots/docs/shards/");
    let any = [prefix[0], ("QDRANT_SWEEP_DELETE_CAP_PCT", "1000"), ("QDRANT_BACKUP_RETENTION_SETS", "100")];
    site.run_with(&["prune_snap"], &any).await.expect(0).says(&["may not list the manifests at the root"]);
    assert_eq!(site.s3.keys("snapshots/docs/shards/"), snapshots);
}

/// What is not meant is not read: a bucket of years has thousands of sets.
#[tokio::test(start_paused = true)]
async fn of_sets_that_are_not_meant_nothing_is_read() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["docs", "kept"] {
        client.create(collection, json!({})).await;
        client.fill(collection, 0, 10).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    let [key] = site.s3.keys("backup_manifests/docs/").try_into().unwrap();
    let manifest = site.s3.get(&key).unwrap();
    for collection in 0..100 {
        for set in 0..100 {
            let key = format!("backup_manifests/c{collection}/2020-01-01T00-{:02}-{:02}Z-x.json", set / 60, set % 60);
            site.s3.put(&key, manifest.clone());
        }
    }
    client.delete("docs").await;
    let before = site.s3.requests().len();
    site.run_with(&["recover_snap_shards"], &[("QDRANT_COLLECTIONS", "docs")]).await.expect(0);
    let few = site.s3.requests().len() - before;
    assert!(few < 150, "{few} requests");
    client.delete("docs").await;
    site.run(&["recover_snap_shards"]).await;
    let all = site.s3.requests().len() - before - few;
    assert!(all < 12_000, "{all} requests");
}

#[tokio::test(start_paused = true)]
async fn a_record_is_written_where_it_changes_and_once_a_day() {
    let site = crate::filled(1).await;
    let record = || {
        let [key] = site.s3.keys("sources/").try_into().unwrap();
        serde_json::from_slice::<Value>(&site.s3.get(&key).unwrap()).unwrap()
    };
    site.run(&["create_snap_shards"]).await.expect(0);
    let first = record();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let before = site.s3.requests().len();
    site.run(&["create_snap_shards"]).await.expect(0);
    let written = site.s3.requests().into_iter().skip(before).filter(|request| request.uri.path().contains("sources/"));
    assert_eq!(written.filter(|request| request.method == Method::PUT).count(), 0);
    site.run_with(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "other")]).await.expect(0);
    assert_eq!(record()["name"], "other");
    tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    assert!(record()["seen_at"].as_str() > first["seen_at"].as_str(), "{}", record());
}
