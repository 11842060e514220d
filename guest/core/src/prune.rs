//! Deleting what is not needed any more: sets by the rules of retention, archives that belong to no set, old archives
//! of whole collections.
//!
//! A manifest goes before its archives, so that a run that is cut off leaves archives of no set, which a later one
//! sweeps, and never a set that lacks some. Nothing is deleted on the word of a listing or a manifest that could not be
//! read.

mod inventory;
mod legacy;
mod plan;

pub use inventory::collections;
pub use legacy::prune_legacy;

use std::collections::BTreeSet;

use crate::concurrent;
use crate::context::Context;
use crate::lock::{self, Work};
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::store::ObjectStore;
use inventory::Inventory;
use plan::{Plan, Removal};

/// How many collections are pruned at the same time.
const COLLECTIONS_AT_ONCE: usize = 4;

/// How many objects are deleted at the same time.
const DELETIONS_AT_ONCE: usize = 8;

/// Prunes the sets of one collection; in a dry run, says what would be done.
pub async fn prune(context: &Context, bucket: &dyn ObjectStore, collection: &str) -> Vec<Item> {
    let plan = match Inventory::take(bucket, collection).await {
        Ok(inventory) => {
            plan::plan(&inventory, &context.settings.keep, &context.settings.sweep, context.ports.clock.now())
        }
        Err(cause) => {
            let item = Item::new("collection", Outcome::Failed);
            let cause = Some(format!("nothing was pruned: {cause}"));
            return vec![Item { collection: Some(collection.to_owned()), cause, ..item }];
        }
    };
    let item = |kind, outcome, name: &str, cause: String| Item {
        collection: Some(collection.to_owned()),
        name: Some(name.to_owned()),
        cause: Some(cause),
        ..Item::new(kind, outcome)
    };
    let dry_run = context.settings.dry_run;
    let mut items = Vec::new();
    for (id, reason) in &plan.kept {
        context.plan(&["keep", collection, id, reason]);
        items.push(item("set", Outcome::Skipped, id, format!("kept: {reason}")));
    }
    for Removal { id, reason, .. } in plan.removals.iter().filter(|_| dry_run) {
        context.plan(&["remove", collection, id, reason]);
        items.push(item("set", Outcome::Skipped, id, format!("would be removed: {reason}")));
    }
    for orphan in plan.orphans.iter().filter(|_| dry_run) {
        context.plan(&["sweep", collection, &orphan.key, "it belongs to no set"]);
        items.push(item(
            "snapshot",
            Outcome::Skipped,
            &orphan.key,
            "would be deleted: it belongs to no set".to_owned(),
        ));
    }
    if !dry_run {
        carry_out(bucket, &plan, &item, &mut items).await;
    }
    if let Some((outcome, cause)) = plan.not_swept {
        let item = Item::new("collection", outcome);
        items.push(Item { collection: Some(collection.to_owned()), cause: Some(cause), ..item });
    }
    items
}

async fn carry_out(
    bucket: &dyn ObjectStore,
    plan: &Plan,
    item: &dyn Fn(&'static str, Outcome, &str, String) -> Item,
    items: &mut Vec<Item>,
) {
    for Removal { id, reason, manifest, objects } in &plan.removals {
        let left = match bucket.delete(manifest).await {
            Err(error) => vec![error.to_string()],
            Ok(()) => delete(bucket, objects).await,
        };
        items.push(if left.is_empty() {
            item("set", Outcome::Done, id, format!("removed: {reason}"))
        } else {
            item("set", Outcome::Failed, id, format!("not removed whole: {}", left.join("; ")))
        });
    }
    // An archive that outlived its manifest in this very run is left to the next one.
    if items.iter().any(|item| item.outcome == Outcome::Failed) || plan.orphans.is_empty() {
        return;
    }
    let keys: Vec<String> = plan.orphans.iter().map(|orphan| orphan.key.clone()).collect();
    let left = delete(bucket, &keys).await;
    let bytes = crate::report::total(plan.orphans.iter().map(|orphan| orphan.bytes));
    let swept = format!("{} archives that belong to no set", keys.len());
    items.push(if left.is_empty() {
        Item { bytes: Some(bytes), ..item("snapshot", Outcome::Done, "sweep", format!("{swept} deleted")) }
    } else {
        item("snapshot", Outcome::Failed, "sweep", format!("{swept}, not all deleted: {}", left.join("; ")))
    });
}

/// Deletes objects; says of each that is left why. Object lock is told, not fought.
async fn delete(bucket: &dyn ObjectStore, keys: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let work = keys.iter().map(|key| bucket.delete(key));
    concurrent::at_most(DELETIONS_AT_ONCE, work, |result| left.extend(result.err().map(|error| error.to_string())))
        .await;
    left
}

/// Prunes the sets of collections of `cluster` that were backed up just now, unless a run is at work that may need them.
pub(crate) async fn after_backup(context: &Context, cluster: &Cluster, collections: BTreeSet<String>) {
    let run = Box::pin(prune_sets(context, collections));
    if let Err(cause) = lock::while_held(context, Work::Retention, Some(cluster), run).await {
        context.log.warn(None, &format!("nothing is pruned this time: {cause}"));
    }
}

/// Prunes the sets of these collections.
pub(crate) async fn prune_sets(context: &Context, collections: BTreeSet<String>) {
    let Some(bucket) = context.store.as_deref() else { return };
    let work = collections.into_iter().map(|collection| async move { prune(context, bucket, &collection).await });
    concurrent::at_most(COLLECTIONS_AT_ONCE, work, |items| context.reporter.report_all(items)).await;
}
