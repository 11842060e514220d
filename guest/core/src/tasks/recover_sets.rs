//! `recover_snap_shards`: collections from sets, then their aliases.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::targets;
use crate::aliases;
use crate::clusters::target;
use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::lock::Work;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::restore::{self, Backup, SetSelection, Wanted};
use crate::runs::Kind;
use crate::sets::{RecordedContent, SetId};
use crate::settings::{ContentCheck, RestorePlacement};
use crate::store::ObjectStore;

/// How many collections' manifests are read at the same time.
const SELECTIONS_AT_ONCE: usize = 8;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    for cluster in &target::found(context).await? {
        targets::under_its_lock(context, Work::Restore, cluster, Box::pin(restore_into(context, bucket, cluster)))
            .await;
    }
    Ok(())
}

async fn restore_into(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster) -> Result<(), Error> {
    let (whose, wanted) = restore::wanted(context, bucket, cluster, &[Kind::Sets]).await?;
    restore::no_two_in_one(wanted.keys(), &context.settings.rename)?;
    let mut selections = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let whose = &whose;
    let work = wanted.into_iter().map(|(collection, wanted)| async move {
        let chosen = choose(context, bucket, whose, &collection, &wanted).await;
        (collection, chosen)
    });
    concurrent::at_most(SELECTIONS_AT_ONCE, work, |(collection, chosen)| match chosen {
        Ok(selection) => {
            selections.insert(collection, Rc::new(Backup::Set(selection)));
        }
        Err(item) => {
            if item.is_failed() {
                failed.insert(collection);
            }
            context.reporter.report(item);
        }
    })
    .await;
    let backups: Vec<Rc<Backup>> = selections.into_values().collect();
    let looked = if context.settings.drop_old { Some(restore::look(cluster, &backups).await?) } else { None };
    let mut choices = backups.iter().map(|backup| (backup.collection().to_owned(), restore::given(backup)));
    let restored = restore::restore(context, bucket, cluster, backups.len(), &mut || choices.next()).await;
    failed.extend(restored.failed);
    let unverified = &restored.unverified;
    let moved = aliases::restore_of_sets(context, cluster, &backups, &restored.aliases, &failed, unverified).await;
    if let Some(looked) = looked {
        for backup in backups.iter().filter(|backup| !failed.contains(backup.collection())) {
            context
                .reporter
                .report_all(restore::drop_replaced(context, cluster, &backups, backup, &moved, &looked).await);
        }
    }
    restore::restore_cluster_state(context, bucket, cluster, whose.source.as_ref(), &[Kind::Sets]).await;
    Ok(())
}

/// The set that one collection is restored from, under its name on the target.
pub(super) async fn choose(
    context: &Context,
    bucket: &dyn ObjectStore,
    whose: &restore::Whose,
    collection: &str,
    wanted: &Wanted,
) -> Result<SetSelection, Item> {
    if wanted.sets.is_empty() {
        return Err(restore::no_set(context, whose, collection, wanted));
    }
    let chosen = restore::select_set(bucket, collection, &wanted.sets).await;
    let (manifest, level, skipped) =
        chosen.map_err(|error| Item::failed("collection", error).collection(collection))?;
    let passed_over = |(set, error): (SetId, Error)| {
        Item::skipped("set", error.to_string()).collection(collection).name(set.as_str())
    };
    let refused: Vec<String> = skipped.iter().map(|(set, error)| format!("{set}: {error}")).collect();
    context.reporter.report_all(skipped.into_iter().map(passed_over));
    restore::warn_of_older(context, collection, &manifest.backup_set_id, &refused);
    context.log.info(None, &format!("`{collection}`: the set {} ({level})", manifest.backup_set_id));
    let renamed = context.settings.rename.iter().find(|(old, _)| old == collection).map(|(_, new)| new.clone());
    let name = renamed.unwrap_or_else(|| collection.to_owned());
    let settings = &context.settings;
    let free = settings.placement == RestorePlacement::Auto;
    let content = match settings.verify_content {
        ContentCheck::Off => RecordedContent::default(),
        _ => restore::recorded_content(context, bucket, &wanted.sets, &manifest).await,
    };
    Ok(SetSelection { manifest, name, replication_factor: settings.replication_factor, free, drill: false, content })
}
