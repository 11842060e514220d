//! What a snapshot says about itself, read by small ranged requests from one of any size.
//!
//! Qdrant puts the collection's configuration, payload indexes, shard keys and the state of every replica into each
//! snapshot, so that a restore can be planned from snapshots alone. Reading them also proves that the tar is whole to
//! its end, which Qdrant does not when it uploads one.

mod assembly;
mod description;
mod error;
mod log;
mod passing;
mod points;
mod shard_folder;
mod source;
mod walk;

pub use assembly::Assembly;
pub use description::{ShardDescription, ShardKeyMapping, SnapshotDescription};
pub use error::SnapshotFileError;
pub use log::{LOG_START, has_log_entries};
pub use passing::{Passed, Passing};
pub use shard_folder::Piece;

use sha2::{Digest, Sha256};

use crate::store::ObjectStore;
use source::{Source, Stored};
use walk::Keep;

/// Reads the description of the snapshot `key` of `bytes` bytes.
///
/// # Errors
/// It can't be read, is not whole, or is no snapshot of a collection.
pub async fn describe(
    bucket: &dyn ObjectStore,
    key: &str,
    bytes: u64,
) -> Result<SnapshotDescription, SnapshotFileError> {
    let tables = walk::walk(&Stored { bucket, key, bytes }, &description::tables).await?;
    description::describe(tables).map_err(SnapshotFileError::Broken)
}

/// Walks the object `key` of `bytes` bytes to its end: it has to be a snapshot of a shard. Returns the id of the peer
/// that made it, which its name does not tell.
///
/// # Errors
/// As for [`describe`].
pub async fn check_shard(bucket: &dyn ObjectStore, key: &str, bytes: u64) -> Result<u64, SnapshotFileError> {
    shard(&Stored { bucket, key, bytes }).await
}

/// Walks a snapshot of a shard to its end; returns the peer that made it.
async fn shard(source: &dyn Source) -> Result<u64, SnapshotFileError> {
    let wanted = |path: &str| if path == description::REPLICA_STATE { Keep::Content } else { Keep::Place };
    let entries = walk::walk(source, &wanted).await?;
    // Without one of these Qdrant refuses it ("Invalid snapshot"). It writes the last two last, so that a snapshot that it
    // could not make whole, and ended all the same as a tar ends, lacks them.
    for part in ["segments", "wal", description::REPLICA_STATE, "shard_config.json"] {
        if !entries.iter().any(|entry| entry.path.split('/').next() == Some(part)) {
            return Err(SnapshotFileError::Broken(format!("it has no `{part}` and is not a snapshot of a shard")));
        }
    }
    description::peer_of_shard(&entries).map_err(SnapshotFileError::Broken)
}

/// Whether the snapshot `key` of `bytes` bytes has points of a shard, whose files are below `folder` (empty, or with a
/// slash at its end); `None` where that can't be told.
///
/// # Errors
/// As for [`describe`].
pub async fn has_points(
    bucket: &dyn ObjectStore,
    key: &str,
    bytes: u64,
    folder: &str,
) -> Result<Option<bool>, SnapshotFileError> {
    points::any(&Stored { bucket, key, bytes }, folder).await
}

/// The data of `shard` in the snapshot `key` of a whole collection, put together as a snapshot of that shard. Restores it
/// where Qdrant refuses the whole one.
///
/// # Errors
/// As for [`describe`], or it has no data of the shard.
pub async fn shard_of_collection(
    bucket: &dyn ObjectStore,
    key: &str,
    bytes: u64,
    shard: u32,
) -> Result<Vec<Piece>, SnapshotFileError> {
    let folder = format!("{shard}/");
    let wanted = |path: &str| if path.starts_with(&folder) { Keep::Header } else { Keep::Place };
    let entries = walk::walk(&Stored { bucket, key, bytes }, &wanted).await?;
    shard_folder::pieces(&entries, shard)
}

/// SHA-256 of the object `key` of `bytes` bytes, as 64 hexadecimal digits. All of it is read, in constant memory; `passed`
/// is told of the bytes as they come.
///
/// # Errors
/// It can't be read to its end.
pub async fn sha256(
    bucket: &dyn ObjectStore,
    key: &str,
    bytes: u64,
    passed: &mut dyn FnMut(u64),
) -> Result<String, SnapshotFileError> {
    let mut hash = Sha256::new();
    let each = &mut |chunk: &[u8]| {
        hash.update(chunk);
        passed(chunk.len() as u64);
    };
    bucket.read_through(key, bytes, each).await.map_err(SnapshotFileError::Unreadable)?;
    Ok(hex(hash))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    /// A tar that is whole, and lacks a part of a shard: what Qdrant writes last, or something else altogether.
    #[test]
    fn a_snapshot_that_lacks_a_part_of_a_shard_is_none() {
        let parts = [
            ("segments/a.tar", "data"),
            ("wal/open-1", "log"),
            ("shard_config.json", "{}"),
            ("replica_state.json", r#"{"is_local": true, "this_peer_id": 7, "peers": {"7": "Active"}}"#),
        ];
        for missing in parts.iter().map(|(path, _)| Some(*path)).chain([None]) {
            let mut builder = tar::Builder::new(Vec::new());
            for (path, content) in parts.iter().filter(|(path, _)| Some(*path) != missing) {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
            let (store, bytes) = (Memory::default(), builder.into_inner().unwrap());
            store.store("x", &bytes, "made");
            let peer = futures_executor::block_on(check_shard(&store, "x", bytes.len() as u64));
            match missing.and_then(|path| path.split('/').next()) {
                None => assert_eq!(peer.unwrap(), 7),
                Some(part) => {
                    let error = peer.unwrap_err().to_string();
                    assert!(error.contains(&format!("it has no `{part}` and is not a snapshot of a shard")), "{error}");
                }
            }
        }
    }
}
