//! What a Qdrant answers, or something that is none: every typed call gets the same bytes.

use std::time::Duration;

use qdrant_backup_contract::settings::{DefaultPort, Host, Needs, Secret, from_variables};
use qdrant_backup_core::qdrant::{Client, QdrantError, discover_source, discover_target};

use crate::ports::World;
use crate::texts;

const KEY: &str = "a-key/of+Qdrant=";

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        "0{\"result\":{\"collections\":[{\"name\":\"docs\"},{\"name\":\"..\"}]},\"status\":\"ok\",\"time\":0.1}",
        "0{\"result\":{\"aliases\":[{\"alias_name\":\"live\",\"collection_name\":\"docs\"}]},\"status\":\"ok\"}",
        "0{\"result\":{\"status\":\"enabled\",\"peer_id\":7,\"peers\":{\"7\":{\"uri\":\"http://qdrant-0.q:6335/\"},\"8\":{\"uri\":\"http://user@evil:1/\"},\"9\":{\"uri\":\"http://[::ffff:127.0.0.1]:6335/\"}},\"raft_info\":{\"term\":1}},\"status\":\"ok\"}",
        "0{\"version\":\"1.18.3\",\"commit\":\"db8f\",\"title\":\"qdrant\"}",
        "0{\"result\":{\"status\":\"green\",\"config\":{\"params\":{\"shard_number\":1,\"replication_factor\":2}},\"payload_schema\":{\"city\":{\"data_type\":\"keyword\",\"points\":3}}},\"status\":\"ok\"}",
        "0{\"result\":{\"peer_id\":18446744073709551615,\"shard_count\":2,\"local_shards\":[{\"shard_id\":1,\"shard_key\":\"acme\",\"points_count\":10,\"state\":\"Active\"}],\"remote_shards\":[{\"shard_id\":3,\"shard_key\":7,\"peer_id\":7,\"state\":\"Dead\"}],\"shard_transfers\":[]},\"status\":\"ok\"}",
        "0{\"result\":[{\"name\":\"docs-7-2026-01-29-11-44-22.snapshot\",\"size\":5,\"creation_time\":\"2026-01-29T11:44:22\",\"checksum\":null}],\"status\":\"ok\"}",
        "0{\"result\":{\"count\":18446744073709551615},\"status\":\"ok\"}",
        "0{\"result\":{\"collections\":{\"snapshots\":[{\"id\":\"docs\",\"running_snapshots\":1,\"running_snapshot_recovery\":0}]}},\"status\":\"ok\"}",
        "0{\"result\":true,\"status\":\"ok\"}",
        "1{\"status\":{\"error\":\"Wrong input: Failed to download tar from http://s3/b/k?X-Amz-Signature=abcdef0123: status - 403 Forbidden\"},\"time\":0.1}",
        "2{\"status\":\"accepted\",\"time\":0.1}",
        "3Invalid API key or JWT",
    ])
}

/// The first byte says which status the answer has.
pub fn check(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let status = [200, 400, 202, 401, 500, 429, 302, 404][usize::from(kind % 8)];
    let world = World::answering(status, body);
    let ports = world.ports();
    let variables =
        [("QDRANT_SOURCE_HOSTS", "http://q,http://r"), ("QDRANT_RESTORE_HOSTS", "http://q"), ("QDRANT_API_KEY", KEY)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (settings, _) = from_variables(&variables, Needs::NOTHING).expect("good settings");
    let host = Host::parse("http://q", DefaultPort::Always(6333)).expect("a host");
    let client = Client::new(ports.clone(), host, Some(Secret::new(KEY)), Duration::from_secs(60));
    let mut errors: Vec<QdrantError> = Vec::new();
    futures_executor::block_on(async {
        for found in [discover_source(&ports, &settings).await, discover_target(&ports, &settings).await] {
            for cluster in &found.clusters {
                assert!(cluster.ids().len() <= cluster.peers.len());
                for peer in &cluster.peers {
                    let host = peer.client.host();
                    assert!(format!("{host}/").parse::<http::Uri>().is_ok(), "{host}");
                    assert!(!host.name.contains(['@', '/', '?', '#']), "{host}");
                }
            }
        }
        errors.extend(client.collections().await.err());
        errors.extend(client.collection("docs").await.err());
        match client.layout("docs").await {
            Ok(Some(layout)) => {
                let _ = (layout.is_settled(), layout.peers(), layout.placement(), layout.active_on(7).count());
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
        errors.extend(client.aliases().await.err());
        errors.extend(client.snapshots("docs").await.err());
        errors.extend(client.create_snapshot("docs", true).await.err());
        errors.extend(client.shard_snapshots("docs", 0).await.err());
        errors.extend(client.create_shard_snapshot("docs", 0, true).await.err());
        errors.extend(client.running_snapshots("docs").await.err());
        errors.extend(client.running_recoveries("docs").await.err());
        errors.extend(client.delete_collection("docs").await.err());
        errors.extend(client.count("docs").await.err());
        errors.extend(client.count_replica("docs", 0).await.err());
        errors.extend(client.sample("docs", 10).await.err());
    });
    for error in errors {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains(KEY));
        let _ = (error.outcome_is_unknown(), error.refuses_links(), error.is_refused());
    }
}
