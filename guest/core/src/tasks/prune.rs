//! `prune_snap`: retention, and the sweep of what belongs to no set. `pin_set`: what retention must leave alone.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::{self, Work};
use crate::prune::{self, Scope};
use crate::report::Item;
use crate::sets;
use crate::state_files;
use std::collections::BTreeSet;

pub(super) async fn run(context: &Context, legacy: bool) -> Result<(), Error> {
    let mut result = Ok(());
    let run = Box::pin(async { result = prune(context, legacy).await });
    lock::while_held(context, Work::Prune, None, run).await?;
    result
}

async fn prune(context: &Context, legacy: bool) -> Result<(), Error> {
    let bucket = context.store()?;
    // What is old is told by it.
    bucket.check_clock()?;
    let lines = state_files::chosen_collections(context.ports.files.as_ref())?;
    let named: BTreeSet<String> = lines.into_iter().map(|line| line.collection).collect();
    let wanted = |collection: &str| {
        (named.is_empty() || named.contains(collection)) && context.settings.collections.takes(collection)
    };
    // What the bucket has, and not what the source has: a collection that was dropped there is pruned, too.
    let mut collections = prune::collections(bucket).await?;
    collections.retain(|collection| wanted(collection));
    let (scope, left) = Scope::of_all(context, bucket).await?;
    context.reporter.report_all(left);
    prune::prune_sets(context, bucket, &scope, collections).await;
    if legacy {
        prune::prune_legacy(context, bucket, &wanted).await?;
    }
    // After what they belong to.
    let sources = scope.sources_here(bucket).await?;
    context.reporter.report_all(prune::remove_unneeded(context, bucket, &sources).await);
    if context.reporter.has_reported_nothing() {
        context.log.info(None, "there is nothing to prune");
    }
    Ok(())
}

pub(super) async fn pin(context: &Context, set: &str, remove: bool) -> Result<(), Error> {
    let mut result = Ok(());
    let run = Box::pin(async { result = mark(context, set, remove).await });
    lock::while_held(context, Work::Pin, None, run).await?;
    result
}

async fn mark(context: &Context, set: &str, remove: bool) -> Result<(), Error> {
    let bucket = context.store()?;
    let mut found = false;
    for (collection, sets) in sets::list(bucket).await? {
        if !context.settings.collections.takes(&collection) {
            continue;
        }
        for there in sets.iter().filter(|there| there.id.as_str() == set) {
            found = true;
            let key = bucket.places().ours(&there.id.pin_key(&collection));
            let done =
                if remove { bucket.delete(&key).await } else { bucket.put(&key, "text/plain", Vec::new()).await };
            let item = match done {
                Ok(()) if remove => Item::done("set").cause("no longer pinned"),
                Ok(()) => Item::done("set").cause("pinned: `prune_snap` keeps it"),
                Err(error) => Item::failed("set", error),
            };
            context.reporter.report(item.collection(&collection).name(set));
        }
    }
    if found {
        return Ok(());
    }
    Err(Error::new(Code::NothingSelected, "", format!("there is no set `{set}`")).advice("`list_sets` lists all"))
}
