//! What a backup checks before it says that there is one.

use std::time::Duration;

use http::Method;
use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::client::path;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Canned, Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::dialect::Dialect;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::{after, edited, failed, fault, filled, manifest_keys};

/// The kinds of backup, and the request that makes a snapshot.
const KINDS: [(&str, &str); 2] =
    [("create_snap", "/docs/snapshots"), ("create_snap_shards", "/docs/shards/0/snapshots")];

/// Snapshots are not looked into: what is checked besides has to suffice.
const UNREAD: (&str, &str) = ("QDRANT_ARCHIVE_CHECK", "none");

#[tokio::test(start_paused = true)]
async fn a_snapshot_has_the_size_that_qdrant_says() {
    for (task, uri) in KINDS {
        for lie in [1, -1] {
            let site = filled(1).await;
            let wrong = edited(move |answer| {
                let size = answer["result"]["size"].as_i64().unwrap();
                answer["result"]["size"] = json!(size + lie);
            });
            site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, uri, 1, wrong));
            let run = site.run_with(&[task], &[UNREAD]).await;
            failed(run).says(&["it is not the whole snapshot"]);
            let mut manifests =
                site.s3.keys(if task == "create_snap" { "snapshot_manifests/" } else { "backup_manifests/" });
            manifests.retain(|key| !key.ends_with(".partial.json"));
            assert!(manifests.is_empty(), "{manifests:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_not_replaced_while_it_is_checked() {
    let site = filled(1).await;
    let store = site.s3.store();
    // Another one of the same size, when the first byte was read.
    let replaced = after(move || {
        let key = store.keys("snapshots/docs/shards/0/").pop().unwrap();
        let mut bytes = store.get(&key).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.put(&key, bytes);
    });
    site.s3.faults().add(Chosen::Program, fault(Method::GET, "snapshots/docs/shards/0/", 1, replaced));
    let run = site.run(&["create_snap_shards"]).await;
    failed(run).says(&["replaced by another one while it was checked"]);
    assert!(manifest_keys(&site).is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_snapshots_of_one_second_have_two_names() {
    for (task, uri) in KINDS {
        let site = filled(1).await;
        let client = site.source.client();
        let folder = format!("/collections{uri}");
        let peers = site.source.hosts().len();
        clock::another_second().await;
        // Somebody made one just now.
        for peer in 0..peers {
            client.call(peer, Method::POST, &folder, None).await;
        }
        let before = site.s3.keys("snapshots/");
        site.run(&[task]).await.expect(0);
        let now = site.s3.keys("snapshots/");
        assert!(before.iter().all(|key| now.contains(key)), "{before:?} {now:?}");
        assert_eq!(now.len(), before.len() + 2, "{before:?} {now:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_took_the_place_of_another_is_told() {
    // It has to be made within the second of another one.
    if Dialect::of_environment().is_some_and(|dialect| dialect.is_busy()) {
        return;
    }
    for (task, uri) in KINDS {
        let mut options = Options { peers: 1, ..Options::default() };
        // So far ahead that its second is not waited for.
        options.ahead = Duration::from_secs(60);
        let site = Site::native(options).await;
        let client = site.source.client();
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, 10).await;
        clock::another_second().await;
        client.ok(Method::POST, &format!("/collections{uri}"), None).await;
        let run = site.run(&[task]).await;
        failed(run).says(&["gave the snapshot the name of an earlier one"]);
        assert!(manifest_keys(&site).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_during_a_backup_fits_together_or_fails() {
    // The collection is moved during either backup, or its parameters change during that of a set.
    for (task, uri, moved) in [
        ("create_snap", "/docs/snapshots", true),
        ("create_snap_shards", "/shards/0/snapshots", true),
        ("create_snap_shards", "/shards/0/snapshots", false),
    ] {
        let mut site = filled(1).await;
        let client = site.source.client();
        let ids: Vec<u64> = site.source.stand_in().peers().iter().map(|peer| peer.id).collect();
        let from = client.placed("docs").await[&1].keys().next().copied().unwrap();
        let changes = Wrong::After(Event::new(move || {
            let (client, ids) = (client.clone(), ids.clone());
            async move {
                if moved {
                    let step = json!({"shard_id": 1, "from_peer_id": ids[from], "to_peer_id": ids[1 - from]});
                    let body = json!({"move_shard": step});
                    client.ok(Method::POST, &format!("{}/cluster?timeout=60", path("docs")), Some(&body)).await;
                    // Until it has arrived.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                } else {
                    let body = json!({"params": {"read_fan_out_factor": 2}});
                    client.ok(Method::PATCH, &format!("{}?timeout=60", path("docs")), Some(&body)).await;
                }
            }
        }));
        site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, uri, 1, changes));
        failed(site.run(&[task]).await).says(&["may not fit together; run the backup again"]);
        assert!(manifest_keys(&site).is_empty() && site.s3.keys("snapshot_manifests/").is_empty());
        site.run(&[task]).await.expect(0);
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_a_failed_set_has_made_is_deleted_again() {
    let site = Site::native(Options { peers: 3, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 30).await;
    let changes = Wrong::After(Event::new(move || {
        let client = client.clone();
        async move {
            let body = json!({"params": {"read_fan_out_factor": 2}});
            client.ok(Method::PATCH, &format!("{}?timeout=60", path("docs")), Some(&body)).await;
        }
    }));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/snapshots", 1, changes));
    let run = failed(site.run(&["create_snap_shards"]).await).says(&["may not fit together"]);
    assert_eq!(run.stderr.matches("deleted again, as the backup failed").count(), 3, "{}", run.stderr);
    let left: Vec<String> = site.s3.keys("").into_iter().filter(|key| key.ends_with(".snapshot")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_set_never_takes_the_place_of_another() {
    let site = filled(1).await;
    clock::another_second().await;
    let key = SetId::new(clock::now(), "backup-1").key("docs");
    site.s3.put(&key, b"of another run".to_vec());
    let run = site.run_with(&["create_snap_shards"], &[("HOSTNAME", "backup-1")]).await;
    failed(run).says(&["there is already a set"]);
    assert_eq!(site.s3.get(&key).unwrap(), b"of another run");
    // What it stored belongs to nothing.
    assert!(site.s3.keys("snapshots/docs/shards/").is_empty());
}

#[tokio::test(start_paused = true)]
async fn sets_of_several_clusters_are_refused() {
    let site = filled(1).await;
    let other = site.more(Options { peers: 1, ..Options::default() }).await;
    other.client().create("docs", json!({"shard_number": 1})).await;
    let hosts = format!("{},{}", site.source.hosts()[0], other.hosts()[0]);
    let run = site.run_with(&["create_snap_shards"], &[("QDRANT_SOURCE_HOSTS", &hosts)]).await;
    failed(run).says(&["names several clusters"]);
    assert!(site.s3.keys("snapshots/").is_empty() && manifest_keys(&site).is_empty());
}

fn denied() -> Canned {
    let body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_vec();
    Canned { status: 403, retry_after: None, content_type: "application/xml", body }
}

/// An error does not say that nothing was written: a manifest that is there names snapshots that are removed.
#[tokio::test(start_paused = true)]
async fn a_manifest_whose_answer_was_an_error_is_withdrawn() {
    let site = filled(1).await;
    let written = fault(Method::PUT, "backup_manifests/docs/", 1, Wrong::DoneBut(denied()));
    site.s3.faults().add(Chosen::Program, written);
    failed(site.run(&["create_snap_shards"]).await).says(&["AccessDenied", "deleted again"]);
    assert!(manifest_keys(&site).is_empty() && site.s3.keys("snapshots/docs/shards/").is_empty());
    // That of another run is not this one's to remove.
    clock::another_second().await;
    let (store, key) = (site.s3.store(), SetId::new(clock::now(), "backup-1").key("docs"));
    let other = key.clone();
    let others = Wrong::Before(Event::new(move || {
        store.put(&other, b"of another run".to_vec());
        async {}
    }));
    site.s3.faults().add(Chosen::Program, fault(Method::PUT, &key, 1, Wrong::Answer(denied())));
    site.s3.faults().add(Chosen::Program, fault(Method::GET, &key, 1, others));
    failed(site.run_with(&["create_snap_shards"], &[("HOSTNAME", "backup-1")]).await).says(&["AccessDenied"]);
    assert_eq!(site.s3.get(&key).unwrap(), b"of another run");
    // One that can't be looked for may be there: it keeps its snapshots.
    site.s3.delete(&key);
    clock::another_second().await;
    let written = fault(Method::PUT, "backup_manifests/docs/", 1, Wrong::DoneBut(denied()));
    site.s3.faults().add(Chosen::Program, written);
    let unread = fault(Method::GET, "/backup_manifests/docs/", 1, Wrong::Answer(denied()));
    site.s3.faults().add(Chosen::Program, unread);
    failed(site.run(&["create_snap_shards"]).await).says(&["it is not known whether its manifest"]);
    assert_eq!(manifest_keys(&site).len(), 1);
    site.run(&["verify"]).await.expect(0);
}

/// A lost answer: the new snapshot is found when it is whole, and an older one is not taken for it.
#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_answer_was_lost_is_found_whole() {
    for (task, uri) in KINDS {
        for wrong in [Wrong::Lost, Wrong::Reset] {
            let site = Site::native(Options { peers: 1, ..Options::default() }).await;
            site.source.client().create("docs", json!({"shard_number": 1})).await;
            site.source.client().fill("docs", 0, 10).await;
            site.run(&[task]).await.expect(0);
            clock::another_second().await;
            // As where it grows on the peer's own disk; the first list is that of before.
            let growing = edited(|list| {
                let all = list["result"].as_array_mut().unwrap();
                all.iter_mut().for_each(|one| one["size"] = json!(one["size"].as_u64().unwrap() - 1));
                all.push(json!({"name": "docs-of-somebody-else.snapshot", "creation_time": null, "size": 7}));
            });
            let mut second = fault(Method::GET, uri, 1, growing);
            second.skip = 1;
            site.s3.faults().add(Chosen::Qdrant, second);
            site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, uri, 1, wrong.clone()));
            let before = site.s3.faults().requests().len();
            site.run(&[task]).await.expect(0);
            let asked = site.s3.faults().requests().into_iter().skip(before);
            let asked = asked.filter(|request| request.method == Method::POST && request.uri.path().ends_with(uri));
            assert_eq!(asked.count(), if matches!(wrong, Wrong::Lost) { 1 } else { 2 }, "{task} {wrong:?}");
            let made = site.s3.keys("snapshots/").into_iter().filter(|key| key.ends_with(".snapshot")).count();
            assert_eq!(made, 2, "{task} {wrong:?}");
        }
    }
}

/// Only who asks for it pays for reading all of a snapshot.
#[tokio::test(start_paused = true)]
async fn a_snapshot_is_read_as_far_as_the_check_says() {
    for (check, digits, is_walked) in [("full", 64, true), ("tail", 0, true), ("none", 0, false)] {
        let site = filled(1).await;
        let settings = [("QDRANT_ARCHIVE_CHECK", check)];
        site.run_with(&["create_snap_shards"], &settings).await.expect(0);
        let [set] = crate::manifests(&site).try_into().unwrap();
        assert!(set.shards.iter().all(|shard| shard.checksum.len() == digits), "{check}: {:?}", set.shards);
        site.run_with(&["create_snap"], &settings).await.expect(0);
        let [generation] = site.s3.keys("snapshot_manifests/docs/").try_into().unwrap();
        let generation: serde_json::Value = serde_json::from_slice(&site.s3.get(&generation).unwrap()).unwrap();
        assert_eq!(generation["uuid"].is_string(), is_walked, "{check}: {generation}");
    }
}

/// The peer is at work when the answer has taken too long: it is asked no second time, and not waited for without end.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_outlasts_its_answer_is_waited_for() {
    for (task, uri) in KINDS {
        for (seconds, is_made) in [(60, true), (3600, false)] {
            let work = Duration::from_secs(seconds);
            let site = Site::native(Options { peers: 1, work, ..Options::default() }).await;
            site.source.client().create("docs", json!({"shard_number": 1})).await;
            let run = site.run_with(&[task], &[("CURL_TIMEOUT", "40")]).await;
            let requests = site.s3.faults().requests().into_iter();
            let asked =
                requests.filter(|request| request.method == Method::POST && request.uri.path().ends_with(uri)).count();
            assert_eq!((run.code == 0, asked), (is_made, 1), "{task}: {}", run.stderr);
            assert!(is_made || run.stderr.contains("no snapshot appeared within 40 s"), "{}", run.stderr);
        }
    }
}
