//! The snapshots of a plan, looked at before a live collection is deleted for them.

use std::collections::BTreeMap;

use super::job::Job;
use super::plan::Recovery;
use crate::concurrent;
use crate::error::{Code, Error};
use crate::snapshot_file;

/// How many snapshots are read at the same time.
const AT_ONCE: usize = 4;

/// Makes sure that every snapshot is the one that was made: read whole where its SHA-256 is known, else to its end. That
/// a snapshot of a whole collection is whole was seen when it was chosen.
///
/// # Errors
/// Names all that are not, or can't be read.
pub(super) async fn check(job: &Job<'_>) -> Result<(), Error> {
    let of_shards =
        job.plan.recoveries.iter().filter(|recovery| recovery.shard.as_ref().is_some_and(|shard| !shard.in_collection));
    // Every replica of a shard gets the same one.
    let distinct: BTreeMap<&str, &Recovery> = of_shards.map(|recovery| (recovery.key.as_str(), recovery)).collect();
    let work = distinct.into_values().map(|recovery| async move { (recovery, check_one(job, recovery).await) });
    let mut wrong: Option<(Code, Vec<String>)> = None;
    concurrent::at_most(AT_ONCE, work, |(recovery, checked)| {
        if let Err(error) = checked {
            let (_, causes) = wrong.get_or_insert_with(|| (error.code(), Vec::new()));
            causes.push(format!("`{}`: {error}", recovery.name));
        }
    })
    .await;
    let Some((code, causes)) = wrong else { return Ok(()) };
    let cause =
        format!("the existing collection was not changed, as the backup can't replace it: {}", causes.join("; "));
    Err(Error::new(code, format!("`{}`", job.plan.collection), cause).advice("choose another backup (`list_sets`)"))
}

async fn check_one(job: &Job<'_>, recovery: &Recovery) -> Result<(), Error> {
    let Some(expected) = recovery.shard.as_ref().and_then(|shard| shard.checksum.as_deref()) else {
        snapshot_file::check_shard(job.store, &recovery.key, recovery.bytes).await?;
        return Ok(());
    };
    let mut passing = job.context.passing(&recovery.name, recovery.bytes);
    let found =
        snapshot_file::sha256(job.store, &recovery.key, recovery.bytes, &mut |count| passing.add(count)).await?;
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let cause = format!("its SHA-256 is {found} and was {expected}");
    Err(Error::new(Code::SnapshotDamaged, "", cause))
}
