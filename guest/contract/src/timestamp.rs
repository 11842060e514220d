//! Timestamps as text, in UTC and to the second: the fixed forms of names, keys, log lines and S3 listings.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// A form, with a letter for each digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form(&'static str);

/// `2026-01-29 11:44:22`: log lines.
pub const LOG: Form = Form("YYYY-MM-DD hh:mm:ss");
/// A day.
pub const DATE: Form = Form("YYYY-MM-DD");
/// `2026-01-29T11:44:22Z` (RFC 3339): JSON.
pub const RFC3339: Form = Form("YYYY-MM-DDThh:mm:ssZ");
/// `2026-01-29-11-44-22`: the names of Qdrant's snapshots.
pub const SNAPSHOT: Form = Form("YYYY-MM-DD-hh-mm-ss");
/// `2026-01-29_11-44-22`: the names of copies of files.
pub const COPY: Form = Form("YYYY-MM-DD_hh-mm-ss");
/// `2026-01-29T11-44-22Z`: the keys of manifests.
pub const KEY: Form = Form("YYYY-MM-DDThh-mm-ssZ");

impl Form {
    /// How many characters it has.
    pub const fn length(self) -> usize {
        self.0.len()
    }

    /// `timestamp` in this form.
    pub fn write(self, timestamp: OffsetDateTime) -> String {
        let timestamp = timestamp.to_offset(time::UtcOffset::UTC);
        self.0
            .replace("YYYY", &format!("{:04}", timestamp.year()))
            .replace("MM", &format!("{:02}", u8::from(timestamp.month())))
            .replace("DD", &format!("{:02}", timestamp.day()))
            .replace("hh", &format!("{:02}", timestamp.hour()))
            .replace("mm", &format!("{:02}", timestamp.minute()))
            .replace("ss", &format!("{:02}", timestamp.second()))
    }

    /// The timestamp that `text` writes in just this form; `None` for anything else.
    pub fn read(self, text: &str) -> Option<OffsetDateTime> {
        let letters = self.0.bytes().zip(text.bytes());
        let fits =
            |(letter, byte): (u8, u8)| if b"YMDhms".contains(&letter) { byte.is_ascii_digit() } else { byte == letter };
        if text.len() != self.0.len() || !letters.into_iter().all(fits) {
            return None;
        }
        let number = |letters: &str| {
            let start = self.0.find(letters)?;
            text.get(start..start + letters.len())?.parse::<u16>().ok()
        };
        let small = |letters: &str| number(letters).and_then(|number| u8::try_from(number).ok());
        let month = Month::try_from(small("MM")?).ok()?;
        let date = Date::from_calendar_date(i32::from(number("YYYY")?), month, small("DD")?).ok()?;
        let time = Time::from_hms(small("hh")?, small("mm")?, small("ss")?).ok()?;
        Some(PrimitiveDateTime::new(date, time).assume_utc())
    }
}

/// The timestamp of an S3 listing, such as `2026-11-22T10:30:51.336Z`, to the second.
pub fn read_s3(text: &str) -> Option<OffsetDateTime> {
    let whole = text.split('.').next()?.trim_end_matches('Z');
    RFC3339.read(&format!("{whole}Z"))
}

/// The moment of an HTTP header such as `Date` (RFC 9110, 5.6.7).
pub fn read_http(text: &str) -> Option<OffsetDateTime> {
    httpdate::parse_http_date(text.trim()).ok().map(OffsetDateTime::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn every_form_is_written_and_read_back() {
        let timestamp = datetime!(2026-01-29 01:04:09 UTC);
        for (form, text) in [
            (LOG, "2026-01-29 01:04:09"),
            (RFC3339, "2026-01-29T01:04:09Z"),
            (SNAPSHOT, "2026-01-29-01-04-09"),
            (COPY, "2026-01-29_01-04-09"),
            (KEY, "2026-01-29T01-04-09Z"),
        ] {
            assert_eq!(form.write(timestamp), text);
            assert_eq!(form.write(datetime!(2026-01-29 02:04:09.9 +1)), text);
            assert_eq!(form.read(text), Some(timestamp));
            assert_eq!(text.len(), form.length());
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for text in [
            "",
            "2026-13-29-01-04-09",
            "2026-02-30-01-04-09",
            "2026-01-29-24-04-09",
            "+026-01-29-01-04-09",
            "2026-01-29-01-04-0ü",
            "2026-01-29_01-04-09",
            "2026-01-29-01-04-091",
        ] {
            assert_eq!(SNAPSHOT.read(text), None, "{text}");
        }
    }

    #[test]
    fn listings_have_fractions_or_none() {
        let timestamp = Some(datetime!(2026-11-22 10:30:51 UTC));
        assert_eq!(read_s3("2026-11-22T10:30:51.336Z"), timestamp);
        assert_eq!(read_s3("2026-11-22T10:30:51Z"), timestamp);
        assert_eq!(read_s3("yesterday"), None);
    }

    #[test]
    fn headers_have_dates_of_three_forms() {
        let moment = Some(datetime!(1994-11-06 08:49:37 UTC));
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", " Sun Nov  6 08:49:37 1994"] {
            assert_eq!(read_http(text), moment, "{text}");
        }
        assert_eq!(read_http("120"), None);
    }
}
