//! What is saved where not all of a collection can be, and what becomes of that which is of no use.

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Event, Place, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{API_KEY, Servers, Site};
use serde_json::{Value, json};

use crate::{failed, fault, filled, manifest_keys};

/// Three peers with a shard each of `docs`, and no other replica of it.
async fn three() -> Site {
    let site = Site::native(Options { peers: 3, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 1})).await;
    client.fill("docs", 0, 60).await;
    site
}

/// What Qdrant answers about a collection of which a shard has no living replica.
fn answers_500(site: &Site, uri: &str, method: Method) {
    let body = r#"{"status":{"error":"Service internal error: 1 of 1 read operations failed"},"time":0.0}"#;
    let class = Chosen::Class(format!("{method} qdrant {uri}"));
    site.s3.faults().add(class, fault(method, "", 999, Wrong::Status(500, body.to_owned())));
}

/// The object that records a partial backup of `docs`.
fn record(site: &Site, folder: &str) -> Value {
    let [key] = site.s3.keys(&format!("{folder}/docs/")).try_into().unwrap();
    assert!(key.ends_with(".partial.json"), "{key}");
    serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap()
}

/// How many sets of `docs` there are, partial ones among them.
fn records(site: &Site) -> usize {
    site.s3.keys("backup_manifests/docs/").len()
}

#[tokio::test(start_paused = true)]
async fn what_lives_is_saved_where_a_peer_is_dead() {
    for (task, folder, list) in
        [("create_snap", "snapshot_manifests", "archives"), ("create_snap_shards", "backup_manifests", "shards")]
    {
        let mut site = three().await;
        site.source.stand_in().stop_peer(2).await;
        answers_500(&site, "/collections/{collection}", Method::GET);
        answers_500(&site, "/collections/{collection}/points/count", Method::POST);
        let run = site.run_with(&[task], &[("CURL_TIMEOUT", "5")]).await.expect(3);
        let run = run.says(&["kept as a partial backup"]).stderr;
        let record = record(&site, folder);
        assert_eq!(
            (record[list].as_array().unwrap().len(), record["missing"].as_array().unwrap().len()),
            (2, 1),
            "{run}"
        );
        assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_set_counts_for_nothing_and_is_kept() {
    let mut site = three().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    site.source.stand_in().stop_peer(2).await;
    site.run_with(&["create_snap_shards"], &[("CURL_TIMEOUT", "5")]).await.expect(3);
    site.source.stand_in().start_peer(2).await;
    assert_eq!(records(&site), 2);
    // Alone it is nothing that could be verified.
    let partial =
        site.s3.keys("backup_manifests/docs/").into_iter().find(|key| key.ends_with(".partial.json")).unwrap();
    let (_, id) = qdrant_backup_core::sets::SetId::of_key(&partial).unwrap();
    let alone = [("QDRANT_SNAPSHOT_DATETIME_FILTER", id.as_str())];
    site.run_with(&["verify"], &alone).await.expect(1).says(&["none of 1 sets could be verified"]);
    // Neither does it push out the whole one, nor are its snapshots swept.
    tokio::time::sleep(std::time::Duration::from_secs(5 * 86_400)).await;
    let one = [("QDRANT_BACKUP_RETENTION_SETS", "1"), ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    site.run_with(&["prune_snap"], &one).await.expect(0).says(&["kept: last 1", "it is partial: it lacks shard"]);
    assert_eq!((records(&site), site.s3.keys("snapshots/docs/").len()), (2, 5));
    site.run(&["verify"]).await.expect(0).says(&["it is partial: it lacks shard"]);
    site.source.client().wipe().await;
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["it is partial: it lacks shard"]);
    assert_eq!(site.source.client().count(0, "docs").await, 60);
    // When it is older than all good ones that are kept, it goes.
    site.run_with(&["create_snap_shards"], &one).await.expect(0);
    assert_eq!((records(&site), site.s3.keys("snapshots/docs/").len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_snapshot_fails_leaves_a_partial_set() {
    let site = filled(1).await;
    let full = Wrong::Status(500, r#"{"status":{"error":"no space left on device"}}"#.to_owned());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/shards/0/snapshots", 9, full));
    site.run(&["create_snap_shards"]).await.expect(3).says(&["no space left on device", "kept as a partial backup"]);
    assert_eq!(record(&site, "backup_manifests")["missing"], json!([0]));
    site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_FORCE", "true")]).await.expect(1);
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_was_deleted_meanwhile_is_no_failure() {
    for (task, at) in [
        ("create_snap", "/collections/docs/cluster"),
        ("create_snap", "/docs/snapshots"),
        ("create_snap_shards", "/collections/docs/cluster"),
        ("create_snap_shards", "/docs/shards/0/snapshots"),
    ] {
        let site = filled(1).await;
        site.source.client().create("other", json!({})).await;
        let client = site.source.client();
        let deleted = Event::new(move || {
            let client = client.clone();
            async move { client.delete("docs").await }
        });
        let request = qdrant_backup_tests::faults::Fault {
            method: None,
            uri: at.to_owned(),
            skip: 0,
            times: 1,
            wrong: Wrong::Before(deleted),
        };
        site.s3.faults().add(Chosen::Qdrant, request);
        let run = site.run(&[task]).await.expect(0).says(&["it was deleted after the collections had been listed"]);
        assert!(run.stderr.contains("done: snapshot of `other`"), "{}", run.stderr);
        assert!(site.s3.keys("snapshots/docs/").is_empty(), "{task} {at}: {:?}", site.s3.keys("snapshots/docs/"));
    }
}

const NO_SUCH_COLLECTION: &str = r#"{"status":{"error":"Not found: Collection `docs` doesn't exist!"}}"#;

#[tokio::test(start_paused = true)]
async fn a_peer_that_forgot_a_collection_is_a_failure() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled(1).await;
        let gone = Wrong::Status(404, NO_SUCH_COLLECTION.to_owned());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs/cluster", 99, gone));
        failed(site.run(&[task]).await).says(&["there is no such collection"]);
    }
}

/// The list may be older than what the collection's own address says.
#[tokio::test(start_paused = true)]
async fn what_qdrant_says_is_missing_is_deleted_though_listed() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled(1).await;
        site.source.client().create("other", json!({})).await;
        let gone = Wrong::Status(404, NO_SUCH_COLLECTION.to_owned());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs", 99, gone));
        site.run(&[task]).await.expect(0).says(&["it was deleted after the collections had been listed"]);
    }
}

/// The words of a proxy say nothing of what Qdrant has.
#[tokio::test(start_paused = true)]
async fn a_404_that_is_not_qdrants_deletes_nothing() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled(1).await;
        let proxy = Wrong::Status(404, "<html>404 page not found</html>".to_owned());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs", 99, proxy));
        failed(site.run(&[task]).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_look_that_fails_is_not_unchanged() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = filled(1).await;
        let denied = Wrong::Status(403, r#"{"status":{"error":"forbidden"}}"#.to_owned());
        let mut last = fault(Method::GET, "/collections/docs/cluster", 99, denied);
        // The first is the look before.
        last.skip = 1;
        site.s3.faults().add(Chosen::Qdrant, last);
        failed(site.run_with(&[task], &[("QDRANT_ARCHIVE_CHECK", "none")]).await).says(&["forbidden"]);
        assert!(manifest_keys(&site).is_empty() && site.s3.keys("snapshot_manifests/").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_on_a_peers_own_disk_are_removed_again() {
    for (task, list) in
        [("create_snap", "/collections/docs/snapshots"), ("create_snap_shards", "/collections/docs/shards/0/snapshots")]
    {
        let site = filled(1).await;
        let disk = Servers::start(Options {
            peers: 1,
            s3: None,
            api_key: Some(API_KEY.to_owned()),
            memory: true,
            ..Options::default()
        })
        .await;
        let client = disk.client();
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, 10).await;
        let host = disk.hosts()[0].clone();
        let run = site.run_with(&[task], &[("QDRANT_SOURCE_HOSTS", &host)]).await;
        failed(run).says(&["on its own disk", "was deleted again"]);
        let left = client.ok(Method::GET, list, None).await;
        assert_eq!(left, json!([]), "{task}");
        // What could not be deleted is not called so.
        if let Servers::StandIn(qdrant) = &disk {
            qdrant.fail(fault(Method::DELETE, "/snapshots/", 9, Wrong::Status(403, "{}".to_owned())));
        }
        let run = site.run_with(&[task], &[("QDRANT_SOURCE_HOSTS", &host)]).await;
        let run = failed(run).says(&["could not be deleted"]);
        assert!(!run.stderr.contains("deleted again"), "{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_again_is_said_only_of_what_was() {
    let site = filled(1).await;
    let denied = || Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    site.s3.fail(fault(Method::PUT, "backup_manifests/docs/", 99, denied()));
    site.s3.faults().add(Chosen::Program, fault(Method::DELETE, "snapshots/docs/", 99, denied()));
    // Qdrant has keys of its own for the bucket.
    let run = failed(site.run(&["create_snap_shards"]).await).says(&["deleted again"]);
    assert!(site.s3.keys("snapshots/docs/").is_empty(), "{}", run.stderr);
    site.s3.faults().add(Chosen::Qdrant, fault(Method::DELETE, "/snapshots/", 99, Wrong::Status(403, "{}".to_owned())));
    let run = failed(site.run(&["create_snap_shards"]).await).says(&["could not be deleted", "AccessDenied"]);
    assert!(!run.stderr.contains("deleted again"), "{}", run.stderr);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
    // No peer is asked for what this program has stored itself: it may have one of that name, which is another's.
    site.s3.faults().clear();
    site.s3.fail(fault(Method::PUT, "backup_manifests/docs/", 99, denied()));
    site.s3.faults().add(Chosen::Program, fault(Method::DELETE, "streamed/", 99, denied()));
    let run = failed(site.run_with(&["create_snap_shards"], &[("QDRANT_SNAPSHOT_TRANSFER", "stream")]).await);
    let run = run.says(&["could not be deleted", "AccessDenied"]);
    let mut asked = site.s3.faults().requests().into_iter().filter(|request| request.place != Place::S3);
    assert!(!asked.any(|request| request.method == Method::DELETE), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_source_is_found_out_and_left_alone() {
    let site = filled(1).await;
    let other = site.more(Options { peers: 1, ..Options::default() }).await;
    other.client().create("docs", json!({"shard_number": 2})).await;
    let store = site.s3.store();
    // In the same second the other one stores a snapshot under the same name.
    let theirs = other.client();
    let replaced = Event::new(move || {
        let (store, theirs) = (store.clone(), theirs.clone());
        async move {
            let ours = store.keys("snapshots/docs/shards/0/").pop().unwrap();
            theirs.ok(Method::POST, "/collections/docs/shards/0/snapshots?wait=true", None).await;
            let made = store.keys("snapshots/docs/shards/0/").into_iter().find(|key| *key != ours);
            // Where the names are the same it has done so already.
            if let Some(made) = made {
                store.put(&ours, store.get(&made).unwrap());
                store.delete(&made);
            }
        }
    });
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/shards/0/snapshots", 1, Wrong::After(replaced)));
    let run = failed(site.run(&["create_snap_shards"]).await).says(&["it was made by peer"]);
    assert_eq!(site.s3.keys("snapshots/docs/shards/0/").len(), 1, "it is not ours to delete\n{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn what_a_restore_would_refuse_is_refused_at_the_backup() {
    for task in ["create_snap", "create_snap_shards"] {
        let site = Site::native(Options { peers: 1, ..Options::default() }).await;
        let client = site.source.client();
        client.create("docs", json!({"shard_number": 1, "sharding_method": "custom"})).await;
        for key in ["a", "b"] {
            client
                .ok(Method::PUT, "/collections/docs/shards", Some(&json!({"shard_key": key, "shards_number": 1})))
                .await;
        }
        site.run(&[task]).await.expect(0);
        // As where `a` was scaled from one shard to two.
        let scaled = crate::edited(|answer| {
            let shards = answer["result"]["local_shards"].as_array_mut().unwrap();
            let mut third = shards[0].clone();
            third["shard_id"] = json!(3);
            shards.push(third);
        });
        site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections/docs/cluster", 99, scaled));
        failed(site.run(&[task]).await).says(&["are not numbered in a row"]);
    }
}

/// What took its place since it was checked is another run's.
#[tokio::test(start_paused = true)]
async fn what_took_a_snapshot_s_place_is_not_deleted() {
    for transfer in ["storage", "stream"] {
        let site = filled(1).await;
        let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
        site.s3.faults().add(Chosen::Program, fault(Method::PUT, "backup_manifests/docs/", 1, denied));
        // When the manifest is looked for, one snapshot is another one, and one is gone.
        let folder = if transfer == "storage" { "snapshots/docs/shards/" } else { "streamed/" };
        let store = site.s3.store();
        let happens = crate::after(move || {
            let [first, second] = store.keys(folder).try_into().unwrap();
            store.put(&first, b"of another run".to_vec());
            store.delete(&second);
        });
        site.s3.faults().add(Chosen::Program, fault(Method::GET, "backup_manifests/docs/", 1, happens));
        let run = site.run_with(&["create_snap_shards"], &[("QDRANT_SNAPSHOT_TRANSFER", transfer)]).await;
        let run = failed(run).says(&["another object is in its place, which is not this run's"]);
        let [left] = site.s3.keys(folder).try_into().unwrap();
        assert_eq!(site.s3.get(&left).unwrap(), b"of another run", "{transfer}");
        assert_eq!(run.stderr.matches("deleted again, as the backup failed").count(), 1, "{}", run.stderr);
        // No peer knows of one that this program has stored itself.
        let asked = site.s3.faults().requests().into_iter().filter(|request| request.place != Place::S3);
        let deleted = asked.filter(|request| request.method == Method::DELETE).count();
        assert_eq!(deleted, usize::from(transfer == "storage"), "{}", run.stderr);
    }
}

/// The name of a shard's snapshot does not say who made it, and nobody looks into it.
#[tokio::test(start_paused = true)]
async fn another_peer_behind_an_address_makes_no_set() {
    let work = std::time::Duration::from_secs(600);
    let site = Site::native(Options { peers: 1, work, ..Options::default() }).await;
    site.source.client().create("docs", json!({"shard_number": 1})).await;
    let another = crate::edited(|told| told["result"]["peer_id"] = json!(7));
    let mut second = fault(Method::GET, "/collections/docs/cluster", 1, another);
    second.skip = 1;
    site.s3.faults().add(Chosen::Qdrant, second);
    let run = site.run_with(&["create_snap_shards"], &[("QDRANT_ARCHIVE_CHECK", "none"), ("CURL_TIMEOUT", "1h")]);
    failed(run.await).says(&["answers as peer 7 now", "it was replaced"]);
    assert!(manifest_keys(&site).is_empty());
}
