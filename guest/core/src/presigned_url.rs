//! A presigned URL.

use std::fmt;

/// A URL that lets whoever has it read one object for some time. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl(String);

impl PresignedUrl {
    /// Hides `url`.
    pub(crate) fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL itself, for the server that is to fetch the object.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl(***)")
    }
}
