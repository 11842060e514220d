//! Order, with one sort for all, and a map and a set that are small to compile: what the library has is compiled anew
//! for every type.

mod map;
mod set;

use std::cmp::Ordering;

pub use map::Map;
pub use set::Set;

/// Sorts; of equal items the first stays first, as with `sort_by`.
pub(crate) fn sort<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let places = sorted_places(items.len(), &|left, right| match (items.get(left), items.get(right)) {
        (Some(left), Some(right)) => compare(left, right),
        _ => Ordering::Equal,
    });
    pick(items, &places);
}

/// Sorts by a key.
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort(items, |left, right| key(left).cmp(&key(right)));
}

/// Sorts and keeps the last of equal items. What is in order already is left as it is.
fn sort_in_place<T>(items: &mut Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) {
    let order = |left: usize, right: usize| match (items.get(left), items.get(right)) {
        (Some(left), Some(right)) => compare(left, right),
        _ => Ordering::Equal,
    };
    if let Some(places) = distinct_places(items.len(), &order) {
        pick(items, &places);
    }
}

/// The places in order, of equal ones the last; `None` where all are in order already.
fn distinct_places(count: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Option<Vec<usize>> {
    if (1..count).all(|place| order(place - 1, place).is_lt()) {
        return None;
    }
    let mut distinct: Vec<usize> = Vec::new();
    for place in sorted_places(count, order) {
        if distinct.last().is_some_and(|last| order(*last, place).is_eq()) {
            distinct.pop();
        }
        distinct.push(place);
    }
    Some(distinct)
}

/// The places in order. A merge sort in so many lines, as the library's is 4 KB for speed that nothing here needs.
fn sorted_places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    let mut width = 1;
    while width < count {
        let mut merged = Vec::with_capacity(count);
        for run in places.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some(first), Some(second)) = (left.first(), right.first()) {
                // Of equal ones the left.
                let from = if compare(*first, *second).is_gt() { &mut right } else { &mut left };
                merged.extend(from.split_off_first());
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        places = merged;
        width *= 2;
    }
    places
}

/// Puts the items at `places` in that order and drops the others.
fn pick<T>(items: &mut Vec<T>, places: &[usize]) {
    arrange(items.len(), places, &mut |left, right| items.swap(left, right));
    items.truncate(places.len());
}

/// Swaps `count` items until those at `places` come first, in that order.
fn arrange(count: usize, places: &[usize], swap: &mut dyn FnMut(usize, usize)) {
    let mut aims: Vec<Option<usize>> = vec![None; count];
    for (aim, place) in places.iter().enumerate() {
        if let Some(item) = aims.get_mut(*place) {
            *item = Some(aim);
        }
    }
    let mut behind = places.len()..count;
    for item in &mut aims {
        *item = item.or_else(|| behind.next());
    }
    for place in 0..count {
        // Each swap brings one item to where it stays.
        while let Some(aim) = aims.get(place).copied().flatten().filter(|aim| *aim != place) {
            swap(place, aim);
            aims.swap(place, aim);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn sorting_is_stable_and_loses_nothing() {
        let mut items: Vec<(u32, u32)> = (0..1000).map(|number| (number * 7919 % 13, number)).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|item| item.0);
        sort_by_key(&mut items, |item| item.0);
        assert_eq!(items, expected);
        let mut none: Vec<String> = Vec::new();
        sort(&mut none, Ord::cmp);
        assert!(none.is_empty());
    }

    #[test]
    fn a_map_is_what_the_library_s_is() {
        let mut number = 7_u64;
        let mut next = |limit: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % limit
        };
        for _ in 0..200 {
            let entries: Vec<(u64, u64)> = (0..next(40)).map(|_| (next(20), next(1000))).collect();
            let mut map: Map<u64, u64> = entries.iter().copied().collect();
            let mut other: BTreeMap<u64, u64> = entries.iter().copied().collect();
            for _ in 0..next(20) {
                let (key, value) = (next(25), next(1000));
                match next(4) {
                    0 => assert_eq!(map.insert(key, value), other.insert(key, value)),
                    1 => assert_eq!(map.remove(&key), other.remove(&key)),
                    2 => {
                        *map.entry(key).or_default() += *other.entry(key).and_modify(|v| *v *= 2).or_insert(3)
                            - map.get(&key).copied().unwrap_or_default()
                    }
                    _ => assert_eq!(map.get(&key), other.get(&key)),
                }
            }
            assert!(map.iter().eq(other.iter()) && map.len() == other.len());
            let json = serde_json::to_string(&map).unwrap();
            assert_eq!(json, serde_json::to_string(&other).unwrap());
            assert_eq!(crate::json::read::<Map<u64, u64>>(json.as_bytes()).unwrap(), map);
            let set: Set<u64> = entries.iter().map(|entry| entry.1).collect();
            assert!(set.iter().eq(&entries.iter().map(|entry| entry.1).collect::<BTreeSet<u64>>()));
        }
    }
}
