//! The time of the stand-ins and of native runs: one clock, that of the runtime they are on.
//!
//! Where it is paused (`#[tokio::test(start_paused = true)]`), it stands still while anybody works, and goes on at once to
//! what is waited for when nobody does: no real second is waited for, and the times in names are those of this clock.

use std::sync::LazyLock;
use std::time::Duration;

use http::HeaderValue;
use time::OffsetDateTime;
use time::macros::format_description;

/// A date and what the monotonic clock said then.
static START: LazyLock<(OffsetDateTime, std::time::Instant)> =
    LazyLock::new(|| (OffsetDateTime::now_utc(), std::time::Instant::now()));

/// The date.
pub fn now() -> OffsetDateTime {
    let (date, start) = *START;
    let now = tokio::time::Instant::now().into_std();
    // A clock that was paused before anybody asked is a little behind.
    if now >= start { date + (now - start) } else { date - (start - now) }
}

/// Waits for the clock's next second: names of snapshots and backup sets tell two runs apart by it.
pub async fn another_second() {
    tokio::time::sleep(Duration::from_nanos(1_000_000_000 - u64::from(now().nanosecond()))).await;
}

/// A time as the header `Date` has it.
pub fn http_date(at: OffsetDateTime) -> HeaderValue {
    let form =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let text = at.format(form).expect("a date");
    HeaderValue::from_str(&text).expect("a header")
}
