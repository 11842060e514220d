//! How many points a shard must have: what the counts around the making of its snapshot tell, and no more.

use std::fmt;

use crate::manifest::Points;

/// The least and the most points that a snapshot may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// How the counts were made.
    pub kind: Kind,
}

/// What counts are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exact, and the same before and after. A point deleted and another one inserted meanwhile leaves them the same, so
    /// that a snapshot may still differ: `QDRANT_VERIFY_TOLERANCE_PCT`, where it is set, is for that.
    Equal,
    /// Exact, with writes in between.
    Changing,
    /// Not exact, or counted once only.
    Estimate,
}

/// By how many percent a count may be off where it isn't known exactly and nobody has set it.
const DEFAULT_TOLERANCE: u64 = 1;

/// What a count says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is within the bounds.
    Right,
    /// It is outside of them, and within the tolerance: says by how much.
    Off(String),
    /// It can't be the snapshot's: says why.
    Wrong(String),
}

impl Bounds {
    /// From exact counts before and after; `None` where there is none.
    pub fn of(points: Points) -> Option<Self> {
        let bounds = |one: u64, other: u64, kind| Self { least: one.min(other), most: one.max(other), kind };
        match (points.before, points.after) {
            (Some(before), Some(after)) if before == after => Some(bounds(before, after, Kind::Equal)),
            (Some(before), Some(after)) => Some(bounds(before, after, Kind::Changing)),
            (Some(once), None) | (None, Some(once)) => Some(bounds(once, once, Kind::Estimate)),
            (None, None) => None,
        }
    }

    /// A count that is not exact.
    pub fn estimate(points: u64) -> Self {
        Self { least: points, most: points, kind: Kind::Estimate }
    }

    /// The number itself, where before and after agree.
    pub(super) fn equal(self) -> Option<u64> {
        (self.kind == Kind::Equal).then_some(self.least)
    }

    /// Bounds for a snapshot of which one of these is made.
    pub(super) fn or(self, other: Self) -> Self {
        let kind = if self == other { self.kind } else { Kind::Changing };
        Self { least: self.least.min(other.least), most: self.most.max(other.most), kind }
    }

    /// The same, where so many points may be there and in no count.
    pub(super) fn with_hidden(self, points: u64) -> Self {
        Self { least: self.least.saturating_sub(points), ..self }
    }

    /// Judges the number of points that `what` has now. `tolerance`: `QDRANT_VERIFY_TOLERANCE_PCT`, where it is set.
    pub(super) fn judge(self, what: &str, found: u64, tolerance: Option<u64>) -> Judgement {
        if found >= self.least && found <= self.most {
            return Judgement::Right;
        }
        let by = if found < self.least {
            format!("{} fewer", self.least - found)
        } else {
            format!("{} more", found - self.most)
        };
        let off = format!("{what} has {found} points and had {self} when it was backed up, {by}");
        // What ends empty is no matter of percent.
        if found == 0 {
            return Judgement::Wrong(off);
        }
        let percent = tolerance.unwrap_or(if self.kind == Kind::Equal { 0 } else { DEFAULT_TOLERANCE });
        let slack = |points: u64| points.saturating_mul(percent).div_ceil(100);
        let within = found >= self.least.saturating_sub(slack(self.least))
            && found <= self.most.saturating_add(slack(self.most));
        if within {
            Judgement::Off(off)
        } else {
            Judgement::Wrong(format!("{off}, which differs by more than QDRANT_VERIFY_TOLERANCE_PCT={percent}"))
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Estimate => write!(f, "about {}", self.least),
            Kind::Equal => write!(f, "{}", self.least),
            Kind::Changing => write!(f, "{} to {}", self.least, self.most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(before: u64, after: u64) -> Option<Bounds> {
        Bounds::of(Points { before: Some(before), after: Some(after) })
    }

    fn judge(bounds: Option<Bounds>, found: u64, tolerance: Option<u64>) -> Option<Judgement> {
        bounds.map(|bounds| bounds.judge("shard 0", found, tolerance))
    }

    #[test]
    fn a_count_is_held_against_both_sides() {
        for (before, after) in [(9, 12), (12, 9)] {
            for found in 9..=12 {
                assert_eq!(judge(bounds(before, after), found, Some(0)), Some(Judgement::Right));
            }
            for found in [8, 13] {
                assert!(matches!(judge(bounds(before, after), found, Some(0)), Some(Judgement::Wrong(_))), "{found}");
            }
        }
        assert_eq!(Bounds::of(Points::default()), None);
    }

    #[test]
    fn the_tolerance_is_exact_to_the_point() {
        for (found, right) in [(989, false), (990, true), (1010, true), (1011, false)] {
            let judged = Bounds::estimate(1000).judge("it", found, None);
            assert_eq!(matches!(judged, Judgement::Off(_)), right, "{found}: {judged:?}");
        }
    }

    #[test]
    fn equal_counts_bend_only_where_a_person_says_so() {
        assert!(matches!(judge(bounds(100, 100), 99, None), Some(Judgement::Wrong(_))));
        let Some(Judgement::Off(note)) = judge(bounds(100, 100), 99, Some(1)) else { unreachable!("within 1 %") };
        assert_eq!(note, "shard 0 has 99 points and had 100 when it was backed up, 1 fewer");
        assert!(matches!(judge(bounds(100, 100), 98, Some(1)), Some(Judgement::Wrong(_))));
    }

    #[test]
    fn two_that_agree_are_as_exact_as_each() {
        let either = |one: Option<Bounds>, other: Option<Bounds>| one.zip(other).map(|(one, other)| one.or(other));
        assert_eq!(either(bounds(100, 100), bounds(100, 100)), bounds(100, 100));
        assert_eq!(either(bounds(100, 100), bounds(98, 98)), bounds(98, 100));
        assert_eq!(
            either(bounds(100, 100), Some(Bounds::estimate(100))),
            bounds(100, 100).map(|one| Bounds { kind: Kind::Changing, ..one })
        );
    }

    #[test]
    fn what_ends_empty_is_within_no_tolerance() {
        for bounds in [bounds(9, 10), bounds(1, 1), Some(Bounds::estimate(1))] {
            assert!(matches!(judge(bounds, 0, Some(100)), Some(Judgement::Wrong(_))));
        }
        assert_eq!(judge(bounds(0, 3), 0, None), Some(Judgement::Right));
    }
}
