//! Collecting into ordered sets and maps by inserting.
//!
//! `collect` sorts first, by a sort that is compiled anew for every type: 4 KiB of the component each, 130 KiB in all,
//! for collections of a few dozen entries.

use std::collections::{BTreeMap, BTreeSet};

/// Collects; of equal keys the last counts, as with `collect`.
pub(crate) trait Ordered: Iterator + Sized {
    /// Into a set.
    fn into_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        set.extend(self);
        set
    }

    /// Into a map.
    fn into_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        map.extend(self);
        map
    }
}

impl<I: Iterator> Ordered for I {}
