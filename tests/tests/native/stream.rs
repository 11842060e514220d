//! Backups of servers that keep snapshots on their own disks: whatever breaks off, there is no false set, nothing is left
//! behind, and the next run completes.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::{assert_same, path};
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Event, Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::{failed, fault, manifest_keys, manifests};

/// What a shard's snapshot is asked by, and by which of its calls it gets into the bucket.
const STREAM: &str = "/shards/0/snapshot";
const CALLS: [(Method, &str); 4] = [
    (Method::POST, "uploads="),
    (Method::PUT, "partNumber=1&"),
    (Method::PUT, "partNumber=3&"),
    (Method::POST, "uploadId="),
];

const AUTO: (&str, &str) = ("QDRANT_SNAPSHOT_TRANSFER", "auto");
const BY_STREAM: (&str, &str) = ("QDRANT_SNAPSHOT_TRANSFER", "stream");

/// A shard with so much besides its points is stored in three parts.
const THREE_PARTS: usize = 17 << 20;

async fn site(options: Options) -> Site {
    Site::native(Options { local_snapshots: true, ..options }).await
}

/// One server with a collection of one shard.
async fn small(ballast: usize) -> Site {
    let site = site(Options { peers: 1, clustered: false, ballast, ..Options::default() }).await;
    site.source.client().create("docs", json!({"shard_number": 1})).await;
    site.source.client().fill("docs", 0, 20).await;
    site
}

fn streamed(site: &Site) -> Vec<String> {
    site.s3.keys("streamed/")
}

/// Asserts that neither the bucket nor any peer has more than the sets of `docs` need.
async fn nothing_is_left(site: &Site) {
    assert!(site.s3.uploads().is_empty(), "{:?}", site.s3.uploads());
    let mut named: Vec<String> =
        manifests(site).into_iter().flat_map(|set| set.shards).map(|shard| shard.s3_key).collect();
    named.sort();
    assert_eq!(streamed(site), named);
    assert!(site.s3.keys("snapshots/").is_empty());
    let client = site.source.client();
    for peer in 0..client.hosts().len() {
        for folder in ["/snapshots", "/shards/0/snapshots", "/shards/1/snapshots", "/shards/2/snapshots"] {
            let (status, listed) = client.call(peer, Method::GET, &format!("{}{folder}", path("docs")), None).await;
            assert!(status == 404 || listed["result"] == json!([]), "peer {peer}, {folder}: {listed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_point_comes_back_by_stream() {
    for (peers, clustered, body) in [
        (1, false, json!({"shard_number": 2})),
        (3, true, json!({"shard_number": 3, "replication_factor": 1})),
        (3, true, json!({"shard_number": 3, "replication_factor": 2})),
        (3, true, json!({"sharding_method": "custom", "shard_number": 1, "replication_factor": 2})),
    ] {
        let site = site(Options { peers, clustered, ..Options::default() }).await;
        let client = site.source.client();
        client.create("docs", body.clone()).await;
        client.index("docs").await;
        if body["sharding_method"] == "custom" {
            for (number, key) in [json!("acme"), json!(7)].into_iter().enumerate() {
                let created = json!({"shard_key": key});
                client.ok(Method::PUT, &format!("{}/shards?timeout=60", path("docs")), Some(&created)).await;
                let from = 100 * number as u64;
                client.fill_key("docs", from, from + 30, Some(&key)).await;
            }
        } else {
            client.fill("docs", 0, 60).await;
        }
        let before = client.contents().await;
        site.run_with(&["create_snap_shards"], &[AUTO])
            .await
            .expect(0)
            .says(&["does not store its snapshots in this bucket"]);
        nothing_is_left(&site).await;
        let [set] = manifests(&site).try_into().unwrap();
        for shard in &set.shards {
            assert_eq!((shard.transfer.as_deref(), shard.checksum.len()), (Some("stream"), 64));
            let source = set.source_id.as_deref().unwrap();
            assert_eq!(shard.s3_key, format!("streamed/{source}/docs/{}/{}.snapshot", set.backup_set_id, shard.id));
            assert_eq!(site.s3.get(&shard.s3_key).unwrap().len() as u64, shard.size.unwrap());
        }
        site.run(&["verify"]).await.expect(0);
        client.wipe().await;
        site.run(&["recover_snap_shards"]).await.expect(0).says(&["all done"]);
        assert_same(&client.contents().await, &before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_shard_is_stored_in_parts() {
    let site = small(THREE_PARTS).await;
    let before = site.source.client().contents().await;
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    assert!(!run.stderr.contains("uploads that were begun"), "{}", run.stderr);
    let parts =
        site.s3.faults().requests().into_iter().filter(|request| request.uri.to_string().contains("partNumber="));
    assert_eq!(parts.count(), 3);
    nothing_is_left(&site).await;
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_anywhere_makes_no_set() {
    let whole = {
        let site = small(0).await;
        site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
        site.s3.get(&streamed(&site)[0]).unwrap().len()
    };
    // Where headers, contents and the end are, and at each end of a part.
    let cuts = (0..whole).step_by(512).chain([1, 511, whole - 1, whole - 1024]).map(|cut| (0, cut));
    let parts = [8 << 20, (8 << 20) + 1, 16 << 20, (16 << 20) + 512].map(|cut| (THREE_PARTS, cut));
    let mut sites = [small(0).await, small(THREE_PARTS).await];
    for (ballast, cut) in cuts.chain(parts) {
        let site = &mut sites[usize::from(ballast > 0)];
        // As Qdrant ends it where it has failed in the middle.
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, STREAM, 3, Wrong::Short(cut)));
        let run = site.run_with(&["create_snap_shards"], &[BY_STREAM]).await;
        failed(run).says(&["it is started again", "see the log of the Qdrant pod"]);
        assert!(manifest_keys(site).is_empty(), "{cut}");
        nothing_is_left(site).await;
        clock::another_second().await;
    }
    for site in &sites {
        site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
        nothing_is_left(site).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_once_is_begun_anew() {
    let site = small(THREE_PARTS).await;
    for wrong in
        [Wrong::Truncate(9 << 20), Wrong::Short(9 << 20), Wrong::Reset, Wrong::Stall(Duration::from_secs(4000))]
    {
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, STREAM, 1, wrong));
        site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
        nothing_is_left(&site).await;
        clock::another_second().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_call_of_an_upload_fails_nothing_is_left() {
    for (method, uri) in CALLS {
        let site = small(THREE_PARTS).await;
        // For ever: refused, and not permitted.
        for (status, code) in [(500, "InternalError"), (403, "AccessDenied")] {
            let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let wrong = Wrong::Status(status, body);
            site.s3.faults().add(Chosen::Program, fault(method.clone(), uri, 9999, wrong));
            failed(site.run_with(&["create_snap_shards"], &[BY_STREAM]).await);
            assert!(manifest_keys(&site).is_empty());
            site.s3.faults().heal();
            nothing_is_left(&site).await;
            clock::another_second().await;
        }
        // For a while.
        for wrong in [Wrong::Status(503, String::new()), Wrong::Lost, Wrong::Reset] {
            site.s3.faults().add(Chosen::Program, fault(method.clone(), uri, 2, wrong));
            site.run_with(&["create_snap_shards"], &[BY_STREAM, ("QDRANT_BACKUP_RETENTION_SETS", "1")]).await.expect(0);
            nothing_is_left(&site).await;
            clock::another_second().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_has_made_of_the_parts_is_walked() {
    let site = small(THREE_PARTS).await;
    let store = site.s3.store();
    // Of the same size, under the ETag that the store told, with the parts in another order.
    let mixed = crate::after(move || {
        let key = store.keys("streamed/").pop().unwrap();
        let mut bytes = store.get(&key).unwrap();
        bytes.rotate_left(8 << 20);
        let etag = store.etag(&key).unwrap();
        store.insert(&key, bytes, etag);
    });
    site.s3.faults().add(Chosen::Program, fault(Method::POST, "uploadId=", 1, mixed));
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0).says(&["it is started again"]);
    nothing_is_left(&site).await;
    site.run(&["verify"]).await.expect(0);
}

#[tokio::test(start_paused = true)]
async fn the_peer_never_waits_long_for_a_part() {
    let site = small(THREE_PARTS).await;
    // The store takes the part, and does not say so.
    let stalled = Wrong::Stall(Duration::from_secs(3600));
    site.s3.faults().add(Chosen::Program, fault(Method::PUT, "partNumber=1&", 1, stalled));
    let begun = clock::now();
    let long = ("QDRANT_RETRY_MAX_DURATION", "1h");
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM, long, ("CURL_TIMEOUT", "2h")]).await;
    run.expect(0).says(&["the peer must not be kept waiting; it is started again"]);
    assert!(clock::now() - begun < Duration::from_secs(150), "{}", clock::now() - begun);
    nothing_is_left(&site).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dies_in_the_middle_is_replaced_by_another() {
    let mut site = site(Options { peers: 2, ballast: THREE_PARTS, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
    client.fill("docs", 0, 20).await;
    let before = client.contents().await;
    let first = site.source.stand_in().peers().iter().enumerate().min_by_key(|(_, peer)| peer.id).unwrap().0;
    site.s3.faults().add(Chosen::Peer(first), fault(Method::GET, STREAM, 9, Wrong::Truncate(10 << 20)));
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    nothing_is_left(&site).await;
    client.wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(start_paused = true)]
async fn the_next_run_ends_the_uploads_of_a_killed_one() {
    let site = small(THREE_PARTS).await;
    // Killed at each call.
    for (method, uri) in CALLS {
        let (sender, mut killed) = tokio::sync::mpsc::unbounded_channel();
        let never = Wrong::After(Event::new(move || {
            sender.send(()).unwrap();
            std::future::pending()
        }));
        site.s3.faults().add(Chosen::Program, fault(method, uri, 1, never));
        tokio::select! {
            _ = site.run_with(&["create_snap_shards"], &[BY_STREAM]) => panic!("it was not killed"),
            _ = killed.recv() => {}
        }
        site.s3.faults().heal();
        // Once completed, it is an object that belongs to no set.
        assert_eq!(site.s3.uploads().len(), usize::from(uri != "uploadId="), "{uri}");
    }
    let orphan = streamed(&site);
    assert_eq!(orphan.len(), 1);
    site.s3.store().begin_upload(&orphan[0].replace("/0.snapshot", "/1.snapshot"));
    // Of another source, of another program, and an object that was to become ours.
    let others = ["streamed/0123456789abcdef/docs/set/0.snapshot", "snapshots/docs/0/x.snapshot", "elsewhere"];
    others.iter().for_each(|key| drop(site.s3.store().begin_upload(key)));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let begun = site.s3.uploads().len();
    let dry = [BY_STREAM, ("QDRANT_DRY_RUN", "true")];
    site.run_with(&["create_snap_shards"], &dry).await.expect(0);
    assert_eq!(site.s3.uploads().len(), begun, "a dry run leaves them");
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    run.says(&["1 uploads that were begun and not ended were aborted"]);
    let mut left = site.s3.uploads();
    left.sort();
    let mut expected = others.to_vec();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[tokio::test(start_paused = true)]
async fn keys_that_may_not_list_uploads_are_enough() {
    let site = small(0).await;
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned();
    site.s3.faults().add(Chosen::Program, fault(Method::GET, "uploads=", 9, Wrong::Status(403, denied)));
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    assert_eq!(run.stderr.matches("s3:ListBucketMultipartUploads").count(), 1, "{}", run.stderr);
    // Who sends nothing needs no such right.
    let site = crate::filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    assert!(!site.s3.requests().iter().any(|request| request.uri.to_string().contains("uploads=")));
}

#[tokio::test(start_paused = true)]
async fn what_was_found_out_is_remembered_and_corrected() {
    let record = |site: &Site| -> Value {
        let [key] = site.s3.keys("sources/").try_into().unwrap();
        serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap()
    };
    let made = |site: &Site| {
        let requests = site.s3.faults().requests();
        let made = requests
            .iter()
            .filter(|request| request.method == Method::POST && request.uri.path().ends_with("/snapshots"));
        made.count()
    };
    let local = small(0).await;
    local.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0);
    assert_eq!((record(&local)["transfer"].clone(), made(&local)), (json!("stream"), 1));
    clock::another_second().await;
    local.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0);
    assert_eq!(made(&local), 1, "not asked again");

    let stored = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    stored.source.client().create("docs", json!({"shard_number": 2})).await;
    stored.source.client().fill("docs", 0, 20).await;
    let run = stored.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0);
    assert_eq!(run.stderr.matches("Qdrant stores its snapshots in this bucket").count(), 1, "{}", run.stderr);
    assert_eq!((record(&stored)["transfer"].clone(), made(&stored)), (json!("storage"), 2));
    assert_eq!(stored.s3.keys("snapshots/").len(), 2);
    assert!(streamed(&stored).is_empty());

    // The server was configured otherwise meanwhile.
    let [key] = local.s3.keys("sources/").try_into().unwrap();
    crate::change(&local, &key, |record| record["transfer"] = json!("storage"));
    clock::another_second().await;
    local
        .run_with(&["create_snap_shards"], &[AUTO])
        .await
        .expect(0)
        .says(&["from now on snapshots of shards are streamed through"]);
    assert_eq!(record(&local)["transfer"], "stream");
    nothing_is_left(&local).await;
}

/// The snapshot that tells is the first one of the backup, and no other.
#[tokio::test(start_paused = true)]
async fn what_tells_the_way_is_a_snapshot_of_the_backup() {
    for local in [false, true] {
        let site = Site::native(Options { peers: 2, local_snapshots: local, ..Options::default() }).await;
        let client = site.source.client();
        for (name, shards, points) in [("a-large", 3, 90), ("b-large", 2, 60), ("z-small", 2, 10)] {
            client.create(name, json!({"shard_number": shards})).await;
            client.fill(name, 0, points).await;
        }
        let before = client.contents().await;
        let placed = client.placed("z-small").await;
        let points = |shard: &u64| placed[shard].values().next().unwrap().len();
        let least = placed.keys().min_by_key(|shard| points(shard)).unwrap();
        site.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0);
        let asked = site.s3.faults().requests();
        let made: Vec<&str> = asked
            .iter()
            .filter(|request| request.method == Method::POST && request.uri.path().ends_with("/snapshots"))
            .map(|request| request.uri.path())
            .collect();
        assert_eq!(made.len(), if local { 1 } else { 7 }, "{made:?}");
        assert!(made[0].starts_with(&format!("/collections/z-small/shards/{least}/")), "{least}: {made:?}");
        let keys = if local { streamed(&site) } else { site.s3.keys("snapshots/") };
        assert_eq!((keys.len(), site.s3.keys("backup_manifests/").len()), (7, 3));
        client.wipe().await;
        site.run(&["recover_snap_shards"]).await.expect(0);
        assert_same(&client.contents().await, &before);
    }
}

/// The others wait for it, and it does not wait for a place behind them.
#[tokio::test(start_paused = true)]
async fn the_smallest_of_many_collections_is_taken_first() {
    let site = Site::native(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let client = site.source.client();
    for number in 0..34 {
        let (name, points) = if number == 33 { ("z-small".to_owned(), 1) } else { (format!("c{number}"), 2) };
        client.create(&name, json!({"shard_number": 1})).await;
        client.fill(&name, 0, points).await;
    }
    let run = site.run_with(&["create_snap_shards"], &[AUTO]);
    let run = tokio::time::timeout(Duration::from_secs(3600), run).await;
    run.expect("an end").expect(0);
    assert_eq!(site.s3.keys("backup_manifests/").len(), 34);
}

/// What was to tell it fails: all others are backed up, and the next run finds out.
#[tokio::test(start_paused = true)]
async fn a_first_snapshot_that_fails_holds_up_no_other() {
    for uri in ["/collections/small/shards/*/snapshots", "/collections/small/cluster"] {
        let site = site(Options { peers: 1, clustered: false, ..Options::default() }).await;
        for (name, points) in [("docs", 60), ("small", 10)] {
            site.source.client().create(name, json!({"shard_number": 2})).await;
            site.source.client().fill(name, 0, points).await;
        }
        let refused = Wrong::Status(422, r#"{"status": {"error": "no"}}"#.to_owned());
        let method = if uri.ends_with("cluster") { Method::GET } else { Method::POST };
        site.s3.faults().add(Chosen::Qdrant, fault(method, uri, 99, refused));
        let run = site.run_with(&["create_snap_shards"], &[AUTO]);
        failed(tokio::time::timeout(Duration::from_secs(3600), run).await.expect("an end"));
        assert_eq!((manifests(&site).len(), site.s3.keys("backup_manifests/").len()), (1, 1));
        site.s3.heal();
        clock::another_second().await;
        site.run_with(&["create_snap_shards"], &[AUTO]).await.expect(0);
        assert_eq!((manifests(&site).len(), site.s3.keys("backup_manifests/").len()), (2, 3));
    }
}

/// The pods of an Indexed Job send at the same time, each for its share of the collections.
#[tokio::test(start_paused = true)]
async fn a_share_leaves_the_uploads_of_other_shares_alone() {
    let site = site(Options { peers: 1, clustered: false, ..Options::default() }).await;
    for name in ["docs", "more", "tags", "else"] {
        site.source.client().create(name, json!({"shard_number": 1})).await;
        site.source.client().fill(name, 0, 10).await;
    }
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    let source = manifests(&site)[0].source_id.clone().unwrap();
    for name in ["docs", "more", "tags", "else"] {
        site.s3.store().begin_upload(&format!("streamed/{source}/{name}/2026-01-01T00-00-00Z-other/0.snapshot"));
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let mut left = Vec::new();
    for index in ["0", "1"] {
        let share =
            [BY_STREAM, ("QDRANT_BACKUP_SHARES", "2"), ("JOB_COMPLETION_INDEX", index), ("QDRANT_BACKUP_RUN", "r")];
        site.run_with(&["create_snap_shards"], &share).await.expect(0);
        left.push(site.s3.uploads().len());
    }
    assert!(0 < left[0] && left[0] < 4 && left[1] == 0, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_storage_alone_can_t_use_is_removed_from_the_peer() {
    let site = small(0).await;
    for task in ["create_snap_shards", "create_snap"] {
        let run = site.run(&[task]).await;
        failed(run).says(&["QDRANT_SNAPSHOT_TRANSFER", "deleted again"]);
        nothing_is_left(&site).await;
    }
}

#[tokio::test(start_paused = true)]
async fn streamed_sets_are_pruned_and_so_is_what_belongs_to_none() {
    let site = small(0).await;
    let keep = ("QDRANT_BACKUP_RETENTION_SETS", "2");
    for _ in 0..3 {
        site.run_with(&["create_snap_shards"], &[BY_STREAM, keep]).await.expect(0);
        clock::another_second().await;
    }
    assert_eq!(manifest_keys(&site).len(), 2);
    nothing_is_left(&site).await;
    // One of a set that never came to be, long ago; and one that may be coming.
    let [first, _] = streamed(&site).try_into().unwrap();
    let bytes = site.s3.get(&first).unwrap();
    let folder = first.rsplit_once('/').unwrap().0.rsplit_once('/').unwrap().0.to_owned();
    let orphan = format!("{folder}/2026-01-01T00-00-00Z-pod/0.snapshot");
    site.s3.put(&orphan, bytes.clone());
    site.s3.age(&orphan, Duration::from_secs(3 * 86_400));
    let young = format!("{folder}/2026-01-02T00-00-00Z-pod/0.snapshot");
    site.s3.put(&young, bytes.clone());
    // Of a peer that nobody knows here, under a source's key that is not ours.
    let foreign = "streamed/0123456789abcdef/docs/2026-01-01T00-00-00Z-pod/0.snapshot";
    site.s3.put(foreign, bytes);
    site.s3.age(foreign, Duration::from_secs(3 * 86_400));
    site.run(&["prune_snap"]).await.expect(0);
    let left = streamed(&site);
    assert!(!left.contains(&orphan) && left.contains(&young) && left.iter().any(|key| key == foreign), "{left:?}");
    assert_eq!(left.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_set_is_drilled() {
    let site = small(0).await;
    let before = site.source.client().contents().await;
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    site.run(&["drill"]).await.expect(0).says(&["20 points, verified on every replica"]);
    assert_same(&site.source.client().contents().await, &before);
    site.run(&["list_sets"]).await.expect(0);
    // One whose snapshot is damaged is found.
    let [key] = streamed(&site).try_into().unwrap();
    let mut bytes = site.s3.get(&key).unwrap();
    bytes[700] ^= 1;
    site.s3.put(&key, bytes);
    failed(site.run(&["drill"]).await);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_names_streamed_snapshots_of_its_own_only() {
    let site = small(0).await;
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
    let [key] = manifest_keys(&site).try_into().unwrap();
    let own = manifests(&site)[0].shards[0].s3_key.clone();
    let (_, rest) = own.strip_prefix("streamed/").unwrap().split_once('/').unwrap();
    for other in [
        format!("streamed/0123456789abcdef/{rest}"),
        own.replace("/docs/", "/other/"),
        own.replace("/0.snapshot", "/1.snapshot"),
        format!("sources/{rest}"),
    ] {
        site.s3.put(&other, site.s3.get(&own).unwrap());
        crate::change(&site, &key, |manifest| manifest["shards"][0]["s3_key"] = json!(other));
        failed(site.run(&["verify"]).await);
        site.s3.delete(&other);
    }
}

/// Nothing is written over, whoever was first.
#[tokio::test(start_paused = true)]
async fn two_runs_of_one_name_do_not_touch_each_other_s_snapshots() {
    let site = small(0).await;
    site.run_with(&["create_snap_shards"], &[BY_STREAM, ("HOSTNAME", "pod")]).await.expect(0);
    let [own] = streamed(&site).try_into().unwrap();
    let of_another = own.rsplit_once('/').unwrap().0.rsplit_once('/').unwrap().0.to_owned();
    clock::another_second().await;
    // Another run's, which appears while this one sends its own.
    let next = qdrant_backup_core::sets::SetId::new(clock::now(), "pod");
    let key = format!("{of_another}/{next}/0.snapshot");
    let (store, late) = (site.s3.store(), key.clone());
    let appears = crate::after(move || store.put(&late, b"of another run".to_vec()));
    let first = Fault { skip: 0, ..fault(Method::PUT, "partNumber=1&", 1, appears) };
    site.s3.faults().add(Chosen::Program, first);
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM, ("HOSTNAME", "pod")]).await;
    failed(run).says(&["which another run has stored"]);
    assert_eq!(site.s3.get(&key).unwrap(), b"of another run");
    assert!(site.s3.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_qdrant_can_t_fetch_is_sent_to_it() {
    for backup in ["create_snap_shards", "create_snap"] {
        let site = crate::filled(2).await;
        let client = site.source.client();
        let before = client.contents().await;
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        // Its network has no way to the store, or the store refuses it: each peer finds that out once.
        for wrong in [Wrong::Reset, Wrong::Status(403, String::new())] {
            let peers = client.hosts().len();
            site.s3.faults().clear();
            site.s3.faults().add(Chosen::S3, fault(Method::GET, "X-Amz-Signature", 99, wrong));
            let restore = backup.replace("create", "recover");
            site.run_with(&[&restore], &[("QDRANT_RESTORE_FORCE", "true")])
                .await
                .expect(0)
                .says(&["through this program"]);
            assert_same(&client.contents().await, &before);
            assert!(site.s3.faults().hits() <= peers, "{} of {peers}", site.s3.faults().hits());
            clock::another_second().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peers_are_reached_by_rule_where_their_names_lead_nowhere() {
    let mut site = site(Options { peers: 3, inner_names: true, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3})).await;
    client.fill("docs", 0, 60).await;
    let before = client.contents().await;
    failed(site.run_with(&["create_snap_shards"], &[BY_STREAM]).await).says(&["qdrant-2.inner"]);
    let peers = site.source.stand_in().peers().to_vec();
    // The first host answers as itself; the others by name and by id.
    let rules = format!("qdrant-2.inner=http://{}:6333, {}=http://{}", peers[1].ip, peers[2].id, peers[2].ip);
    let rules = ("QDRANT_PEER_HOSTS", rules.as_str());
    clock::another_second().await;
    site.run_with(&["create_snap_shards"], &[BY_STREAM, rules]).await.expect(0);
    client.wipe().await;
    site.run_with(&["recover_snap_shards"], &[rules]).await.expect(0);
    assert_same(&client.contents().await, &before);
    // A rule that leads to another peer is found out.
    let wrong = format!("qdrant-2.inner=http://{}:6333, {}=http://{}", peers[2].ip, peers[2].id, peers[2].ip);
    let run = site.run_with(&["create_snap_shards"], &[BY_STREAM, ("QDRANT_PEER_HOSTS", &wrong)]).await;
    failed(run).says(&["and not as peer"]);
}

/// What a peer refuses it goes on refusing; what passes is asked for again.
#[tokio::test(start_paused = true)]
async fn a_busy_peer_is_asked_again_and_one_that_refuses_is_not() {
    for (status, asked) in [(403, 1), (404, 1), (408, 2), (429, 2), (500, 2)] {
        let site = small(0).await;
        let wrong = Wrong::Status(status, r#"{"status":{"error":"no"}}"#.to_owned());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, STREAM, 1, wrong));
        let run = site.run_with(&["create_snap_shards"], &[BY_STREAM]).await;
        let times = site.s3.faults().requests().iter().filter(|request| request.uri.path().ends_with(STREAM)).count();
        assert_eq!((times, run.code == 0), (asked, asked == 2), "{status}: {}", run.stderr);
        nothing_is_left(&site).await;
    }
}
