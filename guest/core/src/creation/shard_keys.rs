//! Shard keys, and the order that gives them their old shard ids.

use crate::error::{Code, Error};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    /// How many replicas its shards have, where they are not as many as the collection's have.
    pub replicas: Option<usize>,
    /// True for a key that only fills a gap in the ids and is dropped again.
    pub filler: bool,
}

/// Notes the keys whose shards have another number of replicas than the collection's `factor`: Qdrant keeps no number for a
/// key, so that what its shards have is all there is to go by. `there`: shard to its number of replicas.
pub(crate) fn note_replicas(keys: &mut [ShardKey], there: &BTreeMap<u32, usize>, factor: usize) {
    for key in keys.iter_mut().filter(|key| !key.filler) {
        let mut numbers = key.shards.iter().map(|shard| there.get(shard).copied().unwrap_or_default());
        let first = numbers.next().unwrap_or_default();
        if first > 0 && first != factor && numbers.all(|number| number == first) {
            key.replicas = Some(first);
        }
    }
}

/// How many replicas `shard` shall have.
pub(crate) fn replicas_of(keys: &[ShardKey], shard: u32, factor: usize) -> usize {
    let key = keys.iter().find(|key| key.shards.contains(&shard));
    key.and_then(|key| key.replicas).unwrap_or(factor)
}

/// The shard keys of shards that each know their own, as [`in_order`] gives them.
///
/// # Errors
/// As for [`in_order`].
pub(crate) fn of_shards(shards: &[(u32, Option<Value>)]) -> Result<Vec<ShardKey>, Error> {
    let mut keys: Vec<(Value, Vec<u32>)> = Vec::new();
    for (id, key) in shards {
        let Some(key) = key else { continue };
        match keys.iter_mut().find(|(there, _)| there == key) {
            Some((_, shards)) => shards.push(*id),
            None => keys.push((key.clone(), vec![*id])),
        }
    }
    in_order(keys, shards.iter().map(|(id, _)| id))
}

/// Shard keys in the order of their shard ids, gaps filled: Qdrant gives out ids upwards, so that creating the
/// keys in this order gives every key its old ids. `all` are the ids of all shards.
///
/// # Errors
/// A shard has no key, or Qdrant can't be made to give out the ids.
pub(crate) fn in_order<'a>(
    keys: Vec<(Value, Vec<u32>)>,
    mut all: impl Iterator<Item = &'a u32>,
) -> Result<Vec<ShardKey>, Error> {
    let mut keys: Vec<ShardKey> = keys
        .into_iter()
        .map(|(key, mut shards)| {
            shards.sort();
            ShardKey { key, shards, replicas: None, filler: false }
        })
        .filter(|key| !key.shards.is_empty())
        .collect();
    keys.sort_by_key(|key| key.shards.first().copied());
    let named: BTreeSet<u32> = keys.iter().flat_map(|key| key.shards.iter().copied()).collect();
    if all.any(|shard| !named.contains(shard)) {
        return Err(Error::new(
            Code::ManifestUnusable,
            "its shard keys",
            "the backup does not say which shard key some of the shards belong to",
        ));
    }
    let mut filled = Vec::new();
    let mut next = 1;
    for key in keys {
        let (start, end) = (key.shards.first().copied().unwrap_or(next), key.shards.last().copied().unwrap_or(next));
        let contiguous =
            key.shards.iter().zip(key.shards.iter().skip(1)).all(|(left, right)| left.checked_add(1) == Some(*right));
        if start < next || !contiguous {
            let cause = format!(
                "the shards of its shard key {} are not numbered in a row (after resharding), and Qdrant can't be told \
                 to create them so",
                key.key
            );
            let advice = "move the points of this key into a new key, or into a new collection, and drop it";
            return Err(Error::new(Code::Unsupported, "its shard keys", cause).advice(advice));
        }
        let Some(after) = end.checked_add(1).filter(|_| start - next <= GAP_LIMIT) else {
            let cause = format!("the shards of its shard key {} have numbers that no cluster gives", key.key);
            return Err(Error::new(Code::ManifestUnusable, "its shard keys", cause));
        };
        if start > next {
            let filler = Value::from(format!("qdrant-backup-filler-{next}"));
            filled.push(ShardKey { key: filler, shards: (next..start).collect(), replicas: None, filler: true });
        }
        next = after;
        filled.push(key);
    }
    Ok(filled)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_replicas_of_its_own_keeps_their_number() {
        let shards = [1, 2, 3, 4];
        let keys = vec![(Value::from("a"), vec![1, 2]), (Value::from("b"), vec![3]), (Value::from("c"), vec![4])];
        let mut keys = in_order(keys, shards.iter()).unwrap();
        // Shard 2 has lost one of three; key `b` has as many as the collection.
        note_replicas(&mut keys, &[(1, 3), (2, 2), (3, 2), (4, 1)].into(), 2);
        assert_eq!(keys.iter().map(|key| key.replicas).collect::<Vec<_>>(), [None, None, Some(1)]);
        assert_eq!(shards.map(|shard| replicas_of(&keys, shard, 2)), [2, 2, 2, 1]);
    }
}
