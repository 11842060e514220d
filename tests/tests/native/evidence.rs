//! What is claimed of a restore, where Qdrant, the bucket or a person spoil it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{change, fault, manifest_keys, manifests, said_and_not_done};

async fn docs(peers: usize, more: Value) -> Site {
    let site = Site::native(Options { peers, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", more).await;
    client.fill("docs", 0, 40).await;
    site
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_ends_empty_is_a_failure_whatever_the_tolerance() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let site = docs(1, json!({"shard_number": 2})).await;
        let client = site.source.client();
        client.create("none", json!({"shard_number": 1})).await;
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 99, said_and_not_done()));
        let tolerant = [("QDRANT_VERIFY_TOLERANCE_PCT", "100")];
        let run = site.run_with(&[restore], &tolerant).await.expect(3).says(&["shard 0 has 0 points"]);
        assert!(run.stderr.contains("done: collection `none`"), "{}", run.stderr);
        // Nobody has counted: the snapshots tell.
        for key in site.s3.keys("snapshot_manifests/") {
            site.s3.delete(&key);
        }
        if restore == "recover_snap_shards" {
            change(&site, &manifest_keys(&site)[0], |manifest| {
                for shard in manifest["shards"].as_array_mut().unwrap() {
                    shard["points"] = json!({});
                }
                manifest["source"]["points"] = json!({});
                manifest["points_count"] = json!(0);
            });
        }
        client.wipe().await;
        let run = site.run_with(&[restore], &tolerant).await.expect(3).says(&["ends empty, and its snapshot"]);
        assert!(run.stderr.contains("done: collection `none`"), "{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn one_shard_that_vanished_is_not_within_the_whole_s_tolerance() {
    let site = docs(1, json!({"shard_number": 2})).await;
    let client = site.source.client();
    client.fill("docs", 40, 1000).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    // Of a small shard that was written to: 1 % of the whole is more than all of it.
    let mut lost = 0;
    change(&site, &manifest_keys(&site)[0], |manifest| {
        manifest["source"]["points"] = json!({"before": 1000, "after": 1001});
        let shard = &mut manifest["shards"][1];
        lost = shard["points"]["after"].as_u64().unwrap();
        shard["points"] = json!({"before": lost + 9, "after": lost + 10});
    });
    assert!(lost > 100 && lost < 900);
    client.wipe().await;
    // 9 of some 500 points: less than 1 % of all.
    let fewer =
        format!("shard 1 has {lost} points and had {} to {} when it was backed up, 9 fewer", lost + 9, lost + 10);
    site.run(&["recover_snap_shards"]).await.expect(3).says(&[&fewer, "differs by more than"]);
    let tolerant = [("QDRANT_VERIFY_TOLERANCE_PCT", "3")];
    site.run_with(&["recover_snap_shards"], &tolerant).await.expect(0).says(&["restored and not verified", &fewer]);
}

#[tokio::test(start_paused = true)]
async fn replicas_with_equal_counts_and_other_points_are_made_equal() {
    for copies in [2, 3] {
        let mut site = docs(copies, json!({"shard_number": 2, "replication_factor": copies})).await;
        let client = site.source.client();
        // As where payloads are set while the snapshots are made, one after another.
        let shard = 0;
        let path = format!("/collections/docs/shards/{shard}/points/scroll");
        let body = json!({"limit": 100, "with_payload": true, "with_vector": true});
        let read =
            async |peer: usize| client.call(peer, Method::POST, &path, Some(&body)).await.1["result"]["points"].take();
        let some = read(0).await[0]["id"].clone();
        let point = |id: Value| json!({"id": id, "vector": [0.4, 0.3, 0.2, 0.1], "payload": {"city": "other"}});
        site.source.stand_in().write_to_one_replica("docs", shard, 1, &[point(some)]);
        assert_ne!(read(0).await, read(1).await);
        site.run(&["create_snap"]).await.expect(0);
        client.wipe().await;
        let told = "their points differ: the replicas of shard 0 are copied from peer";
        site.run(&["recover_snap"]).await.expect(0).says(&[told]);
        for peer in 1..copies {
            assert_eq!(read(0).await, read(peer).await);
        }
        let again = async || {
            client.wipe().await;
            client.create("docs", json!({"shard_number": 2, "replication_factor": copies})).await;
            client.fill("docs", 0, 40).await;
            qdrant_backup_tests::clock::another_second().await;
        };
        // The one with the most points has seen the most writes.
        again().await;
        site.source.stand_in().write_to_one_replica("docs", shard, 1, &[point(json!(1000))]);
        site.run(&["create_snap"]).await.expect(0);
        client.wipe().await;
        site.run(&["recover_snap"]).await.expect(0).says(&["made at different moments or states"]);
        assert_eq!(client.content("docs").await.points.len(), 41);
        // Those that are the same are left as they are.
        again().await;
        site.run(&["create_snap"]).await.expect(0);
        client.wipe().await;
        let run = site.run(&["recover_snap"]).await.expect(0);
        assert!(!run.stderr.contains("are copied from peer"), "{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_the_service_fills_in_is_set_back() {
    let site = docs(1, json!({"shard_number": 1})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let quantized = json!({"quantization_config": {"scalar": {"type": "int8"}}});
    let target = site.more(Options { peers: 1, service: quantized, ..Options::default() }).await;
    let host = target.hosts()[0].clone();
    let into = |host: &str| [("QDRANT_RESTORE_HOSTS".to_owned(), host.to_owned())];
    let run = async |host: &str, more: &[(&str, &str)]| {
        let work = TempDir::new().unwrap();
        let [(name, host)] = into(host);
        let settings = [&[(name.as_str(), host.as_str())], more].concat();
        site.run_in(work.path(), &["recover_snap_shards"], &settings).await
    };
    run(&host, &[]).await.expect(0).says(&["verified on every replica"]);
    let info = target.client().ok(Method::GET, "/collections/docs", None).await;
    assert_eq!(info["config"]["quantization_config"], Value::Null);
    // What can't be set is told.
    let segments = json!({"optimizers_config": {"max_segment_size": 5000}});
    let target = site.more(Options { peers: 1, service: segments, ..Options::default() }).await;
    let host = target.hosts()[0].clone();
    let differs = "`optimizer_config.max_segment_size` is 5000 and was null";
    run(&host, &[]).await.expect(1).says(&[differs, "QDRANT_RESTORE_ACCEPT_CONFIG"]);
    let accepted = run(&host, &[("QDRANT_RESTORE_ACCEPT_CONFIG", "true")]).await.expect(0);
    accepted.says(&[differs, "warning", "not verified"]);
    assert_eq!(target.client().content("docs").await.points.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_nobody_recorded_is_told() {
    let site = docs(1, json!({"shard_number": 1})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    for missing in [json!({}), Value::Null] {
        change(&site, &manifest_keys(&site)[0], |manifest| {
            manifest["collection_config"]["config"]["hnsw_config"] = missing;
        });
        site.source.client().wipe().await;
        let run = site.run(&["recover_snap_shards"]).await.expect(0);
        // Found before the data comes and in the end, and said once.
        let note = "its `hnsw_config` is not in the backup, and was not compared";
        let run = run.says(&["restored and not verified", note]);
        assert!(!run.stderr.contains(&format!("{note}; {note}")), "{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn points_that_are_deferred_are_in_no_count_and_told() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let hide = || {
        let fewer = crate::edited(|answer| {
            let count = answer["result"]["count"].as_u64().unwrap_or_default();
            answer["result"]["count"] = json!(count.saturating_sub(5));
        });
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/points/count", 9999, fewer));
    };
    // As where `prevent_unoptimized` is set (Qdrant 1.18): counts leave out what is not optimised yet.
    let deferred = crate::edited(|answer| {
        if answer["result"]["config"].is_object() {
            answer["result"]["update_queue"] = json!({"length": 0, "deferred_points": 5});
        }
    });
    hide();
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs", 9999, deferred));
    let run = site.run_with(&["recover_snap_shards"], &[("QDRANT_VERIFY_CONTENT", "full")]).await.expect(0);
    let run = run.says(&["5 of its points are not optimised yet", "restored and not verified"]);
    // What is not to be seen can't be compared.
    run.says(&["its content was not compared"]);
    // Without that they are missing.
    site.s3.heal();
    client.wipe().await;
    hide();
    crate::failed(site.run(&["recover_snap_shards"]).await).says(&["shard 0 has 35 points and had 40"]);
}

#[tokio::test(start_paused = true)]
async fn points_that_are_soon_optimised_are_waited_for() {
    for looks in [0, 3] {
        let site = docs(1, json!({"shard_number": 1})).await;
        site.run(&["create_snap_shards"]).await.expect(0);
        site.source.client().wipe().await;
        let left = AtomicU64::new(looks);
        let deferred = crate::edited(move |answer| {
            let has_points = answer["result"]["points_count"].as_u64().is_some_and(|points| points > 0);
            if has_points && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                answer["result"]["update_queue"] = json!({"length": 0, "deferred_points": 5});
            }
        });
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs", 9999, deferred));
        let began = tokio::time::Instant::now();
        site.run(&["recover_snap_shards"]).await.expect(0).says(&["40 points, verified on every replica"]);
        assert!(began.elapsed() < Duration::from_secs(10), "{looks} looks: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_s_404_is_asked_again() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    client.fill("docs", 40, 50).await;
    qdrant_backup_tests::clock::another_second().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    // As of something between that answers without a body, which says nothing of the object.
    let nobody = || Wrong::Status(404, String::new());
    site.s3.faults().add(Chosen::S3, fault(Method::HEAD, ".snapshot", 1, nobody()));
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["50 points, verified on every replica"]);
    // A GET's without a word is not known, either: no older set is taken in its place.
    client.wipe().await;
    site.s3.faults().add(Chosen::S3, fault(Method::HEAD, ".snapshot", 99, nobody()));
    site.s3.faults().add(Chosen::S3, fault(Method::GET, ".snapshot", 99, nobody()));
    crate::failed(site.run(&["recover_snap_shards"]).await);
    assert!(client.collections().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn points_of_others_are_not_taken_for_half_done_work() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let site = docs(1, json!({"shard_number": 2})).await;
        let client = site.source.client();
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        let full = Wrong::Status(507, json!({"status": {"error": "disk full"}}).to_string());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 1, full));
        let run = site.run(&[restore]).await;
        assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
        // Somebody deletes what is there, and fills it by hand: just as many points.
        client.wipe().await;
        client.create("docs", json!({"shard_number": 2})).await;
        client.fill("docs", 0, 40).await;
        client.overwrite("docs", 40).await;
        let theirs = client.content("docs").await;
        site.run(&[restore]).await.expect(1).says(&["holds 40 points and is not overwritten"]);
        assert_eq!(client.content("docs").await, theirs, "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn force_deletes_nothing_for_a_snapshot_that_is_damaged() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    client.fill("docs", 40, 45).await;
    let [manifest] = manifests(&site).try_into().unwrap();
    let shard = &manifest.shards[0];
    let mut bytes = site.s3.get(&shard.s3_key).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    site.s3.put_with_etag(&shard.s3_key, bytes, &shard.etag);
    let force = [("QDRANT_RESTORE_FORCE", "true")];
    site.run_with(&["recover_snap_shards"], &force).await.expect(1).says(&["its SHA-256 is", "was not changed"]);
    assert_eq!(client.count(0, "docs").await, 45);
}

#[tokio::test(start_paused = true)]
async fn aliases_made_later_outlive_a_forced_restore_that_fails() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        // Another run goes on with it, or one of the same restore.
        for id in [&[][..], &[("QDRANT_RESTORE_ID", "one")]] {
            let site = docs(1, json!({"shard_number": 1})).await;
            let client = site.source.client();
            site.run(&[backup]).await.expect(0);
            client.alias("later", "docs").await;
            let refused = Wrong::Status(400, json!({"status": {"error": "Wrong input: no"}}).to_string());
            site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 1, refused));
            let forced = [&[("QDRANT_RESTORE_FORCE", "true")], id].concat();
            let run = site.run_with(&[restore], &forced).await;
            assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
            assert!(client.aliases().await.is_empty());
            // Another pod, by whatever way.
            let work = TempDir::new().unwrap();
            site.run_in(work.path(), &[restore], id).await.expect(0);
            assert_eq!(client.aliases().await, BTreeMap::from([("later".to_owned(), "docs".to_owned())]), "{restore}");
            if id.is_empty() {
                continue;
            }
            // The one that failed learns of it, whatever its own work directory says.
            site.run_with(&[restore], &forced).await.expect(0).says(&["this restore (one) has ended for it at"]);
            // What had ended says nothing of a collection that was emptied since: the alias was taken away on purpose.
            client.drop_aliases(&["later"]).await;
            client.delete_points("docs", 0, 40).await;
            site.run_in(work.path(), &[restore], &forced).await.expect(0);
            assert_eq!(client.count(0, "docs").await, 40);
            assert!(client.aliases().await.is_empty(), "{restore}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_one_stays_where_it_is_written_to() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let writer = site.source.client();
    let event = Event::new(move || {
        let writer = writer.clone();
        async move { writer.fill("docs", 40, 50).await }
    });
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 1, Wrong::Before(event)));
    let settings = [
        ("QDRANT_RESTORE_RENAME", "docs=docs-2"),
        ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
        ("QDRANT_RESTORE_DROP_OLD", "true"),
    ];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(3).says(&["had 40 points and has 50"]);
    assert_eq!(client.count(0, "docs").await, 50);
}

/// It missed what was written while it was away: deletions, too, so that it has the most points of all.
#[tokio::test(start_paused = true)]
async fn a_replica_that_was_not_active_is_copied_from_another() {
    let mut site = docs(2, json!({"shard_number": 2, "replication_factor": 2})).await;
    let client = site.source.client();
    // Each peer has the only good replica of one of the shards.
    for shard in [0, 1] {
        site.source.stand_in().set_replica_state("docs", shard, shard as usize, "Dead");
    }
    client.delete_points("docs", 0, 10).await;
    site.run(&["create_snap"]).await.expect(0);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    client.wipe().await;
    site.run(&["recover_snap"]).await.expect(0).says(&["made at different moments or states"]);
    assert_eq!(client.content("docs").await.points.len(), 30);
}

/// What was restored under the name of a replaced one is not the replaced one, whatever its aliases and number of points.
#[tokio::test(start_paused = true)]
async fn two_that_change_their_names_both_stay() {
    let site = docs(1, json!({"shard_number": 1})).await;
    let client = site.source.client();
    client.create("other", json!({"shard_number": 1})).await;
    client.fill("other", 100, 140).await;
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let (first, second) = (client.content("docs").await.points, client.content("other").await.points);
    let settings = [
        ("QDRANT_RESTORE_RENAME", "docs=other,other=docs"),
        ("QDRANT_RESTORE_FORCE", "true"),
        ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
        ("QDRANT_RESTORE_DROP_OLD", "true"),
    ];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(0);
    assert_eq!((client.content("docs").await.points, client.content("other").await.points), (second, first));
    // Of one that was not there nothing is to be deleted, and nothing fails.
    client.wipe().await;
    let settings = [("QDRANT_RESTORE_RENAME", "docs=docs-2"), settings[2], settings[3], ("QDRANT_COLLECTIONS", "docs")];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(0);
    assert_eq!(client.count(0, "docs-2").await, 40);
}
