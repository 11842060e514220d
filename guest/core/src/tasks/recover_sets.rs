//! `recover_snap_shards`: collections from sets, then their aliases.

use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::aliases;
use crate::clusters::source;
use crate::clusters::target;
use crate::concurrent;
use crate::context::Context;
use crate::lock::{self, Work};
use crate::report::{Item, Outcome};
use crate::restore::{self, Backup, SetSelection};
use crate::sets::{self};

/// How many collections' manifests are read at the same time.
const SELECTIONS_AT_ONCE: usize = 8;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let wanted = restore::wanted(context, sets::list(bucket).await?)?;
    let targets = target::find(context).await?;
    context.reporter.report_all(targets.missing_items());
    let mut selections = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let work = wanted.into_iter().map(|(collection, sets)| async move {
        let chosen = if sets.is_empty() {
            Err(restore::no_set(context))
        } else {
            restore::select_set(bucket, &collection, &sets).await
        };
        (collection, chosen)
    });
    concurrent::at_most(SELECTIONS_AT_ONCE, work, |(collection, chosen)| match chosen {
        Ok((manifest, skipped)) => {
            context.reporter.report_all(skipped);
            context.log.info(None, &format!("`{collection}`: the set {}", manifest.backup_set_id));
            let renamed =
                context.settings.rename.iter().find(|(old, _)| *old == collection).map(|(_, new)| new.clone());
            let name = renamed.unwrap_or_else(|| collection.clone());
            let replication_factor = context.settings.replication_factor;
            let selection = SetSelection { manifest, name, replication_factor, scratch: false };
            selections.insert(collection, Rc::new(Backup::Set(selection)));
        }
        Err(cause) => {
            let item = Item::new("collection", Outcome::Failed);
            context.reporter.report(Item {
                collection: Some(collection.clone()),
                cause: Some(cause.to_string()),
                ..item
            });
            failed.insert(collection);
        }
    })
    .await;
    let backups: Vec<Rc<Backup>> = selections.into_values().collect();
    for cluster in &targets.clusters {
        let (mut failed, backups) = (failed.clone(), &backups);
        let run = Box::pin(async move {
            let mut choices = backups.iter().map(|backup| (backup.collection().to_owned(), restore::given(backup)));
            failed
                .extend(restore::restore(context, bucket, cluster, backups.len(), &mut || choices.next()).await.failed);
            aliases::restore_of_sets(context, cluster, backups, &failed).await;
            if context.settings.drop_old && !context.settings.dry_run {
                for backup in backups.iter().filter(|backup| !failed.contains(backup.collection())) {
                    context.reporter.report_all(restore::drop_replaced(cluster, backups, backup).await);
                }
            }
        });
        if let Err(cause) = lock::while_held(context, Work::Restore, cluster, run).await {
            context.reporter.report(source::failed(cluster, cause));
        }
    }
    Ok(())
}
