//! From the layout there is to the layout that is wanted, one step a shard at a time.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Shard to the peers that hold, or shall hold, a replica of it.
pub type Placement = BTreeMap<u32, BTreeSet<u64>>;

/// One change of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Move a replica.
    Move {
        /// The shard.
        shard: u32,
        /// From this peer.
        from: u64,
        /// To this peer.
        to: u64,
    },
    /// Copy a replica.
    Replicate {
        /// The shard.
        shard: u32,
        /// From this peer.
        from: u64,
        /// To this peer.
        to: u64,
    },
    /// Drop a replica.
    Drop {
        /// The shard.
        shard: u32,
        /// From this peer.
        peer: u64,
    },
}

/// How a replica travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Point by point: at once for an empty shard.
    Records,
    /// As a snapshot: for shards with data.
    Snapshot,
}

/// The next steps from `current` to `wanted`, at most one for each shard; none when they agree. Shards that are
/// not in `wanted` are left alone. The last replica of a shard is never dropped.
pub fn next_steps(current: &Placement, wanted: &Placement) -> Vec<Step> {
    let mut steps = Vec::new();
    for (&shard, wanted) in wanted {
        let Some(current) = current.get(&shard) else { continue };
        let missing = wanted.difference(current).next().copied();
        let surplus = current.difference(wanted).next().copied();
        match (missing, surplus, current.first().copied()) {
            (Some(to), Some(from), _) => steps.push(Step::Move { shard, from, to }),
            (Some(to), None, Some(from)) => steps.push(Step::Replicate { shard, from, to }),
            (None, Some(peer), _) if current.len() > 1 => steps.push(Step::Drop { shard, peer }),
            _ => {}
        }
    }
    steps
}

impl Step {
    /// The shard it is about.
    pub fn shard(self) -> u32 {
        match self {
            Self::Move { shard, .. } | Self::Replicate { shard, .. } | Self::Drop { shard, .. } => shard,
        }
    }

    /// The body of `POST /collections/{c}/cluster`.
    pub fn body(self, transfer: Transfer) -> Value {
        let method = match transfer {
            Transfer::Records => "stream_records",
            Transfer::Snapshot => "snapshot",
        };
        match self {
            Self::Move { shard, from, to } => {
                json!({"move_shard": {"shard_id": shard, "from_peer_id": from, "to_peer_id": to, "method": method}})
            }
            Self::Replicate { shard, from, to } => {
                json!({"replicate_shard": {"shard_id": shard, "from_peer_id": from, "to_peer_id": to, "method": method}})
            }
            Self::Drop { shard, peer } => json!({"drop_replica": {"shard_id": shard, "peer_id": peer}}),
        }
    }
}

#[cfg(test)]
impl Step {
    /// Takes the step on paper. Panics where a real cluster would refuse it.
    pub(super) fn apply(self, placement: &mut Placement) {
        let (shard, gone, new) = match self {
            Self::Move { shard, from, to } => (shard, Some(from), Some(to)),
            Self::Replicate { shard, from, to } => {
                assert!(
                    placement.get(&shard).is_some_and(|peers| peers.contains(&from)),
                    "copied from a peer that has it"
                );
                (shard, None, Some(to))
            }
            Self::Drop { shard, peer } => (shard, Some(peer), None),
        };
        let peers = placement.entry(shard).or_default();
        if let Some(gone) = gone {
            assert!(peers.remove(&gone), "taken from a peer that has it");
        }
        if let Some(new) = new {
            assert!(peers.insert(new), "given to a peer that has not");
        }
        assert!(!peers.is_empty(), "a shard is never without a replica");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(shards: &[&[u64]]) -> Placement {
        shards.iter().enumerate().map(|(id, peers)| (id as u32, peers.iter().copied().collect())).collect()
    }

    /// Every layout of two shards on four peers to every other.
    #[test]
    fn every_layout_is_reached_and_no_shard_is_ever_lost() {
        let sets: Vec<Vec<u64>> =
            (1_u64..16).map(|bits| (1..=4).filter(|peer| bits & (1 << (peer - 1)) != 0).collect()).collect();
        for from in &sets {
            for to in &sets {
                let mut current = placement(&[from, to]);
                let wanted = placement(&[to, from]);
                for _ in 0..8 {
                    for step in next_steps(&current, &wanted) {
                        step.apply(&mut current);
                    }
                }
                assert_eq!(current, wanted);
                assert!(next_steps(&current, &wanted).is_empty());
            }
        }
    }

    #[test]
    fn missing_and_unwanted_shards_are_left_alone() {
        let current = placement(&[&[1]]);
        let wanted = BTreeMap::from([(5, BTreeSet::from([2]))]);
        assert!(next_steps(&current, &wanted).is_empty());
        let nowhere = BTreeMap::from([(0, BTreeSet::new())]);
        assert!(next_steps(&current, &nowhere).is_empty(), "the last replica is never dropped");
    }
}
