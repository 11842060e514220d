//! Shard keys, and the order that gives them their old shard ids.

use crate::error::Error;
use serde_json::Value;
use std::collections::BTreeSet;

/// The most shards that only fill a gap. Ids grow by resharding and by keys that are dropped and made anew; a backup that
/// says more is damaged, or means harm.
const GAP_LIMIT: u32 = 10_000;

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

/// Shard keys in the order of their shard ids, gaps filled: Qdrant gives out ids upwards, so that creating the
/// keys in this order gives every key its old ids. `all` are the ids of all shards.
///
/// # Errors
/// A shard has no key, or Qdrant can't be made to give out the ids.
pub(super) fn in_order<'a>(
    keys: Vec<(Value, Vec<u32>)>,
    mut all: impl Iterator<Item = &'a u32>,
) -> Result<Vec<ShardKey>, Error> {
    let mut keys: Vec<ShardKey> = keys
        .into_iter()
        .map(|(key, mut shards)| {
            shards.sort();
            ShardKey { key, shards, filler: false }
        })
        .filter(|key| !key.shards.is_empty())
        .collect();
    keys.sort_by_key(|key| key.shards.first().copied());
    let named: BTreeSet<u32> = keys.iter().flat_map(|key| key.shards.iter().copied()).collect();
    if all.any(|shard| !named.contains(shard)) {
        return Err("the backup does not say which shard key some of the shards belong to".to_owned().into());
    }
    let mut filled = Vec::new();
    let mut next = 1;
    for key in keys {
        let (start, end) = (key.shards.first().copied().unwrap_or(next), key.shards.last().copied().unwrap_or(next));
        let contiguous =
            key.shards.iter().zip(key.shards.iter().skip(1)).all(|(left, right)| left.checked_add(1) == Some(*right));
        if start < next || !contiguous {
            return Err(format!(
                "the shards of its shard key {} are not numbered in a row (after resharding), and Qdrant can't be told \
                 to create them so",
                key.key
            )
            .into());
        }
        let Some(after) = end.checked_add(1).filter(|_| start - next <= GAP_LIMIT) else {
            return Err(format!("the shards of its shard key {} have numbers that no cluster gives", key.key).into());
        };
        if start > next {
            let filler = Value::from(format!("qdrant-backup-filler-{next}"));
            filled.push(ShardKey { key: filler, shards: (next..start).collect(), filler: true });
        }
        next = after;
        filled.push(key);
    }
    Ok(filled)
}
