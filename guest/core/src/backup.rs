//! Backing up, stage by stage: list, look, create, check, record, retain. Each stage takes what only the one before can
//! make.
//!
//! | Stage | What it makes | Where |
//! |---|---|---|
//! | list | the collections that are meant | `clusters/source.rs` |
//! | look | [`look::Looked`]: configuration and layout before anything is made | `look.rs` |
//! | create | [`snapshot::Created`]: a snapshot that Qdrant says it has made | `snapshot.rs` |
//! | check | [`check::Checked`]: found in the bucket, walked, its SHA-256 computed | `check.rs` |
//! | or both at once | the same, of a shard that Qdrant has sent and this program stored | `stream.rs` |
//! | record | the manifest, of what is good by [`crate::sets::quality`] | `set.rs`, `generation.rs` |
//! | retain | what no rule keeps is removed | `prune` |

pub(crate) mod change;
mod check;
mod generation;
mod look;
mod parts;
mod set;
mod snapshot;
mod stream;
mod transfer;

use std::collections::BTreeSet;

use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::qdrant::{Cluster, Missing};
use crate::report::Item;
use crate::sets::SetId;
use crate::store::ObjectStore;

/// Whether a backup can be kept in `bucket`, whose manifests go into `folder`: nothing is asked of Qdrant where what would
/// be made could not be noted down, or would have a wrong time.
///
/// # Errors
/// The bucket may not, or can't, be written; the clock is wrong.
pub async fn check_start(context: &Context, bucket: &dyn ObjectStore, folder: &str) -> Result<(), Error> {
    bucket.check_clock()?;
    if let Some(bucket) = context.notes() {
        bucket.check_writable(folder, context.ports.clock.random()).await?;
    }
    Ok(())
}

/// Backs up `collections` of `cluster`: a snapshot of each on each peer that holds a part of it. One that fails never
/// stops the others.
pub async fn back_up(context: &Context, cluster: &Cluster, collections: Vec<String>) {
    let total = collections.len();
    missing_peers(context, cluster).await;
    let work = collections.into_iter().map(|collection| async move {
        context.begun(&cluster.host, &collection, total);
        let items = generation::Job { context, cluster, collection: &collection }.back_up().await;
        (collection, items)
    });
    let mut ended = 0;
    let limit = concurrent::backups_at_once(cluster.peers.len(), context.settings.snapshots_per_peer);
    concurrent::at_most(limit, work, |(collection, done)| {
        ended += 1;
        context.reporter.progress(&cluster.host, ended, total, &collection, done);
    })
    .await;
}

/// Backs up `collections` of `cluster` as the set `set`. One that fails never stops the others. Returns those of which
/// the set is whole.
pub async fn back_up_set(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    mut collections: Vec<String>,
    set: &SetId,
) -> BTreeSet<String> {
    let total = collections.len();
    let load = &set::Load::default();
    missing_peers(context, cluster).await;
    let transfer = &transfer::Transfer::decide(context, bucket, cluster, &collections).await;
    // All others wait for it, and it must not wait for a place behind them.
    collections.sort_by_key(|collection| Some(collection.as_str()) != transfer.first_collection());
    let streams = || transfer.is_stream() && !context.settings.dry_run;
    let listed = !streams() || stream::abort_leftovers(context, bucket, transfer).await;
    let work = collections.into_iter().map(|collection| async move {
        context.begun(&cluster.host, &collection, total);
        let items = set::Job { context, bucket, cluster, collection: &collection, set, load, transfer }.back_up().await;
        (collection, items)
    });
    let mut ended = 0;
    let mut whole = BTreeSet::new();
    let limit = concurrent::backups_at_once(cluster.peers.len(), context.settings.snapshots_per_peer);
    concurrent::at_most(limit, work, |(collection, done)| {
        ended += 1;
        if done.iter().all(Item::is_done) {
            whole.insert(collection.clone());
        }
        context.reporter.progress(&cluster.host, ended, total, &collection, done);
    })
    .await;
    if streams() && listed {
        stream::abort_leftovers(context, bucket, transfer).await;
    }
    whole
}

/// A peer that can't be asked.
pub(crate) struct Missed {
    /// Which one.
    pub peer: Missing,
    /// Where no shard of any collection is on it, so that a backup is complete without it: what is to be said of it.
    pub needless: Option<String>,
}

/// The peers of a source that can't be asked. Each is a failure of a backup, even where other peers hold the same shards; one
/// that holds none of any collection is missed by nobody, which is told.
pub(crate) async fn missed(cluster: &Cluster) -> Vec<Missed> {
    if cluster.missing.is_empty() {
        return Vec::new();
    }
    let holders = holders(cluster).await;
    let missed = cluster.missing.iter().map(|peer| {
        let needless = peer.id.filter(|id| holders.as_ref().is_ok_and(|holders| !holders.contains(id))).map(|id| {
            format!(
                "peer {id} can't be asked, and no shard of any collection is on it: the backup is complete without it, and \
                 a restore into this cluster is not possible: {}; {}",
                peer.cause,
                Missing::remedy(id)
            )
        });
        Missed { peer: peer.clone(), needless }
    });
    missed.collect()
}

/// Reports the peers that can't be asked.
async fn missing_peers(context: &Context, cluster: &Cluster) {
    for Missed { peer, needless } in missed(cluster).await {
        match needless {
            Some(why) => context.log.warn(Some(&peer.host), &why),
            None => {
                let item = Item::failed("cluster", peer.error()).host(&peer.host);
                let item = if let Some(id) = peer.id { item.name(format!("peer {id}")) } else { item };
                context.reporter.report(item);
            }
        }
    }
}

/// The peers that hold a replica of any collection, as the peers that live tell.
///
/// # Errors
/// One of the collections can't be asked for.
async fn holders(cluster: &Cluster) -> Result<BTreeSet<u64>, Error> {
    let collections = crate::clusters::source::collections(cluster).await?;
    let asked = collections.iter().map(|collection| holders_of(cluster, collection));
    let mut holders = BTreeSet::new();
    let mut unknown = None;
    concurrent::at_most(cluster.peers.len().max(1), asked, |told| match told {
        Ok(peers) => holders.extend(peers),
        Err(error) => unknown = Some(error),
    })
    .await;
    unknown.map_or(Ok(holders), Err)
}

/// The peers that hold a replica of a collection: none of one that was deleted meanwhile.
async fn holders_of(cluster: &Cluster, collection: &str) -> Result<BTreeSet<u64>, Error> {
    let mut unknown = None;
    for peer in &cluster.peers {
        match cluster.layout(peer, collection).await {
            Ok(Some(layout)) => return Ok(layout.peers()),
            Ok(None) => {}
            Err(error) => unknown = Some(Error::from(error)),
        }
    }
    unknown.map_or_else(|| Ok(BTreeSet::new()), Err)
}
