#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::generations::BucketSnapshot;
use crate::restore::layout::next_steps;
use crate::snapshot_file::{ShardDescription, ShardKeyMapping, SnapshotDescription};
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;

/// The snapshot of `peer`, which holds `shards`; `states` is the layout: shard to peer to state.
fn snapshot(peer: u64, states: &BTreeMap<u32, BTreeMap<u64, String>>, config: Value) -> Described {
    let shards: BTreeMap<u32, ShardDescription> = states
        .iter()
        .map(|(shard, replicas)| {
            let has_data = replicas.contains_key(&peer);
            (*shard, ShardDescription { has_data, this_peer: peer, replicas: replicas.clone(), bytes: 10 })
        })
        .collect();
    Described {
        snapshot: BucketSnapshot {
            collection: "docs".to_owned(),
            name: format!("docs-{peer}"),
            key: format!("snapshots/docs/docs-{peer}"),
            bytes: 100 + peer,
            peer,
            started: OffsetDateTime::UNIX_EPOCH,
            stored: None,
        },
        description: SnapshotDescription {
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

fn selection(snapshots: Vec<Described>) -> Selection {
    Selection { collection: "docs".to_owned(), snapshots, manifest: None, skipped: Vec::new(), refused: Vec::new() }
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
    let snapshots = [1, 2, 3].map(|peer| snapshot(peer, &layout, config(2)));
    let plan = plan(&selection(snapshots.to_vec()), &cluster(&[1, 2, 3])).unwrap();
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
    let snapshots = [1, 2].map(|peer| snapshot(peer, &layout, config(2)));
    let one = plan(&selection(snapshots.to_vec()), &cluster(&[9])).unwrap();
    assert_eq!(given(&one), [(9, "docs-1"), (9, "docs-2")]);
    assert!(one.stale.is_empty(), "the good one came last");
    let two = plan(&selection(snapshots.to_vec()), &cluster(&[1, 2])).unwrap();
    assert_eq!(two.stale, Placement::from([(0, [1].into())]));
}

#[test]
fn one_server_takes_a_whole_snapshot_or_shard_by_shard() {
    let alone = Target { peers: [0].into(), distributed: false };
    let layout = states(&[&[1, 2], &[1, 2]]);
    let snapshots = [1, 2].map(|peer| snapshot(peer, &layout, config(2)));
    let whole = plan(&selection(snapshots.to_vec()), &alone).unwrap();
    assert_eq!(whole.recoveries.len(), 1);
    assert_eq!(whole.wanted, Placement::from([(0, [0].into()), (1, [0].into())]));
    let mut layout = states(&[&[1], &[2, 3], &[3]]);
    layout.get_mut(&1).unwrap().insert(3, "Dead".to_owned());
    let snapshots = [1, 2, 3].map(|peer| snapshot(peer, &layout, config(1)));
    let parts = plan(&selection(snapshots.to_vec()), &alone).unwrap();
    assert_eq!(given(&parts), [(0, "docs-1"), (0, "docs-2"), (0, "docs-3")]);
    for (id, part) in (0..).zip(&parts.recoveries) {
        let shard = ShardSnapshot { id, checksum: None, in_collection: true };
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
        let mut described = snapshot(1, &layout, config(1));
        described.description.custom_sharding = true;
        described.description.shard_keys = mapping
            .iter()
            .map(|(key, shards)| ShardKeyMapping { key: json!(key), shard_ids: shards.to_vec() })
            .collect();
        plan(&selection(vec![described]), &cluster(&[1])).map(|plan| plan.shard_keys)
    };
    let keys = keyed(&[("b", &[4, 5]), ("a", &[2])]).unwrap();
    let names: Vec<_> = keys.iter().map(|key| (key.key.as_str().unwrap(), key.shards.clone(), key.filler)).collect();
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

/// Whatever the source's layout and the target's peers: every snapshot with data is used exactly once, nothing goes
/// to a peer outside the target, every shard ends up with data, every replica the plan promises is one it makes,
/// and the layout can be reached.
#[test]
fn every_snapshot_is_used_once_and_nothing_leaves_the_target() {
    let mut numbers = Numbers(42);
    for round in 0..3000 {
        let (peers, shards) = (1 + numbers.below(5), 1 + numbers.below(6));
        let factor = 1 + numbers.below(peers);
        let mut layout: BTreeMap<u32, BTreeMap<u64, String>> = BTreeMap::new();
        for shard in 0..shards {
            let first = numbers.below(peers);
            let replicas = (0..factor).map(|replica| ((first + replica) % peers + 1, "Active".to_owned())).collect();
            layout.insert(shard as u32, replicas);
        }
        let snapshots: Vec<Described> = (1..=peers).map(|peer| snapshot(peer, &layout, config(factor))).collect();
        let start = numbers.below(4);
        let target: Vec<u64> = (start..=start + numbers.below(6)).collect();
        let plan = plan(&selection(snapshots.clone()), &cluster(&target)).unwrap();

        let with_data: BTreeSet<&str> = snapshots
            .iter()
            .filter(|snapshot| snapshot.shards().next().is_some())
            .map(|snapshot| snapshot.snapshot.name.as_str())
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

/// A replica that was not active is fed, as the layout wants it, and made anew unless a good snapshot comes after it;
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
        let snapshots: Vec<Described> = (1..=peers).map(|peer| snapshot(peer, &layout, config(1))).collect();
        let first = numbers.below(3);
        let target: Vec<u64> = (first..=first + numbers.below(4)).collect();
        let plan = match plan(&selection(snapshots.clone()), &cluster(&target)) {
            Ok(plan) => plan,
            Err(cause) => {
                // With a peer for every snapshot there is always a way.
                assert!(
                    cause.to_string().contains("replicas that were not active") && target.len() < snapshots.len(),
                    "{cause}"
                );
                refused += 1;
                continue;
            }
        };
        for (shard, places) in &plan.placement {
            let mut last: BTreeMap<u64, bool> = BTreeMap::new();
            for one in plan.recoveries.iter().filter(|one| one.shards.contains_key(shard)) {
                let from = snapshots.iter().find(|snapshot| snapshot.snapshot.name == one.name).unwrap();
                last.insert(one.peer, layout[shard][&from.snapshot.peer] == "Active");
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

/// What is doubtful in one snapshot is good in another: of two the one that would spoil the other goes first, whichever was
/// begun first.
#[test]
fn good_data_comes_after_what_would_spoil_it() {
    let mut layout = states(&[&[1, 2], &[1, 3], &[2]]);
    layout.get_mut(&0).unwrap().insert(2, "Dead".to_owned());
    layout.get_mut(&1).unwrap().insert(1, "Dead".to_owned());
    for first in [0, 1] {
        let mut snapshots = [1, 2, 3].map(|peer| snapshot(peer, &layout, config(1)));
        snapshots[1 - first].snapshot.started += time::Duration::HOUR;
        let plan = plan(&selection(snapshots.to_vec()), &cluster(&[9])).unwrap();
        assert_eq!(given(&plan), [(9, "docs-2"), (9, "docs-1"), (9, "docs-3")]);
        assert!(plan.stale.is_empty());
    }
    layout = states(&[&[1, 2], &[1, 2]]);
    layout.get_mut(&0).unwrap().insert(2, "Dead".to_owned());
    layout.get_mut(&1).unwrap().insert(1, "Dead".to_owned());
    let each_spoils_the_other = [1, 2].map(|peer| snapshot(peer, &layout, config(1)));
    let refused = plan(&selection(each_spoils_the_other.to_vec()), &cluster(&[9])).unwrap_err().to_string();
    assert!(refused.contains("a cluster of 2 peers"), "{refused}");
}

/// Each snapshot has to bring what its manifest says of it; the collection as a whole has no count that counts where its
/// replicas differed.
#[test]
fn each_snapshot_has_the_counts_of_its_own() {
    let layout = states(&[&[1, 2]]);
    for (other, has_total) in [(5, true), (6, false)] {
        let listed = |peer: u64, points: u64| {
            json!({"key": format!("snapshots/docs/docs-{peer}"), "name": format!("docs-{peer}"), "bytes": 100,
                "peer_id": peer, "shards": {"0": {"before": points, "after": points}}})
        };
        let manifest = json!({
            "schema_version": 1, "created_at": "", "created_by": "", "collection": "docs", "distributed": true, "peers": [],
            "config": {}, "payload_schema": {}, "shards": [], "points": {"before": 5, "after": 5}, "aliases": [],
            "archives": [listed(1, 5), listed(2, other)],
        });
        let mut selection = selection([1, 2].map(|peer| snapshot(peer, &layout, config(2))).to_vec());
        selection.manifest = Some(serde_json::from_value(manifest).unwrap());
        let plan = plan(&selection, &cluster(&[1, 2])).unwrap();
        let counts = |one: &Recovery| (one.peer, one.shards[&0].map(|bounds| (bounds.least, bounds.most)));
        assert_eq!(
            plan.recoveries.iter().map(counts).collect::<Vec<_>>(),
            [(1, Some((5, 5))), (2, Some((other, other)))]
        );
        assert_eq!(plan.total.is_some(), has_total);
    }
}
