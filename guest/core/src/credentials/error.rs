//! Why there are no keys.

use std::fmt;
use std::time::Duration;

use crate::error::{Code, Error};
use crate::ports::{FileError, HttpError};
use crate::retry::{Fault, Nature};

/// Keys could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsError {
    /// Who was asked.
    pub(super) server: String,
    /// What happened.
    pub(super) kind: Kind,
    /// What to do about it where it is the service's answer.
    pub(super) advice: &'static str,
}

/// The kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no answer.
    Http(HttpError),
    /// An answer other than 2xx, with the service's code and words where it has some.
    Status { status: u16, code: String, message: String, retry_after: Option<Duration> },
    /// An answer that is not what is documented.
    Shape(String),
    /// Keys that have ended already, and when.
    Ended(String),
    /// The token's file can't be used.
    File(FileError),
    /// The keys end too soon for what they are wanted for.
    TooSoon(Duration),
}

/// Codes of faults that pass (AWS STS API reference, "Common errors").
const PASSING: &[&str] = &[
    "IDPCommunicationError",
    "InternalFailure",
    "RequestThrottled",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

impl Fault for CredentialsError {
    fn nature(&self) -> Nature {
        match &self.kind {
            Kind::Http(error) => error.nature(),
            Kind::Status { status: 408 | 429 | 500 | 502 | 503 | 504, .. } | Kind::Ended(_) => Nature::Passing,
            Kind::Status { code, .. } if PASSING.contains(&code.as_str()) => Nature::Passing,
            Kind::Status { .. } => Nature::Answer,
            Kind::Shape(_) | Kind::File(_) | Kind::TooSoon(_) => Nature::Lasting,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, kind, advice } = self;
        write!(f, "the bucket's keys from {server}: ")?;
        match kind {
            Kind::Http(error) => write!(f, "{error} ({advice})"),
            Kind::Status { status, code, message, .. } => {
                write!(f, "it answered {status}")?;
                for text in [code, message].into_iter().filter(|text| !text.is_empty()) {
                    write!(f, " {text}")?;
                }
                write!(f, " ({advice})")
            }
            Kind::Shape(what) => f.write_str(what),
            Kind::Ended(when) => write!(f, "those that it gave ended at {when}; is this machine's clock right?"),
            Kind::File(error) => error.fmt(f),
            Kind::TooSoon(left) => write!(
                f,
                "they end in {} s and could not be renewed, which is too soon for a link by which a snapshot is read",
                left.as_secs()
            ),
        }
    }
}

impl std::error::Error for CredentialsError {}

impl CredentialsError {
    /// The kind of error this is.
    pub fn code(&self) -> Code {
        match self.kind {
            Kind::Http(_) => Code::StoreUnreachable,
            Kind::Status { .. } | Kind::Ended(_) | Kind::TooSoon(_) => Code::StoreUnauthorized,
            Kind::Shape(_) => Code::StoreAnswer,
            Kind::File(_) => Code::Configuration,
        }
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::new(error.code(), "", error.to_string())
    }
}
