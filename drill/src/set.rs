//! The snapshots of one set, opened and read.

use std::path::Path;

use qdrant_backup_contract::timestamp;
use qdrant_backup_core::content::Digest;
use qdrant_backup_core::context::Context;
use qdrant_backup_core::error::{Code, Error};
use qdrant_backup_core::report::Item;
use qdrant_backup_core::sets::quality::{self, Depth};
use qdrant_backup_core::sets::{self, DrillRecord, Found, RecordedContent, SetManifest};
use qdrant_backup_core::store::ObjectStore;

use crate::{engine, fetch};

/// A set all of whose snapshots can be read.
pub(super) struct Read {
    /// What it is.
    pub manifest: SetManifest,
    /// What is in it, for people.
    pub cause: String,
    /// The digest of its points; `None` where not all of them are read.
    pub content: Option<Digest>,
}

/// Opens the snapshots of one set: an item for each, one for the set.
pub(super) async fn open(
    context: &Context,
    bucket: &dyn ObjectStore,
    work: &Path,
    collection: &str,
    set: &Found,
) -> (Vec<Item>, Option<Read>) {
    let started = context.reporter.elapsed();
    let elapsed = || context.reporter.elapsed().saturating_sub(started);
    let mut items = Vec::new();
    let mut each = |item: Item| items.push(item.collection(collection).elapsed(elapsed()));
    let (item, read) = match open_all(context, bucket, work, collection, set, &mut each).await {
        Ok(read) => (Item::done("set").cause(&read.cause), Some(read)),
        Err(error) => (Item::failed("set", error), None),
    };
    items.push(item.collection(collection).name(set.id.as_str()).elapsed(elapsed()));
    (items, read)
}

/// Opens the snapshots of one set; `each` gets an item for every one.
///
/// # Errors
/// The set can't be used, or one of its snapshots.
async fn open_all(
    context: &Context,
    bucket: &dyn ObjectStore,
    work: &Path,
    collection: &str,
    set: &Found,
    each: &mut dyn FnMut(Item),
) -> Result<Read, Error> {
    let manifest = sets::read(bucket, collection, set).await?;
    // All of it is read below, and compared with its SHA-256.
    quality::of_set(bucket, &manifest, &|_| Depth::Walk).await.map_err(|wrong| quality::as_one(&wrong))?;
    let (mut total, mut failed, mut unread) = (0, Vec::new(), Vec::new());
    let mut whole = Digest::default();
    let sample_points = context.settings.sample_points;
    let mut content = RecordedContent {
        read_at: timestamp::RFC3339.write(context.ports.clock.now()),
        read_by: engine::ENGINE.to_owned(),
        sample_points,
        ..RecordedContent::default()
    };
    for shard in &manifest.shards {
        let item = match open_one(bucket, work, &manifest, shard, sample_points).await {
            Ok(found) => {
                let points = found.points;
                total += points;
                match found.content {
                    Some((all, sample)) => {
                        whole.merge(&all);
                        content.all.insert(shard.id, all.to_string());
                        content.sample.insert(shard.id, sample.to_string());
                    }
                    None => unread.push(shard.id.to_string()),
                }
                let done = Item::done("snapshot").cause(format!("{points} points read"));
                Item { bytes: shard.size, ..done }
            }
            Err(error) => {
                failed.push(error.clone());
                Item::failed("snapshot", error)
            }
        };
        each(item.name(&shard.snapshot_name));
    }
    let shards = manifest.shards.len();
    if let Some(error) = quality::any(&failed) {
        let cause = format!("{} of its {shards} snapshots can't be used", failed.len());
        return Err(Error::new(error.code(), "", cause));
    }
    match manifest.exact_points() {
        Some(points) if points != total => {
            let cause = format!("its snapshots hold {total} points and its manifest says {points}");
            Err(Error::new(Code::SnapshotDamaged, "", cause))
        }
        _ => {
            let is_whole = unread.is_empty();
            let noted = if is_whole {
                note(context, bucket, set, &manifest, total, content).await
            } else {
                let shards = unread.join(", ");
                format!("not noted: shard {shards} has writes in its log, which the engine does not read")
            };
            let cause = format!("{total} points in {shards} shards; their content is {noted}");
            Ok(Read { manifest, cause, content: is_whole.then_some(whole) })
        }
    }
}

/// Notes beside the set what its points are; says whether that could be done.
async fn note(
    context: &Context,
    bucket: &dyn ObjectStore,
    set: &Found,
    manifest: &SetManifest,
    points: u64,
    content: RecordedContent,
) -> String {
    let noted = async {
        let record = sets::read_drill(bucket, set, manifest).await?;
        let record = record.unwrap_or_else(|| DrillRecord::read_only(manifest, points, &context.run));
        DrillRecord { content, ..record }.write(bucket).await
    };
    match noted.await {
        Ok(()) => "noted beside the set".to_owned(),
        Err(error) => format!("not noted, so that no restore can be compared with it: {error}"),
    }
}

async fn open_one(
    bucket: &dyn ObjectStore,
    work: &Path,
    manifest: &SetManifest,
    shard: &sets::SetShard,
    sample: u64,
) -> Result<engine::Found, Error> {
    let damaged = |cause: String| Error::new(Code::SnapshotDamaged, "", cause);
    let folder = fetch::folder(work)?;
    let snapshot = folder.path().join("snapshot.tar");
    fetch::fetch(bucket, shard, &snapshot).await?;
    let found = engine::read(&snapshot, &folder.path().join("shard"), sample).map_err(damaged)?;
    if let Some(expected) = shard.points.exact().filter(|expected| *expected != found.points) {
        return Err(damaged(format!("it holds {} points and its manifest says {expected}", found.points)));
    }
    let schema = manifest.collection_config.get("payload_schema").and_then(serde_json::Value::as_object);
    for field in schema.into_iter().flatten().map(|(field, _)| field) {
        if found.points > 0 && !found.indexes.contains(field) {
            return Err(damaged(format!("it has no payload index on `{field}`, and its manifest has one")));
        }
    }
    Ok(found)
}
