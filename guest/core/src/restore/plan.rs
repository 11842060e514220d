//! The plan of one restore: a value, made before anything is changed, from the snapshots and the target's peers.

use crate::error::{Code, Error};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::expected::Bounds;
use super::layout::Placement;
use super::shard_keys::ShardKey;
use crate::sets::RecordedContent;

/// What will be done to one target cluster for one collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The collection.
    pub collection: String,
    /// The body that creates it.
    pub create: Value,
    /// Parameters that are set when all else is done: what can't be given at creation, and strict mode, which
    /// would limit the checks.
    pub finish: Option<Value>,
    /// The payload indexes: field to schema, as `PUT /collections/{c}/index` takes it.
    pub indexes: BTreeMap<String, Value>,
    /// The shard keys in the order in which they are created, each with its shard ids.
    pub shard_keys: Vec<ShardKey>,
    /// The snapshots, each with the peer that gets it. Those of one peer go in this order, one after another.
    pub recoveries: Vec<Recovery>,
    /// Where the snapshots bring the data: the layout before recovery.
    pub placement: Placement,
    /// Replicas with data that can't be trusted: made anew from a good one.
    pub stale: Placement,
    /// The layout in the end: `placement`, and more replicas where the target has peers for them.
    pub wanted: Placement,
    /// How many points the whole collection may have, as far as a manifest knows.
    pub total: Option<Bounds>,
    /// The configuration that it had: `config` as `GET /collections/{c}` and a snapshot's `config.json` have it.
    pub config: Value,
    /// The version of Qdrant that made it, where it is known.
    pub version: Option<String>,
    /// True where the shards may as well be on the peers that Qdrant gives them: see [`Plan::adopting`].
    pub free: bool,
    /// What a drill has read of the snapshots.
    pub content: RecordedContent,
    /// Names the backup: another backup of the same collection has another one.
    pub backup: String,
    /// What it is restored for.
    pub role: Role,
}

/// What a collection is restored for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// To stay.
    Lasting,
    /// To be dropped again: no restore is to go on with it.
    Drill,
    /// To be there, verified, while the collection of this name is replaced, and to be dropped then.
    Beside(String),
}

impl Plan {
    /// True where every shard was empty when it was backed up, and counted.
    pub(super) fn is_known_to_be_empty(&self) -> bool {
        let mut counts = self.recoveries.iter().flat_map(|recovery| recovery.shards.values());
        counts.all(|bounds| bounds.is_some_and(|bounds| bounds.most == 0))
    }

    /// How many points a shard may have whose data is that of `origin`, or of any peer where it is `None`.
    pub(super) fn expected(&self, shard: u32, origin: Option<u64>) -> Option<Bounds> {
        let of_shard = self.recoveries.iter().filter(|recovery| origin.is_none_or(|peer| peer == recovery.peer));
        let mut of_shard = of_shard.filter_map(|recovery| recovery.shards.get(&shard)).peekable();
        // Of several for one peer the last one is what is there.
        if origin.is_some() {
            return of_shard.last().copied().flatten();
        }
        let first = (*of_shard.next()?)?;
        of_shard.try_fold(first, |bounds, other| Some(bounds.or((*other)?)))
    }

    /// The same restore into the layout that the created collection has, so that no shard has to be moved. `None` where the
    /// plan does not allow for it, or `there` is not as good: another number of replicas, or one on a peer that is not among
    /// `peers`, those that answer.
    pub(super) fn adopting(&self, there: &Placement, peers: &BTreeSet<u64>) -> Option<Self> {
        let as_good = |(shard, holders): (&u32, &BTreeSet<u64>)| {
            let wanted = self.wanted.get(shard).map(BTreeSet::len);
            wanted == Some(holders.len()) && holders.is_subset(peers)
        };
        if !self.free || there.len() != self.wanted.len() || !there.iter().all(as_good) {
            return None;
        }
        let mut recoveries = Vec::new();
        for (shard, holders) in there {
            let one = self.recoveries.iter().find(|one| one.shards.contains_key(shard))?;
            recoveries.extend(holders.iter().map(|peer| Recovery { peer: *peer, ..one.clone() }));
        }
        Some(Self { recoveries, placement: there.clone(), wanted: there.clone(), ..self.clone() })
    }

    /// What the target is too small for: how many replicas of each shard there will be, and how many there shall be.
    pub(super) fn fewer_replicas(&self) -> Option<(usize, u64)> {
        let configured = self.create.get("replication_factor").and_then(Value::as_u64)?;
        let fewest = self.wanted.values().map(BTreeSet::len).min()?;
        ((fewest as u64) < configured).then_some((fewest, configured))
    }
}

/// One snapshot for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The peer.
    pub peer: u64,
    /// Snapshot name.
    pub name: String,
    /// Object key.
    pub key: String,
    /// Object size in bytes.
    pub bytes: u64,
    /// Its shards with the number of points that the manifest gives for them.
    pub shards: BTreeMap<u32, Option<Bounds>>,
    /// For a snapshot of one shard.
    pub shard: Option<ShardSnapshot>,
}

impl Recovery {
    /// True when the number of points of every shard is known, and is not 0: a count then tells whether a restore that
    /// was cut off has brought it.
    pub(super) fn is_counted(&self) -> bool {
        self.shards.values().all(|bounds| bounds.and_then(Bounds::equal).is_some_and(|count| count > 0))
    }
}

/// What is to be known of a snapshot of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSnapshot {
    /// The shard.
    pub id: u32,
    /// SHA-256, where the manifest has it: Qdrant refuses other bytes.
    pub checksum: Option<String>,
    /// True where it is the shard's folder in a snapshot of the whole collection. Qdrant can't take it out of that, so
    /// it is sent.
    pub in_collection: bool,
}

/// A peer of the target, and whether the target runs with clustering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Peer ids.
    pub peers: BTreeSet<u64>,
    /// False for a server without clustering.
    pub distributed: bool,
}

impl Target {
    /// Whether anything of this kind can be restored into it.
    pub(super) fn takes(&self, custom_sharding: bool) -> Result<(), Error> {
        if self.peers.is_empty() {
            return Err(Error::new(Code::NoPeer, "", "the target has no peer"));
        }
        if custom_sharding && !self.distributed {
            let cause = "it has custom sharding, which a Qdrant without clustering does not know";
            return Err(Error::new(Code::Unsupported, "", cause).advice("restore it into a cluster"));
        }
        Ok(())
    }
}

/// `placement` with replicas added up to the `factor` of each shard, on the peers with the fewest replicas.
pub(super) fn with_more_replicas(
    placement: &Placement,
    factor: &dyn Fn(u32) -> usize,
    peers: &BTreeSet<u64>,
) -> Placement {
    let mut wanted = placement.clone();
    let mut load: BTreeMap<u64, usize> = peers.iter().map(|peer| (*peer, 0)).collect();
    for peer in placement.values().flatten() {
        *load.entry(*peer).or_default() += 1;
    }
    for (shard, replicas) in &mut wanted {
        while replicas.len() < factor(*shard).min(peers.len()) {
            let least = peers
                .iter()
                .filter(|peer| !replicas.contains(peer))
                .min_by_key(|peer| (load.get(peer).copied(), **peer));
            let Some(peer) = least.copied() else { break };
            replicas.insert(peer);
            *load.entry(peer).or_default() += 1;
        }
    }
    wanted
}
