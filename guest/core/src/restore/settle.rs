//! Waiting until a cluster has come to rest: a 200 from Qdrant means "proposed", not "done".

use std::time::Duration;

use super::layout::{Placement, Step, Transfer, next_steps};
use crate::concurrent;
use crate::qdrant::{Cluster, Layout};
use crate::tasks::Context;

/// The first pause between two looks; it doubles up to `QDRANT_VERIFY_POLL_INTERVAL_SECONDS`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Rounds of steps after which a layout that still isn't reached never will be.
const ROUNDS: usize = 64;

/// Waits until every peer sees every replica of `collection` active and nothing moving, twice in a row, and
/// returns the layout.
///
/// # Errors
/// The time is up: says what is still wrong.
pub(super) async fn settled(context: &Context, cluster: &Cluster, collection: &str) -> Result<Layout, String> {
    settled_as(context, cluster, collection, None).await
}

/// As [`settled`]; a look that sees what was seen `before` is the second one.
pub(super) async fn settled_as(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    mut before: Option<Layout>,
) -> Result<Layout, String> {
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let mut pause = FIRST_PAUSE;
    loop {
        match at_rest(cluster, collection).await {
            Ok(layout) if before.as_ref().is_some_and(|before| before.shards == layout.shards) => return Ok(layout),
            Ok(layout) => before = Some(layout),
            Err(why) => {
                before = None;
                let elapsed = clock.monotonic().saturating_sub(started);
                if elapsed > context.settings.settle_timeout {
                    return Err(format!(
                        "the cluster did not settle within {} s: {why} (QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS sets the limit)",
                        context.settings.settle_timeout.as_secs()
                    ));
                }
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}

/// One look from every peer.
async fn at_rest(cluster: &Cluster, collection: &str) -> Result<Layout, String> {
    let looks =
        concurrent::all(cluster.peers.iter().map(|peer| async move { (peer, cluster.layout(peer, collection).await) }));
    let mut first: Option<Layout> = None;
    for (peer, look) in looks.await {
        let host = peer.address();
        let layout = look
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("{host} does not know the collection yet"))?;
        if layout.transfers + layout.resharding > 0 {
            return Err(format!("{host} sees {} shard transfers running", layout.transfers + layout.resharding));
        }
        for (shard, replicas) in &layout.shards {
            if let Some((peer, replica)) = replicas.replicas.iter().find(|(_, replica)| !replica.is_active()) {
                return Err(format!("{host} sees the replica of shard {shard} on peer {peer} as {}", replica.state));
            }
        }
        match &first {
            None => first = Some(layout),
            Some(first) if first.placement() != layout.placement() => {
                return Err(format!("{host} sees another layout than the first peer"));
            }
            Some(_) => {}
        }
    }
    first.ok_or_else(|| "there is no peer to ask".to_owned())
}

/// Brings the replicas of `collection` from the settled `layout` to the peers in `wanted`, one step a shard at a time;
/// returns the layout in the end.
///
/// # Errors
/// Qdrant refuses a step, or the cluster does not settle.
pub(super) async fn lay_out(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    mut layout: Layout,
    wanted: &Placement,
    transfer: Transfer,
) -> Result<Layout, String> {
    for _ in 0..ROUNDS {
        let steps = next_steps(&layout.placement(), wanted);
        if steps.is_empty() {
            return Ok(layout);
        }
        for step in &steps {
            take(context, cluster, collection, *step, transfer).await?;
        }
        layout = settled(context, cluster, collection).await?;
    }
    Err("the shards can't be brought to the peers that will get their data; see the log of the Qdrant pods".to_owned())
}

async fn take(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    step: Step,
    transfer: Transfer,
) -> Result<(), String> {
    let peer = cluster.peers.first().ok_or("there is no peer to ask")?;
    match peer.client.change_layout(collection, &step.body(transfer)).await {
        Ok(()) => Ok(()),
        // The step may be under way: the next look tells, and repeats it if it is not.
        Err(error) if error.outcome_is_unknown() => {
            context.log.warn(Some(&peer.address()), &format!("`{collection}`: {error}; looking whether it was done"));
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
