//! `verify`: the sets in the bucket are there, whole, and the bytes that were backed up.

use crate::archive;
use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::places;
use crate::report::{Item, Outcome};
use crate::restore;
use crate::sets::{self, Found, SetManifest, SetShard};
use crate::store::ObjectStore;
use std::collections::BTreeSet;

/// How many archives are read at the same time.
const ARCHIVES_AT_ONCE: usize = 4;

/// The object that counts the runs that read only a part, so that each reads another.
const ROUND: &str = "round";

/// Which archives this run reads whole: one part of so many.
#[derive(Clone, Copy, Debug)]
struct Part {
    index: u64,
    of: u64,
}

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let part = part(context, bucket).await?;
    // Two sets may name one archive.
    let mut seen = BTreeSet::new();
    let mut any = false;
    for (collection, sets) in sets::list(bucket).await? {
        let filter = context.settings.snapshot_filter.as_str();
        let wanted = |set: &&Found| set.id.as_str().starts_with(filter);
        if !context.settings.collections.takes(&collection) {
            continue;
        }
        for set in sets.iter().filter(wanted) {
            any = true;
            let started = context.ports.clock.monotonic();
            let result = match sets::read(bucket, &collection, set).await {
                Ok(manifest) => verify(bucket, &manifest, part, &mut seen).await.map(|proof| (proof, manifest.bytes())),
                Err(cause) => Err(Error::from(cause)),
            };
            let item = |outcome, cause| Item {
                collection: Some(collection.clone()),
                name: Some(set.id.to_string()),
                elapsed: context.ports.clock.monotonic().saturating_sub(started),
                cause: Some(cause),
                ..Item::new("set", outcome)
            };
            context.reporter.report(match result {
                Ok((proof, bytes)) => Item { bytes: Some(bytes), ..item(Outcome::Done, proof) },
                Err(cause) => item(Outcome::Failed, cause.to_string()),
            });
        }
    }
    if any {
        Ok(())
    } else {
        // A proof of nothing is none: the bucket, or the choice, is wrong.
        Err("there is no set to verify (QDRANT_S3_BUCKET_NAME, QDRANT_COLLECTIONS, QDRANT_SNAPSHOT_DATETIME_FILTER)"
            .to_owned()
            .into())
    }
}

/// The part whose turn it is; none of it at 0 percent.
async fn part(context: &Context, bucket: &dyn ObjectStore) -> Result<Option<Part>, Error> {
    let percent = context.settings.verify_percent;
    if percent == 0 || percent == 100 {
        return Ok((percent > 0).then_some(Part { index: 0, of: 1 }));
    }
    let of = 100_u64.div_ceil(percent);
    let bare = format!("{}/{ROUND}", places::VERIFY_STATE);
    let round = bucket.get_own(&bare, 64).await?.unwrap_or_default();
    let round: u64 = String::from_utf8_lossy(&round).trim().parse().unwrap_or_default();
    let next = round.wrapping_add(1).to_string();
    if let Err(error) = bucket.put(&bucket.places().ours(&bare), "text/plain", next.into_bytes()).await {
        context.log.warn(None, &format!("the next run will read the same part again: {error}"));
    }
    Ok(Some(Part { index: round % of, of }))
}

impl Part {
    /// True when it is the turn of the archive `key`: the same at every run.
    fn has(self, key: &str) -> bool {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in key.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        (hash >> 20) % self.of == self.index
    }
}

async fn verify(
    bucket: &dyn ObjectStore,
    manifest: &SetManifest,
    part: Option<Part>,
    seen: &mut BTreeSet<String>,
) -> Result<String, Error> {
    restore::present(bucket, manifest).await?;
    let shards: Vec<&SetShard> = manifest.shards.iter().filter(|shard| !seen.contains(&shard.s3_key)).collect();
    seen.extend(shards.iter().map(|shard| shard.s3_key.clone()));
    let (mut wrong, mut whole, mut without) = (Vec::new(), 0, 0);
    let read = |shard: &SetShard| part.is_some_and(|part| part.has(&shard.s3_key));
    let work = shards.iter().map(|shard| async move { (*shard, prove(bucket, shard, read(shard)).await) });
    concurrent::at_most(ARCHIVES_AT_ONCE, work, |(shard, result)| match result {
        Err(cause) => wrong.push(format!("the archive of shard {} (`{}`): {cause}", shard.id, shard.s3_key)),
        Ok(()) if shard.checksum.is_empty() => without += 1,
        Ok(()) => whole += usize::from(read(shard)),
    })
    .await;
    let without = if without > 0 { format!(", {without} without a checksum to compare") } else { String::new() };
    if wrong.is_empty() {
        Ok(format!("{} archives whole to their ends, {whole} by their checksums{without}", manifest.shards.len()))
    } else {
        Err(wrong.join("; ").into())
    }
}

async fn prove(bucket: &dyn ObjectStore, shard: &SetShard, read: bool) -> Result<(), Error> {
    let stat = bucket.stat(&shard.s3_key).await?;
    let bytes = stat.ok_or("it is gone")?.bytes;
    archive::check_shard(bucket, &shard.s3_key, bytes).await?;
    if !read || shard.checksum.is_empty() {
        return Ok(());
    }
    let actual = archive::sha256(bucket, &shard.s3_key, bytes).await?;
    if actual.eq_ignore_ascii_case(&shard.checksum) {
        Ok(())
    } else {
        Err(format!("its SHA-256 is {actual} and was {}", shard.checksum).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_archive_has_its_turn_once_in_a_round() {
        let keys: Vec<String> = (0..1000).map(|number| format!("snapshots/docs/shards/0/{number}")).collect();
        for of in [1, 2, 3, 10, 100] {
            let turns = |key: &String| (0..of).filter(|index| Part { index: *index, of }.has(key)).count();
            assert!(keys.iter().all(|key| turns(key) == 1));
            let first = keys.iter().filter(|key| Part { index: 0, of }.has(key)).count() as u64;
            assert!(first >= 1000 / of / 3, "{first} of 1000 in one of {of}");
        }
    }
}
