//! The stage that verifies: every replica active and where it belongs, every count right, every index there. What could
//! not be compared with anything is not verified, and said.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::join_all;

use super::body::same_index;
use super::content::{self, Content};
use super::create::Progress;
use super::equalise::{Counts, Equalised, counts_in};
use super::expected::{Judgement, Kind};
use super::job::Job;
use super::plan::Plan;
use super::settle;
use crate::error::{Code, Error};
use crate::qdrant::CollectionInfo;
use crate::snapshot_file;

/// How sure it is that a collection is as it was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The snapshots were recovered, and nothing speaks against it; says what could not be compared, or is off.
    Restored(Vec<String>),
    /// Every shard has the number of points that was counted around the making of its snapshot, the same on each replica.
    Verified,
}

/// How much of a collection was compared with what is known of the backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Shards.
    shards: usize,
    /// Those of them whose points had been counted at the backup.
    counted: usize,
    /// Replicas, each counted on its own peer.
    replicas: usize,
    /// Payload indexes.
    indexes: usize,
    /// Points that were read back with payload and vectors.
    read_back: u64,
    /// Of the content.
    pub content: Content,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shards, counted, replicas, indexes, read_back, content } = self;
        write!(f, "counts of {counted} of {shards} shards ({replicas} replicas), {indexes} indexes, configuration")?;
        if *content == Content::None {
            return write!(f, ", {read_back} points read back");
        }
        content.fmt(f)
    }
}

/// A collection that was looked at.
pub(super) struct Verified {
    progress: Progress,
    points: u64,
    level: Level,
    compared: Compared,
}

impl Verified {
    /// How sure it is, and why not surer.
    pub(super) fn level(&self) -> &Level {
        &self.level
    }

    /// True where a verified replacement lies beside the collection.
    pub(super) fn is_beside(&self) -> bool {
        self.progress.record.beside
    }

    pub(super) fn into_parts(self) -> (Progress, u64, Level, Compared) {
        (self.progress, self.points, self.level, self.compared)
    }
}

/// Verifies a restored collection.
///
/// # Errors
/// Says what is not as it has to be. Where a person asks for verified collections only: that it can't be called so.
pub(super) async fn verify(job: &Job<'_>, equalised: Equalised) -> Result<Verified, Error> {
    let (progress, counts, origins, info) = equalised.into_parts();
    let (points, mut level, mut compared) = check(job, &counts, &origins, progress.deferred, &info).await?;
    let mut notes = Vec::new();
    compared.content = content::compare(job, &counts, progress.deferred, &mut notes).await?;
    if compared.content == Content::None {
        compared.read_back = sample(job, points, &mut level).await?;
    }
    notes.extend(progress.notes.iter().cloned());
    level = lowered(job, level, notes)?;
    Ok(Verified { progress, points, level, compared })
}

/// The level where `more` is off, or could not be compared.
///
/// # Errors
/// It can't be called verified, and a person asks for verified collections only.
pub(super) fn lowered(job: &Job<'_>, mut level: Level, more: Vec<String>) -> Result<Level, Error> {
    for note in more {
        also(&mut level, note);
    }
    match &level {
        Level::Restored(notes) if job.context.settings.require_verified => {
            let cause = format!("it was restored and could not be verified: {}", notes.join("; "));
            Err(Error::new(Code::VerificationFailed, "", cause)
                .advice("look at it; without QDRANT_REQUIRE_VERIFIED the next run ends the restore"))
        }
        _ => Ok(level),
    }
}

/// Looks again at a collection that was restored before: whether anything shows that it has changed.
///
/// # Errors
/// It has: says what. Or the cluster does not settle.
pub(super) async fn look_again(job: &Job<'_>) -> Result<(), Error> {
    let layout = settle::settled(job.context, job.cluster, &job.plan.collection).await?;
    // Where its shards are free, it is as good on the peers that it is on now.
    let adopted = job.plan.adopting(&layout.placement(), &job.cluster.ids());
    let job = &Job { plan: adopted.as_ref().unwrap_or(job.plan), ..*job };
    let counts = counts_in(job, &layout).await?;
    let info = settle::optimised(job).await?;
    check(job, &counts, &BTreeMap::new(), info.deferred_points(), &info).await.map(drop)
}

fn failed(cause: String) -> Error {
    Error::new(Code::VerificationFailed, "", cause)
}

/// Takes note of what is off, or could not be compared, once.
fn also(level: &mut Level, note: String) {
    match level {
        Level::Restored(notes) if notes.contains(&note) => {}
        Level::Restored(notes) => notes.push(note),
        Level::Verified => *level = Level::Restored(vec![note]),
    }
}

/// What readers get: as many points as the replicas hold.
async fn readers_count(job: &Job<'_>, total: u64) -> Result<(), Error> {
    let readers = job.common.readers.of(job.cluster, &job.plan.collection);
    let counts = readers.iter().map(|peer| async move { (*peer, peer.client.count(&job.plan.collection).await) });
    let mut wrong = None;
    for (peer, seen) in join_all(counts).await {
        let error = match seen {
            Ok(seen) if seen == total => continue,
            Ok(seen) => failed(format!("{} counts {seen} points and the replicas hold {total}", peer.address())),
            Err(error) => error.into(),
        };
        job.common.readers.forget(peer);
        wrong = wrong.or(Some(error));
    }
    wrong.map_or(Ok(()), Err)
}

/// Holds the collection against the plan; returns its number of points. `deferred` points are in no count, `info` is what
/// the collection is.
async fn check(
    job: &Job<'_>,
    counts: &Counts,
    origins: &BTreeMap<u32, u64>,
    deferred: u64,
    info: &CollectionInfo,
) -> Result<(u64, Level, Compared), Error> {
    let plan = job.plan;
    let tolerance = job.context.settings.tolerance_percent;
    let mut total = 0_u64;
    let mut notes = Vec::new();
    let mut uncounted = Vec::new();
    if deferred > 0 {
        notes.push(format!("{deferred} of its points are not optimised yet, and in no count"));
    }
    for (shard, replicas) in counts {
        let Some(count) = replicas.values().max().copied() else { continue };
        if let Some((peer, other)) = replicas.iter().find(|(_, other)| **other != count) {
            return Err(failed(format!("shard {shard} has {other} points on peer {peer} and {count} on another")));
        }
        total = total.saturating_add(count);
        let Some(bounds) = plan.expected(*shard, origins.get(shard).copied()) else {
            uncounted.push(shard.to_string());
            if count == 0 && deferred == 0 {
                notes.extend(ends_empty(job, *shard).await?);
            }
            continue;
        };
        match bounds.with_hidden(deferred).judge(&format!("shard {shard}"), count, tolerance) {
            Judgement::Right if bounds.kind == Kind::Estimate => {
                notes.push(format!("shard {shard} was counted only once"))
            }
            Judgement::Right => {}
            Judgement::Off(by) => notes.push(by),
            Judgement::Wrong(cause) => return Err(failed(cause)),
        }
    }
    if !uncounted.is_empty() {
        notes.push(format!("how many points shard {} had is not known", uncounted.join(", ")));
        if let Some(bounds) = plan.total {
            match bounds.with_hidden(deferred).judge("it", total, tolerance) {
                Judgement::Right => {}
                Judgement::Off(by) => notes.push(by),
                Judgement::Wrong(cause) => return Err(failed(cause)),
            }
        }
    }
    readers_count(job, total).await?;
    indexes(plan, info)?;
    let compared = Compared {
        shards: counts.len(),
        counted: counts.len().saturating_sub(uncounted.len()),
        replicas: counts.values().map(BTreeMap::len).sum(),
        indexes: plan.indexes.len(),
        read_back: 0,
        content: Content::None,
    };
    Ok((total, if notes.is_empty() { Level::Verified } else { Level::Restored(notes) }, compared))
}

/// Of a shard that ends empty and whose points nobody counted: checks whether its snapshot had any.
///
/// # Errors
/// It had.
async fn ends_empty(job: &Job<'_>, shard: u32) -> Result<Option<String>, Error> {
    for recovery in job.plan.recoveries.iter().filter(|recovery| recovery.shards.contains_key(&shard)) {
        let in_collection = recovery.shard.as_ref().is_none_or(|shard| shard.in_collection);
        let folder = if in_collection { format!("{shard}/") } else { String::new() };
        let bytes = job.store.size(&recovery.key).await?.unwrap_or(recovery.bytes);
        match snapshot_file::has_points(job.store, &recovery.key, bytes, &folder).await? {
            Some(true) => {
                let cause = format!("shard {shard} ends empty, and its snapshot `{}` has points", recovery.name);
                return Err(failed(cause));
            }
            Some(false) => {}
            None => {
                return Ok(Some(format!(
                    "shard {shard} ends empty, and it is not known whether its snapshot has points"
                )));
            }
        }
    }
    Ok(None)
}

/// Reads points back, with payload and vectors, each time from another peer; how many. What strict mode forbids is left.
///
/// # Errors
/// A peer can't read them, or gives fewer than it was asked for.
async fn sample(job: &Job<'_>, total: u64, level: &mut Level) -> Result<u64, Error> {
    const BATCH: u64 = 100;
    let all = job.context.settings.sample_points.min(total);
    let mut left = all;
    for peer in job.cluster.peers.iter().cycle() {
        let batch = left.min(BATCH);
        if batch == 0 {
            break;
        }
        match peer.client.sample(&job.plan.collection, batch).await {
            Ok(read) if read < batch => {
                let cause = format!("{} reads back {read} points of {batch} that were asked for", peer.address());
                return Err(failed(cause));
            }
            Ok(_) => left -= batch,
            Err(error) if error.status() == Some(400) => {
                also(level, format!("no points could be read back: {error}"));
                break;
            }
            Err(error) => return Err(Error::from(error).of("its points can't be read back")),
        }
    }
    Ok(all.saturating_sub(left))
}

fn indexes(plan: &Plan, info: &CollectionInfo) -> Result<(), Error> {
    for (field, wanted) in &plan.indexes {
        match info.payload_schema.get(field) {
            None => return Err(failed(format!("the payload index on `{field}` is missing"))),
            Some(there) if !same_index(wanted, there) => {
                return Err(failed(format!("the payload index on `{field}` is {there} and has to be {wanted}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
