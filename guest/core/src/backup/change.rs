//! What a new set is against the one before: what it stands for, and what has become less. A collection that shrank or is
//! gone is told while the older set is still there: later nobody sees it.

use std::collections::BTreeSet;

use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::qdrant::Cluster;
use crate::report::total;
use crate::reporter::size;
use crate::runs::{self, Kind};
use crate::sets::{self, Found, SetId, SetManifest};
use crate::source::Source;
use crate::store::ObjectStore;

/// How many collections' manifests are read at the same time.
const AT_ONCE: usize = 16;

/// How many older sets are read of a collection for one of the same source.
const LOOKED_AT: usize = 5;

/// A collection in the new set, and in the one before.
struct Compared {
    collection: String,
    now: SetManifest,
    before: Option<SetManifest>,
}

impl Compared {
    /// By how many percent of its points it shrank; 0 where it did not.
    fn shrank(&self) -> u64 {
        let before = self.before.as_ref().map_or(0, |before| before.points_count);
        let lost = u128::from(before.saturating_sub(self.now.points_count));
        u64::try_from((lost * 100).checked_div(u128::from(before)).unwrap_or_default()).unwrap_or(100)
    }
}

/// Tells what the set `set` of `cluster` holds and how it differs from the one before. Nothing fails by it.
pub(crate) async fn tell(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    set: &SetId,
    collections: &BTreeSet<String>,
) {
    let host = cluster.host.to_string();
    // It compares what is stored, and in a dry run nothing is.
    let Some(source) = context.source_of(&cluster.host).filter(|_| !context.settings.dry_run) else { return };
    match compared(bucket, &source, set, collections).await {
        Ok(all) => say(context, &host, set, &all),
        Err(error) => {
            context.log.warn(Some(&host), &format!("how this set differs from the one before is not known: {error}"))
        }
    }
    match vanished(context, bucket, &source).await {
        Ok(None) => {}
        Ok(Some((run, gone))) => {
            for collection in gone {
                let what = format!(
                    "`{collection}` is not there any more, as it was when the run {run} backed up everything; its sets are \
                     kept (QDRANT_BACKUP_DROPPED_KEEP)"
                );
                context.log.warn(Some(&host), &what);
            }
        }
        Err(error) => context.log.warn(Some(&host), &format!("whether a collection is gone is not known: {error}")),
    }
}

fn say(context: &Context, host: &str, set: &SetId, all: &[Compared]) {
    let limit = context.settings.warn_shrink;
    for one in all.iter().filter(|one| one.shrank() > limit) {
        let Compared { collection, now, before: Some(before) } = one else { continue };
        let what = format!(
            "`{collection}` has {} points, {} % less than the {} in the set {} (more than QDRANT_BACKUP_WARN_SHRINK={limit}): \
             pin that set (`pin_set {}`) if this is not meant",
            now.points_count,
            one.shrank(),
            before.points_count,
            before.backup_set_id,
            before.backup_set_id
        );
        context.log.warn(Some(host), &what);
    }
    if all.is_empty() {
        return;
    }
    let (points, bytes) =
        (total(all.iter().map(|one| one.now.points_count)), total(all.iter().map(|one| one.now.bytes())));
    let before = || all.iter().filter_map(|one| one.before.as_ref());
    let than = match before().count() {
        0 => String::new(),
        _ => format!(
            "; before: {} points, {}",
            total(before().map(|before| before.points_count)),
            size(total(before().map(SetManifest::bytes)))
        ),
    };
    context
        .log
        .info(Some(host), &format!("set {set}: {} collections, {points} points, {}{than}", all.len(), size(bytes)));
}

/// The collections of the new set, each with its newest older set of the same source.
async fn compared(
    bucket: &dyn ObjectStore,
    source: &Source,
    set: &SetId,
    collections: &BTreeSet<String>,
) -> Result<Vec<Compared>, Error> {
    let mut listed = sets::list(bucket).await?;
    listed.retain(|collection, _| collections.contains(collection));
    let work = listed.iter().map(|(collection, found)| one(bucket, source, set, collection, found));
    let mut all = Vec::new();
    let mut unknown = None;
    concurrent::at_most(AT_ONCE, work, |read| match read {
        Ok(compared) => all.extend(compared),
        Err(error) => unknown = Some(error),
    })
    .await;
    unknown.map_or(Ok(all), Err)
}

async fn one(
    bucket: &dyn ObjectStore,
    source: &Source,
    set: &SetId,
    collection: &str,
    found: &[Found],
) -> Result<Option<Compared>, Error> {
    let Some(new) = found.iter().find(|found| found.id == *set) else { return Ok(None) };
    let now = sets::read(bucket, collection, new).await?;
    let mut before = None;
    for older in found.iter().rev().filter(|found| found.id != *set).take(LOOKED_AT) {
        let (read, _) = sets::read_anywhere(bucket, collection, older).await;
        match read {
            // A partial one says nothing of how much there was.
            Ok(manifest)
                if manifest.source_id.as_deref() == Some(source.id.as_str()) && manifest.missing.is_empty() =>
            {
                before = Some(manifest);
                break;
            }
            Err(error) if error.is_unknown() => return Err(error),
            _ => {}
        }
    }
    Ok(Some(Compared { collection: collection.to_owned(), now, before }))
}

/// The collections that the last run of everything before this one had, and this one has not; `None` where this is no run of
/// everything, or the first.
async fn vanished(
    context: &Context,
    bucket: &dyn ObjectStore,
    source: &Source,
) -> Result<Option<(String, Vec<String>)>, Error> {
    let this = context.run.as_str();
    let [Some(now), Some(before)] = [
        runs::newest(bucket, &source.id, &[Kind::Sets], &|_, run| run.starts_with(this)).await?,
        runs::newest(bucket, &source.id, &[Kind::Sets], &|_, run| !run.starts_with(this)).await?,
    ] else {
        return Ok(None);
    };
    let gone: Vec<String> =
        before.collections.into_iter().filter(|collection| !now.collections.contains(collection)).collect();
    Ok((!gone.is_empty()).then_some((before.run_id, gone)))
}
