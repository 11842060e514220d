//! What went wrong with a call to Qdrant, in words a person can act on.

use std::fmt;
use std::time::Duration;

use crate::error::{Code, Error};
use crate::ports::{HttpError, Phase};
use crate::redact::redact_links;
use crate::retry::{Fault, Nature};

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QdrantError {
    /// The peer that was asked, as `http://host:port`.
    pub host: String,
    /// Method and path, without secrets.
    pub call: String,
    /// What happened.
    pub kind: QdrantErrorKind,
}

/// The kinds of failure that callers tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QdrantErrorKind {
    /// There is no answer.
    Http(HttpError),
    /// An answer other than 2xx, with Qdrant's text.
    Status {
        /// The status code.
        code: u16,
        /// Qdrant's own text.
        text: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A 2xx answer that is not what Qdrant documents.
    Shape(String),
}

impl QdrantError {
    /// The status code, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            QdrantErrorKind::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True for 404: the collection, shard or snapshot isn't there.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// True for Qdrant's own words that it has no such collection ("Not found: Collection `docs` doesn't exist!").
    pub fn is_missing_collection(&self, collection: &str) -> bool {
        matches!(&self.kind, QdrantErrorKind::Status { code: 404, text, .. }
            if text.contains(&format!("Collection `{collection}` doesn't exist")))
    }

    /// True when the peer can't fetch a snapshot by a link: it is configured not to, its file system has no room for the
    /// name (Qdrant puts a link's last segment into the name of a folder), or the store does not let it, or can't be
    /// reached from there. Nothing was put in place then.
    pub fn refuses_links(&self) -> bool {
        match &self.kind {
            QdrantErrorKind::Status { text, .. } => {
                text.contains(LINKS_DISABLED) || text.contains("File name too long") || not_fetched(text)
            }
            _ => false,
        }
    }

    /// True where the server's own words have `text`.
    pub(super) fn says(&self, text: &str) -> bool {
        matches!(&self.kind, QdrantErrorKind::Status { text: said, .. } if said.contains(text))
    }

    /// True for 400 and 409: what is asked for can't be, such as to create what is there.
    pub fn is_refused(&self) -> bool {
        matches!(self.status(), Some(400 | 409))
    }

    /// True for an answer that could not be read, as it is too large, or something else than Qdrant's.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.kind, QdrantErrorKind::Shape(_))
    }

    /// True when Qdrant may have done, or may still be doing, what it was asked: the outcome has to be looked
    /// up before the call is repeated. An error of a proxy in between (502, 503, 504) says nothing about Qdrant: some
    /// answer 503 when the connection broke after Qdrant was asked, and Qdrant itself only when it was asked to read.
    pub fn outcome_is_unknown(&self) -> bool {
        match &self.kind {
            QdrantErrorKind::Http(error) => !error.nothing_was_sent(),
            QdrantErrorKind::Status { code, text, .. } => {
                matches!(code, 408 | 502 | 503 | 504)
                    || (*code == 500 && text.contains("Waiting for consensus operation commit"))
            }
            QdrantErrorKind::Shape(_) => true,
        }
    }

    /// What it means for sending the call again, which is without harm where the server did not act on it, or
    /// (`idempotent`) where acting twice is the same as once.
    pub(crate) fn nature(&self, idempotent: bool) -> Nature {
        match &self.kind {
            QdrantErrorKind::Http(error) if idempotent || error.nothing_was_sent() => error.nature(),
            QdrantErrorKind::Http(_) | QdrantErrorKind::Shape(_) => Nature::Lasting,
            QdrantErrorKind::Status { code, text, .. } => match code {
                429 => Nature::Passing,
                408 | 500 | 502 | 503 | 504 if idempotent || text.contains("leader is not established") => {
                    Nature::Passing
                }
                _ => Nature::Answer,
            },
        }
    }

    /// How long the server asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            QdrantErrorKind::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Of a call that makes something, and is repeated only where nothing can have come of it.
impl Fault for QdrantError {
    fn nature(&self) -> Nature {
        Self::nature(self, false)
    }

    fn retry_after(&self) -> Option<Duration> {
        Self::retry_after(self)
    }
}

impl fmt::Display for QdrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, call, kind } = self;
        match kind {
            QdrantErrorKind::Http(HttpError::Denied) => {
                let target = host.split_once("://").map_or(host.as_str(), |(_, rest)| rest);
                write!(
                    f,
                    "connections to {target} are not allowed; if this is a peer of your cluster, add it: \
                     --allow-host '{allow}' or QDRANT_ALLOW_HOSTS={allow}",
                    allow = wider_rule(target)
                )
            }
            QdrantErrorKind::Http(HttpError::Timeout(Phase::FirstByte)) => write!(
                f,
                "{host} did not answer {call} in time; it may still be working on it (CURL_TIMEOUT sets the limit)"
            ),
            QdrantErrorKind::Http(error @ HttpError::ReadOnly(_)) => write!(f, "{error}"),
            QdrantErrorKind::Http(error) => write!(f, "{host}: {call}: {error}"),
            QdrantErrorKind::Status { code, text, .. } => {
                write!(f, "{host} answered {code} to {call}")?;
                if !text.is_empty() {
                    write!(f, ": {}", redact_links(text))?;
                }
                match advice(*code, text) {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            QdrantErrorKind::Shape(what) => write!(
                f,
                "{host} answered {call} with something that is not Qdrant's API: {what} (is this really Qdrant's REST port?)"
            ),
        }
    }
}

impl std::error::Error for QdrantError {}

impl From<QdrantError> for Error {
    fn from(error: QdrantError) -> Self {
        let code = match &error.kind {
            QdrantErrorKind::Http(HttpError::ReadOnly(_)) => Code::DryRun,
            QdrantErrorKind::Http(_) => Code::QdrantUnreachable,
            QdrantErrorKind::Status { code: 401 | 403, .. } => Code::QdrantUnauthorized,
            QdrantErrorKind::Status { .. } => Code::QdrantRefused,
            QdrantErrorKind::Shape(_) => Code::QdrantAnswer,
        };
        Self::new(code, "", error.to_string())
    }
}

/// The rule that admits `target` and its siblings: `*.parent` for a pod's name, else the target itself.
fn wider_rule(target: &str) -> String {
    let name = target.rsplit_once(':').map_or(target, |(name, _)| name);
    let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
    match name.split_once('.') {
        Some((_, parent)) if !is_address => format!("*.{parent}"),
        _ => target.to_owned(),
    }
}

/// What Qdrant says where `service.enable_snapshot_url_recovery` is off.
const LINKS_DISABLED: &str = "recovery from remote URLs is disabled";

/// True where Qdrant says that it could not read a snapshot from where a link leads.
fn not_fetched(text: &str) -> bool {
    text.contains("Failed to download") || text.contains("Http request error")
}

/// What to do about an answer, where the code or the text tells.
fn advice(code: u16, text: &str) -> Option<&'static str> {
    if text.contains(LINKS_DISABLED) {
        return Some(
            "the server has service.enable_snapshot_url_recovery=false; with \
             QDRANT__SERVICE__ENABLE_SNAPSHOT_URL_RECOVERY=true on every peer it would fetch its snapshots itself",
        );
    }
    if not_fetched(text) {
        return Some(
            "Qdrant could not fetch the snapshot from S3: check that its pods reach the S3 endpoint under this name \
             (QDRANT_S3_ENDPOINT_URL_FOR_QDRANT), that the link had not expired and that the clocks agree",
        );
    }
    if text.contains("File name too long") {
        return Some("the collection's name is too long for Qdrant to make a snapshot of it");
    }
    match code {
        401 => Some("check QDRANT_API_KEY, and QDRANT_RESTORE_API_KEY for the restore side"),
        403 => Some("the API key lacks the right for this; backups need write access, restores need the full key"),
        429 => Some("the server limits requests; try again later or raise its strict-mode limits"),
        507 => Some("the server is out of its disk or memory quota"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, text: &str) -> QdrantError {
        QdrantError {
            host: "http://qdrant-0.qdrant-headless:6333".to_owned(),
            call: "PUT /collections/docs/snapshots/recover".to_owned(),
            kind: QdrantErrorKind::Status { code, text: text.to_owned(), retry_after: None },
        }
    }

    #[test]
    fn a_denied_peer_says_what_to_add() {
        let error = QdrantError { kind: QdrantErrorKind::Http(HttpError::Denied), ..status(0, "") };
        assert!(error.to_string().contains("--allow-host '*.qdrant-headless'"), "{error}");
        assert_eq!(wider_rule("10.0.0.7:6333"), "10.0.0.7:6333");
        assert_eq!(wider_rule("[::1]:6333"), "[::1]:6333");
        assert_eq!(wider_rule("qdrant:6333"), "qdrant:6333");
    }

    #[test]
    fn a_creation_is_never_repeated_while_its_outcome_is_unknown() {
        for code in [502, 503, 504, 408] {
            assert!(status(code, "").outcome_is_unknown());
            assert_eq!(status(code, "").nature(false), Nature::Answer, "{code}");
            assert_eq!(status(code, "").nature(true), Nature::Passing, "{code}");
        }
        assert_eq!(status(400, "").nature(true), Nature::Answer);
        assert_eq!(status(429, "").nature(false), Nature::Passing);
        let lost =
            QdrantError { kind: QdrantErrorKind::Http(HttpError::Interrupted("reset".to_owned())), ..status(0, "") };
        assert!(lost.outcome_is_unknown());
        assert_eq!((lost.nature(false), lost.nature(true)), (Nature::Lasting, Nature::Passing));
        let refused = QdrantError { kind: QdrantErrorKind::Http(HttpError::Connect(String::new())), ..lost };
        assert_eq!(refused.nature(false), Nature::Passing);
    }

    #[test]
    fn a_signature_in_qdrants_text_is_masked() {
        let text =
            "Wrong input: Failed to download tar from http://s3/b/k?X-Amz-Signature=abcdef0123: status - 403 Forbidden";
        assert!(!status(400, text).to_string().contains("abcdef0123"));
    }
}
