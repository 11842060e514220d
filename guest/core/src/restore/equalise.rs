//! The stage that makes the replicas of each shard equal, and as many as there shall be.

use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

use super::create::Progress;
use super::job::Job;
use super::layout::{Placement, Transfer, next_steps};
use super::plan::Plan;
use super::recover::Recovered;
use super::settle;
use crate::content::Extent;
use crate::error::{Code, Error};
use crate::qdrant::{CollectionInfo, Layout};

/// The most points that are read to compare replicas: copying more from peer to peer is faster.
const MOST: u64 = 10_000;

/// The exact count of every replica: shard to peer to count.
pub(super) type Counts = BTreeMap<u32, BTreeMap<u64, u64>>;

/// A collection with all its replicas, each shard's made from one snapshot or equal by their content.
pub(super) struct Equalised {
    progress: Progress,
    counts: Counts,
    origins: BTreeMap<u32, u64>,
    info: CollectionInfo,
}

impl Equalised {
    /// What follows needs: the counts, the peer whose snapshot a shard's data is from, where only one's counts, and what
    /// the collection is with all its data.
    pub(super) fn into_parts(self) -> (Progress, Counts, BTreeMap<u32, u64>, CollectionInfo) {
        (self.progress, self.counts, self.origins, self.info)
    }
}

/// Waits until the recovered collection has settled, makes the replicas of each shard equal where they are not, and gives
/// the shards the further replicas they shall have. Until here only replicas that got a snapshot exist.
///
/// # Errors
/// The cluster does not settle, a step is refused, or a replica can't be counted.
pub(super) async fn equalise(job: &Job<'_>, recovered: Recovered) -> Result<Equalised, Error> {
    let mut progress = recovered.into_progress();
    let plan = job.plan;
    let layout = settle::settled(job.context, job.cluster, &plan.collection).await?;
    let info = settle::optimised(job).await?;
    progress.deferred = info.deferred_points();
    let counts = counts(job, &plan.placement).await?;
    let mut keep = plan.placement.clone();
    let mut origins = BTreeMap::new();
    for (shard, replicas) in &mut keep {
        let Some((best, why)) = to_copy(job, *shard, replicas, &counts).await? else { continue };
        job.warn(&format!("{why}: the replicas of shard {shard} are copied from peer {best}"));
        origins.insert(*shard, best);
        *replicas = [best].into();
    }
    // Nothing is to be copied or placed: the counts stay as they are.
    if keep == plan.wanted && is_placed(plan, &layout).is_ok() {
        return Ok(Equalised { progress, counts, origins, info });
    }
    let (context, cluster) = (job.context, job.cluster);
    let layout = settle::lay_out(context, cluster, &plan.collection, layout, &keep, Transfer::Snapshot).await?;
    settle::lay_out(context, cluster, &plan.collection, layout, &plan.wanted, Transfer::Snapshot).await?;
    let layout = settle::settled(context, cluster, &plan.collection).await?;
    let counts = counts_in(job, &layout).await?;
    Ok(Equalised { progress, counts, origins, info: job.info().await? })
}

/// The replica that the others are to be copied from, and why; `None` where they are known to be equal.
async fn to_copy(
    job: &Job<'_>,
    shard: u32,
    replicas: &BTreeSet<u64>,
    counts: &Counts,
) -> Result<Option<(u64, String)>, Error> {
    let stale = job.plan.stale.get(&shard).filter(|stale| !stale.is_empty());
    let of = |peer: &u64| counts.get(&shard).and_then(|peers| peers.get(peer)).copied();
    let trusted = || replicas.iter().filter(|peer| stale.is_none_or(|stale| !stale.contains(peer)));
    // The replica with the most points has seen the most writes.
    let Some(best) = trusted().max_by_key(|peer| (of(peer), std::cmp::Reverse(**peer))).copied() else {
        return Ok(None);
    };
    if replicas.len() < 2 {
        return Ok(None);
    }
    if stale.is_some() || replicas.iter().any(|peer| of(peer) != of(&best)) {
        let counts: Vec<String> = replicas.iter().map(|peer| of(peer).unwrap_or_default().to_string()).collect();
        let why = format!("its snapshots were made at different moments or states ({} points)", counts.join(", "));
        return Ok(Some((best, why)));
    }
    if is_from_one_snapshot(job.plan, shard) {
        return Ok(None);
    }
    // Equal counts say nothing of what the points are.
    let differs = |why: &str| Ok(Some((best, format!("its snapshots were made one after another, and {why}"))));
    if of(&best).is_none_or(|points| points > MOST) {
        return differs("are too large to be compared point by point");
    }
    let digests = replicas.iter().map(|peer| job.digest(shard, *peer, Extent::Full));
    match join_all(digests).await.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(digests) if digests.iter().all(|digest| Some(digest) == digests.first()) => Ok(None),
        Ok(_) => differs("their points differ"),
        // Strict mode may forbid reading them.
        Err(error) => differs(&format!("can't be compared ({error})")),
    }
}

/// True when every replica of the shard got the same snapshot.
fn is_from_one_snapshot(plan: &Plan, shard: u32) -> bool {
    let mut keys = plan.recoveries.iter().filter(|one| one.shards.contains_key(&shard)).map(|one| &one.key);
    let Some(first) = keys.next() else { return false };
    keys.all(|key| key == first)
}

/// Counts the replicas of the settled collection.
///
/// # Errors
/// They are not where they have to be, or one can't be counted.
pub(super) async fn counts_in(job: &Job<'_>, layout: &Layout) -> Result<Counts, Error> {
    is_placed(job.plan, layout)?;
    counts(job, &job.plan.wanted).await
}

fn is_placed(plan: &Plan, layout: &Layout) -> Result<(), Error> {
    let there = layout.placement();
    if there.keys().eq(plan.wanted.keys()) && next_steps(&there, &plan.wanted).is_empty() {
        return Ok(());
    }
    let cause = format!("its replicas are on {} and not on {}", text(&there), text(&plan.wanted));
    Err(Error::new(Code::VerificationFailed, "", cause))
}

/// Counts every replica in `placement`, each on its own peer.
async fn counts(job: &Job<'_>, placement: &Placement) -> Result<Counts, Error> {
    let replicas = placement.iter().flat_map(|(shard, peers)| peers.iter().map(move |peer| (*shard, *peer)));
    let counted = join_all(replicas.map(|(shard, id)| async move {
        let gone = || Error::new(Code::NoPeer, format!("peer {id}"), "it is gone");
        let peer = job.cluster.peer(id).ok_or_else(gone)?;
        let count = peer.client.count_replica(&job.plan.collection, shard).await?;
        Ok::<_, Error>((shard, id, count))
    }));
    let mut counts = Counts::new();
    for result in counted.await {
        let (shard, peer, count) = result?;
        counts.entry(shard).or_default().insert(peer, count);
    }
    Ok(counts)
}

fn text(placement: &Placement) -> String {
    let shards = placement
        .iter()
        .map(|(shard, peers)| format!("{shard}: {}", peers.iter().map(u64::to_string).collect::<Vec<_>>().join("+")));
    format!("[{}]", shards.collect::<Vec<_>>().join(", "))
}
