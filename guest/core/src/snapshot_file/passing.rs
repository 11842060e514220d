//! A snapshot of a shard that is looked at while it passes by: from a peer into the bucket, and never held whole.

use std::rc::Rc;

use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use super::error::SnapshotFileError;
use super::source::Feed;
use super::{hex, shard};
use crate::ports::LocalBoxFuture;

/// What is known of a snapshot that has passed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// The peer that made it.
    pub peer: u64,
}

/// A snapshot that is passing by.
pub struct Passing {
    feed: Rc<Feed>,
    walk: LocalBoxFuture<'static, Result<u64, SnapshotFileError>>,
    hash: Sha256,
    bytes: u64,
}

impl Default for Passing {
    fn default() -> Self {
        let feed = Rc::new(Feed::default());
        let source = Rc::clone(&feed);
        let walk = Box::pin(async move { shard(source.as_ref()).await });
        Self { feed, walk, hash: Sha256::new(), bytes: 0 }
    }
}

impl Passing {
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// With them it is no snapshot of a shard, whatever comes: nothing more has to be read.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(), SnapshotFileError> {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.feed.push(chunk);
        match (&mut self.walk).now_or_never() {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(SnapshotFileError::Broken("something follows its end".to_owned())),
        }
    }

    /// Nothing more comes. How a connection ends says nothing: the snapshot has to have its own end, and all its parts.
    ///
    /// # Errors
    /// It is not whole.
    pub fn end(self) -> Result<Passed, SnapshotFileError> {
        self.feed.end();
        let peer = self.walk.now_or_never();
        let peer = peer.unwrap_or_else(|| Err(SnapshotFileError::Broken("it is not whole".to_owned())))?;
        Ok(Passed { bytes: self.bytes, sha256: hex(self.hash), peer })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_a_real_qdrant_passes_and_no_part_of_it() {
        let name = "docs-shard-0-2026-11-22-09-32-18.snapshot";
        let path = format!("{}/../../tests/data/qdrant-1.18.3/archives/{name}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let passed = |bytes: &[u8], size: usize| {
            let mut passing = Passing::default();
            for chunk in bytes.chunks(size) {
                passing.take(chunk)?;
            }
            passing.end()
        };
        let whole = passed(&bytes, 64 << 10).unwrap();
        assert_eq!((whole.bytes, whole.sha256.len()), (bytes.len() as u64, 64));
        assert!(whole.peer > 0);
        let mut cuts: Vec<usize> = (0..bytes.len()).step_by(1 << 20).collect();
        // Where the tar's own structure is, every block.
        cuts.extend((bytes.len().saturating_sub(8 << 10)..bytes.len()).step_by(512));
        for cut in cuts {
            assert!(passed(bytes.get(..cut).unwrap(), 1 << 20).is_err(), "{cut}");
        }
    }

    /// Qdrant's archiver writes the end of a tar even where it gave up in the middle.
    #[test]
    fn a_proper_end_after_too_few_members_is_no_snapshot() {
        let mut builder = tar::Builder::new(Vec::new());
        for path in ["segments/a.tar", "newest_clocks.json", "wal/open-1"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, b"data".as_slice()).unwrap();
        }
        let mut passing = Passing::default();
        passing.take(&builder.into_inner().unwrap()).unwrap();
        assert!(passing.end().unwrap_err().to_string().contains("replica_state.json"));
    }
}
