//! The points of a set beside those that a cluster holds now.

use std::path::Path;

use qdrant_backup_core::content::{Collection, Merged};
use qdrant_backup_core::context::Context;
use qdrant_backup_core::error::{Code, Error};
use qdrant_backup_core::qdrant::Cluster;
use qdrant_backup_core::report::Item;
use qdrant_backup_core::sets::SetManifest;
use qdrant_backup_core::store::ObjectStore;

use crate::engine::{self, Shard};
use crate::fetch;
use crate::set::Read;

/// Compares the points of a set with those of its collection on `cluster`; an item that says whether they are the same.
pub(super) async fn item(
    context: &Context,
    storage: (&dyn ObjectStore, &Path),
    cluster: &Cluster,
    read: &Read,
) -> Item {
    let started = context.reporter.elapsed();
    let manifest = &read.manifest;
    let (set, name) = (&manifest.backup_set_id, context.settings.renamed(&manifest.collection));
    let item = match compare(context, storage, Collection { cluster, name }, read).await {
        Ok(points) => Item::done("collection")
            .cause(format!("{points} points are equal on every replica to those of the set {set}"))
            .content(Some("equal")),
        Err(error) => {
            let different = error.code() == Code::VerificationFailed;
            Item::failed("collection", error.of(format!("compared with the set {set}")))
                .content(different.then_some("different"))
        }
    };
    let elapsed = context.reporter.elapsed().saturating_sub(started);
    item.host(&cluster.host).collection(name).elapsed(elapsed)
}

async fn compare(
    context: &Context,
    (bucket, work): (&dyn ObjectStore, &Path),
    collection: Collection<'_>,
    read: &Read,
) -> Result<u64, Error> {
    let Some(digest) = read.content else {
        let cause = "a shard of the set has writes in its log, which the engine does not read";
        return Err(Error::new(Code::Unsupported, "", cause));
    };
    let folder = fetch::folder(work)?;
    let points = async || {
        context.log.info(
            Some(&collection.cluster.host.to_string()),
            "points differ: all snapshots of the set are opened to name them",
        );
        let shards = open_all(bucket, folder.path(), &read.manifest).await?;
        let points = Merged::new(shards).map_err(damaged)?;
        Ok(points.map(|point| point.map_err(damaged)))
    };
    collection.compare_with(context, digest, "in the set", points).await
}

/// Opens the snapshots of a set in `folder`, all at the same time.
async fn open_all(bucket: &dyn ObjectStore, folder: &Path, manifest: &SetManifest) -> Result<Vec<Shard>, Error> {
    let mut shards = Vec::new();
    for shard in &manifest.shards {
        let (snapshot, unpacked) = (folder.join("snapshot.tar"), folder.join(shard.id.to_string()));
        fetch::fetch(bucket, shard, &snapshot).await?;
        engine::unpack(&snapshot, &unpacked).map_err(damaged)?;
        shards.push(Shard::load(&unpacked).map_err(damaged)?);
    }
    Ok(shards)
}

fn damaged(why: String) -> Error {
    Error::new(Code::SnapshotDamaged, "", why)
}
