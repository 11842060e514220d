//! The tables of a snapshot as values.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

use super::walk::{Entry, Keep};

/// What a snapshot of a collection says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotDescription {
    /// `config.json`: the parameters and configuration of the collection.
    pub config: Value,
    /// The collection's own id: two of one name differ in it.
    pub uuid: Option<String>,
    /// The number of shards, or of shards for each key with custom sharding.
    pub shard_number: u32,
    /// How many replicas each shard shall have.
    pub replication_factor: u32,
    /// True when points are put into shards by a shard key.
    pub custom_sharding: bool,
    /// The payload indexes: field to schema.
    pub payload_indexes: BTreeMap<String, Value>,
    /// Which shards belong to which shard key.
    pub shard_keys: Vec<ShardKeyMapping>,
    /// Every shard of the collection, those included that the snapshot has no data for.
    pub shards: BTreeMap<u32, ShardDescription>,
}

/// A shard as the peer saw it when it made the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardDescription {
    /// True when the snapshot has its data.
    pub has_data: bool,
    /// The peer that made the snapshot.
    pub this_peer: u64,
    /// Peer to the state of its replica, such as `Active`.
    pub replicas: BTreeMap<u64, String>,
    /// How many bytes of the snapshot are its data.
    pub bytes: u64,
}

/// A shard key and its shards.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ShardKeyMapping {
    /// A string or a number.
    pub key: Value,
    /// The shards.
    pub shard_ids: Vec<u32>,
}

/// The file of a shard that says who made the snapshot, and in which state all replicas were.
pub(super) const REPLICA_STATE: &str = "replica_state.json";

#[derive(Deserialize)]
struct ReplicaState {
    is_local: bool,
    this_peer_id: u64,
    peers: BTreeMap<u64, String>,
}

#[derive(Deserialize)]
struct PayloadIndex {
    schema: BTreeMap<String, Value>,
}

/// All of the files that describe a snapshot.
pub(super) fn tables(path: &str) -> Keep {
    let is_table = matches!(path, "config.json" | "payload_index.json" | "shard_key_mapping.json")
        || shard_of(path).is_some_and(|(_, file)| file == REPLICA_STATE);
    if is_table { Keep::Content } else { Keep::Place }
}

/// The peer that made a snapshot of a shard.
pub(super) fn peer_of_shard(entries: &[Entry]) -> Result<u64, String> {
    let content = entries.iter().find(|entry| entry.path == REPLICA_STATE).and_then(|entry| entry.content.as_deref());
    let state: ReplicaState = read(REPLICA_STATE, content.unwrap_or_default())?;
    Ok(state.this_peer_id)
}

/// The shard and the path within its folder.
fn shard_of(path: &str) -> Option<(u32, &str)> {
    let (folder, file) = path.split_once('/')?;
    Some((folder.parse().ok()?, file))
}

/// Puts the tables together.
///
/// # Errors
/// A table is missing or not what Qdrant writes.
pub(super) fn describe(entries: Vec<Entry>) -> Result<SnapshotDescription, String> {
    let mut tables = BTreeMap::new();
    let mut shards: BTreeMap<u32, ShardDescription> = BTreeMap::new();
    let mut local = BTreeMap::new();
    for entry in entries {
        if let Some((id, file)) = shard_of(&entry.path) {
            let shard = shards.entry(id).or_default();
            shard.bytes += entry.size;
            shard.has_data |= file.starts_with("segments/");
            if let Some(content) = entry.content {
                let state: ReplicaState = read(&entry.path, &content)?;
                shard.this_peer = state.this_peer_id;
                shard.replicas = state.peers;
                local.insert(id, state.is_local);
            }
        } else if let Some(content) = entry.content {
            tables.insert(entry.path, content);
        }
    }
    let table = |name: &str| {
        tables.get(name).ok_or_else(|| format!("it has no `{name}` and is not a snapshot of a collection"))
    };
    let config: Value = read("config.json", table("config.json")?)?;
    let indexes: Option<PayloadIndex> =
        tables.get("payload_index.json").map(|table| read("payload_index.json", table)).transpose()?;
    let shard_keys: Option<Vec<ShardKeyMapping>> =
        tables.get("shard_key_mapping.json").map(|table| read("shard_key_mapping.json", table)).transpose()?;
    for (id, shard) in &shards {
        match local.get(id) {
            None => return Err(format!("it has no `{id}/replica_state.json`")),
            Some(is_local) if *is_local != shard.has_data => {
                return Err(format!("shard {id} is said to be local: {is_local}, and has data: {}", shard.has_data));
            }
            Some(_) => {}
        }
    }
    let number = |name: &str| {
        config.pointer(&format!("/params/{name}")).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    };
    let custom_sharding = config.pointer("/params/sharding_method").and_then(Value::as_str) == Some("custom");
    let shard_number = number("shard_number").ok_or("its `config.json` has no number of shards")?;
    if !custom_sharding && shards.keys().copied().ne(0..shard_number) {
        let there = shards.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!("it has the shards {there} and shall have {shard_number}"));
    }
    Ok(SnapshotDescription {
        uuid: config.get("uuid").and_then(Value::as_str).map(str::to_owned),
        shard_number,
        replication_factor: number("replication_factor").unwrap_or(1),
        custom_sharding,
        payload_indexes: indexes.map(|indexes| indexes.schema).unwrap_or_default(),
        shard_keys: shard_keys.unwrap_or_default(),
        shards,
        config,
    })
}

fn read<T: DeserializeOwned>(path: &str, content: &[u8]) -> Result<T, String> {
    crate::decode::json(content).map_err(|error| format!("its `{path}` can't be read: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(path: &str, content: Value) -> Entry {
        let content = (tables(path) == Keep::Content).then(|| content.to_string().into_bytes());
        Entry { path: path.to_owned(), size: 10, header: None, data: 0, end: 0, content }
    }

    fn entries() -> Vec<Entry> {
        let state = |local: bool| json!({"is_local": local, "this_peer_id": u64::MAX, "peers": {"18446744073709551615": "Active", "2": "Dead"}});
        vec![
            entry("0/segments/a.tar", Value::Null),
            entry("0/wal/open-1", Value::Null),
            entry("0/replica_state.json", state(true)),
            entry("1/replica_state.json", state(false)),
            entry("1/shard_config.json", Value::Null),
            entry("config.json", json!({"params": {"shard_number": 2, "replication_factor": 2}, "uuid": "u"})),
            entry("payload_index.json", json!({"schema": {"city": "keyword"}})),
            entry("shard_key_mapping.json", json!([{"key": "acme", "shard_ids": [1]}, {"key": 7, "shard_ids": [2]}])),
            entry("version.info", Value::Null),
        ]
    }

    #[test]
    fn everything_is_found() {
        let description = describe(entries()).unwrap();
        assert_eq!(
            (description.shard_number, description.replication_factor, description.custom_sharding),
            (2, 2, false)
        );
        assert_eq!(description.uuid.as_deref(), Some("u"));
        assert_eq!(description.payload_indexes["city"], "keyword");
        assert_eq!((&description.shard_keys[0].key, &description.shard_keys[1].key), (&json!("acme"), &json!(7)));
        let shard = &description.shards[&0];
        assert_eq!((shard.has_data, shard.this_peer, shard.bytes), (true, u64::MAX, 30));
        assert_eq!(shard.replicas, BTreeMap::from([(2, "Dead".to_owned()), (u64::MAX, "Active".to_owned())]));
        assert!(!description.shards[&1].has_data);
    }

    #[test]
    fn what_is_missing_or_contradicts_itself_is_refused() {
        let without =
            |path: &str| describe(entries().into_iter().filter(|entry| entry.path != path).collect()).unwrap_err();
        assert!(without("config.json").contains("not a snapshot of a collection"));
        assert!(without("0/segments/a.tar").contains("is said to be local"));
        assert!(without("1/replica_state.json").contains("1/replica_state.json"));
        let fewer = entries().into_iter().filter(|entry| !entry.path.starts_with("1/")).collect();
        assert!(describe(fewer).unwrap_err().contains("shall have 2"));
        assert!(describe(Vec::new()).is_err());
    }
}
