//! What is the same in memory, on the stand-in and on real servers: whole scenarios.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::clock::another_second;
use crate::faults::{Fault, Wrong};
use crate::site::{API_KEY, Run, Servers, Site};

const WAYS: [(&str, &str); 2] = [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")];

/// How a peer without any shard goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It stops for good.
    Stopped,
    /// It comes back with a new volume, which is another peer at the same address.
    NewVolume,
}

/// A cluster of three peers one of which holds no shard and is gone: backups are complete, restores and drills say how to
/// go on, and aliases need no more than one peer.
pub async fn a_peer_without_shards_is_gone(site: &mut Site, loss: Loss) {
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 40).await;
    client.alias("prod", "docs").await;
    let placed = client.placed("docs").await;
    let held: Vec<usize> = placed.values().flat_map(|replicas| replicas.keys().copied()).collect();
    // Not the first one, which the others were told of when they started.
    let gone = (1..3).find(|peer| !held.contains(peer)).unwrap();
    let before = members(&client).await;
    let ids = [ask(&client, 0).await, ask(&client, 1).await, ask(&client, 2).await];
    match loss {
        Loss::Stopped => site.source.stop_peer(gone).await,
        Loss::NewVolume => site.source.lose_volume(gone).await,
    }
    let living: Vec<String> =
        site.source.hosts().into_iter().enumerate().filter(|(index, _)| *index != gone).map(|(_, host)| host).collect();
    let client = Client::new(living, Some(API_KEY.to_owned()));
    let dead = match loss {
        Loss::Stopped => ids[gone],
        // In the stand-in it is the old id that is added.
        Loss::NewVolume => {
            let after = wait_for_members(&client, 4).await;
            let now = site.source.client();
            let answering = ask(&now, gone).await;
            if answering == ids[gone] { *after.iter().find(|id| !before.contains(id)).unwrap() } else { ids[gone] }
        }
    };
    let remedy = format!("DELETE /cluster/peer/{dead}");
    let settings = [("CURL_TIMEOUT", "20"), ("QDRANT_RETRY_MAX_DURATION", "2s")];
    for (backup, _) in WAYS {
        let run = site.run_with(&[backup], &settings).await.expect(0);
        run.says(&["no shard of any collection is on it", &remedy]);
    }
    let before = client.content("docs").await;
    client.drop_aliases(&["prod"]).await;
    site.run_with(&["recover_colla"], &settings).await.expect(0).says(&["not needed for this", &remedy]);
    assert_eq!(client.aliases().await.len(), 1);
    site.run_with(&["drill"], &settings).await.expect(1).says(&["no target to restore into", &remedy]);
    client.wipe().await;
    site.forget_lists();
    for (_, restore) in WAYS {
        let run = site.run_with(&[restore], &settings).await.expect(1);
        let run = run.says(&["no target to restore into", "Qdrant may place shards on it", &remedy]);
        if loss == Loss::NewVolume {
            run.says(&["is the peer", "with a new volume, a pod comes back as another peer"]);
        }
        assert!(client.collections().await.is_empty());
    }
    client.ok(Method::DELETE, &format!("/cluster/peer/{dead}"), None).await;
    for (_, restore) in WAYS {
        client.wipe().await;
        site.run_with(&[restore], &settings).await.expect(0);
        assert_eq!(client.content("docs").await, before, "{restore}");
    }
    another_second().await;
    let run = site.run_with(&["drill"], &settings).await.expect(0);
    assert!(!run.stderr.contains(&remedy), "{}", run.stderr);
}

/// The ids of the peers that the cluster names.
async fn members(client: &Client) -> Vec<u64> {
    let info = client.ok(Method::GET, "/cluster", None).await;
    info["peers"].as_object().unwrap().keys().map(|id| id.parse().unwrap()).collect()
}

async fn wait_for_members(client: &Client, count: usize) -> Vec<u64> {
    for _ in 0..100 {
        let members = members(client).await;
        if members.len() == count {
            return members;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the cluster does not name {count} peers")
}

/// The id by which a peer answers.
async fn ask(client: &Client, peer: usize) -> u64 {
    let (_, answer): (u16, Value) = client.call(peer, Method::GET, "/cluster", None).await;
    answer["result"]["peer_id"].as_u64().unwrap()
}

/// Runs a task with `servers` as source and target, in a work directory of its own.
async fn run_at(site: &Site, servers: &Servers, arguments: &[&str], more: &[(&str, &str)]) -> Run {
    let work = tempfile::tempdir().unwrap();
    let host = servers.hosts().remove(0);
    let mut settings = vec![("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_RESTORE_HOSTS", host.as_str())];
    settings.extend(more);
    site.run_in(work.path(), arguments, &settings).await
}

/// Two clusters with one bucket and collections of one name, through everything that is done with backups: each has its own.
pub async fn two_sources(site: &Site, other: &Servers) {
    let names = [("QDRANT_SOURCE_NAME", "first"), ("QDRANT_SOURCE_NAME", "second")];
    let clusters = [&site.source, other];
    for ((servers, points), prod) in clusters.into_iter().zip([11, 33]).zip(["v2", "v1"]) {
        let client = servers.client();
        for (collection, points) in [("v1", points), ("v2", points + 11)] {
            client.create(collection, json!({"shard_number": 2})).await;
            client.fill(collection, 0, points).await;
        }
        client.alias("prod", prod).await;
    }
    other.client().alias("beta", "v2").await;
    // The second one is backed up later, and keeps more.
    for _ in 0..2 {
        for ((servers, name), keep) in clusters.into_iter().zip(names).zip(["1", "5"]) {
            for (task, _) in WAYS {
                run_at(site, servers, &[task], &[name, ("QDRANT_BACKUP_RETENTION_SETS", keep)]).await.expect(0);
            }
            another_second().await;
        }
    }
    let sets = |run: &Run, source: &str| {
        let lines = run.stdout.lines().filter(|line| line.starts_with("v1 ") || line.starts_with("v2 "));
        lines.filter(|line| line.split_whitespace().any(|word| word == source)).count()
    };
    let listed = run_at(site, &site.source, &["list_sets"], &[]).await.expect(0);
    assert_eq!((sets(&listed, "first"), sets(&listed, "second")), (2, 4), "{}", listed.stdout);
    run_at(site, other, &["prune_snap"], &[("QDRANT_BACKUP_RETENTION_SETS", "1")]).await.expect(0);
    let listed = run_at(site, &site.source, &["list_sets"], &[]).await.expect(0);
    assert_eq!((sets(&listed, "first"), sets(&listed, "second")), (2, 2), "{}", listed.stdout);
    let sources = run_at(site, &site.source, &["list_sources"], &[]).await.expect(0).stdout;
    assert!(sources.contains("first") && sources.contains("second"), "{sources}");
    run_at(site, &site.source, &["verify"], &[]).await.expect(0);
    let points =
        async |servers: &Servers| (servers.client().count(0, "v1").await, servers.client().count(0, "v2").await);
    let own = BTreeMap::from([("prod".to_owned(), "v2".to_owned())]);
    for (_, restore) in WAYS {
        site.source.client().wipe().await;
        run_at(site, &site.source, &[restore], &[]).await.expect(0).says(&["the source `first`"]);
        assert_eq!(points(&site.source).await, (11, 22), "{restore}");
        assert_eq!(site.source.client().aliases().await, own, "{restore}");
    }
    site.source.client().drop_aliases(&["prod"]).await;
    run_at(site, &site.source, &["recover_colla"], &[]).await.expect(0);
    assert_eq!(site.source.client().aliases().await, own);
    for (servers, name) in clusters.into_iter().zip(["first", "second"]) {
        run_at(site, servers, &["drill"], &[]).await.expect(0).says(&[&format!("the source `{name}`")]);
    }
    assert_eq!(points(other).await, (33, 44));
}

/// One of three peers is down, and its shard has no other replica: what lives is saved, the rest is named, and the next
/// backup with all peers is whole.
pub async fn a_peer_with_the_only_replica_is_down(site: &mut Site) {
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 1})).await;
    client.create("small", json!({"shard_number": 1, "replication_factor": 1})).await;
    client.fill("docs", 0, 60).await;
    client.fill("small", 0, 10).await;
    let before = client.content("docs").await;
    let small: Vec<usize> = client.placed("small").await.values().flat_map(|on| on.keys().copied()).collect();
    let docs: Vec<usize> = client.placed("docs").await.values().flat_map(|on| on.keys().copied()).collect();
    let down = (1..3).find(|peer| !small.contains(peer) && docs.contains(peer)).unwrap();
    site.source.stop_peer(down).await;
    let settings = [("CURL_TIMEOUT", "20"), ("QDRANT_RETRY_MAX_DURATION", "2s")];
    for (task, folder) in [("create_snap", "snapshot_manifests"), ("create_snap_shards", "backup_manifests")] {
        site.run_with(&[task], &settings).await.expect(3).says(&["kept as a partial backup"]);
        let partial = site.s3.keys(&format!("{folder}/docs/"));
        assert!(partial.len() == 1 && partial[0].ends_with(".partial.json"), "{partial:?}");
        let whole = site.s3.keys(&format!("{folder}/small/"));
        assert!(whole.len() == 1 && !whole[0].ends_with(".partial.json"), "{whole:?}");
    }
    site.source.start_peer(down).await;
    for (backup, restore) in WAYS {
        another_second().await;
        site.forget_lists();
        site.run(&[backup]).await.expect(0);
        site.source.client().wipe().await;
        site.forget_lists();
        site.run(&[restore]).await.expect(0);
        assert_eq!(site.source.client().content("docs").await, before, "{restore}");
    }
}

/// A restore fails on the way; then the collection is deleted, and filled by hand with as many points: the next run takes
/// it for nobody's half-done work.
pub async fn a_collection_filled_by_hand_after_a_failed_restore(site: &Site) {
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    let before = client.content("docs").await;
    for (backup, restore) in WAYS {
        another_second().await;
        site.forget_lists();
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        site.forget_lists();
        // The program reads the snapshots all the same; what Qdrant gets by its link is none.
        site.s3.fail(Fault {
            method: Some(Method::GET),
            uri: "X-Amz-Signature".to_owned(),
            skip: 0,
            times: 9999,
            wrong: Wrong::Status(200, "no snapshot".to_owned()),
        });
        let failed = site.run(&[restore]).await;
        assert!(matches!(failed.code, 1 | 3), "{}", failed.stderr);
        site.s3.heal();
        assert!(client.collections().await.contains("docs"), "the restore had begun: {}", failed.stderr);
        client.delete("docs").await;
        client.create("docs", json!({"shard_number": 2})).await;
        client.fill("docs", 1000, 1040).await;
        let by_hand = client.content("docs").await;
        site.run(&[restore]).await.expect(1).says(&["is not overwritten", "QDRANT_RESTORE_FORCE"]);
        assert_eq!(client.content("docs").await, by_hand, "{restore}");
        site.run_with(&[restore], &[("QDRANT_RESTORE_FORCE", "true")]).await.expect(0);
        assert_eq!(client.content("docs").await, before, "{restore}");
    }
}
