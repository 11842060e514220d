//! What a restore checks before it says that all is back.

use http::Method;
use qdrant_backup_tests::client::path;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::{change, edited, failed, fault, filled, manifest_keys, said_and_not_done};

/// A cluster whose set waits to be restored; `docs` has 40 points in two shards.
async fn wiped(copies: usize) -> Site {
    let site = filled(copies).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site.source.client().wipe().await;
    site
}

/// One fewer than there are.
fn fewer() -> Wrong {
    edited(|answer| answer["result"]["count"] = json!(answer["result"]["count"].as_u64().unwrap() - 1))
}

/// The place of the peer with the highest id.
fn last_peer(site: &mut Site) -> usize {
    let peers = site.source.stand_in().peers().iter().enumerate();
    peers.max_by_key(|(_, peer)| peer.id).map(|(place, _)| place).unwrap()
}

#[tokio::test(start_paused = true)]
async fn replicas_that_differ_are_no_restored_shard() {
    let mut site = wiped(2).await;
    // The other one has the right number, and so has the collection.
    let peer = last_peer(&mut site);
    site.s3.faults().add(Chosen::Peer(peer), fault(Method::POST, "/shards/0/points/count", 99, fewer()));
    failed(site.run(&["recover_snap_shards"]).await).says(&["shard 0 has"]);
}

#[tokio::test(start_paused = true)]
async fn every_shard_has_the_points_of_its_own() {
    let site = wiped(1).await;
    let [key] = manifest_keys(&site).try_into().unwrap();
    // One point of one shard has come into the other: the total is right.
    change(&site, &key, |manifest| {
        for (place, by) in [(0, 1), (1, -1)] {
            for when in ["before", "after"] {
                let points = &mut manifest["shards"][place]["points"][when];
                *points = json!(points.as_i64().unwrap() + by);
            }
        }
    });
    failed(site.run(&["recover_snap_shards"]).await).says(&["points and had", "when it was backed up"]);
}

/// Through whichever peer: each is one of the readers of a run, also where there is one collection.
#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_the_replicas_hold() {
    let mut site = wiped(1).await;
    let peers = site.source.stand_in().peers().len();
    assert!(peers > 1);
    // Of one site: which peer is asked about a collection goes by their ids.
    for peer in 0..peers {
        site.s3.faults().add(Chosen::Peer(peer), fault(Method::POST, "/docs/points/count", 99, fewer()));
        failed(site.run(&["recover_snap_shards"]).await).says(&["counts 39 points and the replicas hold 40"]);
        site.s3.heal();
        site.source.client().wipe().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_total_is_that_of_the_backup() {
    // Nobody wrote meanwhile: to the point, in either direction. The shards are not counted.
    for (points, right) in [(39, false), (40, true), (41, false)] {
        let site = filled(1).await;
        site.run(&["create_snap"]).await.expect(0);
        site.source.client().wipe().await;
        let [key] = site.s3.keys("snapshot_manifests/docs/").try_into().unwrap();
        change(&site, &key, |manifest| {
            manifest["points"] = json!({"before": points, "after": points});
            for snapshot in manifest["archives"].as_array_mut().unwrap() {
                for counted in snapshot["shards"].as_object_mut().unwrap().values_mut() {
                    *counted = json!({"before": null, "after": null});
                }
            }
        });
        let run = site.run(&["recover_snap"]).await;
        if right {
            run.expect(0);
        } else {
            failed(run).says(&["it has 40 points and had"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_is_within_the_tolerance_on_both_sides() {
    // 40 points; written to during the backup, so that there is no exact number.
    for (before, after, percent, code) in [
        (35, 45, "0", 0),
        (40, 41, "0", 0),
        (39, 40, "0", 0),
        (41, 42, "0", 3),
        (38, 39, "0", 3),
        // What is a part of a point counts as one.
        (44, 45, "6", 3),
        (44, 45, "7", 0),
        (34, 36, "8", 3),
        (34, 36, "9", 0),
        (36, 37, "10", 0),
        (43, 44, "10", 0),
    ] {
        let site = wiped(1).await;
        let [key] = manifest_keys(&site).try_into().unwrap();
        change(&site, &key, |manifest| {
            manifest["points_count"] = json!(after);
            manifest["source"]["points"] = json!({"before": before, "after": after});
            for shard in manifest["shards"].as_array_mut().unwrap() {
                shard["points"] = json!({"before": null, "after": null});
            }
        });
        let run = site.run_with(&["recover_snap_shards"], &[("QDRANT_VERIFY_TOLERANCE_PCT", percent)]).await;
        assert_eq!(run.code, code, "{before} to {after}, {percent} %\n{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn points_that_cannot_be_read_back_are_not_there() {
    for lacking in ["the point", "its vector"] {
        let site = wiped(1).await;
        let wrong = edited(move |answer| {
            let points = answer["result"]["points"].as_array_mut().unwrap();
            match lacking {
                "the point" => drop(points.pop()),
                _ => drop(points[0].as_object_mut().unwrap().remove("vector")),
            }
        });
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/points/query", 1, wrong));
        failed(site.run(&["recover_snap_shards"]).await).says(&["reads back"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_missing_or_another_is_told() {
    // Where there is no collection yet, the answer has no schema.
    let gone = |answer: &mut Value| {
        if let Some(schema) = answer["result"]["payload_schema"].as_object_mut() {
            schema.remove("city");
        }
    };
    let other = |answer: &mut Value| {
        if let Some(index) = answer.pointer_mut("/result/payload_schema/city") {
            index["data_type"] = json!("integer");
        }
    };
    for (says, wrong) in [("is missing", edited(gone)), ("and has to be", edited(other))] {
        let site = wiped(1).await;
        let described = Chosen::Class("GET qdrant /collections/{collection}".to_owned());
        site.s3.faults().add(described, fault(Method::GET, "/collections/docs", 99, wrong));
        let run = site.run(&["recover_snap_shards"]).await;
        failed(run).says(&["the payload index on `city`", says]);
    }
}

#[tokio::test(start_paused = true)]
async fn shard_keys_have_the_shard_ids_of_the_backup() {
    let site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
    let keys = format!("{}/shards?timeout=60", path("tenants"));
    for (key, from) in [("acme", 0), ("zeta", 100)] {
        client.ok(Method::PUT, &keys, Some(&json!({"shard_key": key}))).await;
        client.fill_key("tenants", from, from + 10, Some(&json!(key))).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    // When the first key is there, somebody creates both anew in the other order; that the second is there is what the
    // program is told then.
    let drop = format!("{}/shards/delete?timeout=60", path("tenants"));
    let swapped = Wrong::After(Event::new(move || {
        let (client, keys, drop) = (client.clone(), keys.clone(), drop.clone());
        async move {
            client.ok(Method::POST, &drop, Some(&json!({"shard_key": "acme"}))).await;
            for key in ["zeta", "acme"] {
                client.ok(Method::PUT, &keys, Some(&json!({"shard_key": key}))).await;
            }
        }
    }));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/tenants/shards?", 1, swapped));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/tenants/shards?", 1, said_and_not_done()));
    failed(site.run(&["recover_snap_shards"]).await).says(&["other shard ids"]);
    // Nothing was put in place.
    let client = site.source.client();
    assert_eq!(client.count(0, "tenants").await, 0);
}

/// The peer has what it was given, or gets it again; and as long as it is at work nobody sends more.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_recovery_is_looked_up() {
    let running = |answer: &mut Value| {
        answer["result"]["collections"]["snapshots"] = json!([{"id": "docs", "running_snapshot_recovery": 1}]);
    };
    let sent = |site: &Site| {
        let requests = site.s3.faults().requests();
        requests.iter().filter(|one| one.uri.path().ends_with("/shards/0/snapshots/recover")).count()
    };
    let uncounted = |site: &Site| {
        let [key] = manifest_keys(site).try_into().unwrap();
        change(site, &key, |manifest| {
            manifest["shards"].as_array_mut().unwrap().iter_mut().for_each(|shard| shard["points"] = json!({}))
        });
    };
    for (wrong, times) in [(Wrong::Lost, 1), (Wrong::Reset, 2)] {
        for counted in [true, false] {
            let site = wiped(1).await;
            if !counted {
                uncounted(&site);
            }
            site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/shards/0/snapshots/recover", 1, wrong.clone()));
            site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/telemetry", 3, edited(running)));
            let run = site.run(&["recover_snap_shards"]).await.expect(0);
            let run = run.says(&["watching the peer"]);
            assert_eq!(sent(&site), times, "counted: {counted}: {}", run.stderr);
            assert_eq!(site.source.client().content("docs").await.points.len(), 40);
        }
    }
    // Twice, and no more.
    let site = wiped(1).await;
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 99, Wrong::Reset));
    failed(site.run(&["recover_snap_shards"]).await);
    assert_eq!(sent(&site), 2);
    let site = wiped(1).await;
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 99, Wrong::Lost));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/telemetry", usize::MAX, edited(running)));
    let run = site.run_with(&["recover_snap_shards"], &[("CURL_TIMEOUT", "60")]);
    let run = tokio::time::timeout(std::time::Duration::from_secs(3600), run).await.expect("it ends");
    failed(run).says(&["its answer was lost, and 1 recoveries are still running"]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_verified_is_told_and_may_be_refused() {
    let recorded = |site: &Site| -> Value {
        let [key] = site.s3.keys("restore_state/").try_into().unwrap();
        let record: Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
        record["verified"].clone()
    };
    let site = wiped(1).await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_eq!(recorded(&site), json!(true));
    // Counted once only; and a sample that strict mode forbids.
    for sampled in [true, false] {
        for required in [false, true] {
            let site = wiped(1).await;
            let [key] = manifest_keys(&site).try_into().unwrap();
            let says = if sampled {
                change(&site, &key, |manifest| manifest["shards"][0]["points"]["after"] = Value::Null);
                "shard 0 was counted only once"
            } else {
                let refused = Wrong::Status(400, json!({"status": {"error": "Bad request: limited"}}).to_string());
                site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/points/query", 99, refused));
                "no points could be read back"
            };
            let required_too = [("QDRANT_REQUIRE_VERIFIED", "true")];
            let run = site.run_with(&["recover_snap_shards"], &required_too[..usize::from(required)]).await;
            if required {
                failed(run).says(&["it was restored and could not be verified", says]);
            } else {
                run.expect(0).says(&["restored and not verified", says]);
                assert_eq!(recorded(&site), json!(false));
            }
        }
    }
    // A peer that does not answer is no strict mode.
    let site = wiped(1).await;
    let broken = Wrong::Status(403, json!({"status": {"error": "Forbidden: no"}}).to_string());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/points/query", 99, broken));
    failed(site.run(&["recover_snap_shards"]).await).says(&["its points can't be read back"]);
}

/// Where strict mode forbids an exact count, another one tells whether there is anything. Nothing else is a reason for it.
#[tokio::test(start_paused = true)]
async fn what_is_there_is_not_overwritten_for_want_of_a_count() {
    let site = wiped(1).await;
    let client = site.source.client();
    client.create("docs", json!({"strict_mode_config": {"enabled": true, "search_allow_exact": false}})).await;
    client.fill("docs", 0, 7).await;
    failed(site.run(&["recover_snap_shards"]).await).says(&["holds 7 points and is not overwritten"]);
    client.wipe().await;
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 100, 107).await;
    let forbidden = Wrong::Status(403, json!({"status": {"error": "Forbidden: no"}}).to_string());
    let nothing = edited(|answer| answer["result"]["count"] = json!(0));
    for _ in 0..2 {
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/points/count", 1, forbidden.clone()));
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/points/count", 1, nothing.clone()));
    }
    failed(site.run(&["recover_snap_shards"]).await).says(&["Forbidden: no"]);
    site.s3.heal();
    assert_eq!(client.count(0, "docs").await, 7);
}

/// What has changed since is told apart from what nobody could look at.
#[tokio::test(start_paused = true)]
async fn what_was_restored_before_and_changed_is_told() {
    let site = wiped(1).await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    let client = site.source.client();
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["restored before by", "its content was not compared"]);
    let forbidden = Wrong::Status(403, json!({"status": {"error": "Forbidden: no"}}).to_string());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/shards/0/points/count", 1, forbidden));
    let run = failed(site.run(&["recover_snap_shards"]).await).says(&["Forbidden: no"]);
    assert!(!run.stderr.contains("has changed since"), "{}", run.stderr);
    client.delete_points("docs", 39, 40).await;
    let run = failed(site.run(&["recover_snap_shards"]).await);
    run.says(&["holds 39 points and is not overwritten: it was restored before and has changed since"]);
    assert_eq!(client.count(0, "docs").await, 39);
}

/// What a run that was cut off has brought is not brought again where its number of points is known. Else it says nothing that
/// there are some.
#[tokio::test(start_paused = true)]
async fn what_a_cut_off_run_has_brought_is_told_by_its_count() {
    for counted in [true, false] {
        let site = wiped(1).await;
        let [key] = manifest_keys(&site).try_into().unwrap();
        if !counted {
            change(&site, &key, |manifest| {
                manifest["shards"].as_array_mut().unwrap().iter_mut().for_each(|shard| shard["points"] = json!({}))
            });
        }
        let refused = Wrong::Status(400, json!({"status": {"error": "Wrong input: no"}}).to_string());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/shards/1/snapshots/recover", 9, refused));
        failed(site.run(&["recover_snap_shards"]).await);
        site.s3.faults().clear();
        let run = site.run(&["recover_snap_shards"]).await.expect(0);
        let requests = site.s3.faults().requests();
        let again = requests.iter().any(|one| one.uri.path().ends_with("/shards/0/snapshots/recover"));
        assert_eq!(again, !counted, "{}", run.stderr);
        assert_eq!(site.source.client().content("docs").await.points.len(), 40);
    }
}

/// All replicas are active, and still something moves: as long as it does, nothing is settled.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_on_its_way_is_not_settled() {
    let site = wiped(1).await;
    let moving = edited(|answer| {
        let transfer = json!({"shard_id": 0, "from": 1, "to": 2, "sync": true, "method": "stream_records"});
        answer["result"]["shard_transfers"] = json!([transfer]);
    });
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/docs/cluster", usize::MAX, moving));
    failed(site.run(&["recover_snap_shards"]).await).says(&["sees 1 shard transfers running"]);
}

/// Where a peer can't fetch them, or they are parts of a whole collection's, which no Qdrant takes apart.
#[tokio::test(start_paused = true)]
async fn snapshots_that_no_link_leads_to_are_sent() {
    let site = filled(1).await;
    let content = site.source.client().content("docs").await;
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        site.run(&[backup]).await.expect(0);
        for (clustered, url_recovery) in [(false, true), (true, false)] {
            let target =
                Options { peers: if clustered { 2 } else { 1 }, clustered, url_recovery, ..Options::default() };
            let target = site.more(target).await;
            let folder = tempfile::TempDir::new().unwrap();
            let host = target.hosts().remove(0);
            std::fs::copy(site.work.path().join("snapshots"), folder.path().join("snapshots")).ok();
            let run =
                site.run_in(folder.path(), &[restore], &[("QDRANT_RESTORE_HOSTS", host.as_str())]).await.expect(0);
            let sent = restore == "recover_snap" || !url_recovery;
            assert_eq!(run.stderr.contains("sent through this program"), sent, "{}", run.stderr);
            assert_eq!(target.client().content("docs").await.points, content.points);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_compared_is_said() {
    for (check, says) in
        [("off", ", 40 points read back"), ("full", ", every point: replicas equal, not compared with")]
    {
        let site = wiped(1).await;
        let run = site.run_with(&["recover_snap_shards"], &[("QDRANT_VERIFY_CONTENT", check)]).await.expect(0);
        let line = run.stderr.lines().find(|line| line.contains("40 points, verified")).unwrap();
        assert!(line.contains(says), "{line}");
        assert_eq!(line.contains("read back"), check == "off", "{line}");
    }
}
