//! Time and chance.

use std::time::Duration;

use qdrant_backup_core::ports::{Clock, LocalBoxFuture};
use time::OffsetDateTime;
use wasip2::clocks::{monotonic_clock, wall_clock};

use crate::executor::sleep;

/// The clocks of WASI.
pub struct WasiClock;

impl Clock for WasiClock {
    fn now(&self) -> OffsetDateTime {
        let now = wall_clock::now();
        let seconds = i64::try_from(now.seconds).unwrap_or(i64::MAX);
        let whole = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        whole + Duration::from_nanos(u64::from(now.nanoseconds))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(sleep(duration))
    }

    fn random(&self) -> u64 {
        wasip2::random::random::get_random_u64()
    }
}
