//! `recover_snap_shards`: collections from sets, then their aliases.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Context, recover_aliases, source, target};
use crate::concurrent;
use crate::lock::{self, Work};
use crate::qdrant::{Cluster, QdrantError};
use crate::records;
use crate::report::{Item, Outcome};
use crate::restore::{self, Backup, SetSelection};
use crate::sets::{self, Found};

/// How many collections' manifests are read at the same time.
const SELECTIONS_AT_ONCE: usize = 8;

pub(super) async fn run(context: &Context) -> Result<(), String> {
    let bucket = context.bucket.as_ref().ok_or("no bucket is configured")?;
    let wanted = wanted(context, sets::list(bucket).await?)?;
    let targets = target::find(context).await?;
    context.report_all(targets.missing_items());
    let mut selections = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let work = wanted.into_iter().map(|(collection, sets)| async move {
        let chosen =
            if sets.is_empty() { Err(no_set(context)) } else { restore::select_set(bucket, &collection, &sets).await };
        (collection, chosen)
    });
    concurrent::at_most(SELECTIONS_AT_ONCE, work, |(collection, chosen)| match chosen {
        Ok((manifest, skipped)) => {
            context.report_all(skipped);
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
            context.report(Item { collection: Some(collection.clone()), cause: Some(cause), ..item });
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
            recover_aliases::restore_of_sets(context, cluster, backups, &failed).await;
            if context.settings.drop_old && !context.settings.dry_run {
                for backup in backups.iter().filter(|backup| !failed.contains(backup.collection())) {
                    context.report_all(drop_replaced(cluster, backups, backup).await);
                }
            }
        });
        if let Err(cause) = lock::while_held(context, Work::Restore, cluster, run).await {
            context.report(source::failed(cluster, cause));
        }
    }
    Ok(())
}

/// Deletes the collection that `backup` was restored beside: only where no alias leads to it any more.
async fn drop_replaced(cluster: &Cluster, backups: &[Rc<Backup>], backup: &Backup) -> Option<Item> {
    let old = backup.was();
    if backups.iter().any(|other| other.collection() == old) {
        return None;
    }
    let item = |outcome, cause| Item {
        host: Some(cluster.host.to_string()),
        collection: Some(old.to_owned()),
        cause: Some(cause),
        ..Item::new("collection", outcome)
    };
    let client = &cluster.peers.first()?.client;
    let there = async { Ok::<_, QdrantError>((client.collections().await?, client.aliases().await?)) };
    let (collections, aliases) = match there.await {
        Ok(there) => there,
        Err(error) => return Some(item(Outcome::Failed, error.to_string())),
    };
    if !collections.iter().any(|there| there == old) {
        return None;
    }
    let leading: Vec<String> = aliases.into_iter().filter(|(_, to)| to == old).map(|(alias, _)| alias).collect();
    if !leading.is_empty() {
        let cause = format!("not deleted: the aliases {} lead to it", leading.join(", "));
        return Some(item(Outcome::Failed, cause));
    }
    Some(match client.delete_collection(old).await {
        Ok(()) => item(Outcome::Done, format!("deleted: `{}` takes its place", backup.collection())),
        Err(error) => item(Outcome::Failed, error.to_string()),
    })
}

/// The collections to restore, each with the sets that may be taken.
pub(super) fn wanted(
    context: &Context,
    mut all: BTreeMap<String, Vec<Found>>,
) -> Result<BTreeMap<String, Vec<Found>>, String> {
    let settings = &context.settings;
    if all.is_empty() {
        return Err("the bucket holds no sets; check QDRANT_S3_BUCKET_NAME. `create_snap_shards` makes them, and \
                    `recover_snap` restores archives of whole collections"
            .to_owned());
    }
    let named = records::read_collections(context.ports.files.as_ref()).map_err(|error| error.to_string())?;
    let named: BTreeSet<String> = named.into_iter().map(|line| line.collection).collect();
    let renamed = settings.rename.iter().map(|(old, _)| old);
    for collection in named.iter().chain(renamed) {
        // A name without a set is told as one that fails.
        all.entry(collection.clone()).or_default();
    }
    all.retain(|collection, sets| {
        sets.retain(|set| {
            let begins = set.id.as_str().starts_with(settings.snapshot_filter.as_str());
            let before =
                settings.restore_before.is_none_or(|before| set.id.started().is_some_and(|started| started < before));
            begins && before
        });
        (named.is_empty() || named.contains(collection)) && settings.collections.takes(collection)
    });
    if all.is_empty() {
        return Err("no collection with a set is meant (QDRANT_COLLECTIONS, the file `collections`)".to_owned());
    }
    Ok(all)
}

pub(super) fn no_set(context: &Context) -> String {
    let settings = &context.settings;
    match (settings.snapshot_filter.is_empty(), settings.restore_before.is_none()) {
        (true, true) => "there is no set of it; `list_sets` lists what there is".to_owned(),
        (false, _) => format!(
            "no set of it begins with QDRANT_SNAPSHOT_DATETIME_FILTER={}; `list_sets` lists all",
            settings.snapshot_filter
        ),
        (true, false) => "no set of it was begun before QDRANT_RESTORE_BEFORE; `list_sets` lists all".to_owned(),
    }
}
