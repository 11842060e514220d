//! What a run looks like while it lasts: on a terminal lines below the log, elsewhere a line where the log is silent for
//! long.
//!
//! ```text
//! work                what a run is at, from its events
//! lines, heartbeat    the same as text, for a terminal and for a log
//! summary, next       how it ended, and what to type next
//! paint               colours by outcome
//! screen              draws
//! ```
//!
//! All but the last is without I/O.

mod heartbeat;
mod lines;
mod next;
mod paint;
mod screen;
mod summary;
mod work;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use qdrant_backup_contract::settings::LogFormat;
use tokio::time::{MissedTickBehavior, interval};

use crate::ended::Ended;
use crate::io::Io;
use crate::messages::Messages;
use crate::options::Options;
use crate::sandbox::Cancel;
use crate::sandbox::operations::Event;
use heartbeat::heartbeat;
use paint::Paint;
pub use screen::Screen;
use work::Work;

/// How often is looked what is to be shown.
const LOOK: Duration = Duration::from_millis(100);

/// What ends sooner needs no lines below its log.
const SOON: Duration = Duration::from_secs(1);

/// `io` with lines below the log, where it is a terminal and they are wanted.
pub fn on_terminal(options: &Options, io: &Io) -> Io {
    let is_wanted = options.progress && Messages::format_of(&options.settings) == LogFormat::Text;
    match io {
        Io::Inherit if is_wanted && std::io::stderr().is_terminal() => {
            Io::Live(Screen::new(Paint { colours: options.colours }))
        }
        other => other.clone(),
    }
}

/// Leaves the terminal as it was, and says how the run ended, where that is known.
pub fn end(options: &Options, io: &Io, ended: Option<&Ended>) {
    let Io::Live(screen) = io else { return };
    screen.end();
    let (columns, paint) = (Screen::room().columns, screen.paint());
    let lines = match ended {
        Some(Ended { report: Some(report), .. }) if !options.task.row().answers => {
            summary::summary(options, report, columns, paint)
        }
        Some(Ended { error: Some(error), .. }) => summary::why_not(options, error, paint),
        _ => Vec::new(),
    };
    lines.iter().for_each(|line| io.line(line));
}

/// Shows what a run is at.
pub struct Shown<'a> {
    work: Mutex<Work>,
    io: &'a Io,
    messages: &'a Messages,
    cancel: Cancel,
}

impl<'a> Shown<'a> {
    /// For a run of `task` that begins now.
    pub fn new(task: &str, io: &'a Io, messages: &'a Messages, cancel: Cancel) -> Self {
        Self { work: Mutex::new(Work::new(task, Instant::now())), io, messages, cancel }
    }

    /// Something happens.
    pub fn take(&self, event: &Event) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take(event, Instant::now());
    }

    /// Shows it, until it is dropped.
    pub async fn go_on(&self) -> Infallible {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(Instant::now());
        }
    }

    fn look(&self, now: Instant) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.is_ending = self.cancel.is_asked();
        let Io::Live(screen) = self.io else {
            if let Some(text) = heartbeat(&mut work, now) {
                self.messages.info(&text);
            }
            return;
        };
        if work.total() > 0 || now.saturating_duration_since(work.begun) >= SOON {
            screen.draw(lines::lines(&work, now, Screen::room(), screen.paint()));
        }
    }
}

#[cfg(test)]
mod tests {
    use qdrant_backup_contract::tasks::Task;

    use super::*;

    #[test]
    fn a_silent_log_has_a_line_every_30_s() {
        let (io, captured) = Io::capture();
        let messages = Messages::new(io.clone(), LogFormat::Text);
        let shown = Shown::new("restore", &io, &messages, Cancel::default());
        let now = Instant::now();
        for seconds in [1, 31, 32, 62] {
            shown.look(now + Duration::from_secs(seconds));
        }
        let said: Vec<String> = captured.stderr().lines().map(|line| line.chars().skip(22).collect()).collect();
        assert_eq!(said, ["still at work, for 31 s", "still at work, for 1 min 02 s"]);
    }

    #[test]
    fn buffers_are_no_terminal() {
        let (io, _) = Io::capture();
        assert!(matches!(on_terminal(&Options::new(Task::Verify), &io), Io::Capture(_)));
    }
}
