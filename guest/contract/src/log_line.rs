//! The form of log lines, which is an interface: one event a line.

use serde_json::json;
use time::OffsetDateTime;

use crate::printable;
use crate::settings::LogFormat;
use crate::timestamp;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What happens.
    Info,
    /// Something a person should know.
    Warn,
    /// Something failed.
    Error,
}

/// One log line: `[2026-01-29 11:44:22] [host] text`, or a JSON object with `time`, `level`, `host` (where there is
/// one) and `message`. Times are UTC.
pub fn line(format: LogFormat, now: OffsetDateTime, level: Level, host: Option<&str>, text: &str) -> String {
    match format {
        LogFormat::Text => {
            let host = host.map(|host| format!("[{host}] ")).unwrap_or_default();
            let level = if level == Level::Warn { "warning: " } else { "" };
            let line = format!("[{}] {host}{level}{text}", timestamp::LOG.write(now));
            printable::in_one_line(&line)
        }
        LogFormat::Json => {
            let level = match level {
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            let mut object = json!({"time": timestamp::RFC3339.write(now), "level": level, "message": text});
            if let (Some(host), Some(fields)) = (host, object.as_object_mut()) {
                fields.insert("host".to_owned(), host.into());
            }
            printable::json(&object)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-29 11:44:22.5 UTC);

    #[test]
    fn text_lines_have_time_and_host() {
        assert_eq!(
            line(LogFormat::Text, NOW, Level::Info, Some("http://qdrant:6333"), "done"),
            "[2026-01-29 11:44:22] [http://qdrant:6333] done"
        );
        assert_eq!(line(LogFormat::Text, NOW, Level::Warn, None, "odd"), "[2026-01-29 11:44:22] warning: odd");
    }

    #[test]
    fn no_text_begins_a_line_of_its_own() {
        assert_eq!(line(LogFormat::Text, NOW, Level::Error, None, "a\nb\u{1b}[31m"), "[2026-01-29 11:44:22] a b [31m");
        assert!(!line(LogFormat::Json, NOW, Level::Error, None, "a\nb").contains('\n'));
        for format in [LogFormat::Text, LogFormat::Json] {
            let shown = line(format, NOW, Level::Error, Some("h\u{202e}"), "a\u{202e}b\u{9b}");
            assert!(!shown.contains(['\u{202e}', '\u{9b}']), "{shown}");
        }
    }

    #[test]
    fn json_lines_are_objects() {
        let line = line(LogFormat::Json, NOW, Level::Error, Some("h"), "say \"no\"");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["time"], "2026-01-29T11:44:22Z");
        assert_eq!(
            (&object["level"], &object["host"], &object["message"]),
            (&"error".into(), &"h".into(), &"say \"no\"".into())
        );
    }
}
