//! Whether clocks agree: names and ages of backups, and links, depend on it.

use super::row::Row;
use crate::error::Error;

/// From how many seconds on it is told: a `Date` has whole seconds, and an answer takes its time.
const TOLD: u64 = 60;

/// By how much the clock of a server is ahead of ours, where it tells; `wrong`: a run is refused for it.
pub(super) fn row(area: &'static str, what: &str, ahead: Option<time::Duration>, wrong: Option<Error>) -> Row {
    match (ahead.map(time::Duration::whole_seconds), wrong) {
        (_, Some(wrong)) => Row::failed(area, what, wrong),
        (None, None) => Row::unknown(area, what, "its answers have no `Date`"),
        (Some(ahead), None) if ahead.unsigned_abs() < TOLD => Row::ok(area, what, "agrees with this machine's"),
        (Some(ahead), None) => {
            let which = if ahead < 0 { "behind" } else { "ahead of" };
            Row::warning(area, what, format!("{} s {which} this machine's", ahead.unsigned_abs()))
                .advice("set whichever is wrong: names and ages of backups, and links, depend on it")
        }
    }
}
