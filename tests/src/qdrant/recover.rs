//! Recovering from a snapshot, with all that goes wrong when it is done the naive way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Outcome, Refusal, bad_format, bad_request, failure, forbidden, invalid, wrong_input};
use super::archive::{table, unpack};
use super::cluster::{Cluster, find};
use super::storage::sha256;
use crate::http_client;

/// What a recovery does with other replicas of the same shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Priority {
    Snapshot,
    Replica,
    NoSync,
}

/// `PUT /collections/{c}/snapshots/recover` on `peer`.
pub async fn recover_collection(cluster: &Arc<Cluster>, peer: u64, name: &str, body: &Value) -> Outcome {
    let priority = priority(body)?;
    let bytes = download(cluster, body).await?;
    restore_collection(cluster, peer, name, &bytes, priority).await
}

/// `PUT /collections/{c}/shards/{id}/snapshots/recover` on `peer`.
pub async fn recover_shard(cluster: &Arc<Cluster>, peer: u64, name: &str, shard: u32, body: &Value) -> Outcome {
    let priority = priority(body)?;
    shard_is_there(cluster, name, shard)?;
    let bytes = download(cluster, body).await?;
    restore_shard(cluster, peer, name, shard, &bytes, priority)
}

/// `POST /collections/{c}/snapshots/upload` on `peer`.
pub async fn upload_collection(cluster: &Arc<Cluster>, peer: u64, name: &str, bytes: &[u8], priority: &str) -> Outcome {
    restore_collection(cluster, peer, name, bytes, self::priority(&json!({ "priority": priority }))?).await
}

/// `POST /collections/{c}/shards/{id}/snapshots/upload` on `peer`.
pub fn upload_shard(
    cluster: &Arc<Cluster>,
    peer: u64,
    name: &str,
    shard: u32,
    bytes: &[u8],
    priority: &str,
    checksum: Option<&String>,
) -> Outcome {
    let actual = sha256(bytes);
    if let Some(expected) = checksum.filter(|expected| **expected != actual) {
        // With the two values in each other's place, as in Qdrant.
        return Err(Refusal {
            status: 400,
            text: format!("Checksum mismatch: expected {actual}, actual {expected}"),
            retry_after: None,
        });
    }
    shard_is_there(cluster, name, shard)?;
    restore_shard(cluster, peer, name, shard, bytes, self::priority(&json!({ "priority": priority }))?)
}

fn shard_is_there(cluster: &Cluster, name: &str, shard: u32) -> Result<(), Refusal> {
    if find(&mut cluster.state(), name)?.shards.contains_key(&shard) {
        return Ok(());
    }
    Err(super::answer::not_found(&format!("shard {shard} not found")))
}

fn priority(body: &Value) -> Result<Priority, Refusal> {
    match body["priority"].as_str() {
        None | Some("snapshot") => Ok(Priority::Snapshot),
        Some("replica") => Ok(Priority::Replica),
        Some("no_sync") => Ok(Priority::NoSync),
        Some(other) => Err(bad_format(&format!("unknown variant `{other}`"))),
    }
}

/// Fetches the snapshot by one plain GET.
async fn download(cluster: &Cluster, body: &Value) -> Result<Vec<u8>, Refusal> {
    let location = body["location"].as_str().ok_or_else(|| bad_format("missing field `location`"))?;
    let checksum = body["checksum"].as_str();
    if let Some(checksum) = checksum.filter(|checksum| checksum.len() != 64) {
        return Err(invalid(&format!(
            "[checksum: Validation error: invalid_sha256_hash [{{\"length\": Number({})}}]]",
            checksum.len()
        )));
    }
    let scheme = location.split("://").next().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        return Err(bad_request(&format!("URL {location} with scheme {scheme} is not supported")));
    }
    if !cluster.options.url_recovery {
        return Err(forbidden("Snapshot recovery from remote URLs is disabled in the configuration"));
    }
    // It is unpacked into a folder of its name and 16 letters more.
    let name = location.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if name.len() + 16 > 255 {
        return Err(failure(&format!(
            "Failed to create temporary directory {name}-: File name too long (os error 36)"
        )));
    }
    let answer = http_client::get(location).await;
    let (status, bytes) =
        answer.map_err(|_| failure(&format!("Http request error: error sending request for url ({location})")))?;
    if !status.is_success() {
        return Err(wrong_input(&format!("Failed to download tar from {location}: status - {status}")));
    }
    let actual = sha256(&bytes);
    match checksum.filter(|expected| **expected != actual) {
        Some(expected) => Err(wrong_input(&format!("Snapshot checksum mismatch: expected {expected}, got {actual}"))),
        None => Ok(bytes),
    }
}

async fn restore_collection(
    cluster: &Arc<Cluster>,
    peer: u64,
    name: &str,
    bytes: &[u8],
    priority: Priority,
) -> Outcome {
    let folder = unpack(bytes, cluster.options.memory).map_err(|error| failure(&error))?;
    let folder = folder.path();
    let config = table(folder, "config.json").map_err(|error| failure(&error))?;
    let has_data = |shard: u32| folder.join(shard.to_string()).join("segments").exists();
    if !cluster.options.clustered {
        let shards = config["params"]["shard_number"].as_u64().unwrap_or(1) as u32;
        if let Some(missing) = (0..shards).find(|shard| !has_data(*shard)) {
            let path = folder.join(missing.to_string());
            return Err(failure(&format!(
                "Can't restore snapshot in local mode with missing data at shard: {}",
                path.display()
            )));
        }
    }
    let is_there = find(&mut cluster.state(), name).is_ok();
    if !is_there {
        create_from(cluster, name, folder, &config)?;
    }
    let lag = cluster.options.lag;
    let restored = {
        let mut state = cluster.state();
        let collection = find(&mut state, name)?;
        for parameter in ["vectors", "shard_number"] {
            let (there, here) = (&collection.config["params"][parameter], &config["params"][parameter]);
            if there != here {
                return Err(wrong_input(&format!(
                    "Snapshot is not compatible with existing collection: Collection {parameter}: {there} Snapshot {parameter}: {here}"
                )));
            }
        }
        let shards: Vec<u32> = collection.shards.keys().copied().collect();
        let mut restored = Vec::new();
        for id in shards {
            let path = folder.join(id.to_string());
            if !path.exists() {
                return Err(failure(&format!("No shard found: {id}")));
            }
            if has_data(id) {
                let others = take(collection, id, peer, &path)?;
                restored.push((id, others));
            }
        }
        restored
    };
    // The answer means that the changes of state are proposed; they become true a little later.
    let (cluster, name) = (Arc::clone(cluster), name.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(lag).await;
        for (shard, others) in restored {
            activate(&cluster, &name, shard, peer, &others, priority);
        }
    });
    Ok(json!(true))
}

fn restore_shard(
    cluster: &Arc<Cluster>,
    peer: u64,
    name: &str,
    shard: u32,
    bytes: &[u8],
    priority: Priority,
) -> Outcome {
    let folder = unpack(bytes, cluster.options.memory).map_err(|error| failure(&error))?;
    let others = take(find(&mut cluster.state(), name)?, shard, peer, folder.path())?;
    activate(cluster, name, shard, peer, &others, priority);
    Ok(json!(true))
}

/// Replaces the data of this peer's replica, made if there was none. Returns the other peers with an active one.
fn take(
    collection: &mut super::collection::Collection,
    id: u32,
    peer: u64,
    folder: &Path,
) -> Result<BTreeSet<u64>, Refusal> {
    let empty = collection.empty_replica();
    let Some(shard) = collection.shards.get_mut(&id) else { return Ok(BTreeSet::new()) };
    let others: BTreeSet<u64> = shard
        .replicas
        .iter()
        .filter(|(owner, replica)| **owner != peer && replica.state == "Active")
        .map(|(owner, _)| *owner)
        .collect();
    let replica = shard.replicas.entry(peer).or_insert(empty);
    replica.engine.unpack(folder).map_err(|error| failure(&error))?;
    // Consensus refuses this for the last active replica.
    if !others.is_empty() {
        replica.state = "ManualRecovery".to_owned();
    }
    Ok(others)
}

/// Makes the replica active, and does to the `others` what the priority says.
fn activate(cluster: &Arc<Cluster>, name: &str, id: u32, peer: u64, others: &BTreeSet<u64>, priority: Priority) {
    let mut state = cluster.state();
    let Ok(collection) = find(&mut state, name) else { return };
    collection.active_from = Instant::now() + cluster.options.settle;
    let factor = collection.number("replication_factor");
    let Some(shard) = collection.shards.get_mut(&id) else { return };
    if priority == Priority::Replica && !others.is_empty() {
        if let Some(replica) = shard.replicas.get_mut(&peer) {
            replica.state = "Dead".to_owned();
        }
        cluster.heal(&mut state, name);
        return;
    }
    if let Some(replica) = shard.replicas.get_mut(&peer) {
        replica.state = "Active".to_owned();
    }
    if priority == Priority::Snapshot {
        let removed = others.len().saturating_sub(factor - 1);
        for (index, other) in others.iter().enumerate() {
            if index < removed {
                shard.replicas.remove(other);
            } else if let Some(replica) = shard.replicas.get_mut(other) {
                replica.state = "Dead".to_owned();
            }
        }
        cluster.heal(&mut state, name);
    }
}

/// A missing collection is created from the snapshot, its shards anywhere; with custom sharding it has none.
fn create_from(cluster: &Cluster, name: &str, folder: &Path, config: &Value) -> Result<(), Refusal> {
    let mut body = config["params"].clone();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|field, _| !field.starts_with("read_fan_out"));
    }
    for (there, here) in [
        ("hnsw_config", "hnsw_config"),
        ("optimizer_config", "optimizers_config"),
        ("wal_config", "wal_config"),
        ("quantization_config", "quantization_config"),
        ("strict_mode_config", "strict_mode_config"),
        ("metadata", "metadata"),
    ] {
        body[here] = config[there].clone();
    }
    cluster.create(name, &body)?;
    let indexes = table(folder, "payload_index.json").map_err(|error| failure(&error))?;
    for (field, schema) in indexes["schema"].as_object().into_iter().flatten() {
        find(&mut cluster.state(), name)?.index(field, schema)?;
    }
    Ok(())
}
