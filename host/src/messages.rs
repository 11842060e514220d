//! The host's own log lines, in the form of the component's.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::SystemTime;

use qdrant_backup_core::settings::LogFormat;
use time::OffsetDateTime;
use time::macros::format_description;

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
        Self {
            io,
            format,
            said: Mutex::default(),
        }
    }

    /// `LOG_FORMAT` among `settings`; anything but `json` is text, the component reports wrong values.
    pub fn format_of(settings: &[(String, String)]) -> LogFormat {
        let json = settings
            .iter()
            .any(|(name, value)| name == "LOG_FORMAT" && value.trim().eq_ignore_ascii_case("json"));
        if json { LogFormat::Json } else { LogFormat::Text }
    }

    /// Something a person should know.
    pub fn warn(&self, text: &str) {
        self.write("warn", text);
    }

    /// Why the run has failed.
    pub fn error(&self, text: &str) {
        self.write("error", text);
    }

    /// As [`Messages::warn`], but the same text only once: a denied server is asked again and again.
    pub fn once(&self, text: &str) {
        let first = self
            .said
            .lock()
            .map(|mut said| said.insert(text.to_string()))
            .unwrap_or(true);
        if first {
            self.warn(text);
        }
    }

    fn write(&self, level: &str, text: &str) {
        self.io
            .line(&line(self.format, OffsetDateTime::from(SystemTime::now()), level, text));
    }
}

fn line(format: LogFormat, now: OffsetDateTime, level: &str, text: &str) -> String {
    match format {
        LogFormat::Text => {
            let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
            format!("[{}] [{SOURCE}] {text}", now.format(form).unwrap_or_default())
        }
        LogFormat::Json => {
            let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
            let time = now.format(form).unwrap_or_default();
            serde_json::json!({ "time": time, "level": level, "host": SOURCE, "message": text }).to_string()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        time::macros::datetime!(2026-01-29 11:44:22.5 UTC)
    }

    #[test]
    fn lines_look_like_the_component_s() {
        assert_eq!(
            line(LogFormat::Text, now(), "warn", "a \"b\""),
            "[2026-01-29 11:44:22] [sandbox] a \"b\""
        );
        let json = line(LogFormat::Json, now(), "error", "a \"b\"\n");
        assert!(!json.contains('\n'));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["time"], "2026-01-29T11:44:22Z");
        assert_eq!(json["level"], "error");
        assert_eq!(json["message"], "a \"b\"\n");
    }

    #[test]
    fn the_same_text_is_said_once() {
        let (io, captured) = Io::capture();
        let messages = Messages::new(io, LogFormat::Text);
        messages.once("a");
        messages.once("b");
        messages.once("a");
        messages.warn("a");
        let said: Vec<_> = captured
            .stderr()
            .lines()
            .map(|line| line.chars().last().unwrap())
            .collect();
        assert_eq!(said, ['a', 'b', 'a']);
    }
}
