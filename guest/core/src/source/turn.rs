//! When a source has its snapshots of shards made, where several store them under the same keys.

use std::time::Duration;

use time::OffsetDateTime;

/// The seconds in which a source has its snapshots of shards made: one of this many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    index: u64,
    of: u64,
}

impl Turn {
    /// The turn of the source of this number among this many.
    pub fn new(number: u64, of: u64) -> Self {
        let of = of.max(1);
        Self { index: number % of, of }
    }

    /// How long to wait until it is this source's turn, and early enough in its second for the request to get there.
    pub fn wait(self, now: OffsetDateTime) -> Duration {
        let second = now.unix_timestamp().rem_euclid(i64::from(u32::MAX)).unsigned_abs();
        let into = Duration::from_nanos(u64::from(now.nanosecond()));
        let mut ahead = (self.index + self.of - second % self.of) % self.of;
        if ahead == 0 {
            if into < Duration::from_millis(500) {
                return Duration::ZERO;
            }
            ahead = self.of;
        }
        Duration::from_secs(ahead).saturating_sub(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-02 02:00:00 UTC);

    #[test]
    fn a_turn_begins_with_its_second() {
        let second = NOW.unix_timestamp().unsigned_abs() % 3;
        let wait = |index: u64, milliseconds: i64| {
            Turn::new(second + index, 3).wait(NOW + time::Duration::milliseconds(milliseconds)).as_millis()
        };
        assert_eq!((wait(0, 0), wait(0, 499), wait(0, 500), wait(0, 900)), (0, 0, 2500, 2100));
        assert_eq!((wait(1, 0), wait(1, 400), wait(2, 400), wait(1, 1100)), (1000, 600, 1600, 0));
    }
}
