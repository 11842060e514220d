//! Where an archive is read from.

use super::error::ArchiveError;
use crate::ports::LocalBoxFuture;
use crate::store::ObjectStore;

/// Where an archive's bytes come from.
pub(super) trait Source {
    /// Exactly `length` bytes from `start` on.
    fn read(&self, start: u64, length: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, ArchiveError>>;
}

pub(super) struct Stored<'a> {
    pub bucket: &'a dyn ObjectStore,
    pub key: &'a str,
}

impl Source for Stored<'_> {
    fn read(&self, start: u64, length: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, ArchiveError>> {
        Box::pin(async move { self.bucket.range(self.key, start, length).await.map_err(ArchiveError::Unreadable) })
    }
}
