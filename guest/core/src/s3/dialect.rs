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
    /// What it does with the CRC-32 of a part.
    crc32: Cell<Crc32>,
    /// It takes no body that is left out of the signature.
    wants_signed_bodies: Cell<bool>,
}

/// What a store does with `x-amz-checksum-crc32` of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Crc32 {
    /// It checks it, as far as is known: no other checksum is needed.
    #[default]
    Alone,
    /// It does not say so, or wants `Content-MD5` as well.
    BesideMd5,
    /// It refuses it.
    Refused,
}

/// Codes for a body that is not the one that was sent.
const DAMAGED: &[&str] = &["BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody"];

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

    /// What it does with the CRC-32 of a part.
    pub(super) fn crc32(&self) -> Crc32 {
        self.crc32.get()
    }

    /// Remembers what it does with the CRC-32 of a part. False where that, or worse, is known.
    pub(super) fn learn_crc32(&self, crc32: Crc32) -> bool {
        self.crc32.replace(self.crc32.get().max(crc32)) < crc32
    }

    /// True where the store has taken a part only with its content in the signature.
    pub(super) fn wants_signed_bodies(&self) -> bool {
        self.wants_signed_bodies.get()
    }

    /// Remembers that it takes no others. False where that is nothing new.
    pub(super) fn learn_signed_bodies(&self) -> bool {
        !self.wants_signed_bodies.replace(true)
    }

    /// Whether `error`, the answer to an upload or a part of it with a CRC-32, may be about that: stores that don't know
    /// `x-amz-checksum-...` have no common word for it.
    pub(super) fn may_refuse_crc32(error: &S3Error) -> bool {
        let S3ErrorKind::Status { status: 400 | 501, code, .. } = &error.kind else { return false };
        !DAMAGED.contains(&code.as_str())
    }

    /// Whether `error`, the answer to a part, asks for `Content-MD5`.
    pub(super) fn asks_for_md5(error: &S3Error) -> bool {
        let S3ErrorKind::Status { status: 400 | 403 | 411 | 412, code, message, .. } = &error.kind else {
            return false;
        };
        let named = format!("{code} {message}").to_ascii_lowercase();
        named.contains("content-md5") || named.contains("contentmd5")
    }

    /// Whether `error`, the answer to a part whose content is not in the signature, may be about that: stores and policies
    /// have no common word for it (a condition on `s3:x-amz-content-sha256` is answered like any other missing right).
    pub(super) fn may_want_signed_bodies(error: &S3Error) -> bool {
        let S3ErrorKind::Status { status: 400 | 401 | 403 | 501, code, .. } = &error.kind else { return false };
        !DAMAGED.contains(&code.as_str())
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
