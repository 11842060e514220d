//! The plan of one restore: a value, made before anything is changed, from the archives and the target's peers.

use crate::error::{Code, Error};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use super::body;
use super::expected::Bounds;
use super::layout::Placement;
use super::selection::Selection;
use super::shard_keys::{ShardKey, in_order, note_replicas, replicas_of};
use crate::generations::Described;

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
    /// How many points the whole collection may have, as far as a manifest knows.
    pub total: Option<Bounds>,
    /// The configuration that it had: `config` as `GET /collections/{c}` and an archive's `config.json` have it.
    pub config: Value,
    /// The version of Qdrant that made it, where it is known.
    pub version: Option<String>,
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

    /// What the target is too small for: how many replicas of each shard there will be, and how many there shall be.
    pub(super) fn fewer_replicas(&self) -> Option<(usize, u64)> {
        let configured = self.create.get("replication_factor").and_then(Value::as_u64)?;
        let fewest = self.wanted.values().map(BTreeSet::len).min()?;
        ((fewest as u64) < configured).then_some((fewest, configured))
    }
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
    /// Its shards with the number of points that the manifest gives for them.
    pub shards: BTreeMap<u32, Option<Bounds>>,
    /// For an archive of one shard.
    pub shard: Option<ShardArchive>,
}

impl Recovery {
    /// True when the number of points of every shard is known, and is not 0: a count then tells whether a restore that
    /// was cut off has brought it.
    pub(super) fn is_counted(&self) -> bool {
        self.shards.values().all(|bounds| bounds.and_then(Bounds::equal).is_some_and(|count| count > 0))
    }
}

/// What is to be known of an archive of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardArchive {
    /// The shard.
    pub id: u32,
    /// SHA-256, where the manifest has it: Qdrant refuses other bytes.
    pub checksum: Option<String>,
    /// True where it is the shard's folder in an archive of the whole collection. Qdrant can't take it out of that, so
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

/// Plans the restore of `selection` into `target`.
///
/// # Errors
/// It can't come out right: says why.
pub fn plan(selection: &Selection, target: &Target) -> Result<Plan, Error> {
    let first = selection.archives.first().ok_or_else(|| Error::new(Code::Incomplete, "", "there is no snapshot"))?;
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
            .advice(format!("restore it into a cluster of {} peers", selection.archives.len())));
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
        backup,
        role: Role::Lasting,
    })
}

/// Names the backup that consists of just these archives.
fn backup_of(recoveries: &[Recovery]) -> String {
    let names: BTreeSet<&str> = recoveries.iter().map(|recovery| recovery.name.as_str()).collect();
    let digest = Sha256::digest(names.into_iter().collect::<Vec<_>>().join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Gives every archive with data to a peer of the target: its own where that is among them, else one that has
/// as few of the same shards as possible, then as few bytes.
fn assign(selection: &Selection, target: &Target) -> Vec<Recovery> {
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

/// True when the manifest has different counts for two replicas of a shard.
fn differ(recoveries: &[Recovery]) -> bool {
    let mut counts: BTreeMap<u32, Bounds> = BTreeMap::new();
    let known =
        recoveries.iter().flat_map(|recovery| &recovery.shards).filter_map(|(shard, count)| Some((*shard, (*count)?)));
    known.into_iter().any(|(shard, count)| counts.insert(shard, count).is_some_and(|other| other != count))
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

/// Where the data will be, and which of it comes last from a replica that was not active.
fn placements(selection: &Selection, recoveries: &[Recovery]) -> (Placement, Placement) {
    let mut good_at: BTreeMap<(u32, u64), bool> = BTreeMap::new();
    for recovery in recoveries {
        let archive = selection.archives.iter().find(|archive| archive.archive.key == recovery.key);
        for (shard, good) in archive.into_iter().flat_map(Described::shards) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::layout::next_steps;
    use super::*;
    use crate::archive::{ArchiveDescription, ShardDescription, ShardKeyMapping};
    use crate::generations::BucketArchive;
    use serde_json::json;
    use time::OffsetDateTime;

    /// The archive of `peer`, which holds `shards`; `states` is the layout: shard to peer to state.
    fn archive(peer: u64, states: &BTreeMap<u32, BTreeMap<u64, String>>, config: Value) -> Described {
        let shards: BTreeMap<u32, ShardDescription> = states
            .iter()
            .map(|(shard, replicas)| {
                let has_data = replicas.contains_key(&peer);
                (*shard, ShardDescription { has_data, this_peer: peer, replicas: replicas.clone(), bytes: 10 })
            })
            .collect();
        Described {
            archive: BucketArchive {
                collection: "docs".to_owned(),
                name: format!("docs-{peer}"),
                key: format!("snapshots/docs/docs-{peer}"),
                bytes: 100 + peer,
                peer,
                started: OffsetDateTime::UNIX_EPOCH,
                stored: None,
            },
            description: ArchiveDescription {
                uuid: Some("u".to_owned()),
                shard_number: u32::try_from(states.len()).unwrap(),
                replication_factor: config.pointer("/params/replication_factor").and_then(Value::as_u64).unwrap_or(1)
                    as u32,
                custom_sharding: false,
                payload_indexes: BTreeMap::new(),
                shard_keys: Vec::new(),
                shards,
                config,
            },
        }
    }

    fn config(replication_factor: u64) -> Value {
        json!({"params": {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 3, "replication_factor": replication_factor}})
    }

    fn selection(archives: Vec<Described>) -> Selection {
        Selection { collection: "docs".to_owned(), archives, manifest: None, skipped: Vec::new() }
    }

    fn states(layout: &[&[u64]]) -> BTreeMap<u32, BTreeMap<u64, String>> {
        let replicas = |peers: &&[u64]| peers.iter().map(|peer| (*peer, "Active".to_owned())).collect();
        layout.iter().enumerate().map(|(shard, peers)| (shard as u32, replicas(peers))).collect()
    }

    fn cluster(peers: &[u64]) -> Target {
        Target { peers: peers.iter().copied().collect(), distributed: true }
    }

    fn given(plan: &Plan) -> Vec<(u64, &str)> {
        plan.recoveries.iter().map(|recovery| (recovery.peer, recovery.name.as_str())).collect()
    }

    #[test]
    fn the_same_cluster_gets_everything_back_where_it_was() {
        let layout = states(&[&[1, 2], &[2, 3], &[3, 1]]);
        let archives = [1, 2, 3].map(|peer| archive(peer, &layout, config(2)));
        let plan = plan(&selection(archives.to_vec()), &cluster(&[1, 2, 3])).unwrap();
        assert_eq!(given(&plan), [(1, "docs-1"), (2, "docs-2"), (3, "docs-3")]);
        let expected: Placement =
            [(0, [1, 2]), (1, [2, 3]), (2, [1, 3])].map(|(shard, peers)| (shard, peers.into())).into();
        assert_eq!((&plan.placement, &plan.wanted), (&expected, &expected));
        assert!(plan.stale.is_empty());
    }

    #[test]
    fn a_snapshot_of_an_inactive_replica_goes_first_and_unverified() {
        let mut layout = states(&[&[1, 2]]);
        layout.get_mut(&0).unwrap().insert(1, "Dead".to_owned());
        let archives = [1, 2].map(|peer| archive(peer, &layout, config(2)));
        let one = plan(&selection(archives.to_vec()), &cluster(&[9])).unwrap();
        assert_eq!(given(&one), [(9, "docs-1"), (9, "docs-2")]);
        assert!(one.stale.is_empty(), "the good one came last");
        let two = plan(&selection(archives.to_vec()), &cluster(&[1, 2])).unwrap();
        assert_eq!(two.stale, Placement::from([(0, [1].into())]));
    }

    #[test]
    fn one_server_takes_a_whole_snapshot_or_shard_by_shard() {
        let alone = Target { peers: [0].into(), distributed: false };
        let layout = states(&[&[1, 2], &[1, 2]]);
        let archives = [1, 2].map(|peer| archive(peer, &layout, config(2)));
        let whole = plan(&selection(archives.to_vec()), &alone).unwrap();
        assert_eq!(whole.recoveries.len(), 1);
        assert_eq!(whole.wanted, Placement::from([(0, [0].into()), (1, [0].into())]));
        let mut layout = states(&[&[1], &[2, 3], &[3]]);
        layout.get_mut(&1).unwrap().insert(3, "Dead".to_owned());
        let archives = [1, 2, 3].map(|peer| archive(peer, &layout, config(1)));
        let parts = plan(&selection(archives.to_vec()), &alone).unwrap();
        assert_eq!(given(&parts), [(0, "docs-1"), (0, "docs-2"), (0, "docs-3")]);
        for (id, part) in (0..).zip(&parts.recoveries) {
            let shard = ShardArchive { id, checksum: None, in_collection: true };
            assert_eq!((part.shard.as_ref(), part.shards.keys().collect::<Vec<_>>()), (Some(&shard), vec![&id]));
        }
        assert_eq!((whole.fewer_replicas(), parts.fewer_replicas()), (Some((1, 2)), None));
        assert!(parts.stale.is_empty() && parts.wanted.values().all(|peers| *peers == BTreeSet::from([0])));
    }

    #[test]
    fn gaps_between_shard_ids_are_filled_or_refused() {
        let keyed = |mapping: &[(&str, &[u32])]| {
            let shards: Vec<u32> = mapping.iter().flat_map(|(_, shards)| shards.iter().copied()).collect();
            let layout = shards.iter().map(|shard| (*shard, BTreeMap::from([(1, "Active".to_owned())]))).collect();
            let mut described = archive(1, &layout, config(1));
            described.description.custom_sharding = true;
            described.description.shard_keys = mapping
                .iter()
                .map(|(key, shards)| ShardKeyMapping { key: json!(key), shard_ids: shards.to_vec() })
                .collect();
            plan(&selection(vec![described]), &cluster(&[1])).map(|plan| plan.shard_keys)
        };
        let keys = keyed(&[("b", &[4, 5]), ("a", &[2])]).unwrap();
        let names: Vec<_> =
            keys.iter().map(|key| (key.key.as_str().unwrap(), key.shards.clone(), key.filler)).collect();
        assert_eq!(
            names,
            [
                ("qdrant-backup-filler-1", vec![1], true),
                ("a", vec![2], false),
                ("qdrant-backup-filler-3", vec![3], true),
                ("b", vec![4, 5], false)
            ]
        );
        assert!(keyed(&[("a", &[1, 3]), ("b", &[2])]).is_err());
        // What no cluster gives: a billion shards to fill the gap, none after the last number, one number twice.
        for shards in [&[u32::MAX][..], &[1_000_000_000], &[u32::MAX - 1, u32::MAX], &[1, 1, 3]] {
            assert!(keyed(&[("a", shards)]).is_err(), "{shards:?}");
        }
    }

    /// A generator whose numbers are the same at every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    /// Whatever the source's layout and the target's peers: every archive with data is used exactly once, nothing goes
    /// to a peer outside the target, every shard ends up with data, every replica the plan promises is one it makes,
    /// and the layout can be reached.
    #[test]
    fn every_archive_is_used_once_and_nothing_leaves_the_target() {
        let mut numbers = Numbers(42);
        for round in 0..3000 {
            let (peers, shards) = (1 + numbers.below(5), 1 + numbers.below(6));
            let factor = 1 + numbers.below(peers);
            let mut layout: BTreeMap<u32, BTreeMap<u64, String>> = BTreeMap::new();
            for shard in 0..shards {
                let first = numbers.below(peers);
                let replicas =
                    (0..factor).map(|replica| ((first + replica) % peers + 1, "Active".to_owned())).collect();
                layout.insert(shard as u32, replicas);
            }
            let archives: Vec<Described> = (1..=peers).map(|peer| archive(peer, &layout, config(factor))).collect();
            let start = numbers.below(4);
            let target: Vec<u64> = (start..=start + numbers.below(6)).collect();
            let plan = plan(&selection(archives.clone()), &cluster(&target)).unwrap();

            let with_data: BTreeSet<&str> = archives
                .iter()
                .filter(|archive| archive.shards().next().is_some())
                .map(|archive| archive.archive.name.as_str())
                .collect();
            let used: Vec<&str> = plan.recoveries.iter().map(|recovery| recovery.name.as_str()).collect();
            assert_eq!(used.iter().copied().collect::<BTreeSet<_>>(), with_data, "round {round}");
            assert_eq!(used.len(), with_data.len(), "round {round}: one used twice");
            let everywhere =
                plan.recoveries.iter().map(|recovery| recovery.peer).chain(plan.wanted.values().flatten().copied());
            assert!(everywhere.into_iter().all(|peer| target.contains(&peer)), "round {round}");
            assert_eq!(plan.placement.keys().collect::<Vec<_>>(), layout.keys().collect::<Vec<_>>(), "round {round}");
            for (shard, peers) in &plan.placement {
                assert!(!peers.is_empty() && peers.is_subset(&plan.wanted[shard]), "round {round}");
                for peer in peers {
                    let fed = plan.recoveries.iter().any(|one| one.peer == *peer && one.shards.contains_key(shard));
                    assert!(fed, "round {round}: shard {shard} on peer {peer} would stay empty");
                }
                assert!(plan.wanted[shard].len() >= (factor as usize).min(target.len()), "round {round}");
            }
            // From all shards on one peer, as a creation may leave them.
            let mut current: Placement = layout.keys().map(|shard| (*shard, BTreeSet::from([target[0]]))).collect();
            for _ in 0..64 {
                for step in next_steps(&current, &plan.placement) {
                    step.apply(&mut current);
                }
            }
            assert_eq!(current, plan.placement, "round {round}");
        }
    }

    /// A replica that was not active is fed, as the layout wants it, and made anew unless a good archive comes after it;
    /// each shard has a place whose data can be trusted.
    #[test]
    fn what_was_not_active_is_never_trusted_alone() {
        let mut numbers = Numbers(43);
        let mut refused = 0;
        for round in 0..3000 {
            let peers = 1 + numbers.below(4);
            let mut layout: BTreeMap<u32, BTreeMap<u64, String>> = BTreeMap::new();
            for shard in 0..1 + numbers.below(5) {
                let good = 1 + numbers.below(peers);
                let others = (1..=peers).filter(|_| numbers.below(2) == 0).collect::<Vec<_>>();
                let states = ["Active", "Dead", "Partial", "Listener"];
                let mut replicas: BTreeMap<u64, String> =
                    others.into_iter().map(|peer| (peer, states[numbers.below(4) as usize].to_owned())).collect();
                replicas.insert(good, "Active".to_owned());
                layout.insert(shard as u32, replicas);
            }
            let archives: Vec<Described> = (1..=peers).map(|peer| archive(peer, &layout, config(1))).collect();
            let first = numbers.below(3);
            let target: Vec<u64> = (first..=first + numbers.below(4)).collect();
            let plan = match plan(&selection(archives.clone()), &cluster(&target)) {
                Ok(plan) => plan,
                Err(cause) => {
                    // With a peer for every archive there is always a way.
                    assert!(
                        cause.to_string().contains("replicas that were not active") && target.len() < archives.len(),
                        "{cause}"
                    );
                    refused += 1;
                    continue;
                }
            };
            for (shard, places) in &plan.placement {
                let mut last: BTreeMap<u64, bool> = BTreeMap::new();
                for one in plan.recoveries.iter().filter(|one| one.shards.contains_key(shard)) {
                    let from = archives.iter().find(|archive| archive.archive.name == one.name).unwrap();
                    last.insert(one.peer, layout[shard][&from.archive.peer] == "Active");
                }
                let stale = plan.stale.get(shard).cloned().unwrap_or_default();
                for peer in places {
                    assert_eq!(last[peer], !stale.contains(peer), "round {round}: shard {shard} on peer {peer}");
                }
                assert!(places.iter().any(|peer| !stale.contains(peer)), "round {round}: shard {shard}");
            }
        }
        assert!(refused < 600, "{refused}");
    }
}
