//! A forced restore that first restores the replacement beside the old collection, and verifies it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http::Method;
use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::{change, failed, fault, filled, manifest_keys, said_and_not_done};

const BACKUPS: [(&str, &str); 2] = [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")];
const FORCE: [(&str, &str); 2] = [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_BESIDE", "true")];
const BESIDE: &str = "qdrant-backup-beside-docs";

/// A backup of 40 points, and 45 in the collection since.
async fn written_since(backup: &str) -> Site {
    let site = filled(1).await;
    let client = site.source.client();
    client.alias("live", "docs").await;
    site.run(&[backup]).await.expect(0);
    client.fill("docs", 40, 45).await;
    site
}

fn refused() -> Wrong {
    Wrong::Status(400, json!({"status": {"error": "Wrong input: no"}}).to_string())
}

async fn names(client: &Client) -> Vec<String> {
    client.collections().await.into_iter().collect()
}

/// Puts down what there is at the moment when `docs` is deleted.
fn note_at_deletion(site: &Site) -> Arc<Mutex<Vec<u64>>> {
    let (client, seen) = (site.source.client(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&seen);
    let event = Event::new(move || {
        let (client, noted) = (client.clone(), Arc::clone(&noted));
        async move {
            let counts = vec![client.count(0, "docs").await, client.count(0, BESIDE).await];
            *noted.lock().unwrap() = counts;
        }
    });
    site.s3.faults().add(Chosen::Qdrant, fault(Method::DELETE, "/collections/docs?", 1, Wrong::Before(event)));
    seen
}

#[tokio::test(start_paused = true)]
async fn the_old_one_lives_until_a_new_one_is_verified() {
    for (backup, restore) in BACKUPS {
        let site = written_since(backup).await;
        let client = site.source.client();
        let seen = note_at_deletion(&site);
        let run = site.run_with(&[restore], &FORCE).await.expect(0);
        run.says(&["its replacement was restored beside it and verified", "40 points, verified"]);
        assert_eq!(*seen.lock().unwrap(), [45, 40], "{restore}: at the deletion");
        assert_eq!(client.count(0, "docs").await, 40, "{restore}");
        assert_eq!(client.collections().await, BTreeSet::from(["docs".to_owned()]), "{restore}");
        assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]), "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_fails_costs_nothing() {
    for (backup, restore) in BACKUPS {
        let site = written_since(backup).await;
        let client = site.source.client();
        let before = client.content("docs").await;
        // The target takes no snapshot; it says so, or does not.
        for wrong in [refused(), said_and_not_done()] {
            site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 99, wrong));
            failed(site.run_with(&[restore], &FORCE).await).says(&["`docs` was not changed"]);
            assert_eq!(client.content("docs").await, before, "{restore}");
            assert_eq!(names(&client).await, ["docs"], "{restore}");
            site.s3.heal();
        }
        // What can't be verified takes no verified one's place.
        for key in site.s3.keys("snapshot_manifests/") {
            site.s3.delete(&key);
        }
        for key in manifest_keys(&site) {
            change(&site, &key, |manifest| manifest["shards"][0]["points"] = json!({}));
        }
        failed(site.run_with(&[restore], &FORCE).await).says(&["could not be verified", "`docs` was not changed"]);
        assert_eq!(client.content("docs").await, before, "{restore}");
        assert_eq!(names(&client).await, ["docs"], "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verified_one_is_there_until_the_rerun_has_ended() {
    for (backup, restore) in BACKUPS {
        let site = written_since(backup).await;
        let client = site.source.client();
        // The second time that the target is given the snapshots fails.
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/collections/docs/", 99, refused()));
        failed(site.run_with(&[restore], &FORCE).await).says(&[&format!("stays as `{BESIDE}`")]);
        site.s3.heal();
        assert_eq!(client.count(0, BESIDE).await, 40, "{restore}");
        // It is no backup's subject.
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        let run = failed(site.run(&[backup]).await).says(&["a restore keeps it", "it may be half restored"]);
        assert!(site.s3.keys(&format!("snapshots/{BESIDE}/")).is_empty(), "{}", run.stderr);
        // A drill drops what drills have made.
        site.run(&["drill", "--into", &site.source.hosts()[0], "--dry-run"]).await;
        let folder = tempfile::TempDir::new().unwrap();
        site.run_in(folder.path(), &[restore], &[]).await.expect(0);
        assert_eq!(client.count(0, "docs").await, 40, "{restore}");
        assert_eq!(names(&client).await, ["docs"], "{restore}");
        assert_eq!(client.aliases().await, BTreeMap::from([("live".to_owned(), "docs".to_owned())]), "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_s_collection_of_the_name_is_left() {
    for metadata in [Value::Null, json!({"qdrant_backup_restore": {"restore": "r", "backup": "x", "beside": "docs"}})] {
        let site = written_since("create_snap_shards").await;
        let client = site.source.client();
        client.create(BESIDE, json!({ "metadata": metadata })).await;
        client.fill(BESIDE, 0, 3).await;
        failed(site.run_with(&["recover_snap_shards"], &FORCE).await).says(&["it is not of this backup"]);
        assert_eq!((client.count(0, BESIDE).await, client.count(0, "docs").await), (3, 45));
        // Without the setting it does not matter, and stays.
        site.run_with(&["recover_snap_shards"], &FORCE[..1]).await.expect(0);
        assert_eq!((client.count(0, BESIDE).await, client.count(0, "docs").await), (3, 40));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_of_a_killed_run_is_used() {
    let site = written_since("create_snap_shards").await;
    let client = site.source.client();
    let never = Event::new(std::future::pending);
    site.s3.faults().add(Chosen::Qdrant, fault(Method::DELETE, "/collections/docs?", 1, Wrong::Before(never)));
    let killed = site.run_with(&["recover_snap_shards"], &FORCE);
    tokio::time::timeout(std::time::Duration::from_secs(30), killed).await.unwrap_err();
    assert_eq!((client.count(0, BESIDE).await, client.count(0, "docs").await), (40, 45));
    site.s3.heal();
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    let run = site.run_with(&["recover_snap_shards"], &FORCE).await.expect(0).says(&["it exists already"]);
    assert!(run.stderr.contains("restored beside it and verified"), "{}", run.stderr);
    assert_eq!(names(&client).await, ["docs"]);
    assert_eq!(client.count(0, "docs").await, 40);
}

#[tokio::test(start_paused = true)]
async fn what_took_a_replacement_s_place_meanwhile_is_left() {
    let site = written_since("create_snap_shards").await;
    let client = site.source.client();
    let user = client.clone();
    let swapped = Event::new(move || {
        let user = user.clone();
        async move {
            user.delete(BESIDE).await;
            user.create(BESIDE, json!({})).await;
            user.fill(BESIDE, 0, 3).await;
        }
    });
    site.s3.faults().add(Chosen::Qdrant, fault(Method::DELETE, "/collections/docs?", 1, Wrong::Before(swapped)));
    site.run_with(&["recover_snap_shards"], &FORCE).await.expect(0);
    assert_eq!((client.count(0, "docs").await, client.count(0, BESIDE).await), (40, 3));
}
