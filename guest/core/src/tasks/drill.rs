//! `drill`: restores the newest set of every collection under a scratch name, proves it, and drops it again.

use crate::error::Error;
use std::rc::Rc;

use crate::clusters::target;
use crate::context::Context;
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::restore::{self, Backup, SetSelection};
use crate::sets;

/// What the name of every collection begins with that a drill makes. A drill deletes what has such a name, as one that
/// was killed may have left it.
const SCRATCH: &str = "qdrant-backup-drill-";

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let wanted = restore::wanted(context, sets::list(bucket).await?)?;
    let targets = target::find(context).await?;
    context.reporter.report_all(targets.missing_items());
    for cluster in &targets.clusters {
        if !context.settings.dry_run {
            clear(context, cluster).await?;
        }
    }
    // One after another: the target has to have room for one collection and not for all.
    for (collection, sets) in wanted {
        let chosen = if sets.is_empty() {
            Err(restore::no_set(context))
        } else {
            restore::select_set(bucket, &collection, &sets).await
        };
        let (manifest, skipped) = match chosen {
            Ok(chosen) => chosen,
            Err(cause) => {
                let item = Item::new("collection", Outcome::Failed);
                context.reporter.report(Item { collection: Some(collection), cause: Some(cause.to_string()), ..item });
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
        for cluster in &targets.clusters {
            let mut choice = Some((backup.collection().to_owned(), restore::given(&backup)));
            restore::restore(context, bucket, cluster, 1, &mut || choice.take()).await;
            if !context.settings.dry_run {
                clear(context, cluster).await?;
            }
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
