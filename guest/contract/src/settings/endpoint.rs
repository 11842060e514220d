//! The address of an S3 service.

use std::fmt;

use super::{DefaultPort, Host};

/// A server, and for services that live below a path (`https://host/storage/v1/s3`) the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The server.
    pub host: Host,
    /// Empty, or the path with a slash in front and none at the end.
    pub path: String,
}

impl Endpoint {
    /// Reads `https://host`, `http://host:port/` and the like, with or without a path.
    ///
    /// # Errors
    /// Anything else, in words that show no part of it that may be secret: another scheme, a user, a query.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let start = text.find("://").map_or(0, |scheme| scheme + 3);
        let end = text.get(start..).and_then(|rest| rest.find('/')).map_or(text.len(), |slash| start + slash);
        let (server, path) = text.split_at(end);
        if text.contains(['?', '#']) {
            return Err("a query or a fragment is not a part of an endpoint".to_owned());
        }
        let path = path.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
        if !path.chars().all(plain) || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            return Err("the path has something else in it than letters, digits, `-`, `_`, `.` and `~`".to_owned());
        }
        Ok(Self { host: Host::parse(server, DefaultPort::OfScheme)?, path: path.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_have_a_path() {
        for (text, shown) in [
            ("https://s3.example.com", "https://s3.example.com"),
            (" http://Minio:9000/ ", "http://minio:9000"),
            ("https://p.example.co/storage/v1/s3", "https://p.example.co/storage/v1/s3"),
            ("https://p.example.co:443/storage/v1/s3/", "https://p.example.co/storage/v1/s3"),
            ("http://[::1]:9000/a", "http://[::1]:9000/a"),
            ("minio/a", "http://minio/a"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_not_shown() {
        for text in [
            "https://user:hunter2@s3",
            "https://s3/?X-Amz-Signature=hunter2",
            "https://s3/b?hunter2",
            "https://s3#hunter2",
            "https://s3/a//b",
            "https://s3/../b",
            "https://s3/a%2Fb",
            "ftp://s3",
            "https:///a",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
