//! Sizes over time: which figures a chart shows, and where its points lie.

use time::Date;

use super::{CollectionRow, Overview, calendar};

/// The bytes of the newest set that each of these collections had on each day: how large a backup was. Between two sets a
/// collection is as large as at the first of them; one that was dropped ends with its last set.
pub(super) fn sizes<'a>(
    all: &Overview,
    of: impl Iterator<Item = &'a CollectionRow> + Clone,
    days: &[Date],
) -> Vec<u64> {
    let on = |day: &Date| {
        let of_one = |collection: &CollectionRow| {
            let sized = collection.sets.iter().filter_map(|set| {
                let (at, bytes) = (calendar::day(set, all.made_at)?, set.bytes?);
                set.standing.is_good().then_some((at, bytes))
            });
            let last = sized.clone().map(|(at, _)| at).max();
            if collection.dropped == Some(true) && last.is_some_and(|last| last < *day) {
                return 0;
            }
            sized.filter(|(at, _)| at <= day).max_by_key(|(at, _)| *at).map_or(0, |(_, bytes)| bytes)
        };
        crate::report::total(of.clone().map(of_one))
    };
    days.iter().map(on).collect()
}

/// A chart's edges within its picture, in the picture's units.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub left: u64,
    pub right: u64,
    pub top: u64,
    pub bottom: u64,
}

/// The points of a line of `figures` from the left edge to the right one; the bottom stands for 0 and the top for `most`.
pub(super) fn points(figures: &[u64], most: u64, area: Area) -> Vec<(u64, u64)> {
    let part = |length: u64, of: u64, whole: u64| {
        u64::try_from(u128::from(length) * u128::from(of) / u128::from(whole.max(1))).unwrap_or(length)
    };
    let steps = figures.len().saturating_sub(1) as u64;
    let place = |(number, figure): (usize, &u64)| {
        let x = area.left + part(area.right - area.left, number as u64, steps);
        (x, area.bottom - part(area.bottom - area.top, (*figure).min(most), most))
    };
    figures.iter().enumerate().map(place).collect()
}

/// A round figure of bytes that is not less than `bytes`, for the top of a chart: 1, 2, 3, 4, 5, 6 or 8 times a power of two
/// or ten of a unit.
pub(super) fn ceiling(bytes: u64) -> u64 {
    let mut unit: u64 = 1;
    while bytes > unit.saturating_mul(1000) {
        unit = unit.saturating_mul(1024);
    }
    let steps = [1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 800, 1000];
    steps.iter().map(|step| unit.saturating_mul(*step)).find(|round| *round >= bytes).unwrap_or(u64::MAX)
}
