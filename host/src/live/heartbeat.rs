//! What is said where the log says nothing for long.

use std::time::{Duration, Instant};

use qdrant_backup_contract::printable;

use super::lines::time;
use super::work::Work;

/// How long the log may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What `work` is at, where the log has been silent for 30 s; `None` where it has not.
pub fn heartbeat(work: &mut Work, now: Instant) -> Option<String> {
    if now.saturating_duration_since(work.spoke()) < SILENCE {
        return None;
    }
    work.has_spoken(now);
    let since = |then: Instant| time(now.saturating_duration_since(then));
    if let Some((text, then)) = work.waiting(now) {
        return Some(format!("still waiting, for {}: {text}", since(then)));
    }
    let mut text = format!("still at work, for {}", since(work.begun));
    let Some(first) = work.at_work.first() else { return Some(text) };
    let (step, then) = match &first.step {
        Some((step, then)) => (format!(" ({step})"), *then),
        None => (String::new(), first.begun),
    };
    text.push_str(&format!(": `{}`{step} for {}", printable::in_one_line(&first.name), since(then)));
    match work.at_work.len() - 1 {
        0 => {}
        1 => text.push_str(", and 1 more collection"),
        more => text.push_str(&format!(", and {more} more collections")),
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::work::tests::{begun, step};
    use crate::sandbox::operations::{Event, Level, LogLine};

    #[test]
    fn silence_is_broken_every_30_s() {
        let now = Instant::now();
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let mut work = Work::new("restore", now);
        assert_eq!(heartbeat(&mut work, later(29)), None);
        assert_eq!(heartbeat(&mut work, later(30)).as_deref(), Some("still at work, for 30 s"));
        assert_eq!(heartbeat(&mut work, later(59)), None);
        work.take(&begun("docs", 3), later(50));
        work.take(&begun("b", 3), later(51));
        work.take(&step("docs", "recovering its shards"), later(55));
        let said = "still at work, for 1 min 00 s: `docs` (recovering its shards) for 5 s, and 1 more collection";
        assert_eq!(heartbeat(&mut work, later(60)).as_deref(), Some(said));
        // The log itself says something.
        let line = LogLine { level: Level::Info, host: None, text: "x".to_owned() };
        work.take(&Event::Log(line), later(80));
        assert_eq!(heartbeat(&mut work, later(100)), None);
        work.take(&Event::WaitingFor("S3 answers 503".to_owned()), later(105));
        let said = "still waiting, for 5 s: S3 answers 503";
        assert_eq!(heartbeat(&mut work, later(110)).as_deref(), Some(said));
    }
}
