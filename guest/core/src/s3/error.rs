//! What went wrong with a call to S3, in words a person can act on.

use std::fmt;

use crate::error::{Code, Error};
use crate::ports::HttpError;
use crate::redact::redact_links;

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    /// The service that was asked, as `http://host:port`.
    pub endpoint: String,
    /// Method, bucket and key or prefix.
    pub call: String,
    /// What happened.
    pub kind: S3ErrorKind,
}

/// The kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3ErrorKind {
    /// There is no answer, or not all of it.
    Http(HttpError),
    /// An answer other than 2xx.
    Status {
        /// The status code.
        status: u16,
        /// S3's own code, such as `NoSuchBucket`; empty where it gave none.
        code: String,
        /// S3's own text.
        message: String,
    },
    /// A 2xx answer that is not what S3 documents, or a request that can't be made.
    Shape(String),
}

impl S3Error {
    /// True where the server refuses the keys this call.
    pub fn is_denied(&self) -> bool {
        matches!(self.kind, S3ErrorKind::Status { status: 403, .. })
    }

    /// True when the same call may succeed a little later (AWS, "Error responses"; all our calls may be repeated).
    pub fn may_retry(&self) -> bool {
        match &self.kind {
            S3ErrorKind::Http(error) => *error != HttpError::Denied,
            S3ErrorKind::Status { status, code, .. } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504) || code == "RequestTimeout" || code == "SlowDown"
            }
            S3ErrorKind::Shape(_) => false,
        }
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, call, kind } = self;
        match kind {
            S3ErrorKind::Http(HttpError::Denied) => {
                let target = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
                write!(
                    f,
                    "the sandbox does not allow connections to {target}; if this is your S3 service, add it: \
                     --allow-host '{target}' or QDRANT_ALLOW_HOSTS={target}"
                )
            }
            S3ErrorKind::Http(error) => write!(f, "S3 at {endpoint}: {call}: {error} (QDRANT_S3_ENDPOINT_URL)"),
            S3ErrorKind::Status { status, code, message } => {
                write!(f, "S3 at {endpoint} answered {status}")?;
                if !code.is_empty() {
                    write!(f, " {code}")?;
                }
                write!(f, " to {call}")?;
                if !message.is_empty() {
                    write!(f, ": {}", redact_links(message))?;
                }
                match advice(*status, code, message) {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            S3ErrorKind::Shape(what) => {
                write!(f, "S3 at {endpoint}: {call}: {what} (is QDRANT_S3_ENDPOINT_URL really an S3 service?)")
            }
        }
    }
}

impl std::error::Error for S3Error {}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        let code = match &error.kind {
            S3ErrorKind::Http(_) => Code::StoreUnreachable,
            S3ErrorKind::Status { status: 401 | 403, .. } => Code::StoreUnauthorized,
            S3ErrorKind::Status { .. } => Code::StoreRefused,
            S3ErrorKind::Shape(_) => Code::StoreAnswer,
        };
        Self::new(code, "", error.to_string())
    }
}

/// What to do about an answer, where the code tells.
fn advice(status: u16, code: &str, message: &str) -> Option<&'static str> {
    let wrong_signature = code == "SignatureDoesNotMatch" || message.contains("Invalid signature");
    match code {
        _ if wrong_signature => Some("the secret key is wrong: check QDRANT_S3_SECRET_ACCESS_KEY"),
        "InvalidAccessKeyId" | "NotSignedUp" => {
            Some("the access key is not known there: check QDRANT_S3_ACCESS_KEY_ID")
        }
        "AccessDenied" if message.contains("No such key") => {
            Some("the access key is not known there: check QDRANT_S3_ACCESS_KEY_ID")
        }
        "InvalidToken" | "ExpiredToken" => {
            Some("the session token is wrong or has expired: check QDRANT_S3_SESSION_TOKEN")
        }
        "NoSuchBucket" => Some("check QDRANT_S3_BUCKET_NAME"),
        "RequestTimeTooSkewed" => {
            Some("the clock of this machine and that of the S3 service differ by more than 15 minutes")
        }
        _ if status == 507 || code.contains("StorageFull") || code.contains("QuotaExceeded") => {
            Some("the bucket, or the disk of the S3 service, is full")
        }
        "PermanentRedirect" | "TemporaryRedirect" => {
            Some("the bucket is served elsewhere: set QDRANT_S3_ENDPOINT_URL to the endpoint of its region")
        }
        _ if (300..400).contains(&status) => {
            Some("redirects are not followed: set QDRANT_S3_ENDPOINT_URL to the endpoint of the bucket's region")
        }
        _ if status == 403 => Some(
            "check QDRANT_S3_ACCESS_KEY_ID and QDRANT_S3_SECRET_ACCESS_KEY; the key needs s3:ListBucket on the bucket, \
             s3:GetObject and s3:PutObject on its objects",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: &str, message: &str) -> S3Error {
        S3Error {
            endpoint: "http://minio:9000".to_owned(),
            call: "GET bucket/key".to_owned(),
            kind: S3ErrorKind::Status { status, code: code.to_owned(), message: message.to_owned() },
        }
    }

    #[test]
    fn every_common_mistake_has_its_advice() {
        for (error, advice) in [
            (status(403, "SignatureDoesNotMatch", ""), "QDRANT_S3_SECRET_ACCESS_KEY"),
            (status(403, "AccessDenied", "Forbidden: Invalid signature"), "the secret key is wrong"),
            (status(403, "AccessDenied", "Forbidden: No such key: GK0"), "QDRANT_S3_ACCESS_KEY_ID"),
            (status(403, "", ""), "s3:ListBucket"),
            (status(404, "NoSuchBucket", ""), "QDRANT_S3_BUCKET_NAME"),
            (status(403, "RequestTimeTooSkewed", ""), "clock"),
            (status(507, "", ""), "is full"),
            (status(400, "XMinioStorageFull", ""), "is full"),
            (status(301, "PermanentRedirect", ""), "endpoint of its region"),
            (status(302, "", ""), "redirects"),
        ] {
            assert!(error.to_string().contains(advice), "{error}");
            assert!(!error.may_retry(), "{error}");
        }
        assert!(status(503, "SlowDown", "").may_retry());
        let denied = S3Error { kind: S3ErrorKind::Http(HttpError::Denied), ..status(0, "", "") };
        assert!(denied.to_string().contains("QDRANT_ALLOW_HOSTS=minio:9000") && !denied.may_retry());
    }
}
