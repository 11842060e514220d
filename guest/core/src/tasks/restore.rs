//! `restore`: each collection from its newest good backup, be it a set or snapshots of the whole collection, then the
//! aliases.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use async_lock::Semaphore;

use super::recover_snapshots::{self, ByCollection};
use super::{recover_sets, targets};
use crate::aliases;
use crate::clusters::target;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::Work;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::restore::{self, Backup, Choice, Wanted, Whose};
use crate::runs::Kind;
use crate::store::ObjectStore;
use crate::timestamp;

/// What a run of everything may have made.
const KINDS: [Kind; 2] = [Kind::Sets, Kind::Snapshots];

/// How many collections' backups are read at the same time.
const CHOICES_AT_ONCE: usize = 16;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    if context.settings.drop_old {
        return Err(Error::new(Code::Configuration, "QDRANT_RESTORE_DROP_OLD", "`restore` does not know it")
            .advice("`recover_snap_shards` restores sets, and drops what they replace"));
    }
    for cluster in &target::found(context).await? {
        targets::under_its_lock(context, Work::Restore, cluster, Box::pin(restore_into(context, bucket, cluster)))
            .await;
    }
    Ok(())
}

async fn restore_into(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster) -> Result<(), Error> {
    let sets = restore::wanted(context, bucket, cluster, &KINDS).await;
    let snapshots = recover_snapshots::candidates(context, bucket, cluster, &KINDS).await;
    let none = |error: &Error| error.code() == Code::NothingSelected;
    let (whose, sets, mut snapshots) = match (sets, snapshots) {
        (Ok((whose, sets)), Ok((_, snapshots))) => (whose, sets, snapshots),
        (Ok((whose, sets)), Err(error)) if none(&error) => (whose, sets, ByCollection::new()),
        (Err(error), Ok((whose, snapshots))) if none(&error) => (whose, BTreeMap::new(), snapshots),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let names: BTreeSet<&String> = sets.keys().chain(snapshots.keys()).collect();
    restore::no_two_in_one(names, &context.settings.rename)?;
    // Another name is given to sets alone.
    snapshots.retain(|collection, _| !context.settings.rename.iter().any(|(old, _)| old == collection));
    if let Some(before) = context.settings.restore_before {
        for snapshots in snapshots.values_mut().flatten() {
            snapshots.retain(|snapshot| snapshot.started < before);
        }
    }
    let all: BTreeSet<&String> = sets.keys().chain(snapshots.keys()).collect();
    let chosen: &RefCell<Vec<Rc<Backup>>> = &RefCell::default();
    let permits = &Semaphore::new(CHOICES_AT_ONCE);
    let (whose, sets, snapshots) = (&whose, &sets, &snapshots);
    let mut choices = all.iter().map(|collection| {
        let collection = (*collection).clone();
        let name = collection.clone();
        let choice: Choice<'_> = Box::pin(async move {
            let _permit = permits.acquire().await;
            let candidates = (sets.get(&collection), snapshots.get(&collection));
            let backup = choose(context, bucket, whose, &collection, candidates).await?;
            chosen.borrow_mut().push(Rc::clone(&backup));
            Ok(backup)
        });
        (name, choice)
    });
    let restored = restore::restore(context, bucket, cluster, all.len(), &mut || choices.next()).await;
    let (of_sets, of_snapshots): (Vec<_>, Vec<_>) =
        chosen.take().into_iter().partition(|backup| matches!(**backup, Backup::Set(_)));
    if !of_sets.is_empty() {
        let (failed, unverified) = (&restored.failed, &restored.unverified);
        aliases::restore_of_sets(context, cluster, &of_sets, &restored.aliases, failed, unverified).await;
    }
    if !of_snapshots.is_empty() {
        let names: BTreeSet<String> = of_snapshots.iter().map(|backup| backup.collection().to_owned()).collect();
        aliases::restore_some(context, cluster, Some(whose), &names, restored).await;
    }
    restore::restore_cluster_state(context, bucket, cluster, whose.source.as_ref(), &KINDS).await;
    Ok(())
}

/// A backup of one kind that is good.
struct Good {
    backup: Rc<Backup>,
    /// What it is, for people.
    name: String,
}

/// The newest good backup of one collection. One that could not be asked may be newer, and no older one takes its place.
async fn choose(
    context: &Context,
    bucket: &dyn ObjectStore,
    whose: &Whose,
    collection: &str,
    (sets, snapshots): (Option<&Wanted>, Option<&Result<Vec<crate::generations::BucketSnapshot>, Error>>),
) -> Result<Rc<Backup>, Item> {
    let set = match sets.filter(|wanted| !wanted.sets.is_empty()) {
        None => Ok(None),
        Some(wanted) => recover_sets::choose(context, bucket, whose, collection, wanted).await.map(|selection| {
            let name = format!("the set {}", selection.manifest.backup_set_id);
            Some(Good { backup: Rc::new(Backup::Set(selection)), name })
        }),
    };
    let generation = match snapshots {
        Some(Ok(snapshots)) if !snapshots.is_empty() => {
            let snapshots = Ok(snapshots.clone());
            recover_snapshots::choose(context, bucket, collection, &snapshots).await.map(|backup| {
                let at = backup.started().map(|at| timestamp::RFC3339.write(at)).unwrap_or_default();
                Some(Good { backup, name: format!("the snapshots of the whole collection of {at}") })
            })
        }
        _ => Ok(None),
    };
    let unknown = |item: &Item| item.code().is_some_and(|code| Error::new(code, "", "").is_unknown());
    let chosen = match (set, generation) {
        (Ok(Some(set)), Ok(Some(generation))) => {
            let is_newer = generation.backup.started() > set.backup.started();
            let (newer, older) = if is_newer { (generation, set) } else { (set, generation) };
            context.log.info(None, &format!("`{collection}`: {} is newer than {}", newer.name, older.name));
            newer
        }
        (Ok(Some(one)), Ok(None)) | (Ok(None), Ok(Some(one))) => one,
        (Ok(None), Ok(None)) => {
            return Err(restore::no_set(context, whose, collection, sets.unwrap_or(&Wanted::default())));
        }
        (Err(item), _) | (_, Err(item)) if unknown(&item) => return Err(item),
        (Ok(Some(one)), Err(bad)) | (Err(bad), Ok(Some(one))) => {
            let why = bad.cause.unwrap_or_default();
            restore::warn_of_older(context, collection, &one.name, std::slice::from_ref(&why));
            context.reporter.report(Item::skipped("backup", why).collection(collection));
            one
        }
        (Err(bad), _) | (_, Err(bad)) => return Err(bad),
    };
    context.log.info(None, &format!("`{collection}` is restored from {}", chosen.name));
    Ok(chosen.backup)
}
