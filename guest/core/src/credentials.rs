//! The bucket's keys: those in settings, or those that a service lends for a while and that are renewed before they end.
//!
//! ```text
//! provider   gives keys for a signature, has them renewed
//! renewal    when they are renewed
//! source     asks the service
//! answer     what it answers
//! ```

mod answer;
mod error;
mod provider;
mod renewal;
mod source;

pub use error::CredentialsError;
pub(crate) use provider::Provider;

use std::time::Duration;

use time::OffsetDateTime;

use crate::settings::Keys;

/// Keys, and until when they are good.
#[derive(Debug)]
pub(crate) struct Lent {
    /// What requests are signed with.
    pub keys: Keys,
    /// When they were lent.
    since: OffsetDateTime,
    /// When they end; `None`: nobody said that they do.
    until: Option<OffsetDateTime>,
}

impl Lent {
    /// How long they are still good at `now`; `None`: without an end.
    fn left(&self, now: OffsetDateTime) -> Option<Duration> {
        self.until.map(|until| Duration::try_from(until - now).unwrap_or_default())
    }
}
