//! Durations as people write them.

use std::time::Duration;

const MINUTE: Duration = minutes(1);
/// An hour.
pub(super) const HOUR: Duration = minutes(60);
const DAY: Duration = days(1);

/// So many minutes.
pub(super) const fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

/// So many days.
pub(super) const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 86_400)
}

/// Reads a duration: `3600`, `3600s`, `60m`, `1h`, `7d`.
///
/// # Errors
/// Anything else, in words.
pub fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a duration such as 3600, 3600s, 60m or 1h");
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "seconds" => 1,
        "m" | "min" | "minutes" => MINUTE.as_secs(),
        "h" | "hours" => HOUR.as_secs(),
        "d" | "days" => DAY.as_secs(),
        _ => return Err(error()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long for a duration"))
}

/// `time`, of whole seconds, in the largest unit that takes it whole: `7d`, `90s`.
pub fn show(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")];
    let whole = units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(unit.as_secs()));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit.as_secs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_no_overflow() {
        for (text, seconds) in
            [("3600", 3600), ("3600s", 3600), ("60m", 3600), ("1h", 3600), ("7d", 7 * 86_400), (" 90 ", 90)]
        {
            assert_eq!(parse(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "s", "1w", "-1", "1.5h", "abc", "99999999999999999999", "9999999999999999d", "1h30m"] {
            assert!(parse(text).unwrap_err().contains("a duration"), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (1800, "30m"), (3600, "1h"), (172_800, "2d")] {
            assert_eq!(show(Duration::from_secs(seconds)), text);
            assert_eq!(parse(text).unwrap().as_secs(), seconds);
        }
    }
}
