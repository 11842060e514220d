//! `verify`: the sets in the bucket are there, whole, and the bytes that were backed up.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::places;
use crate::report::Item;
use crate::sets::quality::{self, Depth};
use crate::sets::{self, Found, SetManifest, SetShard};
use crate::store::ObjectStore;
use std::collections::BTreeSet;

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
            let item = match sets::read(bucket, &collection, set).await {
                Ok(manifest) if !manifest.missing.is_empty() => {
                    let wrong = quality::of_set(bucket, &manifest, &|_| Depth::Identity).await;
                    Item::skipped(
                        "set",
                        wrong.err().map(|wrong| quality::as_one(&wrong).to_string()).unwrap_or_default(),
                    )
                }
                Ok(manifest) => match verify(bucket, set, &manifest, part, &mut seen).await {
                    Ok(looked_at) => Item::done("set").bytes(manifest.bytes()).cause(looked_at),
                    Err(error) => Item::failed("set", error),
                },
                // Another source's, under another prefix of Qdrant's own.
                Err(error) if error.code() == Code::Configuration => {
                    Item::skipped("set", format!("another source's, not looked at: {error}"))
                }
                Err(error) => Item::failed("set", error),
            };
            let elapsed = context.ports.clock.monotonic().saturating_sub(started);
            context.reporter.report(item.collection(&collection).name(set.id.as_str()).elapsed(elapsed));
        }
    }
    if any {
        Ok(())
    } else {
        // A proof of nothing is none: the bucket, or the choice, is wrong.
        Err(Error::new(Code::NothingSelected, "", "there is no set to verify").advice(
            "look at QDRANT_S3_BUCKET_NAME, QDRANT_COLLECTIONS and QDRANT_SNAPSHOT_DATETIME_FILTER; `list_sets` lists all",
        ))
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

/// Asks how good a set is, and says what was looked at.
async fn verify(
    bucket: &dyn ObjectStore,
    set: &Found,
    manifest: &SetManifest,
    part: Option<Part>,
    seen: &mut BTreeSet<String>,
) -> Result<String, Error> {
    let read = |shard: &SetShard| !shard.checksum.is_empty() && part.is_some_and(|part| part.has(&shard.s3_key));
    let depth = |shard: &SetShard| match (seen.contains(&shard.s3_key), read(shard)) {
        (true, _) => Depth::Identity,
        (false, false) => Depth::Walk,
        (false, true) => Depth::Whole,
    };
    let level = quality::of_set(bucket, manifest, &depth).await.map_err(|wrong| quality::as_one(&wrong))?;
    let new = || manifest.shards.iter().filter(|shard| !seen.contains(&shard.s3_key));
    let drill = sets::read_drill(bucket, set, manifest).await?;
    let level = quality::with_drill(level, drill.as_ref());
    let (whole, without) =
        (new().filter(|shard| read(shard)).count(), new().filter(|shard| shard.checksum.is_empty()).count());
    seen.extend(manifest.shards.iter().map(|shard| shard.s3_key.clone()));
    let without = if without > 0 { format!(", {without} without a checksum to compare") } else { String::new() };
    let drilled = drill.map(|drill| format!(", restored by a drill at {}", drill.restored_at)).unwrap_or_default();
    let shards = manifest.shards.len();
    Ok(format!("{level}: {shards} snapshots whole to their ends, {whole} by their checksums{without}{drilled}"))
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
