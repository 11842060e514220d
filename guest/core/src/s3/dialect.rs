//! What stores do otherwise than AWS, as far as an answer has to be understood otherwise, and what is remembered of it for
//! the run. The table of stores is in docs/stores.md.

use std::cell::Cell;

use super::error::{S3Error, S3ErrorKind};

/// What was learnt of a store in this run.
#[derive(Debug, Default)]
pub(super) struct Dialect {
    /// It does not know `If-None-Match`, or does not care.
    no_conditions: Cell<bool>,
    /// It asks for a checksum of the newer kind.
    wants_checksum: Cell<bool>,
}

impl Dialect {
    /// False where the store is known not to take `If-None-Match`.
    pub(super) fn has_conditions(&self) -> bool {
        !self.no_conditions.get()
    }

    /// An object was stored in spite of `If-None-Match`, over another one.
    pub(super) fn ignores_conditions(&self) {
        self.no_conditions.set(true);
    }

    /// True where the store has asked for `x-amz-checksum-...`. It is not sent unasked: R2 and B2 have refused it.
    pub(super) fn wants_checksum(&self) -> bool {
        self.wants_checksum.get()
    }

    /// Whether `error`, the answer to a PUT, is about `If-None-Match` and not about the object: the store doesn't know
    /// the header (501, or 400 `NotImplemented`, or 400 in words that name it), or it has looked for an object to hold
    /// against the condition (404, as some do where a delete marker is the newest version).
    pub(super) fn refuses_condition(&self, error: &S3Error) -> bool {
        let S3ErrorKind::Status { status, code, message, .. } = &error.kind else { return false };
        let named = message.to_ascii_lowercase();
        let named = ["if-none-match", "conditional", "precondition"].iter().any(|name| named.contains(name));
        let unknown = *status == 501 || code == "NotImplemented" || (*status == 400 && named);
        if unknown {
            self.no_conditions.set(true);
        }
        unknown || (*status == 404 && code != "NoSuchBucket")
    }

    /// Whether `error`, the answer to a PUT, asks for a checksum that was not sent.
    pub(super) fn asks_for_checksum(&self, error: &S3Error) -> bool {
        let S3ErrorKind::Status { status: 400 | 403 | 411 | 412, code, message, .. } = &error.kind else {
            return false;
        };
        let text = format!("{code} {message}").to_ascii_lowercase();
        let asks = !self.wants_checksum.get() && text.contains("checksum");
        if asks {
            self.wants_checksum.set(true);
        }
        asks
    }
}
