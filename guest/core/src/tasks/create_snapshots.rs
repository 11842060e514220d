//! `create_snap`: a snapshot of each collection on each peer that holds a part of it, then the aliases.

use crate::aliases;
use crate::backup;
use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::lock::{self, Work};
use crate::places::SNAPSHOT_MANIFESTS;
use crate::runs::{self, Kind};
use crate::source as identity;
use crate::state_files;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    if !context.settings.dry_run {
        context.ports.files.check_writable()?;
    }
    if let Some(bucket) = context.store.as_deref() {
        backup::check_start(context, bucket, SNAPSHOT_MANIFESTS).await?;
    }
    let source = source::find(context).await?;
    if context.store.is_none() {
        context.log.warn(
            None,
            "no bucket is configured (QDRANT_S3_...): whether the snapshots reached S3 is not checked, and no manifest is written",
        );
    }
    context.reporter.report_all(source.missing_items());
    let chosen = state_files::read_collections(context.ports.files.as_ref())?;
    if let Some(share) = context.settings.share {
        context.log.info(None, &format!("this is share {} of 0 to {}", share.index, share.of - 1));
    }
    let mut written = Vec::new();
    // A file with some of the collections would choose these for every task from now on.
    let mut whole = source.is_whole();
    for cluster in &source.clusters {
        if let Some(Err(cause)) = match context.store.as_deref() {
            Some(bucket) => Some(identity::identify(context, bucket, cluster).await),
            None => None,
        } {
            whole = false;
            context.reporter.report(source::failed(cluster, cause));
            continue;
        }
        match source::selected(context, cluster).await {
            Ok(collections) => {
                context.log.info(
                    Some(&cluster.host.to_string()),
                    &format!("{} collections on {} peers", collections.len(), cluster.peers.len()),
                );
                written.extend(collections.iter().map(|collection| state_files::Collection {
                    host: Some(cluster.host.to_string()),
                    collection: collection.clone(),
                }));
                let run = Box::pin(async move {
                    runs::note(context, cluster, Kind::Snapshots).await;
                    backup::back_up(context, cluster, collections).await;
                });
                if let Err(cause) = lock::while_held(context, Work::Snapshots, Some(cluster), run).await {
                    context.reporter.report(source::failed(cluster, cause));
                }
            }
            Err(cause) => {
                whole = false;
                context.reporter.report(source::failed(cluster, cause));
            }
        }
    }
    if chosen.is_empty() && whole && !written.is_empty() && !context.settings.dry_run {
        context.ports.files.replace(state_files::COLLECTIONS, state_files::collections_csv(&written).as_bytes())?;
    }
    if written.is_empty() {
        context.log.warn(None, "there is nothing to back up: no collection of the source is meant");
    }
    // All aliases are one object: with shares, the first writes it.
    if !context.settings.dry_run && context.settings.share.is_none_or(|share| share.index == 0) {
        aliases::save(context, &source).await;
    }
    Ok(())
}
