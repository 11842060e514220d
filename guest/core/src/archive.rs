//! What an archive says about itself, read by small ranged requests from one of any size.
//!
//! Qdrant puts the collection's configuration, payload indexes, shard keys and the state of every replica into each
//! archive, so that a restore can be planned from archives alone. Reading them also proves that the tar is whole to
//! its end, which Qdrant does not when it uploads one.

mod assembly;
mod description;
mod shard_folder;
mod walk;

pub use assembly::Assembly;
pub use description::{ArchiveDescription, ShardDescription, ShardKeyMapping};
pub use shard_folder::Piece;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Code, Error};
use crate::ports::LocalBoxFuture;
use crate::store::ObjectStore;
use walk::Want;

/// Why an archive can't be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// It can't be read.
    Unreadable(Error),
    /// It is damaged, or not an archive of a collection: says where and what.
    Broken(String),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::Broken(what) => write!(f, "the archive can't be used: {what}"),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unreadable(error) => error,
            ArchiveError::Broken(_) => Self::new(Code::SnapshotDamaged, "", error.to_string()),
        }
    }
}

/// Reads the description of the archive `key` of `bytes` bytes.
///
/// # Errors
/// It can't be read, is not whole, or is no archive of a collection.
pub async fn describe(bucket: &dyn ObjectStore, key: &str, bytes: u64) -> Result<ArchiveDescription, ArchiveError> {
    let tables = walk::walk(&Stored { bucket, key }, bytes, &description::tables).await?;
    description::describe(tables).map_err(ArchiveError::Broken)
}

/// Proves that the object `key` of `bytes` bytes is an archive of a shard, whole to its end.
///
/// # Errors
/// As for [`describe`].
pub async fn check_shard(bucket: &dyn ObjectStore, key: &str, bytes: u64) -> Result<(), ArchiveError> {
    let entries = walk::walk(&Stored { bucket, key }, bytes, &|_| Want::Place).await?;
    // Without one of these Qdrant refuses it ("Invalid snapshot").
    for part in ["segments", "wal", "shard_config.json", "replica_state.json"] {
        if !entries.iter().any(|entry| entry.path.split('/').next() == Some(part)) {
            return Err(ArchiveError::Broken(format!("it has no `{part}` and is not an archive of a shard")));
        }
    }
    Ok(())
}

/// The data of `shard` in the archive `key` of a whole collection, put together as an archive of that shard. Restores it
/// where Qdrant refuses the whole one.
///
/// # Errors
/// As for [`describe`], or it has no data of the shard.
pub async fn shard_of_collection(
    bucket: &dyn ObjectStore,
    key: &str,
    bytes: u64,
    shard: u32,
) -> Result<Vec<Piece>, ArchiveError> {
    let folder = format!("{shard}/");
    let wanted = |path: &str| if path.starts_with(&folder) { Want::Header } else { Want::Place };
    let entries = walk::walk(&Stored { bucket, key }, bytes, &wanted).await?;
    shard_folder::pieces(&entries, shard)
}

/// SHA-256 of the object `key` of `bytes` bytes, as 64 hexadecimal digits. All of it is read, in constant memory.
///
/// # Errors
/// It can't be read to its end.
pub async fn sha256(bucket: &dyn ObjectStore, key: &str, bytes: u64) -> Result<String, ArchiveError> {
    let mut hash = Sha256::new();
    bucket.read_through(key, bytes, &mut |chunk| hash.update(chunk)).await.map_err(ArchiveError::Unreadable)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where an archive's bytes come from.
trait Source {
    /// Exactly `length` bytes from `start` on.
    fn read(&self, start: u64, length: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, ArchiveError>>;
}

struct Stored<'a> {
    bucket: &'a dyn ObjectStore,
    key: &'a str,
}

impl Source for Stored<'_> {
    fn read(&self, start: u64, length: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, ArchiveError>> {
        Box::pin(async move { self.bucket.range(self.key, start, length).await.map_err(ArchiveError::Unreadable) })
    }
}
