//! The bucket: all that a backup, a restore, and a streamed snapshot do with it, on probe objects that are removed again.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::clock;
use super::row::Row;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::places::{self, SET_MANIFESTS, SNAPSHOT_MANIFESTS, STREAMED};
use crate::s3::Bucket;
use crate::settings::{S3Settings, Transfer};
use crate::store::{ObjectStore, Upload, WRITE_CHECK};

const AREA: &str = "bucket";

/// Probes that are older were left by a check that was killed: none takes so long.
const LEFT: Duration = Duration::from_secs(3600);

/// The file in a probe, and what is in it.
const FILE: (&str, &[u8]) = ("qdrant-backup-check", b"a probe of `qdrant-backup check`: may be deleted\n");

/// More than a probe has.
const LIMIT: usize = 8 << 10;

/// What is in a probe: a snapshot, as Qdrant unpacks what it fetches while it fetches it.
fn content() -> Result<Vec<u8>, Error> {
    const BLOCK: usize = 512;
    let (name, text) = FILE;
    let mut header = tar::Header::new_ustar();
    let named = header.set_path(name);
    named.map_err(|error| Error::new(Code::Unsupported, "the probe", error.to_string()))?;
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), text].concat();
    // Up to the next block, and two empty ones at the end.
    bytes.resize(bytes.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    Ok(bytes)
}

/// An object that is there to be read, by Qdrant as well.
pub(super) struct Probe {
    /// Its key.
    pub key: String,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Opens the bucket, as every task does that uses one.
pub(super) async fn open(context: &Context, s3: &S3Settings, rows: &mut Vec<Row>) -> Option<Rc<dyn ObjectStore>> {
    match Bucket::open_in(&context.ports, &context.settings, s3).await {
        Ok(bucket) => {
            rows.push(Row::ok(AREA, "list", format!("`{}` at {}", s3.bucket, s3.endpoint)));
            Some(Rc::new(bucket))
        }
        Err(error) => {
            rows.push(Row::failed(AREA, "list", error));
            rows.push(Row::unknown(
                AREA,
                "read and write",
                "the bucket can't be listed, and nothing else was asked of it",
            ));
            None
        }
    }
}

/// Tries everything; returns the probe, which is still there.
pub(super) async fn try_all(context: &Context, bucket: &dyn ObjectStore, rows: &mut Vec<Row>) -> Option<Probe> {
    rows.push(clock::row(AREA, "clock", bucket.clock_ahead(), bucket.check_clock().err()));
    rows.extend(leftovers(context, bucket).await);
    for (folder, whose) in [(SET_MANIFESTS, "create_snap_shards"), (SNAPSHOT_MANIFESTS, "create_snap")] {
        let folder_there = bucket.places().ours(&format!("{folder}/"));
        // As a backup does before it begins.
        let checked = bucket.check_writable(folder, context.ports.clock.random()).await;
        let checked = checked.map(|()| format!("into `{folder_there}`, for `{whose}`"));
        rows.push(Row::of(AREA, "put if absent", checked));
    }
    if !bucket.obeys_conditions() {
        let finding =
            "the store does not obey `If-None-Match`: two runs are told apart by a look before and after instead";
        rows.push(Row::warning(AREA, "conditions", finding));
    }
    rows.push(snapshots(bucket).await);
    let content = match content() {
        Ok(content) => content,
        Err(error) => {
            rows.push(Row::failed(AREA, "put", error));
            return None;
        }
    };
    rows.push(multipart(context, bucket, &content).await);
    let key = bucket.places().ours(&format!("{SET_MANIFESTS}/{WRITE_CHECK}{:016x}", context.ports.clock.random()));
    match bucket.put(&key, "application/x-tar", content.clone()).await {
        Err(error) => {
            rows.push(Row::failed(AREA, "put", error));
            // It may be there all the same.
            let _ = bucket.delete(&key).await;
            rows.push(Row::unknown(AREA, "get, delete", "there is no object to try it on"));
            return None;
        }
        Ok(()) => rows.push(Row::ok(AREA, "put", format!("`{key}`"))),
    }
    let read = bucket.get(&key, LIMIT).await;
    rows.push(Row::of(
        AREA,
        "get",
        read.and_then(|read| same(&key, read.as_deref(), &content)).map(|()| "the same bytes"),
    ));
    let (start, length) = (7, 6);
    let part = content.get(start..start + length).unwrap_or_default();
    let read = bucket.range(&key, start as u64, length).await;
    rows.push(Row::of(
        AREA,
        "ranged get",
        read.and_then(|read| same(&key, Some(&read), part)).map(|()| "the same bytes"),
    ));
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Probe { key, sha256 })
}

/// Removes the probe, and checks whether it is gone.
pub(super) async fn remove(bucket: &dyn ObjectStore, probe: &Probe) -> Row {
    match bucket.delete(&probe.key).await {
        Ok(()) => {}
        // A backup goes on without this right; `prune_snap` does not.
        Err(error) if error.code() == Code::StoreUnauthorized => {
            let finding = format!("`{}` stays where it is, as do old backups: {}", probe.key, error.reason());
            return Row::warning(AREA, "delete", finding).advice(
                "where old backups are to be removed, give the key s3:DeleteObject; the bucket's own lifecycle rules have \
                 to do it otherwise",
            );
        }
        Err(error) => return Row::failed(AREA, "delete", error),
    }
    match bucket.stat(&probe.key).await {
        Ok(None) => Row::ok(AREA, "delete", "the probe is gone"),
        Ok(Some(_)) => {
            let error = Error::new(Code::StoreAnswer, format!("`{}`", probe.key), "deleted, and still there");
            Row::failed(AREA, "delete", error)
        }
        Err(error) => {
            Row::unknown(AREA, "delete", format!("whether the probe is gone can't be seen: {}", error.reason()))
        }
    }
}

/// Removes the probes that checks and backups left which were killed.
async fn leftovers(context: &Context, bucket: &dyn ObjectStore) -> Option<Row> {
    let now = context.ports.clock.now();
    let is_old = |stored: Option<OffsetDateTime>| stored.is_some_and(|stored| now - stored > LEFT);
    let (mut objects, mut uploads) = (Vec::new(), Vec::new());
    for folder in [SET_MANIFESTS, SNAPSHOT_MANIFESTS, STREAMED] {
        let probes = bucket.places().ours(&format!("{folder}/{WRITE_CHECK}"));
        // What can't be listed is told by other rows.
        let _ = bucket
            .list(&probes, &mut |object| objects.extend(is_old(object.last_modified).then_some(object.key)))
            .await;
        if folder == STREAMED {
            let _ = bucket
                .list_uploads(&probes, &mut |upload| uploads.extend(is_old(upload.begun).then_some(upload)))
                .await;
        }
    }
    let count = objects.len() + uploads.len();
    if count == 0 || context.settings.dry_run {
        return None;
    }
    let mut left = None;
    for key in &objects {
        left = bucket.delete(key).await.err().or(left);
    }
    for upload in &uploads {
        left = bucket.abort_upload(upload).await.err().or(left);
    }
    Some(match left {
        None => Row::ok(AREA, "old probes", format!("{count} of runs that were killed are removed")),
        Some(error) => {
            Row::warning(AREA, "old probes", format!("{count} of runs that were killed are there: {}", error.reason()))
                .advice(error.what_to_do())
        }
    })
}

/// Qdrant's own snapshots are read from the bucket: where there is one, its first byte is.
async fn snapshots(bucket: &dyn ObjectStore) -> Row {
    const WHAT: &str = "read snapshots";
    let prefix = format!("{}/", bucket.key_prefix());
    match bucket.first(&prefix).await {
        Err(error) => Row::failed(AREA, WHAT, error),
        Ok(None) => Row::unknown(AREA, WHAT, format!("there is none below `{prefix}` yet (QDRANT_S3_KEY_PREFIX)")),
        Ok(Some(object)) if object.bytes == 0 => Row::unknown(AREA, WHAT, format!("`{}` is empty", object.key)),
        Ok(Some(object)) => {
            Row::of(AREA, WHAT, bucket.range(&object.key, 0, 1).await.map(|_| format!("`{}`", object.key)))
        }
    }
}

/// An upload in parts, by which streamed snapshots get into the bucket.
async fn multipart(context: &Context, bucket: &dyn ObjectStore, content: &[u8]) -> Row {
    const WHAT: &str = "multipart";
    let key = bucket.places().ours(&format!("{STREAMED}/{WRITE_CHECK}{:016x}", context.ports.clock.random()));
    let upload = match bucket.begin_upload(&key).await {
        Ok(upload) => upload,
        Err(error) => return without_multipart(context, error),
    };
    let stored = upload_in(bucket, &upload, content).await;
    if stored.is_err() {
        let _ = bucket.abort_upload(&upload).await;
    }
    let read = match stored {
        Ok(()) => bucket.get(&key, LIMIT).await.and_then(|read| same(&key, read.as_deref(), content)),
        Err(error) => Err(error),
    };
    // Whatever became of it. That it can't be deleted is told by the other probe.
    let _ = bucket.delete(&key).await;
    let folder = bucket.places().ours(&format!("{}/", places::STREAMED));
    match read {
        Ok(()) => Row::ok(AREA, WHAT, format!("into `{folder}`")),
        Err(error) => without_multipart(context, error),
    }
}

async fn upload_in(bucket: &dyn ObjectStore, upload: &Upload, content: &[u8]) -> Result<(), Error> {
    let part = bucket.put_part(upload, 1, content).await?;
    bucket.complete_upload(upload, &[part]).await.map(drop)
}

/// It is needed only where snapshots are sent through this program.
fn without_multipart(context: &Context, error: Error) -> Row {
    let row = Row::failed(AREA, "multipart", error);
    let row = match context.settings.transfer {
        Transfer::Stream => row,
        Transfer::Storage | Transfer::Auto if row.verdict == super::Verdict::Unknown => row,
        Transfer::Storage | Transfer::Auto => row.verdict(super::Verdict::Warning),
    };
    let advice = "needed only where snapshots of shards are sent through this program (QDRANT_SNAPSHOT_TRANSFER)";
    let advice = if row.advice.is_empty() { advice.to_owned() } else { format!("{}; {advice}", row.advice) };
    row.advice(advice)
}

/// That what was read is what was stored.
fn same(key: &str, read: Option<&[u8]>, stored: &[u8]) -> Result<(), Error> {
    let cause = match read {
        Some(read) if read == stored => return Ok(()),
        Some(_) => "other bytes came than were stored",
        None => "stored, and not there",
    };
    Err(Error::new(Code::StoreAnswer, format!("`{key}`"), cause))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Qdrant 1.19 unpacks a snapshot while it fetches it, and tells the checksum of one that it could unpack.
    #[test]
    fn a_probe_is_a_snapshot_of_one_file() {
        let content = content().unwrap();
        assert!(content.len() <= LIMIT);
        let mut snapshot = tar::Archive::new(content.as_slice());
        let names = snapshot.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(names.collect::<Vec<_>>(), [FILE.0]);
    }
}
