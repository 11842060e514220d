//! A collection as Qdrant describes it, and where its shards live.

use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// `GET /collections/{c}`: kept as JSON, since a backup must not lose fields it does not know.
#[derive(Clone, Debug, Deserialize)]
pub struct CollectionInfo {
    /// `green`, `yellow`, `grey` or `red`.
    #[serde(default)]
    pub status: String,
    /// `params`, `hnsw_config`, `optimizer_config`, `wal_config`, `quantization_config`, ...
    #[serde(default)]
    pub config: Value,
    /// The payload indexes: field to `{"data_type", "params"?, "points"}`.
    #[serde(default)]
    pub payload_schema: BTreeMap<String, Value>,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    update_queue: Value,
}

impl CollectionInfo {
    /// How many points are hidden from counts until they are optimised (`prevent_unoptimized`, Qdrant 1.18 and later).
    pub fn deferred_points(&self) -> u64 {
        self.update_queue.get("deferred_points").and_then(Value::as_u64).unwrap_or_default()
    }

    /// When it was created, as Qdrant writes it (1.20 and later).
    pub fn created_at(&self) -> Option<String> {
        match &self.created_at {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// Which peers hold which shard, in which state; as one peer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The peer that answered.
    pub peer_id: u64,
    /// Shards by id.
    pub shards: BTreeMap<u32, ShardReplicas>,
    /// How many shard transfers are running.
    pub transfers: usize,
    /// How many resharding operations are running.
    pub resharding: usize,
}

/// The replicas of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardReplicas {
    /// The shard key, where the user chose one: a string or a number.
    pub key: Option<Value>,
    /// Replicas by peer.
    pub replicas: BTreeMap<u64, Replica>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// `Active`, `Dead`, `Partial`, `ManualRecovery`, ... Unknown states are kept as they are.
    pub state: String,
}

impl Replica {
    /// True when reads and writes go to it.
    pub fn is_active(&self) -> bool {
        self.state == "Active"
    }
}

impl Layout {
    /// The peers that hold any replica.
    pub fn peers(&self) -> BTreeSet<u64> {
        self.shards.values().flat_map(|shard| shard.replicas.keys().copied()).collect()
    }

    /// The shards of which `peer` holds a replica in state `Active`.
    pub fn active_on(&self, peer: u64) -> impl Iterator<Item = u32> + '_ {
        self.shards
            .iter()
            .filter(move |(_, shard)| shard.replicas.get(&peer).is_some_and(Replica::is_active))
            .map(|(id, _)| *id)
    }

    /// True when every replica is `Active` and nothing is being moved.
    pub fn is_settled(&self) -> bool {
        self.transfers == 0
            && self.resharding == 0
            && self.shards.values().all(|shard| shard.replicas.values().all(Replica::is_active))
    }

    /// The same with `id` in place of the one peer's own, but for the peer that answered.
    pub(super) fn of_single_peer(mut self, id: u64) -> Self {
        for shard in self.shards.values_mut() {
            shard.replicas = std::mem::take(&mut shard.replicas).into_values().map(|replica| (id, replica)).collect();
        }
        self
    }

    /// Shard to the peers that hold it.
    pub fn placement(&self) -> BTreeMap<u32, BTreeSet<u64>> {
        self.shards.iter().map(|(id, shard)| (*id, shard.replicas.keys().copied().collect())).collect()
    }
}

/// The answer of `GET /collections/{c}/cluster`.
#[derive(Deserialize)]
pub(super) struct CollectionCluster {
    peer_id: u64,
    #[serde(default)]
    local_shards: Vec<LocalShard>,
    #[serde(default)]
    remote_shards: Vec<RemoteShard>,
    #[serde(default)]
    shard_transfers: Vec<Value>,
    resharding_operations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct LocalShard {
    shard_id: u32,
    shard_key: Option<Value>,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
struct RemoteShard {
    peer_id: u64,
    #[serde(flatten)]
    shard: LocalShard,
}

impl From<CollectionCluster> for Layout {
    fn from(answer: CollectionCluster) -> Self {
        let mut layout = Self {
            peer_id: answer.peer_id,
            transfers: answer.shard_transfers.len(),
            resharding: answer.resharding_operations.map_or(0, |operations| operations.len()),
            shards: BTreeMap::new(),
        };
        let mut all: Vec<RemoteShard> = Vec::new();
        all.extend(answer.local_shards.into_iter().map(|shard| RemoteShard { peer_id: answer.peer_id, shard }));
        all.extend(answer.remote_shards);
        for RemoteShard { peer_id, shard: LocalShard { shard_id, shard_key, state } } in all {
            let shard = layout.shards.entry(shard_id).or_default();
            shard.key = shard.key.take().or(shard_key);
            shard.replicas.insert(peer_id, Replica { state });
        }
        layout
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_becomes_the_whole_layout() {
        let answer = serde_json::json!({
            "peer_id": 18_446_744_073_709_551_615_u64, "shard_count": 2,
            "local_shards": [{"shard_id": 1, "shard_key": "acme", "points_count": 10, "state": "Active"}],
            "remote_shards": [{"shard_id": 1, "shard_key": "acme", "peer_id": 7, "state": "Dead"},
                              {"shard_id": 3, "shard_key": 7, "peer_id": 7, "state": "Active"}],
            "shard_transfers": [{"shard_id": 1, "from": 7, "to": 8, "sync": true}]
        });
        let layout = Layout::from(crate::decode::from_value::<CollectionCluster>(answer).unwrap());
        assert_eq!(layout.peers(), BTreeSet::from([7, u64::MAX]));
        assert_eq!(layout.active_on(7).collect::<Vec<_>>(), [3]);
        assert_eq!(layout.shards.get(&3).unwrap().key, Some(Value::from(7)));
        assert!(!layout.is_settled());
    }
}
