//! A snapshot from the bucket into a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use qdrant_backup_core::error::{Code, Error};
use qdrant_backup_core::sets::SetShard;
use qdrant_backup_core::store::ObjectStore;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder in the work directory `work` that is removed with what is in it.
///
/// # Errors
/// It can't be made.
pub(super) fn folder(work: &Path) -> Result<TempDir, Error> {
    let made = tempfile::Builder::new().prefix("drill-").tempdir_in(work);
    made.map_err(|why| Error::new(Code::WorkDirectory, "a folder in it", why.to_string()))
}

/// Writes the snapshot of `shard` into `file`, piece by piece.
///
/// # Errors
/// It can't be read or written, or it is not what the manifest says.
pub(super) async fn fetch(bucket: &dyn ObjectStore, shard: &SetShard, file: &Path) -> Result<(), Error> {
    let cannot = |why: std::io::Error| {
        Error::new(Code::WorkDirectory, format!("`{}`", file.display()), format!("can't be written: {why}"))
            .advice("is there room?")
    };
    let thing = || format!("the object `{}`", shard.s3_key);
    let stat = bucket.stat(&shard.s3_key).await?;
    let stat = stat.ok_or_else(|| Error::new(Code::SnapshotMissing, thing(), "it is missing"))?;
    let mut out = File::create(file).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut written = Ok(());
    let mut each = |chunk: &[u8]| {
        hash.update(chunk);
        if written.is_ok() {
            written = out.write_all(chunk);
        }
    };
    bucket.read_through(&shard.s3_key, stat.bytes, &mut each).await?;
    written.map_err(cannot)?;
    out.sync_all().map_err(cannot)?;
    let actual = format!("{:x}", hash.finalize());
    if shard.checksum.is_empty() || actual.eq_ignore_ascii_case(&shard.checksum) {
        return Ok(());
    }
    let cause = format!("its SHA-256 is {actual} and was {}", shard.checksum);
    Err(Error::new(Code::SnapshotDamaged, thing(), cause))
}
