//! `prune_snap`, `pin_set`, and `--dry-run`.

use std::collections::BTreeSet;
use std::time::Duration;

use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::fixtures::sets;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{Fault, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;

const KEEP_ALL: [(&str, &str); 1] = [("QDRANT_BACKUP_RETENTION_SETS", "0")];
const KEEP_ONE: [(&str, &str); 2] = [("QDRANT_BACKUP_RETENTION_SETS", "1"), ("QDRANT_SWEEP_GRACE_SECONDS", "1")];

/// A cluster with a collection of two shards and `sets` sets of it, the newest with the most points.
async fn with_sets(sets: u64) -> Site {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    for number in 1..=sets {
        if number > 1 {
            another_second().await;
        }
        client.fill("docs", 10 * (number - 1), 10 * number).await;
        site.run_with(&["create_snap_shards"], &KEEP_ALL).await.expect(0);
    }
    site
}

/// Everything in the bucket but what is kept of restores.
fn everything(site: &Site) -> Vec<String> {
    site.s3.keys("")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_sets_stay_and_the_others_go_with_their_snapshots() {
    let site = with_sets(3).await;
    let before = everything(&site);
    let plan = site.run_with(&["prune_snap", "--dry-run"], &KEEP_ONE).await.expect(0);
    assert_eq!(everything(&site), before, "a dry run deletes nothing");
    let of = |what: &str| plan.stdout.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!((of("keep\tdocs\t"), of("remove\tdocs\t"), plan.stdout.lines().count()), (1, 2, 3), "{}", plan.stdout);

    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(0).says(&["removed: no rule keeps it", "kept: last 1"]);
    let [kept] = sets(&site, "docs").try_into().unwrap();
    let keys: BTreeSet<String> = kept.shards.iter().map(|shard| shard.s3_key.clone()).collect();
    assert_eq!(site.s3.keys("snapshots/docs/").into_iter().collect::<BTreeSet<_>>(), keys);
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(site.source.client().count(0, "docs").await, 30);
    // Again: nothing more goes.
    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(0);
    assert_eq!(sets(&site, "docs").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_prunes_after_itself_and_a_failed_one_does_not() {
    let site = with_sets(2).await;
    let two = [("QDRANT_BACKUP_RETENTION_SETS", "2")];
    let stored = site.s3.keys("snapshots/docs/").len();
    site.s3.fail(Fault {
        method: Some(http::Method::PUT),
        uri: "backup_manifests".to_owned(),
        skip: 0,
        times: 99,
        wrong: Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    });
    site.run_with(&["create_snap_shards"], &two).await.expect(1).says(&["AccessDenied"]);
    assert_eq!(sets(&site, "docs").len(), 2);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), stored, "the failed one left no snapshots");
    let site = with_sets(2).await;
    another_second().await;
    site.run_with(&["create_snap_shards"], &two).await.expect(0).says(&["removed: no rule keeps it"]);
    assert_eq!(sets(&site, "docs").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_set_pushes_out_no_good_one_and_a_pinned_one_stays() {
    let site = with_sets(3).await;
    let [first, second, third] = sets(&site, "docs").try_into().unwrap();
    site.s3.delete(&third.shards[0].s3_key);
    site.s3.put("backup_manifests/docs/zzz.json", b"{}".to_vec());
    site.run(&["pin_set", &first.backup_set_id]).await.expect(0).says(&["pinned"]);
    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(0).says(&["kept: pinned", "damaged, and newer"]);
    let left: Vec<String> = site
        .s3
        .keys(&SetId::folder("docs"))
        .iter()
        .filter_map(|key| SetId::of_key(key))
        .map(|(_, id)| id.to_string())
        .collect();
    assert_eq!(left, [first.backup_set_id.as_str(), &second.backup_set_id, &third.backup_set_id, "zzz"]);

    site.s3.delete("backup_manifests/docs/zzz.json");
    another_second().await;
    site.run_with(&["create_snap_shards"], &KEEP_ALL).await.expect(0);
    site.run(&["pin_set", &first.backup_set_id, "--remove"]).await.expect(0);
    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(0).says(&["removed: damaged"]);
    assert_eq!(sets(&site, "docs").len(), 1);
    site.run(&["pin_set", "2020"]).await.expect(1).says(&["there is no set `2020`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_swept_after_the_grace_and_below_the_cap() {
    let site = with_sets(2).await;
    let good = site.s3.keys("snapshots/docs/");
    let orphan = "snapshots/docs/shards/0/docs-shard-0-2020-01-01-00-00-00.snapshot";
    let foreign = "snapshots/docs/shards/0/notes.txt";
    for key in [orphan, foreign] {
        site.s3.put(key, b"x".to_vec());
    }
    site.run_with(&["prune_snap"], &[("QDRANT_BACKUP_RETENTION_SETS", "2")]).await.expect(0);
    assert!(site.s3.get(orphan).is_some(), "it may be of a running backup");
    site.s3.age("snapshots/", Duration::from_secs(10));
    let settings = [
        ("QDRANT_BACKUP_RETENTION_SETS", "2"),
        ("QDRANT_SWEEP_GRACE_SECONDS", "1s"),
        ("QDRANT_SWEEP_DELETE_CAP_PCT", "10"),
    ];
    site.run_with(&["prune_snap"], &settings)
        .await
        .expect(1)
        .says(&["1 of its 5 snapshots", "more than QDRANT_SWEEP_DELETE_CAP_PCT=10"]);
    assert!(site.s3.get(orphan).is_some());
    let settings = [("QDRANT_BACKUP_RETENTION_SETS", "2"), ("QDRANT_SWEEP_GRACE_SECONDS", "1s")];
    site.run_with(&["prune_snap"], &settings).await.expect(0).says(&["1 orphaned snapshots deleted"]);
    assert!(site.s3.get(orphan).is_none() && site.s3.get(foreign).is_some());
    assert!(good.iter().all(|key| site.s3.get(key).is_some()));

    // Without any manifest nothing is swept: they may have been lost.
    for key in site.s3.keys("backup_manifests/") {
        site.s3.delete(&key);
    }
    site.run_with(&["prune_snap"], &settings).await.expect(0).says(&["no set at all"]);
    assert!(good.iter().all(|key| site.s3.get(key).is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_on_the_word_of_what_cannot_be_read() {
    let site = with_sets(3).await;
    let before = everything(&site);
    site.s3.fail(Fault {
        method: Some(http::Method::GET),
        uri: "backup_manifests/docs/".to_owned(),
        skip: 1,
        times: 99,
        wrong: Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    });
    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(1).says(&["nothing was pruned"]);
    assert_eq!(everything(&site), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_object_is_told_and_the_rest_goes() {
    let site = with_sets(2).await;
    let [first, _] = sets(&site, "docs").try_into().unwrap();
    let locked = first.shards[0].s3_key.clone();
    site.s3.fail(Fault {
        method: Some(http::Method::DELETE),
        uri: locked.rsplit('/').next().unwrap().to_owned(),
        skip: 0,
        times: 99,
        wrong: Wrong::Status(
            403,
            "<Error><Code>AccessDenied</Code><Message>Object is locked</Message></Error>".to_owned(),
        ),
    });
    // The list of the run's collections goes: no set of that run is left.
    site.run_with(&["prune_snap"], &KEEP_ONE).await.expect(3).says(&["only partly removed", "Object is locked"]);
    assert_eq!(sets(&site, "docs").len(), 1, "the manifest went first: no set lacks a snapshot");
    assert!(site.s3.get(&locked).is_some() && site.s3.get(&first.shards[1].s3_key).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_collection_snapshots_are_pruned_when_asked() {
    let site = with_sets(1).await;
    for _ in 0..3 {
        another_second().await;
        site.run(&["create_snap"]).await.expect(0);
    }
    let of_sets = site.s3.keys("snapshots/docs/shards/");
    let whole = |site: &Site| site.s3.keys("snapshots/docs/docs-").len();
    assert_eq!(whole(&site), 6);
    site.run(&["prune_snap"]).await.expect(0);
    assert_eq!(whole(&site), 6);
    let plan =
        site.run_with(&["prune_snap", "--legacy", "--dry-run"], &[("QDRANT_LEGACY_KEEP_RUNS", "1")]).await.expect(0);
    assert_eq!((whole(&site), plan.stdout.lines().filter(|line| line.starts_with("remove\t")).count()), (6, 4));
    site.run_with(&["prune_snap", "--legacy"], &[("QDRANT_LEGACY_KEEP_RUNS", "1")]).await.expect(0);
    assert_eq!((whole(&site), site.s3.keys("snapshot_manifests/docs/").len()), (2, 1));
    assert_eq!(site.s3.keys("snapshots/docs/shards/"), of_sets);
    site.source.client().wipe().await;
    std::fs::remove_file(site.work.path().join("snapshots")).unwrap();
    site.run(&["recover_snap"]).await.expect(0);
    assert_eq!(site.source.client().count(0, "docs").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_real_one_would_do_and_does_nothing() {
    let site = with_sets(1).await;
    let client = site.source.client();
    client.index("docs").await;
    client.alias("live", "docs").await;
    let before = everything(&site);
    let plan = site.run(&["create_snap_shards", "--dry-run"]).await.expect(0).stdout;
    assert_eq!(plan.lines().filter(|line| line.starts_with("snapshot\tdocs\tshard ")).count(), 2, "{plan}");
    site.run(&["create_snap", "--dry-run"]).await.expect(0);
    assert_eq!((everything(&site), site.file("snapshots")), (before, String::new()));

    another_second().await;
    site.run_with(&["create_snap_shards"], &KEEP_ALL).await.expect(0);
    site.run(&["recover_snap_shards", "--dry-run"]).await.expect(1).says(&["is not overwritten"]);
    client.wipe().await;
    let plan = site.run(&["recover_snap_shards", "--dry-run"]).await.expect(0).stdout;
    for line in [
        "restore\tdocs\t",
        "place\tdocs\tshard 0\t1 of the peers",
        "recover\tdocs\teach of its peers\t",
        "index\tdocs\tcity\t",
        "alias\tdocs\tlive\t",
    ] {
        assert!(plan.lines().any(|found| found.starts_with(line)), "no {line:?} in:\n{plan}");
    }
    assert!(client.collections().await.is_empty());
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(client.count(0, "docs").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_in_one_bucket_do_not_push_out_each_others_sets() {
    let site = Site::standalone().await;
    let other = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    for (client, to) in [(site.source.client(), 10), (other.client(), 20)] {
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, to).await;
    }
    let host = other.hosts()[0].clone();
    for _ in 0..3 {
        another_second().await;
        site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "1")]).await.expect(0);
    }
    another_second().await;
    let elsewhere = [("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_BACKUP_RETENTION_SETS", "1")];
    site.run_with(&["create_snap_shards"], &elsewhere).await.expect(0);
    let points: Vec<u64> = sets(&site, "docs").iter().map(|manifest| manifest.points_count).collect();
    assert_eq!(points, [10, 20], "the last of each");
}
