//! How long to wait before a call is repeated.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::ports::Clock;

/// How often a call is sent at most when repeating it can do no harm.
pub(crate) const ATTEMPTS: u32 = 5;

/// The longest wait that a server may ask for.
const LONGEST: Duration = Duration::from_secs(120);

/// The pause after `attempt` (from 1): exponential, with jitter so that many calls do not come back together; the
/// server's own wish first.
pub(crate) fn pause(clock: &dyn Clock, attempt: u32, wish: Option<Duration>) -> Duration {
    if let Some(wish) = wish {
        return wish.min(LONGEST);
    }
    let ceiling = 250_u64 << attempt.min(6);
    Duration::from_millis(ceiling / 2 + clock.random() % (ceiling / 2))
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3); the form with a date is not used by Qdrant or S3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::nothing::Still;

    #[test]
    fn pauses_grow_with_jitter_and_stay_bounded() {
        for random in [0, 7, u64::MAX] {
            for attempt in 1..40 {
                let pause = pause(&Still(random), attempt, None);
                let ceiling = Duration::from_millis(250 << attempt.min(6));
                assert!(pause >= ceiling / 2 && pause <= ceiling, "{attempt}: {pause:?}");
            }
        }
        assert_eq!(pause(&Still(0), 1, Some(Duration::from_secs(9))), Duration::from_secs(9));
        assert_eq!(pause(&Still(0), 1, Some(Duration::from_secs(1 << 40))), LONGEST);
    }
}
