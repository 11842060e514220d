//! Which peer of the target gets which snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::{Recovery, ShardArchive, Target};
use crate::generations::Described;
use crate::restore::expected::Bounds;
use crate::restore::selection::Selection;

/// Gives every archive with data to a peer of the target: its own where that is among them, else one that has
/// as few of the same shards as possible, then as few bytes.
pub(super) fn assign(selection: &Selection, target: &Target) -> Vec<Recovery> {
    let mut archives: Vec<&Described> =
        selection.archives.iter().filter(|archive| archive.shards().next().is_some()).collect();
    if !target.distributed {
        return for_one_server(selection, &archives, target.peers.first().copied().unwrap_or_default());
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
    let mut ordered = Vec::new();
    while !recoveries.is_empty() {
        let is_spoilt = |(archive, recovery): &(&Described, Recovery)| {
            recoveries.iter().any(|(other, its)| its.peer == recovery.peer && spoils(other, archive))
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

/// A server without clustering takes an archive only where it has every shard (Qdrant: "Can't restore snapshot in local
/// mode with missing data at shard"). Where none has, it gets the shards one by one, each from a good replica.
fn for_one_server(selection: &Selection, archives: &[&Described], peer: u64) -> Vec<Recovery> {
    let good_shards = |archive: &Described| archive.shards().filter(|(_, good)| *good).count();
    let best = archives.iter().max_by_key(|archive| (good_shards(archive), archive.archive.started));
    let shards = || best.iter().flat_map(|best| best.description.shards.keys());
    if let Some(whole) = best.filter(|best| good_shards(best) == best.description.shards.len()) {
        return vec![recovery(selection, whole, peer)];
    }
    let mut recoveries = Vec::new();
    for id in shards() {
        let holders = archives.iter().filter_map(|archive| {
            let good = archive.shards().find(|(shard, _)| shard == id)?.1;
            let all = recovery(selection, archive, peer);
            let count = all.shards.get(id).copied().flatten();
            let most = count.map(|bounds| bounds.most);
            let bytes = archive.description.shards.get(id).map_or(0, |shard| shard.bytes);
            let one = Recovery {
                bytes,
                shards: [(*id, count)].into_iter().collect(),
                shard: Some(ShardArchive { id: *id, checksum: None, in_collection: true }),
                ..all
            };
            Some(((good, most, archive.archive.started), one))
        });
        // Of good replicas the one with the most points has seen the most writes.
        let chosen = holders.max_by_key(|(worth, _)| *worth).map(|(_, one)| one);
        recoveries.extend(chosen);
    }
    recoveries
}

fn recovery(selection: &Selection, archive: &Described, peer: u64) -> Recovery {
    let listed = selection
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.archives.iter().find(|listed| listed.key == archive.archive.key));
    let expected =
        |shard: &u32| listed.and_then(|listed| listed.shards.get(shard)).and_then(|points| Bounds::of(*points));
    Recovery {
        peer,
        name: archive.archive.name.clone(),
        key: archive.archive.key.clone(),
        bytes: archive.archive.bytes,
        shards: archive.shards().map(|(shard, _)| (shard, expected(&shard))).collect(),
        shard: None,
    }
}
