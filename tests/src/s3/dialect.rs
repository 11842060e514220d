//! How stores differ from AWS, row by row as in docs/stores.md: any test can be run on any of them, by
//! `QDRANT_BACKUP_TEST_DIALECT=garage`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;

use super::store::Store;
use crate::faults::{ASKED_BY, Answer, Body, whole};

/// Names a row for all tests of a run.
pub const VARIABLE: &str = "QDRANT_BACKUP_TEST_DIALECT";

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The store.
    pub name: &'static str,
    /// What comes of `If-None-Match` at a PUT.
    condition: Condition,
    /// What has to come with a PUT.
    wants: Wants,
    /// What comes of `x-amz-checksum-...`.
    checksums: Checksums,
    /// True where a policy refuses bodies that are not in the signature (`s3:x-amz-content-sha256`).
    signed_bodies: bool,
    /// The form of listings.
    listing: Listing,
    /// True where the answer to a HEAD doesn't tell the size.
    head_without_length: bool,
    /// Every so many calls the store asks for less; 0: never.
    busy_every: usize,
    /// A region that every signature has to name.
    pub region: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// It is obeyed.
    Obeyed,
    /// It is obeyed, and now and then another write is said to be under way.
    Conflicts,
    /// The object is stored, whatever was there.
    Ignored,
    /// It is refused, with this status, code and text.
    Refused(u16, &'static str, &'static str),
    /// A key that was deleted before is answered so.
    OverMarker(u16, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Nothing,
    /// `Content-MD5` or a checksum of the newer kind, as where objects are locked.
    Checksum,
    /// A checksum of the newer kind.
    NewChecksum,
    /// `Content-MD5`, and no other.
    Md5,
    /// `x-amz-server-side-encryption`, by the bucket's policy.
    Encryption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksums {
    /// What was sent has to be what arrived, and the answer names it.
    Checked,
    /// As if nothing had been said.
    Ignored,
    /// The header is refused.
    Refused,
    /// The header is refused with parts, in words that don't name it, and `x-amz-checksum-algorithm` is not known.
    RefusedWithParts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Usual,
    /// `True` and `False`.
    Capitals,
    /// Neither `IsTruncated` nor a token: who wants more asks by the last key.
    NoEnd,
}

const USUAL: Dialect = Dialect {
    name: "usual",
    condition: Condition::Obeyed,
    wants: Wants::Nothing,
    checksums: Checksums::Checked,
    signed_bodies: false,
    listing: Listing::Usual,
    head_without_length: false,
    busy_every: 0,
    region: None,
};

const UNKNOWN_HEADER: &str = "A header you provided implies functionality that is not implemented.";

/// The rows.
pub const DIALECTS: &[Dialect] = &[
    Dialect { name: "aws", condition: Condition::Conflicts, busy_every: 40, ..USUAL },
    Dialect { name: "aws-locked", wants: Wants::Checksum, ..USUAL },
    Dialect { name: "aws-encrypted", wants: Wants::Encryption, ..USUAL },
    Dialect { name: "aws-checksums", wants: Wants::NewChecksum, ..USUAL },
    Dialect { name: "aws-signed", signed_bodies: true, ..USUAL },
    Dialect {
        name: "google",
        condition: Condition::Refused(501, "NotImplemented", UNKNOWN_HEADER),
        checksums: Checksums::Ignored,
        ..USUAL
    },
    Dialect { name: "r2", checksums: Checksums::Refused, region: Some("auto"), ..USUAL },
    Dialect {
        name: "b2",
        condition: Condition::Refused(400, "InvalidArgument", "Unsupported header 'if-none-match' received"),
        checksums: Checksums::Refused,
        busy_every: 7,
        ..USUAL
    },
    Dialect { name: "wasabi", condition: Condition::Ignored, region: Some("eu-central-2"), ..USUAL },
    Dialect { name: "hetzner", condition: Condition::OverMarker(404, "NoSuchKey"), busy_every: 50, ..USUAL },
    Dialect {
        name: "stackit",
        condition: Condition::OverMarker(412, "PreconditionFailed"),
        region: Some("eu01"),
        ..USUAL
    },
    Dialect { name: "ceph", condition: Condition::OverMarker(412, "PreconditionFailed"), ..USUAL },
    Dialect {
        name: "ceph-old",
        condition: Condition::Ignored,
        checksums: Checksums::Ignored,
        listing: Listing::Capitals,
        ..USUAL
    },
    Dialect {
        name: "ovh",
        condition: Condition::Refused(501, "NotImplemented", UNKNOWN_HEADER),
        checksums: Checksums::RefusedWithParts,
        ..USUAL
    },
    Dialect {
        name: "oss",
        condition: Condition::Refused(400, "NotImplemented", UNKNOWN_HEADER),
        checksums: Checksums::Ignored,
        ..USUAL
    },
    Dialect { name: "garage", condition: Condition::Ignored, region: Some("garage"), ..USUAL },
    Dialect { name: "minio", condition: Condition::OverMarker(404, "NoSuchKey"), ..USUAL },
    Dialect { name: "minio-locked", wants: Wants::Md5, ..USUAL },
    Dialect { name: "rustfs", condition: Condition::OverMarker(404, "NoSuchKey"), wants: Wants::Checksum, ..USUAL },
    Dialect {
        name: "seaweedfs",
        condition: Condition::Ignored,
        checksums: Checksums::Ignored,
        listing: Listing::NoEnd,
        ..USUAL
    },
    Dialect { name: "gateway", head_without_length: true, ..USUAL },
];

impl Dialect {
    /// The row of this name.
    ///
    /// # Panics
    /// There is none.
    pub fn named(name: &str) -> Self {
        let row = DIALECTS.iter().find(|dialect| dialect.name == name);
        let names: Vec<_> = DIALECTS.iter().map(|dialect| dialect.name).collect();
        *row.unwrap_or_else(|| panic!("{name} is none of {names:?}"))
    }

    /// True where the store asks for less now and then, so that a call takes longer than a second's fraction.
    pub fn is_busy(&self) -> bool {
        self.busy_every > 0
    }

    /// True where `x-amz-checksum-...` of parts is known and checked.
    pub fn checks_parts(&self) -> bool {
        self.checksums == Checksums::Checked
    }

    /// The row that [`VARIABLE`] names.
    pub fn of_environment() -> Option<Self> {
        std::env::var(VARIABLE).ok().map(|name| Self::named(&name))
    }
}

/// A dialect at work: what it has to remember.
#[derive(Clone)]
pub struct Speaker {
    dialect: Dialect,
    store: Store,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    conditions: usize,
    deleted: BTreeSet<String>,
}

impl Speaker {
    /// Speaks `dialect` of what is in `store`.
    pub fn new(dialect: Dialect, store: Store) -> Self {
        Self { dialect, store, state: Arc::default() }
    }

    /// What the store answers without doing anything; else the request as it does it.
    pub fn before(&self, request: &http::Request<Bytes>) -> Option<Answer> {
        let mut state = self.state.lock().expect("the state");
        let (is_put, headers) = (request.method() == Method::PUT, request.headers());
        let path = request.uri().path().to_owned();
        let by_program = headers.get(ASKED_BY).is_none() && !request.uri().to_string().contains("X-Amz-Signature=");
        let has = |name: &str| headers.keys().any(|header| header.as_str().starts_with(name));
        state.calls += 1;
        if self.dialect.busy_every > 0 && by_program && state.calls.is_multiple_of(self.dialect.busy_every) {
            return Some(error(503, "SlowDown", "Please reduce your request rate."));
        }
        let is_part = request.uri().query().is_some_and(|query| query.contains("partNumber="));
        let unsupported = "Unsupported header 'x-amz-checksum-...' received for this API call.";
        match self.dialect.checksums {
            Checksums::Refused if has("x-amz-checksum-") => return Some(error(400, "InvalidArgument", unsupported)),
            Checksums::RefusedWithParts if is_part && has("x-amz-checksum-") => {
                return Some(error(400, "InvalidArgument", "Invalid argument."));
            }
            _ => {}
        }
        if is_put && by_program {
            let refusal = match self.dialect.wants {
                Wants::Checksum if !has("content-md5") && !has("x-amz-checksum-") => Some(error(
                    400,
                    "InvalidRequest",
                    "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
                )),
                Wants::NewChecksum if !has("x-amz-checksum-") => {
                    Some(error(400, "InvalidRequest", "x-amz-checksum- HTTP header is required"))
                }
                Wants::Md5 if !has("content-md5") => {
                    Some(error(400, "InvalidRequest", "Missing required header for this request: Content-Md5."))
                }
                Wants::Encryption if !is_part && !has("x-amz-server-side-encryption") => Some(error(
                    403,
                    "AccessDenied",
                    "User is not authorized to perform: s3:PutObject with an explicit deny in a resource-based policy",
                )),
                _ => None,
            };
            if refusal.is_some() {
                return refusal;
            }
        }
        if self.dialect.signed_bodies
            && headers.get("x-amz-content-sha256").is_some_and(|hash| hash == "UNSIGNED-PAYLOAD")
        {
            return Some(error(403, "AccessDenied", "Access Denied"));
        }
        if is_put && headers.contains_key(IF_NONE_MATCH) {
            state.conditions += 1;
            match self.dialect.condition {
                Condition::Refused(status, code, message) => return Some(error(status, code, message)),
                Condition::OverMarker(status, code) if state.deleted.contains(&path) => {
                    return Some(error(status, code, "The specified key does not exist, or does."));
                }
                Condition::Conflicts if state.conditions % 2 == 1 => {
                    let message = "The conditional request cannot succeed due to a conflicting operation.";
                    return Some(error(409, "ConditionalRequestConflict", message));
                }
                // As if nothing were there: the header itself is signed.
                Condition::Ignored => {
                    let key = percent_encoding::percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
                    self.store.delete(key.split_once('/').map_or("", |(_, key)| key));
                }
                _ => {}
            }
        }
        match *request.method() {
            Method::DELETE => drop(state.deleted.insert(path)),
            Method::PUT => drop(state.deleted.remove(&path)),
            _ => {}
        }
        None
    }

    /// The store's answer in its own words.
    pub async fn after(&self, method: &Method, response: http::Response<Body>) -> Answer {
        let (mut head, body) = response.into_parts();
        if *method == Method::HEAD && self.dialect.head_without_length {
            head.headers.remove(CONTENT_LENGTH);
        }
        if self.dialect.listing == Listing::Usual || *method != Method::GET || !is_xml(&head.headers) {
            return Some(http::Response::from_parts(head, body));
        }
        let text = String::from_utf8(body.collect().await.ok()?.to_bytes().to_vec()).ok()?;
        let text = match self.dialect.listing {
            _ if !text.contains("<ListBucketResult") => text,
            Listing::Capitals => text.replace(">true<", ">True<").replace(">false<", ">False<"),
            _ => without(&without(&text, "IsTruncated"), "NextContinuationToken"),
        };
        head.headers.insert(CONTENT_LENGTH, text.len().into());
        let body =
            http_body_util::Full::new(Bytes::from(text)).map_err(|never: std::convert::Infallible| match never {});
        Some(http::Response::from_parts(head, UnsyncBoxBody::new(body)))
    }
}

fn is_xml(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/xml")
}

/// `text` without the elements of this name.
fn without(text: &str, element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to + end.len()..]),
        _ => text.to_owned(),
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Some(whole(StatusCode::from_u16(status).expect("a status"), body))
}
