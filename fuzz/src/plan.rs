//! Layouts: from any to any other.

use qdrant_backup_core::restore::{Placement, Step, next_steps};

pub fn examples() -> Vec<Vec<u8>> {
    vec![vec![1, 2], vec![3, 12, 255, 1, 0b1010, 0b0101, 7, 7], vec![128, 1, 1, 128]]
}

/// Each two bytes are a shard: the peers that have it, and those that shall have it.
pub fn check(bytes: &[u8]) {
    let peers = |bits: u8| (0..8).filter(|peer| bits & (1 << peer) != 0).map(|peer| peer + 1).collect();
    let mut current = Placement::new();
    let mut wanted = Placement::new();
    for (shard, [have, want]) in bytes.as_chunks::<2>().0.iter().enumerate().take(16) {
        if *have != 0 && *want != 0 {
            current.insert(shard as u32, peers(*have));
            wanted.insert(shard as u32, peers(*want));
        }
    }
    let mut steps = 0;
    loop {
        let next = next_steps(&current, &wanted);
        if next.is_empty() {
            break;
        }
        for step in next {
            steps += 1;
            assert!(steps <= 16 * 8, "it does not come to an end");
            let (shard, gone, new) = match step {
                Step::Move { shard, from, to } => (shard, Some(from), Some(to)),
                Step::Replicate { shard, from, to } => {
                    assert!(current.get(&shard).expect("a shard").contains(&from), "copied from where it is");
                    (shard, None, Some(to))
                }
                Step::Drop { shard, peer } => (shard, Some(peer), None),
            };
            let there = current.get_mut(&shard).expect("a shard");
            assert!(gone.is_none_or(|peer| there.remove(&peer)), "taken from where it is");
            assert!(new.is_none_or(|peer| there.insert(peer)), "given where it is not");
            assert!(!there.is_empty(), "a shard without a replica");
        }
    }
    assert_eq!(current, wanted);
}
