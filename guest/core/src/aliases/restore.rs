//! Restoring aliases: in one request, last of all.

use crate::error::{Code, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::save;
use crate::context::Context;
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::restore::{Backup, Restored, Whose, all_sources};
use crate::state_files;

/// Restores the aliases of what was just restored into `cluster`: as saved in the bucket or the work directory, else
/// as in the manifests. An alias of a collection that failed, or that was not meant, is left as it is.
pub(crate) async fn restore_some(
    context: &Context,
    cluster: &Cluster,
    whose: Option<&Whose>,
    selected: &BTreeSet<String>,
    restored: Restored,
) {
    let Some(mut saved) = find(context, cluster, whose, restored.aliases).await else { return };
    saved.retain(|alias, collection| {
        let meant = selected.contains(collection);
        if !meant {
            context.reporter.report(Item {
                host: Some(cluster.host.to_string()),
                collection: Some(collection.clone()),
                name: Some(alias.clone()),
                cause: Some(
                    "its collection is not part of this restore; `recover_colla` restores all aliases".to_owned(),
                ),
                ..Item::new("alias", Outcome::Skipped)
            });
        }
        meant
    });
    context.reporter.report_all(switch(context, cluster, saved, &restored.failed, &BTreeMap::new()).await);
}

/// The saved aliases, else those of the manifests; `None` where there are none, or none can be read. `whose`: whose
/// backups are restored, where that is known.
pub(crate) async fn find(
    context: &Context,
    cluster: &Cluster,
    whose: Option<&Whose>,
    in_manifests: BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    match saved(context, whose, in_manifests).await {
        Ok(saved) if saved.is_empty() => {
            context.log.info(Some(&cluster.host.to_string()), "there are no saved aliases to restore");
            None
        }
        Ok(saved) => Some(saved),
        Err(error) => {
            context.reporter.report(Item::failed("alias", error).host(&cluster.host));
            None
        }
    }
}

/// Alias to collection, as they were saved.
async fn saved(
    context: &Context,
    whose: Option<&Whose>,
    in_manifests: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let files = context.ports.files.as_ref();
    let lines;
    if context.settings.aliases_on_s3 {
        let Some((key, csv)) = in_bucket(context, whose, &in_manifests).await? else { return Ok(in_manifests) };
        lines = state_files::parse_aliases(&key, &csv)?;
        if !context.settings.dry_run {
            files.replace(state_files::ALIASES, &csv)?;
        }
    } else if let Some(csv) = files.read(state_files::ALIASES)? {
        lines = state_files::parse_aliases(state_files::ALIASES, &csv)?;
    } else {
        return Ok(in_manifests);
    }
    Ok(lines.into_iter().map(|line| (line.alias, line.collection)).collect())
}

/// The object with the aliases of the source. The one that all sources of the bucket share is taken where the source has
/// none of its own and the shared one can't be another's: there is one source, or a person named the object. `None`: what
/// the manifests say is all that is known to be this source's.
async fn in_bucket(
    context: &Context,
    whose: Option<&Whose>,
    in_manifests: &BTreeMap<String, String>,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    const LIMIT: usize = 64 << 20;
    let bucket = context.store()?;
    let name = context.settings.aliases_object.as_str();
    if let Some(source) = whose.and_then(|whose| whose.source.as_ref()) {
        let key = save::own(&source.id, name);
        if let Some(csv) = bucket.get_own(&key, LIMIT).await? {
            return Ok(Some((key, csv)));
        }
    }
    let shared = format!("{}/{name}", save::FOLDER);
    // Whose backups are restored may have been found without a look at all of the bucket.
    let several = all_sources(context, bucket).await?.catalogue.with_backups().count() > 1;
    if several && name == state_files::ALIASES {
        if !in_manifests.is_empty() {
            return Ok(None);
        }
        return Err(Error::new(
            Code::SourceUnclear,
            "the aliases",
            format!(
                "the bucket has backups of several sources, and `{shared}` is the object of whichever was backed up last"
            ),
        )
        .advice(
            "a backup by this version saves them for each source; or name the copy to restore by \
             QDRANT_COLLECTION_ALIASES_STABLE_FILE=collection_aliases-<time>",
        ));
    }
    match bucket.get_own(&shared, LIMIT).await? {
        Some(csv) => Ok(Some((shared, csv))),
        None => Err(Error::new(
            Code::NothingSelected,
            "the aliases can't be restored",
            format!("there is no object `{shared}` in the bucket `{}`", bucket.name()),
        )
        .advice(
            "the backup saves it with BACKUP_COLLECTION_ALIASES_ON_S3=true, and QDRANT_COLLECTION_ALIASES_STABLE_FILE \
             names another one",
        )),
    }
}

/// The aliases that a backup's manifest names.
fn in_manifest(backup: &Backup) -> impl Iterator<Item = state_files::Alias> + '_ {
    let collection = backup.collection();
    backup.aliases().iter().map(|alias| state_files::Alias { collection: collection.to_owned(), alias: alias.clone() })
}

/// Restores the aliases in the manifests of what was just restored into `cluster`. Those of a collection that was
/// restored under another name are moved to it only if that is asked for.
pub(crate) async fn restore_of_sets(
    context: &Context,
    cluster: &Cluster,
    backups: &[Rc<Backup>],
    failed: &BTreeSet<String>,
) {
    let mut wanted = BTreeMap::new();
    let mut replaces = BTreeMap::new();
    for backup in backups {
        let was = backup.was();
        let beside = was != backup.collection();
        if beside {
            replaces.insert(backup.collection().to_owned(), was.to_owned());
        }
        for line in in_manifest(backup) {
            if !beside || context.settings.switch_aliases {
                wanted.insert(line.alias, line.collection);
                continue;
            }
            context.reporter.report(Item {
                host: Some(cluster.host.to_string()),
                collection: Some(line.collection),
                name: Some(line.alias),
                cause: Some(format!(
                    "left where it is, as `{was}` was restored beside; QDRANT_RESTORE_SWITCH_ALIASES=true moves it"
                )),
                ..Item::new("alias", Outcome::Skipped)
            });
        }
    }
    context.reporter.report_all(switch(context, cluster, wanted, failed, &replaces).await);
}

/// Makes the aliases `saved` in one request. `replaces`: whose aliases a collection may take over.
pub(crate) async fn switch(
    context: &Context,
    cluster: &Cluster,
    saved: BTreeMap<String, String>,
    failed: &BTreeSet<String>,
    replaces: &BTreeMap<String, String>,
) -> Vec<Item> {
    let host = cluster.host.to_string();
    let item = |alias: &str, collection: &str, outcome, cause: Option<String>| Item {
        host: Some(host.clone()),
        collection: Some(collection.to_owned()),
        name: Some(alias.to_owned()),
        cause,
        ..Item::new("alias", outcome)
    };
    let all = |outcome, cause: String, aliases: &BTreeMap<String, String>| -> Vec<Item> {
        aliases.iter().map(|(alias, collection)| item(alias, collection, outcome, Some(cause.clone()))).collect()
    };
    let Some(peer) = cluster.peers.first() else {
        return all(Outcome::Failed, "the target has no peer".to_owned(), &saved);
    };
    let (there, collections) = match (peer.client.aliases().await, peer.client.collections().await) {
        (Ok(there), Ok(collections)) => (there, collections.into_iter().collect::<BTreeSet<_>>()),
        (Err(error), _) | (_, Err(error)) => return all(Outcome::Failed, error.to_string(), &saved),
    };
    let mut items = Vec::new();
    let mut wanted = BTreeMap::new();
    for (alias, collection) in saved {
        let refused = if failed.contains(&collection) {
            Some("its collection was not restored".to_owned())
        } else if !collections.contains(&collection) && !context.settings.dry_run {
            Some("there is no such collection on the target".to_owned())
        } else if collections.contains(&alias) {
            Some("the target has a collection of this name".to_owned())
        } else {
            let owner = there.get(&alias).filter(|to| **to != collection && replaces.get(&collection) != Some(to));
            owner.filter(|_| !context.settings.restore_force).map(|to| {
                format!("on the target it belongs to `{to}`, and is left there; QDRANT_RESTORE_FORCE=true moves it")
            })
        };
        match refused {
            Some(cause) => items.push(item(&alias, &collection, Outcome::Failed, Some(cause))),
            None if there.get(&alias) == Some(&collection) => {
                items.push(item(&alias, &collection, Outcome::Skipped, Some("it is there already".to_owned())));
            }
            None => {
                wanted.insert(alias, collection);
            }
        }
    }
    if wanted.is_empty() {
        return items;
    }
    if context.settings.dry_run {
        for (alias, collection) in &wanted {
            context.plan(&["alias", collection, alias, "would lead to it"]);
            items.push(item(alias, collection, Outcome::Skipped, Some("would be made".to_owned())));
        }
        return items;
    }
    let outcome = peer.client.set_aliases(&wanted).await;
    let now = peer.client.aliases().await;
    for (alias, collection) in &wanted {
        // One request is not one transaction: what is there now counts, and not the answer alone.
        let is_there = now.as_ref().is_ok_and(|now| now.get(alias) == Some(collection));
        items.push(match (is_there, &outcome, &now) {
            (true, ..) => {
                let line = state_files::AliasRecovery {
                    collection: collection.clone(),
                    alias: alias.clone(),
                    outcome: "ok".to_owned(),
                };
                match state_files::append_alias_recovery(context.ports.files.as_ref(), &line) {
                    Ok(()) => item(alias, collection, Outcome::Done, None),
                    Err(error) => item(alias, collection, Outcome::Failed, Some(error.to_string())),
                }
            }
            (false, Err(error), _) | (false, _, Err(error)) => {
                item(alias, collection, Outcome::Failed, Some(error.to_string()))
            }
            (false, Ok(()), Ok(_)) => {
                item(alias, collection, Outcome::Failed, Some("Qdrant answered ok and it is not there".to_owned()))
            }
        });
    }
    items
}
