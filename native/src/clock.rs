//! Time as tokio has it.

use std::time::Duration;

use qdrant_backup_core::ports::{Clock, LocalBoxFuture};
use time::OffsetDateTime;
use tokio::time::Instant;

/// The runtime's clock.
pub struct Tokio {
    started: Instant,
    now: fn() -> OffsetDateTime,
}

impl Tokio {
    /// A clock whose time of day is what `now` says.
    pub fn new(now: fn() -> OffsetDateTime) -> Self {
        Self { started: Instant::now(), now }
    }
}

impl Clock for Tokio {
    fn now(&self) -> OffsetDateTime {
        (self.now)()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().0
    }
}
