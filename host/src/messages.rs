//! The host's own log lines, in the form of the component's.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::SystemTime;

use qdrant_backup_contract::log_line::{self, Level};
use qdrant_backup_contract::settings::LogFormat;
use time::OffsetDateTime;

use crate::io::Io;

/// The place of a host's name in the host's own lines.
const SOURCE: &str = "sandbox";

/// Writes log lines to standard error.
pub struct Messages {
    io: Io,
    format: LogFormat,
    said: Mutex<HashSet<String>>,
}

impl Messages {
    /// Writes to `io`'s standard error.
    pub fn new(io: Io, format: LogFormat) -> Self {
        Self { io, format, said: Mutex::default() }
    }

    /// `LOG_FORMAT` among `settings`; anything but `json` is text, the component reports wrong values.
    pub fn format_of(settings: &[(String, String)]) -> LogFormat {
        let json =
            settings.iter().any(|(name, value)| name == "LOG_FORMAT" && value.trim().eq_ignore_ascii_case("json"));
        if json { LogFormat::Json } else { LogFormat::Text }
    }

    /// What happens, in the component's place.
    pub fn info(&self, text: &str) {
        self.say(Level::Info, None, text);
    }

    /// Something a person should know.
    pub fn warn(&self, text: &str) {
        self.write(Level::Warn, text);
    }

    /// Why the sandbox ended the run.
    pub fn error(&self, text: &str) {
        self.write(Level::Error, text);
    }

    /// Why the component could not do its task, in its own words.
    pub fn failed(&self, text: &str) {
        self.say(Level::Error, None, text);
    }

    /// As [`Messages::warn`], but the same text only once: a denied server is asked again and again.
    pub fn once(&self, text: &str) {
        let first = self.said.lock().map(|mut said| said.insert(text.to_string())).unwrap_or(true);
        if first {
            self.warn(text);
        }
    }

    fn write(&self, level: Level, text: &str) {
        self.say(level, Some(SOURCE), text);
    }

    fn say(&self, level: Level, source: Option<&str>, text: &str) {
        let now = OffsetDateTime::from(SystemTime::now());
        self.io.line(&log_line::line(self.format, now, level, source, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_said_once() {
        let (io, captured) = Io::capture();
        let messages = Messages::new(io, LogFormat::Text);
        messages.once("a");
        messages.once("b");
        messages.once("a");
        messages.warn("a");
        let said: Vec<_> = captured.stderr().lines().map(|line| line.chars().last()).collect();
        assert_eq!(said, ['a', 'b', 'a'].map(Some));
    }
}
