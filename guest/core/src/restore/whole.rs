//! From snapshots of whole collections, each of what one peer had, to a plan.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::body;
use super::expected::Bounds;
use super::layout::Placement;
use super::plan::{Plan, Recovery, Role, ShardSnapshot, Target, with_more_replicas};
use super::selection::Selection;
use super::shard_keys::{in_order, note_replicas, replicas_of};
use crate::error::{Code, Error};
use crate::generations::Described;
use crate::sets::RecordedContent;

/// Plans the restore of `selection` into `target`.
///
/// # Errors
/// It can't come out right: says why.
pub fn plan(selection: &Selection, target: &Target) -> Result<Plan, Error> {
    let first = selection.snapshots.first().ok_or_else(|| Error::new(Code::Incomplete, "", "there is no snapshot"))?;
    let description = &first.description;
    target.takes(description.custom_sharding)?;
    let factor = usize::try_from(description.replication_factor).unwrap_or(1).max(1);
    let mut shard_keys = if description.custom_sharding {
        let keys = description.shard_keys.iter().map(|mapping| (mapping.key.clone(), mapping.shard_ids.clone()));
        in_order(keys.collect(), description.shards.keys())?
    } else {
        Vec::new()
    };
    let there = description.shards.iter().map(|(shard, description)| (*shard, description.replicas.len()));
    note_replicas(&mut shard_keys, &there.collect(), factor);
    let recoveries = assign(selection, target);
    let (placement, stale) = placements(selection, &recoveries);
    let spoilt = placement.iter().find(|(shard, peers)| stale.get(shard).is_some_and(|stale| stale == *peers));
    if let Some((shard, _)) = spoilt {
        let cause = format!(
            "some of its snapshots have shards of replicas that were not active, and on so few peers they would take the \
             place of the good data of shard {shard}"
        );
        return Err(Error::new(Code::Unsupported, "", cause)
            .advice(format!("restore it into a cluster of {} peers", selection.snapshots.len())));
    }
    let wanted = with_more_replicas(&placement, &|shard| replicas_of(&shard_keys, shard, factor), &target.peers);
    let (create, finish) = body::of(&description.config)?;
    // Where the replicas of a shard differed, Qdrant's own count depended on which of them answered.
    let total = selection.manifest.as_ref().and_then(|manifest| Bounds::of(manifest.points));
    let total = total.filter(|_| !differ(&recoveries));
    let backup = backup_of(&recoveries);
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
        total,
        config: description.config.clone(),
        version: selection
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.peers.first())
            .map(|peer| peer.version.clone()),
        // Each snapshot has the shards of one peer.
        free: false,
        content: RecordedContent::default(),
        backup,
        role: Role::Lasting,
    })
}

/// Names the backup that consists of just these snapshots.
fn backup_of(recoveries: &[Recovery]) -> String {
    let names: BTreeSet<&str> = recoveries.iter().map(|recovery| recovery.name.as_str()).collect();
    let digest = Sha256::digest(names.into_iter().collect::<Vec<_>>().join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// True when the manifest has different counts for two replicas of a shard.
fn differ(recoveries: &[Recovery]) -> bool {
    let mut counts: BTreeMap<u32, Bounds> = BTreeMap::new();
    let known =
        recoveries.iter().flat_map(|recovery| &recovery.shards).filter_map(|(shard, count)| Some((*shard, (*count)?)));
    known.into_iter().any(|(shard, count)| counts.insert(shard, count).is_some_and(|other| other != count))
}

/// Where the data will be, and which of it comes last from a replica that was not active.
fn placements(selection: &Selection, recoveries: &[Recovery]) -> (Placement, Placement) {
    let mut good_at: BTreeMap<(u32, u64), bool> = BTreeMap::new();
    for recovery in recoveries {
        let snapshot = selection.snapshots.iter().find(|snapshot| snapshot.snapshot.key == recovery.key);
        for (shard, good) in snapshot.into_iter().flat_map(Described::shards) {
            if recovery.shards.contains_key(&shard) {
                good_at.insert((shard, recovery.peer), good);
            }
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

/// Gives every snapshot with data to a peer of the target: its own where that is among them, else one that has
/// as few of the same shards as possible, then as few bytes.
fn assign(selection: &Selection, target: &Target) -> Vec<Recovery> {
    let mut snapshots: Vec<&Described> =
        selection.snapshots.iter().filter(|snapshot| snapshot.shards().next().is_some()).collect();
    if !target.distributed {
        return for_one_server(selection, &snapshots, target.peers.first().copied().unwrap_or_default());
    }
    // Own peers first, then the largest: these leave the least choice.
    snapshots.sort_by_key(|snapshot| {
        (
            !target.peers.contains(&snapshot.snapshot.peer),
            std::cmp::Reverse(snapshot.snapshot.bytes),
            snapshot.snapshot.peer,
        )
    });
    let mut given: BTreeMap<u64, (BTreeSet<u32>, u64)> =
        target.peers.iter().map(|peer| (*peer, (BTreeSet::new(), 0))).collect();
    let mut recoveries = Vec::new();
    for snapshot in snapshots {
        let shards: BTreeSet<u32> = snapshot.shards().map(|(shard, _)| shard).collect();
        let own = Some(snapshot.snapshot.peer).filter(|peer| target.peers.contains(peer));
        let fewest = given
            .iter()
            .min_by_key(|(peer, (has, bytes))| (has.intersection(&shards).count(), *bytes, **peer))
            .map(|(peer, _)| *peer);
        let Some(peer) = own.or(fewest) else { continue };
        if let Some((has, bytes)) = given.get_mut(&peer) {
            has.extend(&shards);
            *bytes = bytes.saturating_add(snapshot.snapshot.bytes);
        }
        recoveries.push((snapshot, recovery(selection, snapshot, peer)));
    }
    // Of two snapshots with the same shard on one peer the later wins: those with doubtful data go first.
    recoveries.sort_by_key(|(snapshot, recovery)| {
        (recovery.peer, snapshot.shards().all(|(_, good)| good), snapshot.snapshot.started)
    });
    let mut ordered = Vec::new();
    while !recoveries.is_empty() {
        let is_spoilt = |(snapshot, recovery): &(&Described, Recovery)| {
            recoveries.iter().any(|(other, its)| its.peer == recovery.peer && spoils(other, snapshot))
        };
        // Where each spoils another there is no good order, and the plan is refused.
        let next = recoveries.iter().position(|one| !is_spoilt(one)).unwrap_or_default();
        ordered.push(recoveries.remove(next).1);
    }
    ordered
}

/// True when `later` has doubtful data of a shard of which `earlier` has good data.
fn spoils(later: &Described, earlier: &Described) -> bool {
    let good: BTreeSet<u32> = earlier.shards().filter(|(_, good)| *good).map(|(shard, _)| shard).collect();
    later.shards().any(|(shard, is_good)| !is_good && good.contains(&shard))
}

/// A server without clustering takes a snapshot only where it has every shard (Qdrant: "Can't restore snapshot in local
/// mode with missing data at shard"). Where none has, it gets the shards one by one, each from a good replica.
fn for_one_server(selection: &Selection, snapshots: &[&Described], peer: u64) -> Vec<Recovery> {
    let good_shards = |snapshot: &Described| snapshot.shards().filter(|(_, good)| *good).count();
    let best = snapshots.iter().max_by_key(|snapshot| (good_shards(snapshot), snapshot.snapshot.started));
    let shards = || best.iter().flat_map(|best| best.description.shards.keys());
    if let Some(whole) = best.filter(|best| good_shards(best) == best.description.shards.len()) {
        return vec![recovery(selection, whole, peer)];
    }
    let mut recoveries = Vec::new();
    for id in shards() {
        let holders = snapshots.iter().filter_map(|snapshot| {
            let good = snapshot.shards().find(|(shard, _)| shard == id)?.1;
            let all = recovery(selection, snapshot, peer);
            let count = all.shards.get(id).copied().flatten();
            let most = count.map(|bounds| bounds.most);
            let bytes = snapshot.description.shards.get(id).map_or(0, |shard| shard.bytes);
            let one = Recovery {
                bytes,
                shards: [(*id, count)].into_iter().collect(),
                shard: Some(ShardSnapshot { id: *id, checksum: None, in_collection: true }),
                ..all
            };
            Some(((good, most, snapshot.snapshot.started), one))
        });
        // Of good replicas the one with the most points has seen the most writes.
        let chosen = holders.max_by_key(|(worth, _)| *worth).map(|(_, one)| one);
        recoveries.extend(chosen);
    }
    recoveries
}

fn recovery(selection: &Selection, snapshot: &Described, peer: u64) -> Recovery {
    let listed = selection
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.snapshots.iter().find(|listed| listed.key == snapshot.snapshot.key));
    let expected =
        |shard: &u32| listed.and_then(|listed| listed.shards.get(shard)).and_then(|points| Bounds::of(*points));
    Recovery {
        peer,
        name: snapshot.snapshot.name.clone(),
        key: snapshot.snapshot.key.clone(),
        bytes: snapshot.snapshot.bytes,
        shards: snapshot.shards().map(|(shard, _)| (shard, expected(&shard))).collect(),
        shard: None,
    }
}
