//! `drill`: restores the newest set of every collection under a scratch name, verifies it, and drops it again.

use std::rc::Rc;

use super::targets;
use crate::clusters::target;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::Work;
use crate::marker::{Marker, SCRATCH};
use crate::qdrant::{Client, Cluster};
use crate::report::Item;
use crate::restore::{self, Backup, Evidence, SetSelection};
use crate::runs::Kind;
use crate::sets::DrillRecord;
use crate::settings::RestorePlacement;
use crate::store::ObjectStore;
use crate::timestamp;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    for cluster in &target::found(context).await? {
        targets::under_its_lock(context, Work::Drill, cluster, Box::pin(drill(context, bucket, cluster))).await;
    }
    Ok(())
}

async fn drill(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster) -> Result<(), Error> {
    let (whose, wanted) = restore::wanted(context, bucket, cluster, &[Kind::Sets]).await?;
    clear(context, cluster).await?;
    // One after another: the target has to have room for one collection and not for all.
    for (collection, wanted) in wanted {
        if wanted.sets.is_empty() {
            context.reporter.report(restore::no_set(context, &whose, &collection, &wanted));
            continue;
        }
        let (manifest, _, skipped) = match restore::select_set(bucket, &collection, &wanted.sets).await {
            Ok(chosen) => chosen,
            Err(error) => {
                context.reporter.report(Item::failed("collection", error).collection(collection));
                continue;
            }
        };
        // A set that can't be restored is what a drill is to find, even where an older one can.
        context.reporter.report_all(
            skipped
                .into_iter()
                .map(|(set, error)| Item::failed("set", error).collection(&collection).name(set.as_str())),
        );
        let content = restore::recorded_content(context, bucket, &wanted.sets, &manifest).await;
        let backup = Rc::new(Backup::Set(SetSelection {
            manifest,
            name: format!("{SCRATCH}{collection}"),
            replication_factor: context.settings.replication_factor,
            free: context.settings.placement == RestorePlacement::Auto,
            drill: true,
            content,
        }));
        let mut choice = Some((backup.collection().to_owned(), restore::given(&backup)));
        let restored = restore::restore(context, bucket, cluster, 1, &mut || choice.take()).await;
        if context.settings.dry_run {
            continue;
        }
        if let Some(evidence) = restored.ended.get(backup.collection()).filter(|_| restored.failed.is_empty()) {
            note(context, bucket, cluster, &backup, evidence).await;
        }
        // The mark is for those that a killed drill has left: what was created just now is known without.
        if restored.created.contains(backup.collection()) {
            drop_scratch(context, cluster, client(cluster)?, backup.collection()).await?;
        } else {
            clear(context, cluster).await?;
        }
    }
    Ok(())
}

/// Notes beside the set that it was restored once. Without the note the drill has passed all the same, and nothing says so
/// later.
async fn note(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster, backup: &Backup, evidence: &Evidence) {
    let Backup::Set(SetSelection { manifest, content, .. }) = backup else { return };
    let record = DrillRecord {
        version: DrillRecord::VERSION,
        collection: manifest.collection.clone(),
        backup_set_id: manifest.backup_set_id.clone(),
        snapshots: manifest.fingerprint(),
        restored_at: timestamp::RFC3339.write(context.ports.clock.now()),
        points: evidence.points,
        verified: evidence.verified,
        compared: evidence.compared.clone(),
        host: cluster.host.to_string(),
        run_id: context.run.to_string(),
        // Of the same snapshots.
        content: content.clone(),
    };
    if let Err(error) = record.write(bucket).await {
        let why = format!("the drill of the set {} is not recorded: {error}", record.backup_set_id);
        context.log.warn(Some(&record.host), &why);
    }
}

fn client(cluster: &Cluster) -> Result<&Client, Error> {
    let peer = cluster.peers.first();
    peer.map(|peer| &peer.client).ok_or_else(|| Error::new(Code::NoPeer, "", "the target has no peer that answers"))
}

/// Drops what drills have made on the cluster and left, which their mark says.
async fn clear(context: &Context, cluster: &Cluster) -> Result<(), Error> {
    let client = client(cluster)?;
    for name in client.collections().await?.iter().filter(|name| name.starts_with(SCRATCH)) {
        let marker = client.collection(name).await?.and_then(|info| Marker::of(&info.config));
        if marker.is_some_and(|marker| marker.drill) {
            drop_scratch(context, cluster, client, name).await?;
        } else {
            let text = format!("`{name}` is left alone: it has no mark of a drill");
            context.log.info(Some(&cluster.host.to_string()), &text);
        }
    }
    Ok(())
}

async fn drop_scratch(context: &Context, cluster: &Cluster, client: &Client, name: &str) -> Result<(), Error> {
    if context.settings.dry_run {
        context.plan(&["drop", name, &cluster.host.to_string(), "left by a drill"]);
        return Ok(());
    }
    client.delete_collection(name).await.map_err(|error| {
        Error::from(error).of(format!("`{name}` of this drill could not be deleted")).advice("the next one tries again")
    })?;
    context.log.info(Some(&cluster.host.to_string()), &format!("`{name}` deleted"));
    Ok(())
}
