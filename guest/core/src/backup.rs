//! Backing up: archives, proven, then a manifest. Of each collection on each peer that holds a part of it, or of each
//! shard as a set.

mod archive;
mod collection;
mod shards;

use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::sets::SetId;
use crate::store::ObjectStore;
use std::collections::BTreeSet;

/// Whether a backup can be kept in `bucket`, whose manifests go into `folder`: nothing is asked of Qdrant where what would
/// be made could not be noted down, or would have a wrong time.
///
/// # Errors
/// The bucket may not, or can't, be written; the clock is wrong.
pub async fn check_start(context: &Context, bucket: &dyn ObjectStore, folder: &str) -> Result<(), Error> {
    bucket.check_clock()?;
    if !context.settings.dry_run {
        bucket.check_writable(folder, context.ports.clock.random()).await?;
    }
    Ok(())
}

/// Backs up `collections` of `cluster`. One that fails never stops the others.
pub async fn back_up(context: &Context, cluster: &Cluster, collections: Vec<String>) {
    let total = collections.len();
    context.reporter.report_all(missing_peers(cluster));
    let work = collections.into_iter().map(|collection| async move {
        let items = collection::back_up(context, cluster, &collection).await;
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
    collections: Vec<String>,
    set: &SetId,
) -> BTreeSet<String> {
    let total = collections.len();
    let load = shards::Load::default();
    context.reporter.report_all(missing_peers(cluster));
    let load = &load;
    let work = collections.into_iter().map(|collection| async move {
        let items = shards::Job { context, bucket, cluster, collection: &collection, set, load }.back_up().await;
        (collection, items)
    });
    let mut ended = 0;
    let mut whole = BTreeSet::new();
    let limit = concurrent::backups_at_once(cluster.peers.len(), context.settings.snapshots_per_peer);
    concurrent::at_most(limit, work, |(collection, done)| {
        ended += 1;
        if done.iter().all(|item| item.outcome == Outcome::Done) {
            whole.insert(collection.clone());
        }
        context.reporter.progress(&cluster.host, ended, total, &collection, done);
    })
    .await;
    whole
}

/// A peer that can't be asked is a failure of the run, even where other peers hold the same shards.
fn missing_peers(cluster: &Cluster) -> Vec<Item> {
    cluster
        .missing
        .iter()
        .map(|missing| Item {
            host: Some(missing.host.clone()),
            name: missing.id.map(|id| format!("peer {id}")),
            cause: Some(missing.cause.clone()),
            ..Item::new("cluster", Outcome::Failed)
        })
        .collect()
}
