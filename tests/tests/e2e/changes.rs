//! What changes while a task is at work: peers, versions, transfers, collections, the bucket, the clock.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::{Client, assert_same, point};
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::{Canned, Chosen, Fault, Wrong};
use qdrant_backup_tests::fixtures::{Hold, filled, sets};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{API_KEY, Run, Site, run};
use serde_json::json;

/// The same as `site.run`, without the site, which can change meanwhile.
async fn running(site: &Site, task: &str) -> impl Future<Output = Run> + use<> {
    let mut settings = site.settings();
    settings.push(("QDRANT_WORK_DIR".to_owned(), site.work.path().display().to_string()));
    settings.push(("CURL_TIMEOUT".to_owned(), "3".to_owned()));
    settings.push(("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS".to_owned(), "8".to_owned()));
    let task = task.to_owned();
    async move { run(&[&task], settings).await }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its peer is away at chosen requests")]
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_during_a_run_is_waited_for() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let mut site = filled().await;
        let client = site.source.client();
        let before = client.contents().await;
        let away = |method: Method, uri: &str| {
            let wrong = Wrong::Refuse(Duration::from_millis(1500));
            let fault = Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: 1, wrong };
            site.s3.faults().add(Chosen::Peer(1), fault);
        };
        away(Method::POST, "/snapshots");
        away(Method::GET, "/snapshots");
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        away(Method::PUT, "/snapshots/recover");
        away(Method::GET, "/collections/docs/cluster");
        site.run(&[restore]).await.expect(0);
        assert_same(&client.contents().await, &before);
        let work = site.source.stand_in().work();
        assert_eq!(work.iter().filter(|one| !one.recovery).count(), 2, "{work:?}");
        assert_eq!(work.iter().filter(|one| one.recovery).count(), 2, "{work:?}");
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its peer is replaced at a chosen request")]
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_replaced_during_a_backup_makes_none() {
    for task in ["create_snap", "create_snap_shards"] {
        let mut site = filled().await;
        let hold = Hold::before(&site.s3, Chosen::Peer(1), Method::POST, "/snapshots");
        let work = running(&site, task).await;
        let replaced = async {
            hold.reached().await;
            let other = site.source.stand_in().replace_peer(1).await;
            // With a collection of the same name, as somebody may have made there already.
            let client = Client::new(other.hosts(), Some(API_KEY.to_owned()));
            client.create("docs", json!({"shard_number": 2})).await;
            hold.release();
            other
        };
        let (run, _other) = tokio::join!(work, replaced);
        assert!(matches!(run.code, 1 | 3), "{task}: {}", run.stderr);
        let run = run.says(&["FAILED", "answers as peer"]);
        let written = [site.s3.keys("snapshot_manifests/"), site.s3.keys("backup_manifests/")].concat();
        assert!(written.iter().all(|key| key.ends_with(".partial.json")), "{written:?} {}", run.stderr);
        // The next one finds out who is there.
        let host = site.source.hosts()[1].clone();
        let next = site.run_with(&[task], &[("CURL_TIMEOUT", "3")]).await;
        assert!(matches!(next.code, 1 | 3), "{}", next.stderr);
        next.says(&[&format!("{host} answers as peer"), "and not as peer"]);
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its peer is replaced at a chosen request")]
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_replaced_during_a_restore_is_no_success() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let mut site = filled().await;
        let client = site.source.client();
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        let hold = Hold::before(&site.s3, Chosen::Peer(1), Method::PUT, "/snapshots/recover");
        let work = running(&site, restore).await;
        let replaced = async {
            hold.reached().await;
            let other = site.source.stand_in().replace_peer(1).await;
            hold.release();
            other
        };
        let (run, other) = tokio::join!(work, replaced);
        assert!(matches!(run.code, 1 | 3), "{restore}: {}", run.stderr);
        run.says(&["FAILED: collection `docs`", "the peer was replaced"]);
        assert!(other.work().is_empty(), "{:?}", other.work());
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its peer says that it is older than it is")]
#[tokio::test(flavor = "multi_thread")]
async fn peers_of_different_versions_are_told() {
    let site = filled().await;
    let older = Canned {
        status: 200,
        retry_after: None,
        content_type: "application/json",
        body: json!({"title": "qdrant", "version": "1.17.2"}).to_string().into_bytes(),
    };
    let fault = || Fault {
        method: Some(Method::GET),
        uri: String::new(),
        skip: 0,
        times: 99,
        wrong: Wrong::Answer(older.clone()),
    };
    site.s3.faults().add(Chosen::Class("GET qdrant /".to_owned()), Fault { skip: 1, times: 1, ..fault() });
    site.run(&["create_snap"]).await.expect(0).says(&["different versions of Qdrant (1.17.2, 1.18.3)"]);
    site.source.client().wipe().await;
    // And a peer that is older than the one that made the snapshots is not given them.
    site.s3.faults().add(Chosen::Class("GET qdrant /".to_owned()), fault());
    site.run(&["recover_snap"]).await.expect(1).says(&["Qdrant 1.17.2 is older than 1.18.3"]);
    assert!(site.source.client().collections().await.is_empty());
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its transfers take as long as the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_set_waits_for_a_transfer_and_snapshots_do_without_the_copy() {
    let mut site = Site::start(Options { peers: 2, lag: Duration::from_secs(4), ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    let placed = client.placed("docs").await;
    let from = *placed[&0].keys().next().unwrap();
    let peers = site.source.stand_in().peers().to_vec();
    let body =
        json!({"replicate_shard": {"shard_id": 0, "from_peer_id": peers[from].id, "to_peer_id": peers[1 - from].id}});
    client.ok(Method::POST, "/collections/docs/cluster?timeout=60", Some(&body)).await;
    site.run(&["create_snap_shards"]).await.expect(1).says(&["its shards are being moved right now"]);
    assert!(site.s3.keys("snapshots/").is_empty());
    site.run(&["create_snap"])
        .await
        .expect(0)
        .says(&["shards are being moved right now", "is Partial and is not relied on"]);
    while site.source.stand_in().is_busy() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    for task in ["recover_snap_shards", "recover_snap"] {
        client.wipe().await;
        site.run(&[task]).await.expect(0);
        assert_eq!(client.content("docs").await.points.len(), 40);
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its collection is red when the test wants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_red_collection_is_backed_up_with_a_warning() {
    let mut site = filled().await;
    site.source.stand_in().set_status("docs", "red");
    for task in ["create_snap", "create_snap_shards"] {
        site.run(&[task]).await.expect(0).says(&["`docs`: its status is red"]);
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are held")]
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_dropped_or_created_meanwhile_costs_no_other_one() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled().await;
        let client = site.source.client();
        client.create("other", json!({"shard_number": 2})).await;
        client.fill("other", 0, 10).await;
        let hold = Hold::before(&site.s3, Chosen::Qdrant, Method::POST, "/collections/docs/*snapshots");
        let work = running(&site, task).await;
        let changed = async {
            hold.reached().await;
            client.delete("docs").await;
            client.create("late", json!({})).await;
            hold.release();
        };
        let (run, ()) = tokio::join!(work, changed);
        run.expect(0).says(&["skipped: ", "`docs`", "it was deleted after the collections had been listed"]);
        assert!(
            site.s3.keys("snapshot_manifests/docs/").is_empty() && site.s3.keys("backup_manifests/docs/").is_empty()
        );
        let manifests = site.s3.keys("snapshot_manifests/other/").len() + site.s3.keys("backup_manifests/other/").len();
        assert_eq!(manifests, 1);
        std::fs::remove_file(site.work.path().join("collections")).ok();
        site.run(&[task]).await.expect(0);
        let late = site.s3.keys("snapshot_manifests/late/").len() + site.s3.keys("backup_manifests/late/").len();
        assert_eq!(late, 1);
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are held")]
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_made_anew_meanwhile_is_not_the_old_one() {
    let mut site = filled().await;
    let client = site.source.client();
    let hold = Hold::before(&site.s3, Chosen::Qdrant, Method::POST, "/collections/docs/shards/*/snapshots");
    let work = running(&site, "create_snap_shards").await;
    let changed = async {
        hold.reached().await;
        client.delete("docs").await;
        client.create("docs", json!({"shard_number": 2})).await;
        let placed = client.placed("docs").await;
        let peer = *placed[&0].keys().next().unwrap();
        site.source.stand_in().write_to_one_replica("docs", 0, peer, &[point(1)]);
        hold.release();
    };
    let (run, ()) = tokio::join!(work, changed);
    // Whatever it says, no manifest counts points of both.
    for manifest in sets(&site, "docs") {
        assert_eq!(manifest.exact_points(), None, "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_fills_up_is_told_and_what_is_stored_stays_good() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled().await;
        let client = site.source.client();
        client.create("other", json!({"shard_number": 1})).await;
        site.run(&[task]).await.expect(0);
        another_second().await;
        let full = "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive \
                    threshold. Please delete a few objects to proceed.</Message></Error>";
        let wrong = Wrong::Status(507, full.to_owned());
        site.s3.fail(Fault { method: Some(Method::PUT), uri: String::new(), skip: 1, times: 999, wrong });
        let run = site.run(&[task]).await;
        assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
        run.says(&["XMinioStorageFull", "is full"]);
        site.s3.heal();
        client.wipe().await;
        let restore = if task == "create_snap" { "recover_snap" } else { "recover_snap_shards" };
        site.forget_lists();
        site.run(&[restore]).await.expect(0);
        assert_eq!(client.content("docs").await.points.len(), 40);
    }
}

#[cfg_attr(real_servers, ignore = "for the stand-in: Qdrant 1.19 looks for what it has stored, too, and fails itself")]
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_right_is_told_and_what_is_stored_stays_good() {
    // Neither lock can be deleted, and each is watched for a minute: side by side.
    tokio::join!(
        what_is_stored_survives_a_lost_right("create_snap", "recover_snap"),
        what_is_stored_survives_a_lost_right("create_snap_shards", "recover_snap_shards"),
    );
}

async fn what_is_stored_survives_a_lost_right(task: &str, restore: &str) {
    let site = filled().await;
    let client = site.source.client();
    site.run(&[task]).await.expect(0);
    another_second().await;
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
    let lost = |method: Method, uri: &str| {
        let wrong = Wrong::Status(403, denied.to_owned());
        site.s3.fail(Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: 999, wrong });
    };
    lost(Method::HEAD, "snapshots/docs/");
    lost(Method::DELETE, "");
    let run = site.run(&[task]).await;
    assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
    run.says(&["403", "s3:GetObject"]);
    site.s3.heal();
    client.wipe().await;
    site.forget_lists();
    site.run(&[restore]).await.expect(0);
    assert_eq!(client.content("docs").await.points.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_explained() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current \
                  time is too large.</Message></Error>";
    for task in ["create_snap", "create_snap_shards", "verify", "recover_snap"] {
        let wrong = Wrong::Status(403, skewed.to_owned());
        site.s3.fail(Fault { method: None, uri: String::new(), skip: 0, times: 99, wrong });
        site.run(&[task]).await.expect(1).says(&["RequestTimeTooSkewed", "clock", "15 minutes"]);
        site.s3.heal();
    }
}
