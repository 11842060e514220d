//! When lent keys are renewed.

use std::time::Duration;

/// Keys with less than this are as good as ended: a request takes its time.
pub(super) const ENDED: Duration = Duration::from_secs(10);

/// How long before their end keys are renewed, where they were lent for an hour or more; services lend new ones by then.
const EARLY: Duration = Duration::from_secs(300);

/// What is to be done before keys are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    None,
    /// They are to be renewed; where that fails they do for now.
    Soon,
    /// They can't be used any more.
    Now,
}

/// What is to be done about keys that have `left` of the `whole` time for which they were lent, and that should last for
/// `wanted`. Keys that are lent for a short time only are not asked for at each request: for a link at half of their time,
/// for a signature at a third of it.
pub(super) fn need(left: Duration, whole: Duration, wanted: Duration) -> Need {
    let early = EARLY.min(whole / 3).max(wanted.min(whole / 2));
    if left <= ENDED {
        Need::Now
    } else if left <= early {
        Need::Soon
    } else {
        Need::None
    }
}

/// How long after an attempt to renew keys that have `left` the next one is made.
pub(super) fn pause(left: Duration) -> Duration {
    (left / 10).clamp(Duration::from_secs(30), Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    fn at(left: u64, whole: u64, wanted: u64) -> Need {
        need(Duration::from_secs(left), Duration::from_secs(whole), Duration::from_secs(wanted))
    }

    #[test]
    fn keys_are_renewed_before_they_end_and_not_all_the_time() {
        for (left, whole, wanted, need) in [
            (60 * MINUTE, 60 * MINUTE, 0, Need::None),
            (6 * MINUTE, 60 * MINUTE, 0, Need::None),
            (5 * MINUTE, 60 * MINUTE, 0, Need::Soon),
            (11, 60 * MINUTE, 0, Need::Soon),
            (10, 60 * MINUTE, 0, Need::Now),
            (0, 60 * MINUTE, 0, Need::Now),
            // Those that came with little left.
            (2 * MINUTE, 3 * MINUTE, 0, Need::None),
            (MINUTE, 3 * MINUTE, 0, Need::Soon),
            // For links of an hour.
            (8 * MINUTE, 15 * MINUTE, 60 * MINUTE, Need::None),
            (7 * MINUTE, 15 * MINUTE, 60 * MINUTE, Need::Soon),
            (70 * MINUTE, 360 * MINUTE, 60 * MINUTE, Need::None),
            (50 * MINUTE, 360 * MINUTE, 60 * MINUTE, Need::Soon),
            // For links of a minute.
            (6 * MINUTE, 60 * MINUTE, 1, Need::None),
        ] {
            assert_eq!(at(left, whole, wanted), need, "{left} s of {whole} s, for {wanted} s");
        }
    }
}
