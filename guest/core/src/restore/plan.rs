//! The plan of one restore: a value, made before anything is changed, from the archives and the target's peers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::layout::Placement;
use super::selection::{Described, Selection};

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
    /// The archives, each with the peer that gets it. Those of one peer go in this order, one after another.
    pub recoveries: Vec<Recovery>,
    /// Where the archives bring the data: the layout before recovery.
    pub placement: Placement,
    /// Replicas with data that can't be trusted: made anew from a good one.
    pub stale: Placement,
    /// The layout in the end: `placement`, and more replicas where the target has peers for them.
    pub wanted: Placement,
    /// The number of points in the whole collection, where the manifest knows it exactly.
    pub points: Option<u64>,
    /// True when the archives may have been made while points were written, so that replicas may differ in
    /// more than their counts; unknown without a manifest.
    pub written_meanwhile: Option<bool>,
}

/// A shard key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardKey {
    /// A string or a number.
    pub key: Value,
    /// Its shards, in order and without a gap.
    pub shards: Vec<u32>,
    /// True for a key that only fills a gap in the ids and is dropped again.
    pub filler: bool,
}

/// One archive for one peer.
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
    /// Its shards with the exact count that the manifest gives for them.
    pub shards: BTreeMap<u32, Option<u64>>,
}

/// A peer of the target, and whether the target runs with clustering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Peer ids.
    pub peers: BTreeSet<u64>,
    /// False for a server without clustering.
    pub distributed: bool,
}

/// Plans the restore of `selection` into `target`.
///
/// # Errors
/// It can't come out right: says why.
pub fn plan(selection: &Selection, target: &Target) -> Result<Plan, String> {
    let first = selection.archives.first().ok_or("there is no archive")?;
    if target.peers.is_empty() {
        return Err("the target has no peer".to_owned());
    }
    let description = &first.description;
    if !target.distributed {
        fits_one_server(selection)?;
    }
    let shard_keys = shard_keys(selection)?;
    let recoveries = assign(selection, target);
    let (placement, stale) = placements(selection, &recoveries);
    let factor = usize::try_from(description.replication_factor).unwrap_or(1).max(1);
    let wanted = with_more_replicas(&placement, factor, &target.peers);
    let (create, finish) = bodies(&description.config)?;
    // Where the replicas of a shard differed, Qdrant's own count depended on which of them answered.
    let points =
        selection.manifest.as_ref().and_then(|manifest| manifest.points.exact()).filter(|_| !differ(&recoveries));
    let written_meanwhile = selection.manifest.as_ref().map(|manifest| {
        manifest.points.exact().is_none()
            || manifest
                .archives
                .iter()
                .flat_map(|archive| archive.shards.values())
                .any(|points| points.exact().is_none())
    });
    Ok(Plan {
        collection: selection.collection.clone(),
        create,
        finish,
        indexes: description.payload_indexes.clone(),
        shard_keys,
        recoveries,
        placement,
        stale,
        wanted,
        points,
        written_meanwhile,
    })
}

/// A server without clustering takes only archives that have all shards (Qdrant: "Can't restore snapshot in
/// local mode with missing data at shard"), and knows no shard keys.
fn fits_one_server(selection: &Selection) -> Result<(), String> {
    let whole = |archive: &Described| {
        let good: BTreeSet<u32> = archive.shards().filter(|(_, good)| *good).map(|(shard, _)| shard).collect();
        archive.description.shards.keys().all(|shard| good.contains(shard))
    };
    if selection.archives.iter().any(|archive| archive.description.custom_sharding) {
        return Err(
            "it has custom sharding, which a Qdrant without clustering does not know; restore it into a cluster"
                .to_owned(),
        );
    }
    match selection.archives.iter().any(whole) {
        true => Ok(()),
        false => {
            Err("the target runs without clustering and takes only an archive that holds every shard; these archives \
                      hold some each. Restore into a cluster (a single peer with clustering enabled is enough)"
                .to_owned())
        }
    }
}

/// Gives every archive with data to a peer of the target: its own where that is among them, else one that has
/// as few of the same shards as possible, then as few bytes.
fn assign(selection: &Selection, target: &Target) -> Vec<Recovery> {
    let mut archives: Vec<&Described> =
        selection.archives.iter().filter(|archive| archive.shards().next().is_some()).collect();
    if !target.distributed {
        let peer = target.peers.first().copied().unwrap_or_default();
        let whole = archives
            .into_iter()
            .max_by_key(|archive| (archive.shards().filter(|(_, good)| *good).count(), archive.archive.started));
        return whole.map(|archive| recovery(selection, archive, peer)).into_iter().collect();
    }
    // Own peers first, then the largest: these leave the least choice.
    archives.sort_by_key(|archive| {
        (!target.peers.contains(&archive.archive.peer), std::cmp::Reverse(archive.archive.bytes), archive.archive.peer)
    });
    let mut given: BTreeMap<u64, (BTreeSet<u32>, u64)> =
        target.peers.iter().map(|peer| (*peer, (BTreeSet::new(), 0))).collect();
    let mut recoveries = Vec::new();
    for archive in archives {
        let shards: BTreeSet<u32> = archive.shards().map(|(shard, _)| shard).collect();
        let own = Some(archive.archive.peer).filter(|peer| target.peers.contains(peer));
        let fewest = given
            .iter()
            .min_by_key(|(peer, (has, bytes))| (has.intersection(&shards).count(), *bytes, **peer))
            .map(|(peer, _)| *peer);
        let Some(peer) = own.or(fewest) else { continue };
        if let Some((has, bytes)) = given.get_mut(&peer) {
            has.extend(&shards);
            *bytes = bytes.saturating_add(archive.archive.bytes);
        }
        recoveries.push((archive, recovery(selection, archive, peer)));
    }
    // Of two archives with the same shard on one peer the later wins: those with doubtful data go first.
    recoveries.sort_by_key(|(archive, recovery)| {
        (recovery.peer, archive.shards().all(|(_, good)| good), archive.archive.started)
    });
    recoveries.into_iter().map(|(_, recovery)| recovery).collect()
}

/// True when the manifest has different counts for two replicas of a shard.
fn differ(recoveries: &[Recovery]) -> bool {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    let known =
        recoveries.iter().flat_map(|recovery| &recovery.shards).filter_map(|(shard, count)| Some((*shard, (*count)?)));
    known.into_iter().any(|(shard, count)| counts.insert(shard, count).is_some_and(|other| other != count))
}

fn recovery(selection: &Selection, archive: &Described, peer: u64) -> Recovery {
    let listed = selection
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.archives.iter().find(|listed| listed.key == archive.archive.key));
    let expected = |shard: &u32| listed.and_then(|listed| listed.shards.get(shard)).and_then(|points| points.exact());
    Recovery {
        peer,
        name: archive.archive.name.clone(),
        key: archive.archive.key.clone(),
        bytes: archive.archive.bytes,
        shards: archive.shards().map(|(shard, _)| (shard, expected(&shard))).collect(),
    }
}

/// Where the data will be, and which of it comes last from a replica that was not active.
fn placements(selection: &Selection, recoveries: &[Recovery]) -> (Placement, Placement) {
    let mut good_at: BTreeMap<(u32, u64), bool> = BTreeMap::new();
    for recovery in recoveries {
        let archive = selection.archives.iter().find(|archive| archive.archive.key == recovery.key);
        for (shard, good) in archive.into_iter().flat_map(Described::shards) {
            good_at.insert((shard, recovery.peer), good);
        }
    }
    let mut placement = Placement::new();
    let mut stale = Placement::new();
    for ((shard, peer), good) in good_at {
        placement.entry(shard).or_default().insert(peer);
        if !good {
            stale.entry(shard).or_default().insert(peer);
        }
    }
    (placement, stale)
}

/// `placement` with replicas added up to `factor`, on the peers with the fewest replicas.
fn with_more_replicas(placement: &Placement, factor: usize, peers: &BTreeSet<u64>) -> Placement {
    let mut wanted = placement.clone();
    let mut load: BTreeMap<u64, usize> = peers.iter().map(|peer| (*peer, 0)).collect();
    for peer in placement.values().flatten() {
        *load.entry(*peer).or_default() += 1;
    }
    for replicas in wanted.values_mut() {
        while replicas.len() < factor.min(peers.len()) {
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

/// Shard keys in the order of their shard ids, gaps filled: Qdrant gives out ids upwards, so that creating the
/// keys in this order gives every key its old ids.
fn shard_keys(selection: &Selection) -> Result<Vec<ShardKey>, String> {
    let Some(first) = selection.archives.first() else { return Ok(Vec::new()) };
    if !first.description.custom_sharding {
        return Ok(Vec::new());
    }
    let mut keys: Vec<ShardKey> = first
        .description
        .shard_keys
        .iter()
        .map(|mapping| {
            let mut shards = mapping.shard_ids.clone();
            shards.sort_unstable();
            ShardKey { key: mapping.key.clone(), shards, filler: false }
        })
        .filter(|key| !key.shards.is_empty())
        .collect();
    keys.sort_by_key(|key| key.shards.first().copied());
    let named: BTreeSet<u32> = keys.iter().flat_map(|key| key.shards.iter().copied()).collect();
    if first.description.shards.keys().any(|shard| !named.contains(shard)) {
        return Err("its archives do not say which shard key some of the shards belong to".to_owned());
    }
    let mut filled = Vec::new();
    let mut next = 1;
    for key in keys {
        let (start, end) = (key.shards.first().copied().unwrap_or(next), key.shards.last().copied().unwrap_or(next));
        let contiguous = usize::try_from(end.saturating_sub(start)).is_ok_and(|span| span + 1 == key.shards.len());
        if start < next || !contiguous {
            return Err(format!(
                "the shards of its shard key {} are not numbered in a row (after resharding), and Qdrant can't be told \
                 to create them so",
                key.key
            ));
        }
        if start > next {
            let filler = Value::from(format!("qdrant-backup-filler-{next}"));
            filled.push(ShardKey { key: filler, shards: (next..start).collect(), filler: true });
        }
        next = end + 1;
        filled.push(key);
    }
    Ok(filled)
}

/// The body that creates the collection, and the one that finishes it, from the archive's `config.json`.
fn bodies(config: &Value) -> Result<(Value, Option<Value>), String> {
    let params = config.get("params").and_then(Value::as_object).ok_or("its archive has no collection parameters")?;
    let mut create = Map::new();
    let mut late = Map::new();
    for (name, value) in params {
        // `read_fan_out_*` are refused at creation and taken as an update (Qdrant 1.18).
        let into = if name.starts_with("read_fan_out") { &mut late } else { &mut create };
        into.insert(name.clone(), value.clone());
    }
    for (there, here) in [
        ("hnsw_config", "hnsw_config"),
        ("optimizer_config", "optimizers_config"),
        ("wal_config", "wal_config"),
        ("quantization_config", "quantization_config"),
        ("metadata", "metadata"),
    ] {
        if let Some(value) = config.get(there) {
            create.insert(here.to_owned(), value.clone());
        }
    }
    let mut finish = Map::new();
    late.retain(|_, value| !value.is_null());
    if !late.is_empty() {
        finish.insert("params".to_owned(), Value::Object(late));
    }
    if let Some(strict) = config.get("strict_mode_config").filter(|strict| !strict.is_null()) {
        finish.insert("strict_mode_config".to_owned(), without_nulls(strict.clone()));
    }
    let create = without_nulls(Value::Object(create));
    Ok((create, (!finish.is_empty()).then_some(Value::Object(finish))))
}

/// `value` without object fields that are null: an absent setting and a null one mean the same to Qdrant, but
/// not every field accepts null.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// The parameters in which a collection that is there has to agree with the backup: those Qdrant compares at a
/// recovery, and those it forgets to.
pub fn shape(params: &Value) -> Value {
    let field = |name: &str| params.get(name).cloned().unwrap_or_default();
    without_nulls(json!({
        "vectors": field("vectors"),
        "sparse_vectors": field("sparse_vectors"),
        "shard_number": field("shard_number"),
        "sharding_method": field("sharding_method"),
    }))
}
