//! Restoring aliases: in one request, last of all.

use crate::error::{Code, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::save;
use crate::context::Context;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::restore::{Aliases, Backup, Restored, Whose, all_sources};
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
    let Some(mut saved) = find(context, cluster, whose, restored.aliases.of(selected)).await else { return };
    saved.retain(|alias, collection| {
        let meant = selected.contains(collection);
        if !meant {
            let why = "its collection is not part of this restore; `recover_colla` restores all aliases";
            let item = Item::skipped("alias", why).host(&cluster.host).collection(collection.as_str());
            context.reporter.report(item.name(alias.as_str()));
        }
        meant
    });
    let switched = switch(context, cluster, saved, &restored.failed, &BTreeMap::new()).await;
    context.reporter.report_all(switched.items);
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
        if let Some(files) = context.state_files() {
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

/// Restores the aliases in the manifests of what was just restored into `cluster`, each where `aliases` says that it leads.
/// Those of a collection that was restored under another name are moved to it only if that is asked for, and it is none
/// of the `unverified`. Returns which were moved: the collection that each led to before.
pub(crate) async fn restore_of_sets(
    context: &Context,
    cluster: &Cluster,
    backups: &[Rc<Backup>],
    aliases: &Aliases,
    failed: &BTreeSet<String>,
    unverified: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let mut replaces = BTreeMap::new();
    for backup in backups {
        let (collection, was) = (backup.collection(), backup.was());
        let beside = was != collection;
        if beside {
            let verified = !unverified.contains(collection);
            replaces.insert(collection.to_owned(), Replaced { was: was.to_owned(), verified });
        }
        for alias in backup.aliases().iter().filter(|alias| aliases.leads_to(alias) == Some(collection)) {
            if !beside || context.settings.switch_aliases {
                wanted.insert(alias.clone(), collection.to_owned());
                continue;
            }
            let why =
                format!("left on `{was}`, as the restore was beside it; QDRANT_RESTORE_SWITCH_ALIASES=true moves it");
            let item = Item::skipped("alias", why).host(&cluster.host).collection(collection);
            context.reporter.report(item.name(alias.as_str()));
        }
    }
    let switched = switch(context, cluster, wanted, failed, &replaces).await;
    context.reporter.report_all(switched.items);
    switched.moved
}

/// The collection that another one was restored beside.
pub(crate) struct Replaced {
    /// Its name.
    was: String,
    /// Whether the other one is verified: only then its aliases are taken from it.
    verified: bool,
}

/// How a switch of aliases ended.
#[derive(Default)]
pub(crate) struct Switched {
    /// An item for each alias.
    pub items: Vec<Item>,
    /// Those that lead to another collection now, with the one that they led to before.
    pub moved: BTreeMap<String, String>,
}

/// What there is on the target.
struct There {
    aliases: BTreeMap<String, String>,
    collections: BTreeSet<String>,
}

/// Makes the aliases `saved` in one request. `replaces`: whose aliases a collection may take over.
pub(crate) async fn switch(
    context: &Context,
    cluster: &Cluster,
    saved: BTreeMap<String, String>,
    failed: &BTreeSet<String>,
    replaces: &BTreeMap<String, Replaced>,
) -> Switched {
    let mut switched = Switched::default();
    let about = |item: Item, alias: &str, collection: &str| item.host(&cluster.host).collection(collection).name(alias);
    let there = match look(cluster).await {
        Ok(there) => there,
        Err(error) => {
            let failed = saved.iter().map(|(alias, to)| about(Item::failed("alias", error.clone()), alias, to));
            switched.items.extend(failed);
            return switched;
        }
    };
    let mut wanted = BTreeMap::new();
    for (alias, collection) in saved {
        let item = match choose(context, &there, failed, replaces, &alias, &collection) {
            Ok(true) => {
                wanted.insert(alias, collection);
                continue;
            }
            Ok(false) => Item::skipped("alias", "it exists already"),
            Err(error) => Item::failed("alias", error),
        };
        switched.items.push(about(item, &alias, &collection));
    }
    if context.settings.dry_run {
        for (alias, collection) in &wanted {
            context.plan(&["alias", collection, alias, "would point to it"]);
            switched.items.push(about(Item::skipped("alias", "would be made"), alias, collection));
        }
    } else if !wanted.is_empty() {
        for (alias, collection, made) in make(context, cluster, wanted).await {
            let item = match made {
                Ok(()) => {
                    if let Some(before) = there.aliases.get(&alias) {
                        switched.moved.insert(alias.clone(), before.clone());
                    }
                    Item::done("alias")
                }
                Err(error) => Item::failed("alias", error),
            };
            switched.items.push(about(item, &alias, &collection));
        }
    }
    switched
}

async fn look(cluster: &Cluster) -> Result<There, Error> {
    let client = &cluster.peers.first().ok_or_else(no_peer)?.client;
    let aliases = client.aliases().await?;
    Ok(There { aliases, collections: client.collections().await?.into_iter().collect() })
}

fn no_peer() -> Error {
    Error::new(Code::NoPeer, "", "the target has no peer")
}

/// Whether an alias is to be made: false where it exists already.
///
/// # Errors
/// It may not be made: says why.
fn choose(
    context: &Context,
    there: &There,
    failed: &BTreeSet<String>,
    replaces: &BTreeMap<String, Replaced>,
    alias: &str,
    collection: &str,
) -> Result<bool, Error> {
    let refused = |cause: String| Err(Error::new(Code::Alias, "", cause));
    if failed.contains(collection) {
        return refused("its collection was not restored".to_owned());
    }
    if !there.collections.contains(collection) && !context.settings.dry_run {
        return refused("there is no such collection on the target".to_owned());
    }
    if there.collections.contains(alias) {
        return refused("the target has a collection of this name".to_owned());
    }
    let replaced = replaces.get(collection);
    match there.aliases.get(alias) {
        Some(to) if to == collection => Ok(false),
        Some(to) if replaced.is_some_and(|replaced| !replaced.verified) => {
            let cause = format!("left on `{to}`: `{collection}` was restored and not verified");
            Err(Error::new(Code::Alias, "", cause)
                .advice("look at it, and move the alias yourself; QDRANT_RESTORE_FORCE=true restores it again"))
        }
        Some(to) if replaced.map(|replaced| &replaced.was) != Some(to) && !context.settings.restore_force => refused(
            format!("on the target it belongs to `{to}`, and is left there; QDRANT_RESTORE_FORCE=true moves it"),
        ),
        _ => Ok(true),
    }
}

/// Makes aliases; how it went for each.
async fn make(
    context: &Context,
    cluster: &Cluster,
    wanted: BTreeMap<String, String>,
) -> Vec<(String, String, Result<(), Error>)> {
    let (outcome, now) = match cluster.peers.first() {
        None => (Err(no_peer()), Err(no_peer())),
        Some(peer) => {
            let outcome = peer.client.set_aliases(&wanted).await.map_err(Error::from);
            (outcome, peer.client.aliases().await.map_err(Error::from))
        }
    };
    let made = wanted.into_iter().map(|(alias, collection)| {
        // One request is not one transaction: what is there now counts, and not the answer alone.
        let is_there = now.as_ref().is_ok_and(|now| now.get(&alias) == Some(&collection));
        let result = match (is_there, &outcome, &now) {
            (true, ..) => note(context, &alias, &collection),
            (false, Err(error), _) | (false, _, Err(error)) => Err(error.clone()),
            (false, Ok(()), Ok(_)) => Err(Error::new(Code::Alias, "", "Qdrant answered ok, but it does not exist")),
        };
        (alias, collection, result)
    });
    made.collect()
}

/// Notes in the work directory that an alias was restored.
fn note(context: &Context, alias: &str, collection: &str) -> Result<(), Error> {
    let line = state_files::AliasRecovery {
        collection: collection.to_owned(),
        alias: alias.to_owned(),
        outcome: "ok".to_owned(),
    };
    Ok(state_files::append_alias_recovery(context.ports.files.as_ref(), &line)?)
}
