//! `create_snap_shards`: a set, one snapshot of each shard of each collection.

use crate::backup;
use crate::clusters::source;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::{self, Work};
use crate::places::SET_MANIFESTS;
use crate::prune;
use crate::runs::{self, Kind};
use crate::sets::SetId;
use crate::source as identity;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let report = &context.settings.report;
    if report.file.is_some() || report.metrics_file.is_some() {
        context.ports.files.check_writable()?;
    }
    backup::check_start(context, bucket, SET_MANIFESTS).await?;
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    if source.clusters.len() > 1 {
        let cause = "names several clusters, whose collections of one name would be one set";
        return Err(Error::new(Code::Configuration, "QDRANT_SOURCE_HOSTS", cause)
            .advice("back up each by a run of its own, into a bucket of its own"));
    }
    let clock = &context.ports.clock;
    let pod = context.settings.pod.clone().unwrap_or_else(|| format!("{:08x}", clock.random() & 0xffff_ffff));
    let set = &SetId::new(clock.now(), &pod);
    for (cluster, selected) in source::select(context, &source).await? {
        if let Err(error) = identity::identify(context, bucket, cluster).await {
            context.reporter.report(source::failed(cluster, error));
            continue;
        }
        let collections = match selected {
            Ok(collections) => collections,
            Err(error) => {
                context.reporter.report(source::failed(cluster, error));
                continue;
            }
        };
        let count = collections.len();
        if count == 0 {
            context.log.warn(None, "there is nothing to back up: no collection of the source is selected");
        }
        let what = format!("set {set}: {count} collections on {} peers", cluster.peers.len());
        context.log.info(Some(&cluster.host.to_string()), &what);
        let run = Box::pin(async move {
            runs::note(context, cluster, Kind::Sets).await;
            let backed_up = backup::back_up_set(context, bucket, cluster, collections, set).await;
            // Before anything older is removed.
            backup::change::tell(context, bucket, cluster, set, &backed_up).await;
            // Only after a success: a backup that fails never costs an old one.
            let keep = &context.settings.keep;
            if keep.has_rules() || !keep.dropped.is_zero() {
                prune::after_backup(context, bucket, cluster, backed_up, set).await;
            }
        });
        if let Err(error) = lock::while_held(context, Work::Sets, Some(cluster), run).await {
            context.reporter.report(source::failed(cluster, error));
        }
        prune::records_after_backup(context, cluster).await;
    }
    Ok(())
}
