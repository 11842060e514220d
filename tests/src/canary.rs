//! Looks for secrets where none may be: after every run of the program, in all that it printed and wrote.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

use crate::s3::S3;

/// The settings that nobody else may know. A value of less than 12 characters is an ordinary word in some test.
const SECRET_SETTINGS: &[&str] = &[
    "QDRANT_API_KEY",
    "QDRANT_RESTORE_API_KEY",
    "QDRANT_S3_SECRET_ACCESS_KEY",
    "QDRANT_S3_SESSION_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// What may stay as it is in a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Secrets in all the forms in which they could turn up.
pub struct Canaries {
    forms: BTreeSet<String>,
    /// Of the requests' headers: thousands after a long test, so that they are looked up and not searched for one by one.
    signatures: HashSet<String>,
}

/// The digits of a signature: SHA-256 in hex.
const SIGNATURE: usize = 64;

impl Canaries {
    /// The secrets among `settings`.
    pub fn among<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut canaries = Self { forms: BTreeSet::new(), signatures: HashSet::new() };
        for (name, value) in settings {
            if SECRET_SETTINGS.contains(&name) && value.trim().len() >= 12 {
                canaries.add(value.trim());
            }
        }
        canaries
    }

    /// And the signatures of all the links by which Qdrant has fetched something from `s3`, and those of the headers.
    pub fn and_signatures(mut self, s3: &S3) -> Self {
        for request in s3.requests() {
            let uri = request.uri.to_string();
            if let Some((_, signature)) = uri.split_once("X-Amz-Signature=") {
                self.add(signature.split('&').next().unwrap_or_default());
            }
            let header = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
            if let Some((_, signature)) = header.split_once("Signature=") {
                assert!(hex_runs(signature).eq([signature]) && signature.len() == SIGNATURE, "{signature}");
                self.signatures.insert(signature.to_owned());
            }
        }
        self
    }

    fn add(&mut self, secret: &str) {
        let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let json = serde_json::Value::from(secret).to_string();
        self.forms.extend([
            secret.to_owned(),
            percent.to_lowercase(),
            // Of a link within a link.
            percent_encode(percent.as_bytes(), NON_ALPHANUMERIC).to_string(),
            secret.replace(' ', "+"),
            json.trim_matches('"').to_owned(),
            percent,
        ]);
        self.forms.insert(utf8_percent_encode(secret, UNRESERVED).to_string());
        // Within a longer text base64 may begin at any of three places; what comes before and after changes the ends.
        for before in ["", "x", "xx"] {
            for engine in [&STANDARD, &URL_SAFE] {
                let whole = engine.encode(format!("{before}{secret}"));
                let start = if before.is_empty() { 0 } else { 4 };
                let end = whole.trim_end_matches('=').len().saturating_sub(2);
                self.forms.extend(whole.get(start..end).map(str::to_owned));
            }
        }
        self.forms.retain(|form| form.len() >= 8);
    }

    /// Panics where `bytes` has one of them in it.
    #[track_caller]
    pub fn are_not_in(&self, what: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for form in &self.forms {
            assert!(!text.contains(form.as_str()), "the secret {form} is in {what}:\n{text}");
        }
        for digits in hex_runs(&text).flat_map(|run| run.as_bytes().windows(SIGNATURE)) {
            let digits = std::str::from_utf8(digits).unwrap();
            assert!(!self.signatures.contains(digits), "the signature {digits} is in {what}:\n{text}");
        }
    }

    /// Panics where what a run printed, or a file in its work directory, has one of them in it.
    #[track_caller]
    pub fn are_not_in_what_was_left(&self, stdout: &str, stderr: &str, work: Option<&Path>) {
        self.are_not_in("standard output", stdout.as_bytes());
        self.are_not_in("standard error", stderr.as_bytes());
        work.into_iter().for_each(|work| self.are_not_below(work));
    }

    /// Panics where a file below `folder` has one of them in it, or in its name.
    #[track_caller]
    pub fn are_not_below(&self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.are_not_below(&path),
                Ok(kind) if kind.is_file() => {
                    let content = std::fs::read(&path).unwrap_or_default();
                    self.are_not_in(&path.display().to_string(), &content);
                    self.are_not_in("a file's name", path.display().to_string().as_bytes());
                }
                _ => {}
            }
        }
    }

    /// Panics where an object in the bucket has one of them in it, or in its key. Snapshots are Qdrant's own.
    #[track_caller]
    pub fn are_not_in_bucket(&self, s3: &S3) {
        for key in s3.keys("") {
            self.are_not_in("a key", key.as_bytes());
            if !key.ends_with(".snapshot") {
                self.are_not_in(&key, &s3.get(&key).unwrap_or_default());
            }
        }
    }
}

/// The longest pieces of a text that have nothing but hexadecimal digits.
fn hex_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|run| !run.is_empty())
}
