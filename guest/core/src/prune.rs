//! Deleting what is no longer needed: sets by the rules of retention, orphaned snapshots, old generations of whole
//! collections.
//!
//! A manifest goes before its snapshots, so that a run that is cut off leaves orphaned snapshots, which a later one
//! sweeps, and never a set that lacks some. Nothing is deleted on the word of a listing, a manifest or an object that
//! could not be read, and nothing that a backup which is at work has made.

mod inventory;
mod legacy;
mod orphans;
mod outlook;
mod plan;
mod records;
mod scope;

pub use inventory::collections;
pub use legacy::prune_legacy;
pub(crate) use outlook::{Judged, Outlook, outlook};
pub(crate) use records::remove_unneeded;
pub use scope::Scope;

use std::collections::{BTreeMap, BTreeSet};

use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::{self, BackupsAtWork, Work};
use crate::qdrant::Cluster;
use crate::report::{Item, total};
use crate::sets::{self, SetId, quality};
use crate::store::{Object, ObjectStore};
use inventory::Inventory;
use plan::{NotSwept, Plan, Removal, Rules};

/// How many collections are pruned at the same time.
const COLLECTIONS_AT_ONCE: usize = 4;

/// How many objects are deleted at the same time.
const DELETIONS_AT_ONCE: usize = 8;

/// One run's pruning of sets.
struct Pruning<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    scope: &'a Scope,
    at_work: BackupsAtWork<'a>,
    begun: Result<Begun, Error>,
    /// The set that this run has made.
    made: Option<&'a SetId>,
}

/// What was looked at once, at the beginning.
struct Begun {
    /// What lies in the bucket of snapshots that this program has stored itself, by collection.
    streamed: BTreeMap<String, Vec<Object>>,
    /// The runs that were at a backup.
    at_work: BTreeSet<String>,
}

impl<'a> Pruning<'a> {
    async fn new(
        context: &'a Context,
        bucket: &'a dyn ObjectStore,
        scope: &'a Scope,
        work: Work,
        made: Option<&'a SetId>,
    ) -> Self {
        let at_work = BackupsAtWork::new(context, bucket, work);
        let begun =
            async { Ok(Begun { streamed: inventory::streamed(bucket).await?, at_work: at_work.runs().await? }) };
        let begun = begun.await;
        Self { context, bucket, scope, at_work, begun, made }
    }
}

/// Prunes the sets of one collection; in a dry run, says what would be done.
async fn prune(pruning: &Pruning<'_>, collection: &str) -> Vec<Item> {
    let &Pruning { context, bucket, scope, made, .. } = pruning;
    let settings = &context.settings;
    let taken = async {
        let begun = pruning.begun.as_ref().map_err(Error::clone)?;
        let streamed = begun.streamed.get(collection).map(Vec::as_slice).unwrap_or_default();
        Ok((Inventory::take(bucket, collection, &scope.records, streamed).await?, &begun.at_work))
    };
    let (inventory, at_work) = match taken.await {
        Ok(taken) => taken,
        Err::<_, Error>(error) => {
            let item = Item::failed("collection", error.clone()).collection(collection);
            return vec![item.cause(format!("nothing was pruned: {error}"))];
        }
    };
    scope.note(&inventory);
    let now = context.ports.clock.now();
    let rules = Rules { keep: &settings.keep, sweep: &settings.sweep, now, made, at_work, scope };
    let mut plan = plan::plan(&inventory, &rules);
    let left = orphans::leave(context, bucket, &pruning.at_work, &inventory, &mut plan.orphans).await;
    let mut items = Vec::new();
    for (id, reason) in &plan.kept {
        context.plan(&["keep", collection, id, reason]);
        items.push(Item::skipped("set", format!("kept: {reason}")).name(id));
    }
    items.extend(if settings.dry_run { foretell(context, collection, &plan) } else { carry_out(bucket, &plan).await });
    items.extend(left);
    items.extend(plan.not_swept.map(|why| match why {
        NotSwept::Left(why) => Item::skipped("collection", why),
        NotSwept::Refused(error) => Item::failed("collection", error),
    }));
    items.into_iter().map(|item| item.collection(collection)).collect()
}

/// What would be done.
fn foretell(context: &Context, collection: &str, plan: &Plan) -> Vec<Item> {
    let mut items = Vec::new();
    for Removal { id, reason, .. } in &plan.removals {
        context.plan(&["remove", collection, id, reason]);
        items.push(Item::skipped("set", format!("would be removed: {reason}")).name(id));
    }
    for orphan in &plan.orphans {
        context.plan(&["sweep", collection, &orphan.key, "orphaned"]);
        items.push(Item::skipped("snapshot", "would be deleted: orphaned").name(&orphan.key));
    }
    items
}

async fn carry_out(bucket: &dyn ObjectStore, plan: &Plan) -> Vec<Item> {
    let mut items = Vec::new();
    for Removal { id, reason, drill, manifest, objects } in &plan.removals {
        let first: Vec<String> = drill.iter().chain([manifest]).cloned().collect();
        let left = match delete_in_order(bucket, &first).await {
            Err(error) => vec![error],
            Ok(()) => delete(bucket, objects).await,
        };
        let item = match quality::any(&left) {
            None => Item::done("set").cause(format!("removed: {reason}")),
            Some(error) => Item::failed("set", error.clone()).cause(format!("only partly removed: {error}")),
        };
        items.push(item.name(id));
    }
    // A snapshot that outlived its manifest in this very run is left to the next one.
    if items.iter().any(Item::is_failed) || plan.orphans.is_empty() {
        return items;
    }
    let keys: Vec<String> = plan.orphans.iter().map(|orphan| orphan.key.clone()).collect();
    let left = delete(bucket, &keys).await;
    let swept = format!("{} orphaned snapshots", keys.len());
    let item = match quality::any(&left) {
        None => Item::done("snapshot")
            .bytes(total(plan.orphans.iter().map(|orphan| orphan.bytes)))
            .cause(format!("{swept} deleted")),
        Some(error) => Item::failed("snapshot", error.clone()).cause(format!("{swept}, not all deleted: {error}")),
    };
    items.push(item.name("sweep"));
    items
}

/// Deletes objects one after the other, up to the first that stays.
async fn delete_in_order(bucket: &dyn ObjectStore, keys: &[String]) -> Result<(), Error> {
    for key in keys {
        bucket.delete(key).await?;
    }
    Ok(())
}

/// Deletes objects; says of each that is left why. Object lock is told, not fought.
async fn delete(bucket: &dyn ObjectStore, keys: &[String]) -> Vec<Error> {
    let mut left = Vec::new();
    let work = keys.iter().map(|key| bucket.delete(key));
    concurrent::at_most(DELETIONS_AT_ONCE, work, |result| left.extend(result.err())).await;
    left
}

/// Prunes the sets of collections of `cluster` that were backed up just now as `made`, and of those that were dropped there,
/// unless a run is at work that may need them. A backup needs no right to delete: without it that is told once, and nothing
/// fails.
pub(crate) async fn after_backup(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    collections: BTreeSet<String>,
    made: &SetId,
) {
    let mut pruned = Ok(());
    let run = Box::pin(async { pruned = prune_after(context, bucket, cluster, collections, made).await });
    if let Err(cause) = lock::while_held(context, Work::Retention, Some(cluster), run).await.and(pruned) {
        context.log.warn(None, &format!("nothing is pruned this time: {cause}"));
    }
}

async fn prune_after(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    mut collections: BTreeSet<String>,
    made: &SetId,
) -> Result<(), Error> {
    let (scope, left) = Scope::of_cluster(context, bucket, cluster).await?;
    context.reporter.report_all(left);
    if !context.settings.keep.has_rules() {
        collections.clear();
    }
    let choice = &context.settings.collections;
    let mut gone = sets::list(bucket).await?;
    gone.retain(|collection, _| scope.is_gone(collection) && choice.takes(collection));
    collections.extend(gone.into_keys());
    let mut denied = None;
    let pruning = &Pruning::new(context, bucket, &scope, Work::Retention, Some(made)).await;
    let work = collections.into_iter().map(|collection| async move { prune(pruning, &collection).await });
    concurrent::at_most(COLLECTIONS_AT_ONCE, work, |items| {
        for item in items {
            if item.code() == Some(Code::StoreUnauthorized) {
                denied = item.cause;
            } else {
                context.reporter.report(item);
            }
        }
    })
    .await;
    if let Some(cause) = denied {
        let why =
            format!("old sets stay, as these keys may not delete (s3:DeleteObject); `prune_snap` needs that: {cause}");
        context.reporter.report(Item::skipped("retention", why));
    }
    Ok(())
}

/// After a backup of `cluster`: removes the records of its source that nothing needs any more. Nothing fails by that, and a
/// backup needs no right to delete.
pub(crate) async fn records_after_backup(context: &Context, cluster: &Cluster) {
    let (Some(bucket), Some(source)) = (context.notes(), context.source_of(&cluster.host)) else { return };
    if context.settings.share.is_some_and(|share| share.index > 0) {
        return;
    }
    for item in remove_unneeded(context, bucket, &[source.id].into()).await {
        context.log.info(None, &format!("old records: {}", item.cause.unwrap_or_default()));
    }
}

/// Prunes the sets of these collections.
pub(crate) async fn prune_sets(
    context: &Context,
    bucket: &dyn ObjectStore,
    scope: &Scope,
    collections: BTreeSet<String>,
) {
    let pruning = &Pruning::new(context, bucket, scope, Work::Prune, None).await;
    let work = collections.into_iter().map(|collection| async move { prune(pruning, &collection).await });
    concurrent::at_most(COLLECTIONS_AT_ONCE, work, |items| context.reporter.report_all(items)).await;
}
