//! What is the same in memory, on the stand-in and on real servers: whole scenarios.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::clock::another_second;
use crate::site::{API_KEY, Site};

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
