//! What the tasks that restore, for good or as a drill, have in common.

use crate::clusters::source;
use crate::clusters::target::{self, Needs};
use crate::context::Context;
use crate::error::Error;
use crate::lock::{self, Work};
use crate::ports::LocalBoxFuture;
use crate::qdrant::Cluster;

/// The clusters that are restored into. Configured hosts that don't answer are reported.
///
/// # Errors
/// None can be restored into.
pub(super) async fn found(context: &Context) -> Result<Vec<Cluster>, Error> {
    let targets = target::find(context, Needs::EveryPeer).await?;
    context.reporter.report_all(targets.missing_items());
    Ok(targets.clusters)
}

/// Restores into `cluster` by `work`, under its lock: what is chosen under it is not pruned meanwhile. What goes wrong is
/// reported.
pub(super) async fn under_its_lock(context: &Context, cluster: &Cluster, work: LocalBoxFuture<'_, Result<(), Error>>) {
    let mut ended = Ok(());
    let run = Box::pin(async { ended = work.await });
    let held = lock::while_held(context, Work::Restore, Some(cluster), run).await;
    if let Err(cause) = held.and(ended) {
        context.reporter.report(source::failed(cluster, cause));
    }
}
