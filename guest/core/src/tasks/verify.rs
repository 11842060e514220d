//! `verify`: the sets in the bucket are there, whole, and the bytes that were backed up.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::places;
use crate::printable;
use crate::report::{Item, Outcome, Report, total};
use crate::reporter::size;
use crate::sets::quality::{self, Depth};
use crate::sets::{self, Found, Meant, SetHeader, SetManifest, SetShard};
use crate::settings::Output;
use crate::source;
use crate::source::place::Here;
use crate::store::ObjectStore;
use crate::table;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

/// The object that counts the runs that read only a part, so that each reads another.
const ROUND: &str = "round";

/// Which snapshots this run reads whole: one part of several.
#[derive(Clone, Copy, Debug)]
struct Part {
    index: u64,
    of: u64,
}

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let part = part(context, bucket).await?;
    // Two sets may name one snapshot.
    let mut seen = BTreeSet::new();
    let mut all = sets::list(bucket).await?;
    all.retain(|collection, _| context.settings.collections.takes(collection));
    let meant = Meant::new(&context.settings.snapshot_filter, &all);
    let mut tally = Tally::default();
    let mut elsewhere = Vec::new();
    for (collection, sets) in &all {
        for set in sets {
            let started = context.ports.clock.monotonic();
            let (read, header) = sets::read_anywhere(bucket, collection, set).await;
            if !meant.takes(&set.id, header.as_ref()) {
                continue;
            }
            if let Some(header) = header.filter(|header| lies_elsewhere(header, bucket)) {
                elsewhere.push((collection, set, header));
                continue;
            }
            let item = match read {
                Ok(manifest) => look(bucket, set, &manifest, part, &mut seen).await,
                Err(error) => Item::failed("set", error),
            };
            tally.report(context, item.collection(collection).name(set.id.as_str()), started);
        }
    }
    let here = if elsewhere.is_empty() { None } else { Some(here(context, bucket).await?) };
    for (collection, set, header) in elsewhere {
        let started = context.ports.clock.monotonic();
        let prefix = header.key_prefix.as_deref().unwrap_or_default();
        let item = if let Some(source) = here.as_ref().and_then(|here| here.other(&header)) {
            let why = format!(
                "another source's, {source}, whose snapshots lie below `{prefix}`: not checked (set QDRANT_S3_KEY_PREFIX={prefix} to check it)"
            );
            Item::skipped("set", why)
        } else {
            match sets::read_anywhere(bucket, collection, set).await.0 {
                Ok(manifest) => {
                    let item = look(bucket, set, &manifest, part, &mut seen).await;
                    let looked_at = item.cause.clone().unwrap_or_default();
                    item.cause(format!("{looked_at}; a restore of it needs QDRANT_S3_KEY_PREFIX={prefix}"))
                }
                Err(error) => Item::failed("set", error),
            }
        };
        tally.report(context, item.collection(collection).name(set.id.as_str()), started);
    }
    tally.check()
}

/// What was found: a table for people, or JSON.
pub(super) fn print(context: &Context, report: &Report) {
    let outcome = |item: &Item| match item.outcome {
        Outcome::Done => "verified",
        Outcome::Skipped => "not looked at",
        Outcome::Failed(_) => "failed",
    };
    // What else failed is among them, without a set.
    let sets: Vec<&Item> = report.items.iter().collect();
    let text = if context.settings.output == Output::Json {
        let entry = |item: &&Item| {
            json!({
                "collection": item.collection,
                "set": item.name,
                "outcome": outcome(item),
                "bytes": item.bytes,
                "finding": item.cause,
                "code": item.code().map(Code::name),
            })
        };
        let sets: Vec<Value> = sets.iter().map(entry).collect();
        format!("{}\n", printable::json(&json!({"version": 1, "sets": sets})))
    } else if sets.is_empty() {
        return;
    } else {
        let row = |item: &&Item| {
            vec![
                item.collection.clone().unwrap_or_default(),
                item.name.clone().unwrap_or_default(),
                outcome(item).to_owned(),
                item.bytes.map(size).unwrap_or_default(),
                item.cause.clone().unwrap_or_default(),
            ]
        };
        let count = |wanted: &str| sets.iter().filter(|item| item.kind == "set" && outcome(item) == wanted).count();
        let bytes = size(total(sets.iter().filter(|item| item.is_done()).filter_map(|item| item.bytes)));
        let heads = ["COLLECTION", "SET", "OUTCOME", "SIZE", "FINDING"];
        format!(
            "{}\n{} sets: {} verified ({bytes}), {} failed, {} not looked at\n",
            table::columns(&heads, sets.iter().map(row).collect()),
            sets.iter().filter(|item| item.kind == "set").count(),
            count("verified"),
            count("failed"),
            count("not looked at")
        )
    };
    context.ports.console.data(&text);
}

/// True for a set whose snapshots lie below another prefix than this run's: whose it is has to be asked.
fn lies_elsewhere(header: &SetHeader, bucket: &dyn ObjectStore) -> bool {
    header.key_prefix.as_deref().is_some_and(|prefix| prefix != bucket.key_prefix())
}

/// How many sets there are, and of how many it is known now whether they are good.
#[derive(Default)]
struct Tally {
    sets: usize,
    looked_at: usize,
}

impl Tally {
    fn report(&mut self, context: &Context, item: Item, started: Duration) {
        self.sets += 1;
        self.looked_at += usize::from(item.outcome != Outcome::Skipped);
        context.reporter.report(item.elapsed(context.ports.clock.monotonic().saturating_sub(started)));
    }

    /// # Errors
    /// Nothing was looked at, and nothing is verified by that: the bucket, or the choice, is wrong.
    fn check(&self) -> Result<(), Error> {
        let cause = match (self.sets, self.looked_at) {
            (0, _) => "there is no set to verify".to_owned(),
            (sets, 0) => format!("none of {sets} sets could be verified: they are of other sources, or partial"),
            _ => return Ok(()),
        };
        Err(Error::new(Code::NothingSelected, "", cause).advice(
            "look at QDRANT_S3_BUCKET_NAME, QDRANT_S3_KEY_PREFIX, QDRANT_COLLECTIONS and QDRANT_SNAPSHOT_DATETIME_FILTER; \
             `list_sets` lists all",
        ))
    }
}

/// Whose snapshots lie here: of all sets of the bucket, whichever are chosen.
async fn here(context: &Context, bucket: &dyn ObjectStore) -> Result<Here, Error> {
    let records = source::list_allowed(context, bucket).await?;
    let sets = sets::headers(bucket, &sets::list(bucket).await?).await;
    Ok(Here::new(&records, &sets, bucket.key_prefix()))
}

/// Looks at one set.
async fn look(
    bucket: &dyn ObjectStore,
    set: &Found,
    manifest: &SetManifest,
    part: Option<Part>,
    seen: &mut BTreeSet<String>,
) -> Item {
    if !manifest.missing.is_empty() {
        let wrong = quality::of_set(bucket, manifest, &|_| Depth::Identity).await;
        return Item::skipped("set", wrong.err().map(|wrong| quality::as_one(&wrong).to_string()).unwrap_or_default());
    }
    match verify(bucket, set, manifest, part, seen).await {
        Ok(looked_at) => Item::done("set").bytes(manifest.bytes()).cause(looked_at),
        Err(error) => Item::failed("set", error),
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
    /// True when it is the turn of the snapshot `key`: the same at every run.
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
    let at = |what: &str, at: Option<&str>| at.map(|at| format!(", {what} at {at}")).unwrap_or_default();
    let drill = drill.as_ref();
    let drilled = at("restored by a drill", drill.and_then(|drill| drill.restored_at()))
        + &at("its points read by Qdrant's engine", drill.and_then(|drill| drill.read_at()));
    let shards = manifest.shards.len();
    Ok(format!("{level}: {shards} snapshots complete, {whole} of them by checksum{without}{drilled}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snapshot_has_its_turn_once_in_a_round() {
        let keys: Vec<String> = (0..1000).map(|number| format!("snapshots/docs/shards/0/{number}")).collect();
        for of in [1, 2, 3, 10, 100] {
            let turns = |key: &String| (0..of).filter(|index| Part { index: *index, of }.has(key)).count();
            assert!(keys.iter().all(|key| turns(key) == 1));
            let first = keys.iter().filter(|key| Part { index: 0, of }.has(key)).count() as u64;
            assert!(first >= 1000 / of / 3, "{first} of 1000 in one of {of}");
        }
    }
}
