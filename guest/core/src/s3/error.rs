//! What went wrong with a call to S3, in words a person can act on.

use std::fmt;
use std::time::Duration;

use crate::credentials::CredentialsError;
use crate::error::{Code, Error};
use crate::ports::HttpError;
use crate::redact::redact_links;
use crate::retry::{Fault, Nature};

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
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A 2xx answer that is not what S3 documents, or a request that can't be made.
    Shape(String),
    /// There are no keys to sign it with. Whoever lends them was waited for already.
    Credentials(Box<CredentialsError>),
}

/// Codes of faults that pass, whatever their status is (AWS, "Error responses": `SlowDown`, `InternalError`,
/// `ServiceUnavailable`, `RequestTimeout`, `OperationAborted`, `ConditionalRequestConflict`; the others are of stores that
/// call them so).
const PASSING: &[&str] = &[
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    "TooManyRequests",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "BandwidthLimitExceeded",
];

impl S3Error {
    /// True where the server refuses the keys this call.
    pub fn is_denied(&self) -> bool {
        matches!(self.kind, S3ErrorKind::Status { status: 403, .. })
    }

    /// True where the server says that the keys were good and are no more.
    pub(super) fn says_keys_ended(&self) -> bool {
        matches!(&self.kind, S3ErrorKind::Status { code, .. } if ENDED.contains(&code.as_str()))
    }
}

/// Codes for keys that have ended (AWS, "Error responses"; the last one is how some stores call it).
const ENDED: &[&str] = &["ExpiredToken", "TokenRefreshRequired", "InvalidToken", "ExpiredTokenException"];

impl Fault for S3Error {
    /// All our calls may be sent twice.
    fn nature(&self) -> Nature {
        match &self.kind {
            S3ErrorKind::Http(error) => error.nature(),
            S3ErrorKind::Status { status, code, .. } => {
                if matches!(status, 408 | 429 | 500 | 502 | 503 | 504) || PASSING.contains(&code.as_str()) {
                    Nature::Passing
                } else {
                    Nature::Answer
                }
            }
            S3ErrorKind::Shape(_) | S3ErrorKind::Credentials(_) => Nature::Lasting,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            S3ErrorKind::Status { retry_after, .. } => *retry_after,
            _ => None,
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
                    "connections to {target} are not allowed; if this is your S3 service, add it: \
                     --allow-host '{target}' or QDRANT_ALLOW_HOSTS={target}"
                )
            }
            S3ErrorKind::Http(error @ HttpError::ReadOnly(_)) => write!(f, "{error}"),
            S3ErrorKind::Http(error) => write!(f, "S3 at {endpoint}: {call}: {error} (QDRANT_S3_ENDPOINT_URL)"),
            S3ErrorKind::Status { status, code, message, .. } => {
                write!(f, "S3 at {endpoint} answered {status}")?;
                if !code.is_empty() {
                    write!(f, " {code}")?;
                }
                write!(f, " to {call}")?;
                if !message.is_empty() {
                    write!(f, ": {}", redact_links(message))?;
                }
                match advice(call, *status, code, message) {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            S3ErrorKind::Credentials(error) => write!(f, "{call} was not sent to S3 at {endpoint}: {error}"),
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
            S3ErrorKind::Http(HttpError::ReadOnly(_)) => Code::DryRun,
            S3ErrorKind::Http(_) => Code::StoreUnreachable,
            S3ErrorKind::Status { status: 401 | 403, .. } => Code::StoreUnauthorized,
            S3ErrorKind::Status { .. } => Code::StoreRefused,
            S3ErrorKind::Shape(_) => Code::StoreAnswer,
            S3ErrorKind::Credentials(error) => error.code(),
        };
        Self::new(code, "", error.to_string())
    }
}

/// What to do about an answer, where its code, or what was asked, tells.
fn advice(call: &str, status: u16, code: &str, message: &str) -> Option<&'static str> {
    let says = |words: &str| message.to_ascii_lowercase().contains(words);
    Some(match code {
        "SignatureDoesNotMatch" => "the secret key is wrong: check QDRANT_S3_SECRET_ACCESS_KEY",
        _ if says("invalid signature") => "the secret key is wrong: check QDRANT_S3_SECRET_ACCESS_KEY",
        "InvalidAccessKeyId" | "NotSignedUp" | "InvalidAccessKey" | "UnknownAccessKeyId" => UNKNOWN_KEY,
        "AccessDenied" if says("no such key") => UNKNOWN_KEY,
        "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired" => {
            "the session token is wrong or has expired: check QDRANT_S3_SESSION_TOKEN, or have keys lent that are renewed \
             (QDRANT_S3_CREDENTIALS)"
        }
        "NoSuchBucket" | "InvalidBucketName" => {
            "check QDRANT_S3_BUCKET_NAME, and QDRANT_S3_ADDRESSING_STYLE (path or virtual)"
        }
        "InvalidObjectState" => {
            "the object lies in cold storage: have it restored there (`restore-object`) and run this again; no lifecycle \
             rule should move the backups to a storage class that can't be read at once"
        }
        "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "IllegalLocationConstraintException" => {
            "the region is another one: set QDRANT_S3_REGION to the bucket's"
        }
        "SecondLevelDomainForbidden" => VIRTUAL,
        _ if says("virtual host") => VIRTUAL,
        "MethodNotAllowed" => {
            "is QDRANT_S3_ENDPOINT_URL the service's S3 API, and not its console? Is QDRANT_S3_ADDRESSING_STYLE (path or \
             virtual) the one it takes?"
        }
        "RequestTimeTooSkewed" => "the clock of this machine and that of the S3 service differ by more than 15 minutes",
        _ if status == 507 || code.contains("StorageFull") || code.contains("QuotaExceeded") => {
            "the bucket, or the disk of the S3 service, is full"
        }
        "PermanentRedirect" | "TemporaryRedirect" => {
            "the bucket is served elsewhere: set QDRANT_S3_ENDPOINT_URL to the endpoint of its region"
        }
        _ if (300..400).contains(&status) => {
            "redirects are not followed: set QDRANT_S3_ENDPOINT_URL to the endpoint of the bucket's region"
        }
        _ if code.starts_with("KMS.") || (status == 403 && says("kms:")) => {
            "the key needs kms:GenerateDataKey and kms:Decrypt on the bucket's key of the KMS"
        }
        _ if matches!(status, 401 | 403) => permission(call),
        _ if status == 404 && code.is_empty() => {
            "a 404 without S3's code: does something else answer in place of the S3 service, or does QDRANT_S3_ENDPOINT_URL \
             lack its path?"
        }
        _ => return None,
    })
}

const UNKNOWN_KEY: &str = "the access key is not known there: check QDRANT_S3_ACCESS_KEY_ID";

const VIRTUAL: &str = "this service has the bucket in the host's name: set QDRANT_S3_ADDRESSING_STYLE=virtual";

/// What a key lacks for whom `call` is refused.
fn permission(call: &str) -> &'static str {
    match call.split(' ').next().unwrap_or_default() {
        "listing" => {
            "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:ListBucket on the bucket; where a policy allows certain prefixes \
             only, this one among them"
        }
        "uploads" => {
            "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:ListBucketMultipartUploads on the bucket to see uploads that were \
             begun and not ended"
        }
        "ABORT" => "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:AbortMultipartUpload on this object",
        "PUT" | "POST" => {
            "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:PutObject on this object; where the bucket's policy asks for \
             encryption by the server, set QDRANT_S3_SSE"
        }
        "DELETE" => {
            "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:DeleteObject on this object, and no lock of the bucket may hold it"
        }
        _ => "the key (QDRANT_S3_ACCESS_KEY_ID) needs s3:GetObject on this object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: &str, message: &str) -> S3Error {
        S3Error {
            endpoint: "http://minio:9000".to_owned(),
            call: "GET bucket/key".to_owned(),
            kind: S3ErrorKind::Status { status, code: code.to_owned(), message: message.to_owned(), retry_after: None },
        }
    }

    #[test]
    fn every_common_mistake_has_its_advice() {
        let asked = |call: &str| S3Error { call: call.to_owned(), ..status(403, "AccessDenied", "no") };
        for (error, advice) in [
            (asked("listing of bucket"), "s3:ListBucket"),
            (asked("PUT bucket/key"), "QDRANT_S3_SSE"),
            (asked("DELETE bucket/key"), "s3:DeleteObject"),
            (status(403, "InvalidObjectState", ""), "cold storage"),
            (status(400, "AuthorizationHeaderMalformed", ""), "QDRANT_S3_REGION"),
            (status(403, "SecondLevelDomainForbidden", ""), "QDRANT_S3_ADDRESSING_STYLE=virtual"),
            (status(400, "InvalidRequest", "Please use virtual hosted style to access."), "=virtual"),
            (status(400, "KMS.DisabledException", ""), "kms:GenerateDataKey"),
            (status(404, "", ""), "lack its path"),
            (status(403, "SignatureDoesNotMatch", ""), "QDRANT_S3_SECRET_ACCESS_KEY"),
            (status(403, "AccessDenied", "Forbidden: Invalid signature"), "the secret key is wrong"),
            (status(403, "AccessDenied", "Forbidden: No such key: GK0"), "QDRANT_S3_ACCESS_KEY_ID"),
            (status(403, "", ""), "s3:GetObject"),
            (status(404, "NoSuchBucket", ""), "QDRANT_S3_BUCKET_NAME"),
            (status(403, "RequestTimeTooSkewed", ""), "clock"),
            (status(507, "", ""), "is full"),
            (status(400, "XMinioStorageFull", ""), "is full"),
            (status(301, "PermanentRedirect", ""), "endpoint of its region"),
            (status(302, "", ""), "redirects"),
        ] {
            assert!(error.to_string().contains(advice), "{error}");
            assert_eq!(error.nature(), Nature::Answer, "{error}");
        }
        let denied = S3Error { kind: S3ErrorKind::Http(HttpError::Denied), ..status(0, "", "") };
        assert!(denied.to_string().contains("QDRANT_ALLOW_HOSTS=minio:9000"));
    }

    #[test]
    fn what_passes_is_told_from_what_lasts() {
        for (code, name) in [(503, "SlowDown"), (500, ""), (502, ""), (504, ""), (408, ""), (429, "")] {
            assert_eq!(status(code, name, "").nature(), Nature::Passing, "{code} {name}");
        }
        for name in ["OperationAborted", "ConditionalRequestConflict"] {
            assert_eq!(status(409, name, "").nature(), Nature::Passing, "{name}");
        }
        assert_eq!(status(409, "BucketNotEmpty", "").nature(), Nature::Answer);
        assert_eq!(status(400, "RequestTimeout", "").nature(), Nature::Passing);
        for (error, nature) in [
            (HttpError::Denied, Nature::Lasting),
            (HttpError::Invalid(String::new()), Nature::Lasting),
            (HttpError::Tls(String::new()), Nature::PassingIfAnswered),
            (HttpError::Connect(String::new()), Nature::Passing),
            (HttpError::Interrupted(String::new()), Nature::Passing),
        ] {
            assert_eq!(S3Error { kind: S3ErrorKind::Http(error), ..status(0, "", "") }.nature(), nature);
        }
    }
}
