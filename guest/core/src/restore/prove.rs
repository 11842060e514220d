//! The proof: every replica active and where it belongs, every count right, every index there.

use super::body::same_index;
use super::layout::{Placement, Transfer, next_steps};
use super::plan::Plan;
use super::settle;
use crate::context::Context;
use crate::error::Error;
use crate::qdrant::{Cluster, Layout};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// The exact count of every replica: shard to peer to count.
pub(super) type Counts = BTreeMap<u32, BTreeMap<u64, u64>>;

/// Makes the replicas of each shard equal where they are not, and gives the shards the further replicas they
/// shall have. Until here only replicas that got an archive exist, in the settled `layout`. Returns the counts in the end.
///
/// # Errors
/// The cluster does not settle, a step is refused, or a replica can't be counted.
pub(super) async fn equalise(
    context: &Context,
    cluster: &Cluster,
    plan: &Plan,
    layout: Layout,
) -> Result<Counts, Error> {
    let counts = counts(cluster, plan, &plan.placement).await?;
    let mut keep = plan.placement.clone();
    for (shard, replicas) in &mut keep {
        let stale = plan.stale.get(shard);
        let of = |peer: &u64| counts.get(shard).and_then(|peers| peers.get(peer)).copied();
        let trusted = || replicas.iter().filter(|peer| stale.is_none_or(|stale| !stale.contains(peer)));
        // The replica with the most points has seen the most writes.
        let Some(best) = trusted().max_by_key(|peer| (of(peer), std::cmp::Reverse(**peer))).copied() else { continue };
        let differ = replicas.iter().any(|peer| of(peer) != of(&best)) || stale.is_some_and(|stale| !stale.is_empty());
        if replicas.len() > 1 && (differ || plan.written_meanwhile == Some(true)) {
            let counts: Vec<String> = replicas.iter().map(|peer| of(peer).unwrap_or_default().to_string()).collect();
            context.log.warn(
                Some(&cluster.host.to_string()),
                &format!(
                    "`{}`: the archives of shard {shard} were made at different moments or states ({} points): its replicas \
                     are copied from peer {best}",
                    plan.collection,
                    counts.join(", "),
                ),
            );
            *replicas = [best].into();
        }
    }
    // Nothing is to be copied or placed: the counts stay as they are.
    if keep == plan.wanted && is_placed(plan, &layout).is_ok() {
        return Ok(counts);
    }
    let layout = settle::lay_out(context, cluster, &plan.collection, layout, &keep, Transfer::Snapshot).await?;
    settle::lay_out(context, cluster, &plan.collection, layout, &plan.wanted, Transfer::Snapshot).await?;
    counts_at_rest(context, cluster, plan).await
}

/// [`check`] of a collection that was restored before.
///
/// # Errors
/// The cluster does not settle, or as for [`check`].
pub(super) async fn check_again(context: &Context, cluster: &Cluster, plan: &Plan) -> Result<u64, Error> {
    let counts = counts_at_rest(context, cluster, plan).await?;
    check(context, cluster, plan, counts).await
}

/// Waits until the collection is at rest, and counts its replicas.
async fn counts_at_rest(context: &Context, cluster: &Cluster, plan: &Plan) -> Result<Counts, Error> {
    let layout = settle::settled(context, cluster, &plan.collection).await?;
    is_placed(plan, &layout)?;
    counts(cluster, plan, &plan.wanted).await
}

fn is_placed(plan: &Plan, layout: &Layout) -> Result<(), Error> {
    let there = layout.placement();
    if there.keys().eq(plan.wanted.keys()) && next_steps(&there, &plan.wanted).is_empty() {
        Ok(())
    } else {
        Err(format!("its replicas are on {} and not on {}", text(&there), text(&plan.wanted)).into())
    }
}

/// Proves that the collection on the target, whose replicas hold `counts`, is what the plan wants; returns its number of
/// points.
///
/// # Errors
/// Says what is not as it has to be.
pub(super) async fn check(context: &Context, cluster: &Cluster, plan: &Plan, counts: Counts) -> Result<u64, Error> {
    let mut total = 0_u64;
    for (shard, replicas) in &counts {
        let Some(count) = replicas.values().max().copied() else { continue };
        if let Some((peer, other)) = replicas.iter().find(|(_, other)| **other != count) {
            return Err(format!("shard {shard} has {other} points on peer {peer} and {count} on another").into());
        }
        total = total.saturating_add(count);
    }
    if plan.written_meanwhile == Some(false) {
        expected_counts(plan, &counts)?;
    }
    if let Some(points) = plan.points.filter(|points| *points != total) {
        return Err(format!("it has {total} points and had {points} when it was backed up").into());
    }
    if let Some((least, most)) = plan.about.filter(|_| plan.points.is_none()) {
        let percent = context.settings.tolerance_percent;
        let slack = |points: u64| points.saturating_mul(percent).div_ceil(100);
        if total < least.saturating_sub(slack(least)) || total > most.saturating_add(slack(most)) {
            return Err(format!(
                "it has {total} points and had {least} to {most} when it was backed up, which differs by more than \
                 QDRANT_VERIFY_TOLERANCE_PCT={percent}"
            )
            .into());
        }
    }
    for (peer, seen) in
        join_all(cluster.peers.iter().map(|peer| async move { (peer, peer.client.count(&plan.collection).await) }))
            .await
    {
        let seen = seen?;
        if seen != total {
            return Err(format!("{} counts {seen} points and the replicas hold {total}", peer.address()).into());
        }
    }
    indexes(cluster, plan).await?;
    Ok(total)
}

/// The counts of the manifest, shard by shard. Where its replicas differed, the one with the most points has won.
fn expected_counts(plan: &Plan, counts: &Counts) -> Result<(), Error> {
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    for (shard, count) in plan.recoveries.iter().flat_map(|recovery| &recovery.shards) {
        if let Some(count) = count {
            let most = expected.entry(*shard).or_default();
            *most = (*most).max(*count);
        }
    }
    for (shard, expected) in expected {
        let found = counts.get(&shard).and_then(|peers| peers.values().next()).copied();
        if let Some(found) = found.filter(|found| *found != expected) {
            return Err(format!("shard {shard} has {found} points and had {expected} when it was backed up").into());
        }
    }
    Ok(())
}

/// Reads points back, with payload and vectors, each time from another peer. What strict mode forbids is left.
///
/// # Errors
/// A peer can't read them, or gives fewer than it was asked for.
pub(super) async fn sample(context: &Context, cluster: &Cluster, plan: &Plan, total: u64) -> Result<(), Error> {
    const BATCH: u64 = 100;
    let mut left = context.settings.sample_points.min(total);
    let peers = cluster.peers.iter().cycle();
    for peer in peers {
        let batch = left.min(BATCH);
        if batch == 0 {
            break;
        }
        match peer.client.sample(&plan.collection, batch).await {
            Ok(read) if read < batch => {
                return Err(
                    format!("{} reads back {read} points of {batch} that were asked for", peer.address()).into()
                );
            }
            Ok(_) => left -= batch,
            Err(error) if error.status() == Some(400) => {
                context
                    .log
                    .warn(Some(&peer.address()), &format!("`{}`: no points read back: {error}", plan.collection));
                break;
            }
            Err(error) => return Err(format!("its points can't be read back: {error}").into()),
        }
    }
    Ok(())
}

async fn indexes(cluster: &Cluster, plan: &Plan) -> Result<(), Error> {
    let client = &cluster.peer_to_ask(&plan.collection).ok_or("there is no peer to ask")?.client;
    let info = client.collection(&plan.collection).await?;
    let info = info.ok_or("the collection is gone")?;
    for (field, wanted) in &plan.indexes {
        match info.payload_schema.get(field) {
            None => return Err(format!("the payload index on `{field}` is missing").into()),
            Some(there) if !same_index(wanted, there) => {
                return Err(format!("the payload index on `{field}` is {there} and has to be {wanted}").into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Counts every replica in `placement`, each on its own peer.
async fn counts(cluster: &Cluster, plan: &Plan, placement: &Placement) -> Result<Counts, Error> {
    let replicas = placement.iter().flat_map(|(shard, peers)| peers.iter().map(move |peer| (*shard, *peer)));
    let counted = join_all(replicas.map(|(shard, id)| async move {
        let peer = cluster.peer(id).ok_or_else(|| format!("peer {id} is gone"))?;
        let count = peer.client.count_replica(&plan.collection, shard).await;
        count.map(|count| (shard, id, count)).map_err(Error::from)
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
