//! `restore` takes of each collection the newest good backup of either kind, and says which.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

use crate::{fault, filled, manifests};

const SET: &str = "`docs` is restored from the set ";
const SNAPSHOTS: &str = "`docs` is restored from the snapshots of the whole collection of ";

/// Runs `first`, adds points, runs `then`.
async fn two_backups(first: &str, then: &str) -> Site {
    let site = filled(1).await;
    site.source.client().alias("docs-alias", "docs").await;
    for (task, points) in [(first, 40..60), (then, 0..0)] {
        site.run(&[task]).await.expect(0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        clock::another_second().await;
        if !points.is_empty() {
            site.source.client().fill("docs", points.start, points.end).await;
        }
    }
    site
}

/// Wipes the target, restores, and returns how many points came back.
async fn restored(site: &Site, says: &[&str]) -> usize {
    let client = site.source.client();
    client.drop_aliases(&["docs-alias"]).await;
    client.wipe().await;
    site.forget_lists();
    site.run(&["restore"]).await.expect(0).says(says);
    assert_eq!(client.aliases().await.get("docs-alias").map(String::as_str), Some("docs"));
    client.content("docs").await.points.len()
}

#[tokio::test(start_paused = true)]
async fn the_newer_kind_is_taken_and_named() {
    let site = two_backups("create_snap", "create_snap_shards").await;
    assert_eq!(restored(&site, &[SET, "is newer than the snapshots of the whole"]).await, 60);
    let site = two_backups("create_snap_shards", "create_snap").await;
    assert_eq!(restored(&site, &[SNAPSHOTS, "is newer than the set"]).await, 60);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_after_the_chosen_moment_is_not_taken() {
    let site = two_backups("create_snap_shards", "create_snap").await;
    let client = site.source.client();
    client.wipe().await;
    site.forget_lists();
    let before = manifests(&site)[0].id().started().unwrap() + Duration::from_secs(30);
    let before = before.format(&time::format_description::well_known::Rfc3339).unwrap();
    let before = format!("{}Z", before.split(['.', 'Z']).next().unwrap());
    site.run_with(&["restore"], &[("QDRANT_RESTORE_BEFORE", before.as_str())]).await.expect(0).says(&[SET]);
    assert_eq!(client.content("docs").await.points.len(), 40);
}

/// What was begun at that very second was not begun before it: neither is it taken, nor its run's list.
#[tokio::test(start_paused = true)]
async fn what_was_begun_at_the_chosen_moment_is_not_taken() {
    let site = filled(1).await;
    let client = site.source.client();
    client.create("gone", json!({})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.fill("docs", 40, 60).await;
    client.delete("gone").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let sets = manifests(&site);
    let [first, second] = [0, 1].map(|set: usize| sets[set].id().started().unwrap());
    let restored = async |name: &str, value: &str| {
        client.wipe().await;
        let run = site.run_with(&["recover_snap_shards"], &[(name, value)]).await;
        (run, client.collections().await.len())
    };
    for (moment, collections) in [(second, 2), (second - Duration::from_secs(1), 2), (first, 0)] {
        let moment = moment.format(&time::format_description::well_known::Rfc3339).unwrap();
        let (run, there) = restored("QDRANT_RESTORE_BEFORE", &moment).await;
        assert_eq!(there, collections, "{moment}: {}", run.stderr);
        if collections > 0 {
            run.expect(0);
            assert_eq!(client.content("docs").await.points.len(), 40);
        } else {
            run.says(&["no set of it was begun before"]);
        }
    }
    // The list of a run that is chosen by its id says what had to be there.
    let run = sets[0].run_id.clone().unwrap();
    assert_eq!(restored("QDRANT_SNAPSHOT_DATETIME_FILTER", &run).await.1, 2);
    let set = site.s3.keys("backup_manifests/gone/").remove(0);
    site.s3.delete(&set);
    let (ended, _) = restored("QDRANT_SNAPSHOT_DATETIME_FILTER", &run).await;
    crate::failed(ended).says(&["FAILED: collection `gone`"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_newer_one_gives_way_and_is_told() {
    let site = two_backups("create_snap", "create_snap_shards").await;
    let key = manifests(&site)[0].shards[0].s3_key.clone();
    site.s3.delete(&key);
    let older = "`docs` is restored from an older backup, the snapshots of the whole collection of ";
    assert_eq!(restored(&site, &[SNAPSHOTS, "skipped: backup of `docs`", older]).await, 40);
}

#[tokio::test(start_paused = true)]
async fn an_older_backup_of_the_same_kind_is_warned_of() {
    for (task, restore) in [("create_snap_shards", "recover_snap_shards"), ("create_snap", "recover_snap")] {
        let site = two_backups(task, task).await;
        let newest = match task {
            "create_snap" => site.s3.keys("snapshots/docs/").into_iter().max().unwrap(),
            _ => manifests(&site).iter().max_by_key(|set| set.backup_set_id.clone()).unwrap().shards[0].s3_key.clone(),
        };
        site.s3.delete(&newest);
        site.source.client().wipe().await;
        site.forget_lists();
        let run = site.run(&[restore]).await.expect(0);
        let warned = run.stderr.lines().find(|line| line.contains("`docs` is restored from an older backup, "));
        assert!(warned.is_some_and(|line| line.contains("] warning: ")), "{}", run.stderr);
        assert_eq!(site.source.client().content("docs").await.points.len(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_can_not_be_asked_gives_way_to_none() {
    let site = two_backups("create_snap", "create_snap_shards").await;
    site.source.client().wipe().await;
    site.forget_lists();
    let key = manifests(&site)[0].shards[0].s3_key.clone();
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    for method in [Method::HEAD, Method::GET] {
        site.s3.faults().add(Chosen::Program, fault(method, &key, usize::MAX, denied.clone()));
    }
    let run = site.run(&["restore"]).await;
    assert_ne!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("no older one is used instead"), "{}", run.stderr);
    assert!(!site.source.client().collections().await.contains("docs"));
}

#[tokio::test(start_paused = true)]
async fn what_the_newest_run_of_either_kind_missed_stays_away() {
    let site = filled(1).await;
    let client = site.source.client();
    client.create("gone", json!({})).await;
    site.run(&["create_snap"]).await.expect(0);
    client.delete("gone").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.forget_lists();
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    site.forget_lists();
    site.run(&["restore"]).await.expect(0).says(&["it no longer existed when", "QDRANT_COLLECTIONS=gone"]);
    assert_eq!(client.collections().await, ["docs".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn each_collection_has_its_own_newest() {
    let site = filled(1).await;
    let client = site.source.client();
    client.create("extra", json!({})).await;
    client.fill("extra", 0, 10).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.fill("extra", 10, 15).await;
    site.run_with(&["create_snap"], &[("QDRANT_COLLECTIONS", "extra")]).await.expect(0);
    client.wipe().await;
    site.forget_lists();
    site.run(&["restore"]).await.expect(0).says(&[SET, "`extra` is restored from the snapshots of the whole"]);
    assert_eq!((client.content("docs").await.points.len(), client.content("extra").await.points.len()), (40, 15));
}

#[tokio::test(start_paused = true)]
async fn one_kind_alone_is_enough_and_none_is_a_failure() {
    for (task, says) in [("create_snap", SNAPSHOTS), ("create_snap_shards", SET)] {
        let site = filled(1).await;
        site.run(&[task]).await.expect(0);
        site.source.client().wipe().await;
        site.forget_lists();
        let plan = site.run(&["restore", "--dry-run"]).await.expect(0).says(&[says]);
        assert!(
            plan.stdout.contains("restore") && site.source.client().collections().await.is_empty(),
            "{}",
            plan.stdout
        );
        site.run(&["restore"]).await.expect(0).says(&[says]);
        assert_eq!(site.source.client().content("docs").await.points.len(), 40);
    }
    let site = filled(1).await;
    site.run(&["restore"]).await.expect(1).says(&["the bucket holds no sets"]);
}

/// An alias that was moved to another collection between their backups: of the older one its manifest is not true any more.
#[tokio::test(start_paused = true)]
async fn an_alias_of_two_backups_leads_where_the_newest_says() {
    for (first, then, restores) in [
        ("create_snap", "create_snap", &["recover_snap", "restore"][..]),
        ("create_snap_shards", "create_snap_shards", &["recover_snap_shards", "restore"]),
        ("create_snap", "create_snap_shards", &["restore"]),
        ("create_snap_shards", "create_snap", &["restore"]),
    ] {
        for [before, now] in [["a", "b"], ["b", "a"]] {
            let site = Site::native(Options { peers: 1, ..Options::default() }).await;
            let client = site.source.client();
            for name in [before, now] {
                client.create(name, json!({})).await;
            }
            client.alias("live", before).await;
            site.run(&[first]).await.expect(0);
            client.alias("live", now).await;
            clock::another_second().await;
            site.run_with(&[then], &[("QDRANT_COLLECTIONS", now)]).await.expect(0);
            for restore in restores {
                client.wipe().await;
                let folder = TempDir::new().unwrap();
                site.run_in(folder.path(), &[restore], &[("BACKUP_COLLECTION_ALIASES_ON_S3", "false")]).await.expect(0);
                assert_eq!(client.aliases().await, [("live".to_owned(), now.to_owned())].into(), "{then}, {restore}");
            }
        }
    }
}
