//! An archive from the bucket into a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::sets::SetShard;
use sha2::{Digest, Sha256};

/// Writes the archive of `shard` into `file`, piece by piece.
///
/// # Errors
/// It can't be read or written, or it is not what the manifest says.
pub(super) async fn fetch(bucket: &Bucket, shard: &SetShard, file: &Path) -> Result<(), String> {
    let cannot = |why: std::io::Error| format!("can't write `{}`: {why} (is there room?)", file.display());
    let stat = bucket.stat(&shard.s3_key).await.map_err(|error| error.to_string())?;
    let stat = stat.ok_or_else(|| format!("the object `{}` is missing", shard.s3_key))?;
    let mut out = File::create(file).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut written = Ok(());
    let each = |chunk: &[u8]| {
        hash.update(chunk);
        if written.is_ok() {
            written = out.write_all(chunk);
        }
    };
    bucket.read_through(&shard.s3_key, stat.bytes, each).await.map_err(|error| error.to_string())?;
    written.map_err(cannot)?;
    out.sync_all().map_err(cannot)?;
    let actual = format!("{:x}", hash.finalize());
    match shard.checksum.is_empty() || actual.eq_ignore_ascii_case(&shard.checksum) {
        true => Ok(()),
        false => Err(format!("its SHA-256 is {actual} and was {}", shard.checksum)),
    }
}
