//! `create_snap_shards`: a set, one archive of each shard of each collection.

use crate::backup;
use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::lock::{self, Work};
use crate::places::SET_MANIFESTS;
use crate::prune;
use crate::runs::{self, Kind};
use crate::sets::SetId;
use crate::source as identity;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let report = &context.settings.report;
    if (report.file.is_some() || report.metrics_file.is_some()) && !context.settings.dry_run {
        context.ports.files.check_writable()?;
    }
    backup::check_start(context, bucket, SET_MANIFESTS).await?;
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    if source.clusters.len() > 1 {
        return Err(
            "QDRANT_SOURCE_HOSTS names several clusters, whose collections of one name would be one set; back up \
                    each by a run of its own, into a bucket of its own"
                .to_owned()
                .into(),
        );
    }
    let clock = &context.ports.clock;
    let pod = context.settings.pod.clone().unwrap_or_else(|| format!("{:08x}", clock.random() & 0xffff_ffff));
    let set = SetId::new(clock.now(), &pod);
    for cluster in &source.clusters {
        let host = cluster.host.to_string();
        if let Err(cause) = identity::identify(context, bucket, cluster).await {
            context.reporter.report(source::failed(cluster, cause));
            continue;
        }
        match source::selected(context, cluster).await {
            Ok(collections) => {
                if collections.is_empty() {
                    context.log.warn(Some(&host), "there is nothing to back up: no collection of the source is meant");
                }
                let count = collections.len();
                context
                    .log
                    .info(Some(&host), &format!("set {set}: {count} collections on {} peers", cluster.peers.len()));
                let set = &set;
                let run = Box::pin(async move {
                    runs::note(context, cluster, Kind::Sets).await;
                    let backed_up = backup::back_up_set(context, bucket, cluster, collections, set).await;
                    // Only after a success: a backup that fails never costs an old one.
                    if context.settings.keep.last > 0 && !context.settings.dry_run {
                        prune::after_backup(context, cluster, backed_up).await;
                    }
                });
                if let Err(cause) = lock::while_held(context, Work::Sets, Some(cluster), run).await {
                    context.reporter.report(source::failed(cluster, cause));
                }
            }
            Err(cause) => context.reporter.report(source::failed(cluster, cause)),
        }
    }
    Ok(())
}
