//! `drill`: restores the newest set of every collection under a scratch name, proves it, and drops it again.

use crate::error::Error;
use std::rc::Rc;

use crate::clusters::source;
use crate::clusters::target;
use crate::context::Context;
use crate::lock::{self, Work};
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::restore::{self, Backup, SetSelection};
use crate::store::ObjectStore;

/// What the name of every collection begins with that a drill makes. A drill deletes what has such a name, as one that
/// was killed may have left it.
const SCRATCH: &str = "qdrant-backup-drill-";

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let targets = target::find(context).await?;
    context.reporter.report_all(targets.missing_items());
    for cluster in &targets.clusters {
        let run = Box::pin(async move {
            if let Err(cause) = drill(context, bucket, cluster).await {
                context.reporter.report(source::failed(cluster, cause));
            }
        });
        if let Err(cause) = lock::while_held(context, Work::Drill, Some(cluster), run).await {
            context.reporter.report(source::failed(cluster, cause));
        }
    }
    Ok(())
}

async fn drill(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster) -> Result<(), Error> {
    let (whose, wanted) = restore::wanted(context, bucket, cluster).await?;
    if !context.settings.dry_run {
        clear(context, cluster).await?;
    }
    // One after another: the target has to have room for one collection and not for all.
    for (collection, wanted) in wanted {
        if wanted.sets.is_empty() {
            context.reporter.report(restore::no_set(context, &whose, &collection, &wanted));
            continue;
        }
        let (manifest, skipped) = match restore::select_set(bucket, &collection, &wanted.sets).await {
            Ok(chosen) => chosen,
            Err(error) => {
                context.reporter.report(Item::failed("collection", error).collection(collection));
                continue;
            }
        };
        // A set that can't be restored is what a drill is to find, even where an older one can.
        context.reporter.report_all(skipped.into_iter().map(|item| Item { outcome: Outcome::Failed, ..item }));
        let backup = Rc::new(Backup::Set(SetSelection {
            manifest,
            name: format!("{SCRATCH}{collection}"),
            replication_factor: context.settings.replication_factor,
            scratch: true,
        }));
        let mut choice = Some((backup.collection().to_owned(), restore::given(&backup)));
        restore::restore(context, bucket, cluster, 1, &mut || choice.take()).await;
        if !context.settings.dry_run {
            clear(context, cluster).await?;
        }
    }
    Ok(())
}

/// Deletes all that drills have made on the cluster.
async fn clear(context: &Context, cluster: &Cluster) -> Result<(), Error> {
    let client = &cluster.peers.first().ok_or("the target has no peer that answers")?.client;
    let there = client.collections().await?;
    for scratch in there.iter().filter(|name| name.starts_with(SCRATCH)) {
        client.delete_collection(scratch).await.map_err(|error| {
            format!("`{scratch}` of this drill could not be deleted, the next one tries again: {error}")
        })?;
        context.log.info(Some(&cluster.host.to_string()), &format!("`{scratch}` deleted"));
    }
    Ok(())
}
