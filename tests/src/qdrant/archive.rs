//! Snapshots in Qdrant's layout: of a whole collection as one peer holds it, and of a shard.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::collection::{Collection, Shard};
use super::replica::append;
use crate::scratch;

/// A snapshot of what `peer` holds of `collection`: every shard is named, only its own have data.
pub fn pack_collection(collection: &mut Collection, peer: u64) -> Vec<u8> {
    let folder = scratch::folder(collection.memory);
    let write = |name: &str, content: Value| fs::write(folder.path().join(name), content.to_string()).expect("a file");
    for (id, shard) in &mut collection.shards {
        pack_shard(shard, peer, &folder.path().join(id.to_string()));
    }
    fs::write(folder.path().join("version.info"), "0.4.2").expect("a file");
    let mut config = collection.config.clone();
    config["uuid"] = json!(collection.uuid);
    write("config.json", config);
    let mut keys: Vec<(Value, Vec<u32>)> = Vec::new();
    for (id, shard) in &collection.shards {
        let Some(key) = &shard.key else { continue };
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, shards)) => shards.push(*id),
            None => keys.push((key.clone(), vec![*id])),
        }
    }
    let keys: Vec<Value> = keys.into_iter().map(|(key, shards)| json!({"key": key, "shard_ids": shards})).collect();
    write("shard_key_mapping.json", json!(keys));
    write("payload_index.json", json!({"schema": collection.indexes}));
    tar_of(folder.path())
}

/// A snapshot of one replica.
pub fn pack_replica(shard: &mut Shard, peer: u64, memory: bool, ballast: usize) -> Vec<u8> {
    let folder = scratch::folder(memory);
    pack_shard(shard, peer, folder.path());
    if ballast > 0 {
        // No zeros, which would be holes.
        fs::write(folder.path().join("wal").join("closed-1"), vec![b'w'; ballast]).expect("a file");
    }
    tar_of(folder.path())
}

fn pack_shard(shard: &mut Shard, peer: u64, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    if let Some(replica) = shard.replicas.get_mut(&peer) {
        replica.engine.pack(folder);
    }
    let states: BTreeMap<String, &str> =
        shard.replicas.iter().map(|(peer, replica)| (peer.to_string(), replica.state.as_str())).collect();
    let state = json!({"is_local": shard.replicas.contains_key(&peer), "this_peer_id": peer, "peers": states});
    fs::write(folder.join("replica_state.json"), state.to_string()).expect("a file");
    fs::write(folder.join("shard_config.json"), r#"{"type":"ReplicaSet"}"#).expect("a file");
}

fn tar_of(folder: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.sparse(true);
    append(&mut tar, folder, Path::new(""));
    tar.into_inner().expect("a tar")
}

/// Unpacks a snapshot.
///
/// # Errors
/// It isn't one, in Qdrant's words.
pub fn unpack(bytes: &[u8], memory: bool) -> Result<TempDir, String> {
    let folder = scratch::folder(memory);
    if bytes.len() < 1024 {
        return Err("Failed to unpack tar archive: Malformed tar archive, reached unknown entry".to_owned());
    }
    tar::Archive::new(bytes).unpack(folder.path()).map_err(|error| format!("Failed to unpack tar archive: {error}"))?;
    Ok(folder)
}

/// A JSON file of an unpacked snapshot.
pub fn table(folder: &Path, name: &str) -> Result<Value, String> {
    let text = fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{name}: {error}"))
}
