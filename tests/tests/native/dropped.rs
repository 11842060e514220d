//! The sets of collections that are not at their source any more.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::fault;
use crate::two::Two;

const SETS: [&str; 1] = ["create_snap_shards"];
const KEEP_ONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "1");
const KEEP_ALL: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "0");
const THREE_DAYS: (&str, &str) = ("QDRANT_BACKUP_DROPPED_KEEP", "3d");
/// The lists of runs stay that tell since when a collection is missing.
const LONG: (&str, &str) = ("QDRANT_BACKUP_DROPPED_KEEP", "90d");
const DAY: Duration = Duration::from_secs(86_400);

/// `docs` and `old`, backed up once; then `old` is dropped, and a day passes.
async fn dropped() -> Site {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["docs", "old"] {
        client.create(collection, json!({})).await;
        client.fill(collection, 0, 10).await;
    }
    site.run_with(&SETS, &[KEEP_ONE]).await.expect(0);
    client.delete("old").await;
    tokio::time::sleep(DAY).await;
    site
}

/// Backs up once a day.
async fn days(site: &Site, days: usize, settings: &[(&str, &str)]) {
    for _ in 0..days {
        site.run_with(&SETS, settings).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
}

fn sets(site: &Site, collection: &str) -> usize {
    site.s3.keys(&format!("backup_manifests/{collection}/")).len()
}

/// It is there, and its backup failed: until one succeeds, all its sets stay.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_backed_up_is_not_pruned() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    for collection in ["docs", "old"] {
        site.source.client().create(collection, json!({})).await;
    }
    days(&site, 2, &[KEEP_ALL]).await;
    let full = Wrong::Status(500, r#"{"status":{"error":"no space left on device"}}"#.to_owned());
    let full = fault(Method::POST, "/docs/shards/*/snapshots", 99, full);
    site.s3.faults().add(Chosen::Qdrant, full);
    site.run_with(&SETS, &[KEEP_ONE, THREE_DAYS]).await.expect(3);
    assert_eq!((sets(&site, "docs"), sets(&site, "old")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn sets_of_a_dropped_collection_go_after_their_time() {
    let site = dropped().await;
    days(&site, 3, &[KEEP_ONE, THREE_DAYS]).await;
    assert_eq!((sets(&site, "docs"), sets(&site, "old")), (1, 1));
    let listed = site.run(&["list_sets"]).await.expect(0).stdout;
    let old = listed.lines().find(|line| line.starts_with("old ")).unwrap();
    assert!(old.contains(" yes"), "{listed}");
    // The first whole backup without it was three days ago, and a moment more.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let run = site.run_with(&SETS, &[KEEP_ONE, THREE_DAYS]).await.expect(0);
    run.says(&["its source no longer has the collection", "QDRANT_BACKUP_DROPPED_KEEP"]);
    assert_eq!((sets(&site, "docs"), sets(&site, "old")), (1, 0));
    assert!(site.s3.keys("snapshots/old/").is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_time_the_newest_set_of_a_dropped_one_stays() {
    let site = dropped().await;
    days(&site, 9, &[KEEP_ONE]).await;
    site.run_with(&["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(sets(&site, "old"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_collection_is_pruned_without_other_rules() {
    let site = dropped().await;
    days(&site, 5, &[KEEP_ALL, THREE_DAYS]).await;
    assert_eq!((sets(&site, "docs"), sets(&site, "old")), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dropped_while_the_source_can_t_be_asked() {
    let site = dropped().await;
    days(&site, 5, &[KEEP_ONE, LONG]).await;
    let prune = ["prune_snap"];
    let unasked = "the sets of dropped collections stay, as their source can't be asked";
    let nobody = [KEEP_ONE, THREE_DAYS, ("QDRANT_SOURCE_HOSTS", "")];
    site.run_with(&prune, &nobody).await.expect(0).says(&[unasked, "QDRANT_SOURCE_HOSTS is not set"]);
    let down = [KEEP_ONE, THREE_DAYS, ("QDRANT_SOURCE_HOSTS", "http://127.0.0.250:6333")];
    site.run_with(&prune, &down).await.expect(0).says(&[unasked]);
    // Another server, which is no source here.
    let stranger = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    stranger.client().create("else", json!({})).await;
    let to = stranger.hosts().remove(0);
    let other = [KEEP_ONE, THREE_DAYS, ("QDRANT_SOURCE_HOSTS", to.as_str())];
    site.run_with(&prune, &other).await.expect(0).says(&[unasked, "not one of the sources in the bucket"]);
    // One that may have lost everything.
    site.source.client().delete("docs").await;
    site.run_with(&prune, &[KEEP_ONE, THREE_DAYS]).await.expect(0).says(&[unasked]);
    assert_eq!(sets(&site, "old"), 1);
    site.source.client().create("docs", json!({})).await;
    // With a dry run as without.
    let run = site.run_with(&["prune_snap", "--dry-run"], &[KEEP_ONE, THREE_DAYS]).await.expect(0);
    assert!(run.stdout.contains("remove\told\t"), "{}", run.stdout);
    assert_eq!(sets(&site, "old"), 1);
    site.run_with(&prune, &[KEEP_ONE, THREE_DAYS]).await.expect(0);
    assert_eq!((sets(&site, "docs"), sets(&site, "old")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_keeps_dropped_sets() {
    let mut site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    for collection in ["docs", "old"] {
        client.create(collection, json!({"shard_number": 2, "replication_factor": 2})).await;
    }
    site.run(&SETS).await.expect(0);
    client.delete("old").await;
    days(&site, 6, &[KEEP_ONE, LONG]).await;
    site.source.stand_in().stop_peer(1).await;
    let few = [KEEP_ONE, THREE_DAYS, ("CURL_TIMEOUT", "5")];
    site.run_with(&["prune_snap"], &few).await.expect(0).says(&["their source can't be asked"]);
    assert_eq!(sets(&site, "old"), 1);
    site.source.stand_in().start_peer(1).await;
    // One without any collection may have lost them.
    client.delete("docs").await;
    site.run_with(&["prune_snap"], &few).await.expect(0).says(&["may have lost them"]);
    assert_eq!(sets(&site, "old"), 1);
    client.create("docs", json!({"shard_number": 2})).await;
    // One that says less than the others decides nothing: it may be new.
    site.source.stand_in().fail(fault(
        Method::GET,
        "/collections",
        1,
        crate::edited(|told| {
            if let Some(all) = told["result"]["collections"].as_array_mut() {
                all.push(json!({"name": "old"}));
            }
        }),
    ));
    site.run_with(&["prune_snap"], &few).await.expect(0);
    assert_eq!(sets(&site, "old"), 1);
    site.run_with(&["prune_snap"], &few).await.expect(0);
    assert_eq!(sets(&site, "old"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_back_or_pinned_or_another_s_stays() {
    let two = Two::servers().await;
    two.fill().await;
    let both = async |first: &[(&str, &str)]| {
        let named: Vec<_> = first.iter().copied().chain([("QDRANT_SOURCE_NAME", "first")]).collect();
        two.run_first(&SETS, &named).await.expect(0);
        two.run_second(&SETS, &[KEEP_ONE]).await.expect(0);
        tokio::time::sleep(DAY).await;
    };
    both(&[KEEP_ONE, LONG]).await;
    two.first().delete("v2").await;
    let old = two.site.s3.keys("backup_manifests/v2/");
    assert_eq!(old.len(), 2);
    for _ in 0..4 {
        both(&[KEEP_ONE, LONG]).await;
    }
    // A set of it by a run of its own: it was there again.
    two.first().create("v2", json!({})).await;
    two.run_first(&SETS, &[KEEP_ONE, THREE_DAYS, ("QDRANT_COLLECTIONS", "v2")]).await.expect(0);
    two.first().delete("v2").await;
    tokio::time::sleep(DAY).await;
    both(&[KEEP_ONE, THREE_DAYS]).await;
    let there = || two.site.s3.keys("backup_manifests/v2/").into_iter().filter(|key| key.ends_with(".json")).count();
    assert_eq!(there(), 2, "one of each source");
    let id = two.records()["first"]["id"].as_str().unwrap().to_owned();
    let own = two.site.s3.keys("backup_manifests/v2/").into_iter().find(|key| {
        let manifest: serde_json::Value = serde_json::from_slice(&two.site.s3.get(key).unwrap()).unwrap();
        manifest["source_id"] == id.as_str()
    });
    let (_, set) = qdrant_backup_core::sets::SetId::of_key(&own.unwrap()).unwrap();
    two.run_first(&["pin_set", set.as_str()], &[]).await.expect(0);
    for _ in 0..5 {
        both(&[KEEP_ONE, THREE_DAYS]).await;
    }
    assert_eq!(there(), 2);
    two.run_first(&["pin_set", set.as_str(), "--remove"], &[]).await.expect(0);
    both(&[KEEP_ONE, THREE_DAYS]).await;
    assert_eq!(there(), 1, "the other source has it");
}

/// What may not be deleted is told, and the backup has ended well.
#[tokio::test(start_paused = true)]
async fn dropped_sets_need_the_right_to_delete_and_backups_none() {
    let site = dropped().await;
    days(&site, 5, &[KEEP_ONE, LONG]).await;
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::DELETE, "", 999, denied));
    let run = site.run_with(&SETS, &[KEEP_ONE, THREE_DAYS]).await.expect(0);
    run.says(&["these keys may not delete"]);
    assert_eq!(sets(&site, "old"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_collection_that_was_not_chosen_stays() {
    let site = dropped().await;
    days(&site, 5, &[KEEP_ONE, LONG]).await;
    site.run_with(&SETS, &[KEEP_ONE, THREE_DAYS, ("QDRANT_COLLECTIONS", "docs")]).await.expect(0);
    assert_eq!(sets(&site, "old"), 1);
    // Of the pods of one backup the first removes it.
    for (index, left) in [("1", 1), ("0", 0)] {
        let share = [("QDRANT_BACKUP_SHARES", "2"), ("JOB_COMPLETION_INDEX", index), ("QDRANT_BACKUP_RUN", "r")];
        site.run_with(&SETS, &[&[KEEP_ONE, THREE_DAYS], &share[..]].concat()).await.expect(0);
        assert_eq!(sets(&site, "old"), left, "{index}");
    }
}
