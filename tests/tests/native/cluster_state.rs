//! What a cluster knows besides its collections, and what no snapshot has.

use http::Method;
use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::fault;

const APPLY: (&str, &str) = ("QDRANT_RESTORE_CLUSTER_STATE", "true");
const BACKUPS: [(&str, &str); 2] = [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")];

fn version(version: &str) -> Options {
    Options { peers: 2, version: version.to_owned(), ..Options::default() }
}

async fn get(client: &Client, path: &str) -> Value {
    client.ok(Method::GET, path, None).await
}

async fn put(client: &Client, path: &str, value: Value) {
    client.ok(Method::PUT, path, Some(&value)).await;
}

/// A site whose cluster has quotas and metadata.
async fn site() -> Site {
    let site = Site::native(version("1.19.0")).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    put(&client, "/quotas", json!({"enabled": true, "max_disk_usage_percent": 80})).await;
    // Once more they are told as they were.
    assert_eq!(get(&client, "/quotas").await["config"]["enabled"], false);
    put(&client, "/cluster/metadata/keys/a%2Fb", json!({"x": null, "secret": "hush"})).await;
    site
}

#[tokio::test(start_paused = true)]
async fn quotas_and_metadata_are_told_and_set_on_wish() {
    for (backup, restore) in BACKUPS {
        let site = site().await;
        site.run(&[backup]).await.expect(0);
        let target = site.more(version("1.19.0")).await;
        let there = target.client();
        put(&there, "/cluster/metadata/keys/own", json!(1)).await;
        let host = target.hosts()[0].clone();
        let into = ("QDRANT_RESTORE_HOSTS", host.as_str());
        let run = site.run_with(&[restore], &[into]).await.expect(0);
        let run = run.says(&["cluster state quotas", "cluster state metadata `a/b`", "in no snapshot", APPLY.0]);
        assert!(!run.stderr.contains("hush"), "{}", run.stderr);
        assert_eq!(get(&there, "/quotas").await["config"], json!({"enabled": false}), "{restore}");
        site.run_with(&[restore, "--dry-run"], &[into, APPLY]).await.expect(0);
        assert_eq!(get(&there, "/quotas").await["config"], json!({"enabled": false}), "{restore}");
        site.run_with(&[restore], &[into, APPLY]).await.expect(0).says(&["set as it was at the backup"]);
        assert_eq!(get(&there, "/quotas").await["config"]["max_disk_usage_percent"], 80, "{restore}");
        assert_eq!(
            get(&there, "/cluster/metadata/keys/a%2Fb").await,
            json!({"x": null, "secret": "hush"}),
            "{restore}"
        );
        assert_eq!(get(&there, "/cluster/metadata/keys/own").await, 1, "{restore}");
        // Into what is as it was: nothing is said.
        let run = site.run_with(&[restore], &[into]).await.expect(0);
        assert!(!run.stderr.contains("cluster state"), "{}", run.stderr);
    }
}

/// That of the moment which is restored. Snapshots of whole collections are chosen by their own names, which no run has.
#[tokio::test(start_paused = true)]
async fn a_cluster_state_is_that_of_the_chosen_moment() {
    for ((backup, restore), percent) in BACKUPS.into_iter().zip([90, 80]) {
        let site = site().await;
        site.run(&[backup]).await.expect(0);
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        let client = site.source.client();
        put(&client, "/quotas", json!({"enabled": true, "max_disk_usage_percent": 90})).await;
        // Once more they are told as they were.
        get(&client, "/quotas").await;
        site.run(&[backup]).await.expect(0);
        let newest = site.s3.keys("runs/").pop().unwrap();
        let newest: Value = serde_json::from_slice(&site.s3.get(&newest).unwrap()).unwrap();
        let before = ("QDRANT_RESTORE_BEFORE", newest["started_at"].as_str().unwrap());
        let target = site.more(version("1.19.0")).await;
        let host = target.hosts()[0].clone();
        let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), before, APPLY];
        site.run_with(&[restore], &settings).await.expect(0);
        let now = get(&target.client(), "/quotas").await["config"]["max_disk_usage_percent"].clone();
        assert_eq!(now, percent, "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_state_that_cannot_be_asked_or_set_is_told() {
    let site = site().await;
    let denied = || Wrong::Status(403, json!({"status": {"error": "Global access is required"}}).to_string());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/quotas", 1, denied()));
    site.run(&["create_snap_shards"]).await.expect(0).says(&["so a restore can't compare it: its quotas"]);
    let target = site.more(Options { faults: site.s3.faults().clone(), ..version("1.19.0") }).await;
    let host = target.hosts()[0].clone();
    let into = [("QDRANT_RESTORE_HOSTS", host.as_str()), APPLY];
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/cluster/metadata/keys", 1, denied()));
    site.run_with(&["recover_snap_shards"], &into)
        .await
        .expect(3)
        .says(&["could not be asked during the backup", "Global access"]);
    // That Qdrant says it is set is no proof.
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/cluster/metadata/keys", 1, crate::said_and_not_done()));
    site.run_with(&["recover_snap_shards"], &into).await.expect(1).says(&["the value is unchanged"]);
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/quotas", 1, denied()));
    site.run_with(&["recover_snap_shards"], &into).await.expect(3).says(&["the target does not report it"]);
    // A server without clustering has no place for it.
    let alone = site.more(Options { peers: 1, clustered: false, ..version("1.19.0") }).await;
    let host = alone.hosts()[0].clone();
    let into = [("QDRANT_RESTORE_HOSTS", host.as_str()), APPLY];
    site.run_with(&["recover_snap_shards"], &into).await.expect(3).says(&["keeps no metadata of a cluster"]);
}

#[tokio::test(start_paused = true)]
async fn names_that_newer_versions_refuse_are_told_at_the_backup() {
    for (backup, restore) in BACKUPS {
        let site = Site::native(version("1.17.1")).await;
        let client = site.source.client();
        let vector = json!({"size": 4, "distance": "Dot"});
        client.create("docs", json!({"vectors": {"a/b": vector}})).await;
        site.run(&[backup]).await.expect(0).says(&["the name of its vector `a/b` has a character"]);
        let target = site.more(version("1.18.3")).await;
        let host = target.hosts()[0].clone();
        let run = site.run_with(&[restore], &[("QDRANT_RESTORE_HOSTS", &host)]).await;
        crate::failed(run).says(&["`a/b` has a character", "nothing was changed"]);
        assert!(target.client().collections().await.is_empty());
        // A version that takes them gets them.
        client.wipe().await;
        site.run(&[restore]).await.expect(0);
        assert!(client.collections().await.contains("docs"), "{restore}");
    }
}
