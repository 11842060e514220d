//! `create_snap`: a snapshot of each collection on each peer that holds a part of it, then the aliases.

use crate::aliases;
use crate::backup;
use crate::clusters::source;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::{self, Work};
use crate::places::SNAPSHOT_MANIFESTS;
use crate::prune;
use crate::report::Item;
use crate::runs::{self, Kind};
use crate::source as identity;
use crate::state_files;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    if let Some(files) = context.state_files() {
        files.check_writable()?;
    }
    if let Some(bucket) = context.store.as_deref() {
        backup::check_start(context, bucket, SNAPSHOT_MANIFESTS).await?;
    }
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    let chosen = state_files::chosen_collections(context.ports.files.as_ref())?;
    if let Some(share) = context.settings.share {
        context.log.info(None, &format!("this is share {} of 0 to {}", share.index, share.of - 1));
    }
    let mut written = Vec::new();
    // A file with some of the collections would pass for all of them.
    let mut whole = source.is_whole();
    let mut unclear = false;
    for (cluster, selected) in source::select(context, &source).await? {
        if let Some(bucket) = context.store.as_deref()
            && let Err(error) = identity::identify(context, bucket, cluster).await
        {
            (whole, unclear) = (false, true);
            context.reporter.report(source::failed(cluster, error));
            continue;
        }
        let collections = match selected {
            Ok(collections) => collections,
            Err(error) => {
                whole = false;
                context.reporter.report(source::failed(cluster, error));
                continue;
            }
        };
        let host = cluster.host.to_string();
        context.log.info(Some(&host), &format!("{} collections on {} peers", collections.len(), cluster.peers.len()));
        let line =
            |collection: &String| state_files::Collection { host: Some(host.clone()), collection: collection.clone() };
        written.extend(collections.iter().map(line));
        let run = Box::pin(async move {
            runs::note(context, cluster, Kind::Snapshots).await;
            backup::back_up(context, cluster, collections).await;
        });
        if let Err(error) = lock::while_held(context, Work::Snapshots, Some(cluster), run).await {
            context.reporter.report(source::failed(cluster, error));
        }
    }
    if let Some(files) = context.state_files().filter(|_| chosen.is_empty() && whole && !written.is_empty()) {
        files.replace(state_files::COLLECTIONS, state_files::collections_file(&written).as_bytes())?;
    }
    if written.is_empty() {
        context.log.warn(None, "there is nothing to back up: no collection of the source is selected");
    } else if context.store.is_none() {
        say_what_was_not_checked(context);
    }
    // All aliases are one object: with shares, the first writes it. Those of a cluster whose source is not known would take
    // the place of another's.
    if !unclear && context.settings.share.is_none_or(|share| share.index == 0) {
        aliases::save(context, &source).await;
    }
    for cluster in &source.clusters {
        prune::records_after_backup(context, cluster).await;
    }
    Ok(())
}

/// A backup that nobody has looked up is no success, unless that is wanted.
fn say_what_was_not_checked(context: &Context) {
    let cause =
        "no bucket is configured (QDRANT_S3_...): the snapshots are not checked in S3, and no manifest is written";
    if context.settings.unchecked {
        return context.log.warn(None, cause);
    }
    let error = Error::new(Code::Configuration, "", cause)
        .advice("configure the bucket, or set QDRANT_BACKUP_UNCHECKED=true if you want this");
    context.reporter.report(Item::failed("task", error));
}
