//! The days of a calendar, and what each has: a pure function of the sets.

use time::{Date, OffsetDateTime};

use super::{CollectionRow, Overview, SetRow, Standing};
use crate::sets::Level;

/// How many days are shown at most, today included.
const DAYS: i32 = 35;

/// The days that are shown, the oldest first: from that of the oldest set on, as far as there is room.
pub(super) fn days(all: &Overview) -> Vec<Date> {
    let today = all.made_at.date().to_julian_day();
    let sets = all.collections.iter().flat_map(|collection| &collection.sets);
    let first = sets.filter_map(|set| day(set, all.made_at)).map(Date::to_julian_day).min().unwrap_or(today);
    // A few days make a calendar, one makes none.
    let first = first.max(today - DAYS + 1).min(today - 6);
    (first..=today).filter_map(|day| Date::from_julian_day(day).ok()).collect()
}

/// The day of a set; `None` for one without a date, or with one in the future.
pub(super) fn day(set: &SetRow, now: OffsetDateTime) -> Option<Date> {
    set.started.map(OffsetDateTime::date).filter(|day| *day <= now.date())
}

/// What stands for a set in the calendar: a letter, the class of its shape, and its word. The first is what is to be shown
/// where a day has several.
pub(super) const MARKS: [(&str, &str, &str); 7] = [
    ("\u{d7}", "bad", "failed: damaged, or `verify` has found it wrong"),
    ("?", "unk", "not known: could not be looked at"),
    ("P", "part", "partial: lacks a shard"),
    ("C", "chk", "recorded or checked: there, and not all is known that a restore is verified with"),
    ("R", "res", "restorable: checked when it was made, with all that a restore needs"),
    ("V", "ver", "verified: the last `verify` has found it unchanged"),
    ("D", "dri", "drilled: restored once by a drill, and verified"),
];

/// The place in [`MARKS`] of what stands for a set.
pub(super) fn mark(standing: &Standing) -> usize {
    match standing {
        Standing::Failed(_) => 0,
        Standing::Unknown(_) => 1,
        Standing::Partial(_) => 2,
        Standing::Good(Level::Drilled) | Standing::Verified(Level::Drilled) => 6,
        Standing::Verified(_) => 5,
        Standing::Good(Level::Restorable) => 4,
        Standing::Good(_) => 3,
    }
}

/// What a collection has on one day.
pub(super) struct Cell {
    pub mark: usize,
    pub sets: usize,
    /// True where retention removes all of it.
    pub goes: bool,
}

pub(super) fn cell(collection: &CollectionRow, date: Date, now: OffsetDateTime) -> Option<Cell> {
    let sets = || collection.sets.iter().filter(|set| day(set, now) == Some(date));
    Some(Cell {
        mark: sets().map(|set| mark(&set.standing)).min()?,
        sets: sets().count(),
        goes: sets().all(|set| matches!(set.verdict, Some((false, _)))),
    })
}

/// How many sets are on none of the days that are shown.
pub(super) fn others(collection: &CollectionRow, days: &[Date], now: OffsetDateTime) -> usize {
    let shown = |set: &&SetRow| day(set, now).is_some_and(|day| days.first().is_some_and(|first| day >= *first));
    collection.sets.len() - collection.sets.iter().filter(shown).count()
}
