//! `recover_snap`: collections from their snapshots, then the aliases.

use crate::clusters::target;
use crate::error::{Code, Error};
use crate::lock::Work;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use async_lock::Semaphore;

use super::targets;
use crate::aliases;
use crate::context::Context;
use crate::generations::{self, BucketSnapshot};
use crate::naming::{SnapshotFilter, SnapshotName};
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::restore::{self, Backup, Choice, Samples};
use crate::runs::{self, Kind};
use crate::source::{self, Source};
use crate::state_files;
use crate::store::ObjectStore;

/// How many collections' snapshots are read at the same time, of each the first 32 KiB and more: what they say of
/// themselves is small, and much faster read than restored.
const CHOICES_AT_ONCE: usize = 16;

pub(super) async fn run(context: &Context, chosen: Vec<state_files::Snapshot>) -> Result<(), Error> {
    let bucket = context.store()?;
    let chosen = &chosen;
    for cluster in &target::found(context).await? {
        targets::under_its_lock(
            context,
            Work::Restore,
            cluster,
            Box::pin(restore_into(context, bucket, cluster, chosen)),
        )
        .await;
    }
    Ok(())
}

async fn restore_into(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    chosen: &[state_files::Snapshot],
) -> Result<(), Error> {
    let (whose, snapshots) = if chosen.is_empty() {
        let (whose, snapshots) = candidates(context, bucket, cluster, &[Kind::Snapshots]).await?;
        (Some(whose), snapshots)
    } else {
        // Who names snapshots has chosen whose they are.
        (None, snapshots(context, bucket, chosen, &mut Samples::default()).await?)
    };
    let snapshots = &snapshots;
    let permits = &Semaphore::new(CHOICES_AT_ONCE);
    let mut choices = snapshots.iter().map(|(collection, snapshots)| {
        let choice: Choice<'_> = Box::pin(async move {
            let _permit = permits.acquire().await;
            choose(context, bucket, collection, snapshots).await
        });
        (collection.clone(), choice)
    });
    let restored = restore::restore(context, bucket, cluster, snapshots.len(), &mut || choices.next()).await;
    aliases::restore_some(context, cluster, whose.as_ref(), &snapshots.keys().cloned().collect(), restored).await;
    let source = match &whose {
        Some(whose) => whose.source.clone(),
        None => made_by(context, bucket, snapshots).await?,
    };
    restore::restore_cluster_state(context, bucket, cluster, source.as_ref(), &[Kind::Snapshots]).await;
    Ok(())
}

/// The snapshots of the target's source, or of the one that is chosen, by collection. `kinds`: whose newest run of everything
/// says what there was.
///
/// # Errors
/// There are none, the bucket can't be read, or it can't be told whose backups are meant.
pub(super) async fn candidates(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    kinds: &[Kind],
) -> Result<(restore::Whose, ByCollection), Error> {
    let mut samples = Samples::default();
    let mut found = snapshots(context, bucket, &[], &mut samples).await?;
    let whose = restore::of_target(context, bucket, cluster, restore::KnownSets::NONE, Some(&samples)).await?;
    of_source(context, bucket, &whose, kinds, &mut found).await?;
    if !found.is_empty() {
        return Ok((whose, found));
    }
    Err(if whose.others_have_backups() {
        let cause = "the bucket has no selected snapshots of it, but some of other sources";
        Error::new(Code::NothingSelected, whose.name(), cause)
            .advice("`list_sources` lists the sources, QDRANT_RESTORE_SOURCE selects one")
    } else {
        nothing_found(context)
    })
}

/// Leaves the snapshots of the source, by the peers in their names, and of these what was there when everything was backed
/// up last. A collection that a person named and that has none is a failure.
async fn of_source(
    context: &Context,
    bucket: &dyn ObjectStore,
    whose: &restore::Whose,
    kinds: &[Kind],
    all: &mut ByCollection,
) -> Result<(), Error> {
    for (collection, snapshots) in all.iter_mut() {
        let Ok(found) = snapshots else { continue };
        let before = found.len();
        found.retain(|snapshot| whose.is_of(None, &BTreeSet::from([snapshot.peer])));
        let named = context.settings.collections.names().any(|name| name == collection);
        if found.is_empty() && before > 0 && named {
            *snapshots = Err(Error::new(
                Code::NothingSelected,
                "",
                format!("there is no snapshot of it in the backups of {}", whose.name()),
            ));
        }
    }
    all.retain(|_, snapshots| snapshots.as_ref().map_or(true, |snapshots| !snapshots.is_empty()));
    let settings = &context.settings;
    let lines = state_files::chosen_collections(context.ports.files.as_ref())?;
    let everything = lines.is_empty() && settings.collections.include.is_empty() && settings.snapshot_filter.is_empty();
    let Some(source) = whose.source.as_ref().filter(|_| everything) else { return Ok(()) };
    let Some(run) = runs::newest(bucket, &source.id, kinds, &|_, _| true).await? else { return Ok(()) };
    all.retain(|collection, snapshots| {
        let since = snapshots.as_ref().is_ok_and(|snapshots| {
            snapshots.iter().any(|snapshot| run.started().is_none_or(|started| snapshot.started >= started))
        });
        let there = since || run.collections.contains(collection);
        if !there {
            let why = format!(
                "it no longer existed when the run {} backed up everything; QDRANT_COLLECTIONS={collection} restores it anyway",
                run.run_id
            );
            context.reporter.report(Item::skipped("collection", why).collection(collection.clone()));
        }
        there
    });
    for collection in run.collections.iter().filter(|collection| settings.collections.takes(collection)) {
        all.entry(collection.clone()).or_insert_with(|| {
            Err(Error::new(
                Code::NothingSelected,
                "",
                format!("it existed when the run {} backed up everything, and has no snapshot", run.run_id),
            ))
        });
    }
    Ok(())
}

/// The source whose peers have made the snapshots, where one that is known has made all of them.
async fn made_by(
    context: &Context,
    bucket: &dyn ObjectStore,
    snapshots: &ByCollection,
) -> Result<Option<Source>, Error> {
    let records = source::list_allowed(context, bucket).await?;
    let peers = snapshots.values().flatten().flatten().map(|snapshot| snapshot.peer).collect();
    Ok(source::matching(&records, &peers).ok().flatten().map(source::Record::source))
}

/// The newest backup among the snapshots of one collection that can be restored.
pub(super) async fn choose(
    context: &Context,
    bucket: &dyn ObjectStore,
    collection: &str,
    snapshots: &Result<Vec<BucketSnapshot>, Error>,
) -> Result<Rc<Backup>, Item> {
    let selection = match snapshots {
        Ok(snapshots) => restore::select(bucket, collection, snapshots.clone()).await,
        Err(cause) => Err(cause.clone()),
    };
    let mut selection = selection.map_err(|error| Item::failed("collection", error).collection(collection))?;
    context.reporter.report_all(std::mem::take(&mut selection.skipped));
    let names: Vec<&str> = selection.snapshots.iter().map(|one| one.snapshot.name.as_str()).collect();
    restore::warn_of_older(context, collection, &names.join(" "), &selection.refused);
    Ok(Rc::new(Backup::Snapshots(selection)))
}

/// The lines of the `snapshots` file, where there is one: given by the host, named by a setting, or in the work
/// directory.
pub(super) fn chosen(context: &Context, given: Option<String>) -> Result<Vec<state_files::Snapshot>, Error> {
    let files = context.ports.files.as_ref();
    let (name, text) = match (given, &context.settings.snapshots_file) {
        (Some(text), _) => (state_files::SNAPSHOTS, Some(text.into_bytes())),
        (None, Some(path)) => (path.as_str(), Some(files.read_path(path)?)),
        // An empty one is what `get_snap` leaves where it finds nothing.
        (None, None) => {
            let text = files.read(state_files::SNAPSHOTS)?;
            (state_files::SNAPSHOTS, text.filter(|text| !text.trim_ascii().is_empty()))
        }
    };
    let Some(text) = text else { return Ok(Vec::new()) };
    let lines = state_files::parse_snapshots(name, &text)?;
    if lines.is_empty() {
        let cause = "it names no snapshot; list at least one, or remove the file to restore the newest complete backup";
        return Err(Error::new(Code::NothingSelected, format!("the file `{name}`"), cause));
    }
    context.log.info(None, &format!("restoring the {} snapshots named in the file `{name}`", lines.len()));
    Ok(lines)
}

pub(super) type ByCollection = BTreeMap<String, Result<Vec<BucketSnapshot>, Error>>;

/// The snapshots to choose from, by collection: the named ones, or all in the bucket that pass the filter.
async fn snapshots(
    context: &Context,
    bucket: &dyn ObjectStore,
    chosen: &[state_files::Snapshot],
    samples: &mut Samples,
) -> Result<ByCollection, Error> {
    let filter = if chosen.is_empty() { context.settings.snapshot_filter.as_str() } else { "" };
    let mut found: BTreeMap<String, Vec<BucketSnapshot>> = BTreeMap::new();
    let filter = SnapshotFilter::new(filter);
    let mut passing = Vec::new();
    let mut note = |snapshot: BucketSnapshot| {
        samples.note(&snapshot);
        if filter.matches(&snapshot.name) {
            passing.push(snapshot);
        }
    };
    generations::each_snapshot_in(bucket, &SnapshotFilter::new(""), &mut note).await?;
    generations::by_time(&mut passing);
    for snapshot in passing {
        found.entry(snapshot.collection.clone()).or_default().push(snapshot);
    }
    if chosen.is_empty() {
        let collections = state_files::chosen_collections(context.ports.files.as_ref())?;
        let wanted: BTreeSet<String> = collections.into_iter().map(|line| line.collection).collect();
        let absent = wanted.iter().filter(|collection| !found.contains_key(*collection));
        let absent: Vec<_> = absent
            .map(|collection| {
                let cause =
                    "the file `collections` names it, and the bucket has no snapshot of it that passes the filter";
                (collection.clone(), Err(Error::new(Code::NothingSelected, "", cause)))
            })
            .collect();
        let mut snapshots: ByCollection =
            found.into_iter().map(|(collection, snapshots)| (collection, Ok(snapshots))).collect();
        snapshots.retain(|collection, _| {
            (wanted.is_empty() || wanted.contains(collection)) && context.settings.collections.takes(collection)
        });
        snapshots.extend(absent);
        return Ok(snapshots);
    }
    let mut snapshots: ByCollection = BTreeMap::new();
    for line in chosen {
        let entry = snapshots.entry(line.collection.clone()).or_insert_with(|| Ok(Vec::new()));
        let snapshot = found
            .get(&line.collection)
            .and_then(|snapshots| snapshots.iter().find(|snapshot| snapshot.name == line.snapshot_name));
        match (entry, snapshot) {
            (Ok(snapshots), Some(snapshot)) => snapshots.push(snapshot.clone()),
            (entry @ Ok(_), None) => *entry = Err(not_found(context, bucket, line)),
            (Err(_), _) => {}
        }
    }
    Ok(snapshots)
}

fn not_found(context: &Context, bucket: &dyn ObjectStore, line: &state_files::Snapshot) -> Error {
    let name = &line.snapshot_name;
    if SnapshotName::parse(&line.collection, name).is_none() {
        let cause = format!("`{name}` is not the name of a snapshot of the whole collection `{}`", line.collection);
        return Error::new(Code::NothingSelected, "", cause);
    }
    let cause = format!(
        "the snapshot `{name}` is not in the bucket `{}` under `{}/`",
        bucket.name(),
        context.settings.s3.as_ref().map(|s3| s3.key_prefix.as_str()).unwrap_or_default()
    );
    Error::new(Code::SnapshotMissing, "", cause).advice("`get_snap_s3` lists what is")
}

fn nothing_found(context: &Context) -> Error {
    if context.settings.snapshot_filter.is_empty() {
        return Error::new(Code::NothingSelected, "", "the bucket holds no snapshots")
            .advice("check QDRANT_S3_BUCKET_NAME and QDRANT_S3_KEY_PREFIX");
    }
    let filter = &context.settings.snapshot_filter;
    let cause = format!("no snapshot in the bucket passes QDRANT_SNAPSHOT_DATETIME_FILTER={filter}");
    Error::new(Code::NothingSelected, "", cause).advice("`get_snap_s3` with an empty filter lists all")
}
