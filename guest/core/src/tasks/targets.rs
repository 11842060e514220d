//! What the tasks that restore, for good or as a drill, have in common.

use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::lock::{self, Work};
use crate::ports::LocalBoxFuture;
use crate::qdrant::Cluster;

/// Restores into `cluster` by `run`, under the lock of `work` there: what is chosen under it is not pruned meanwhile. What
/// goes wrong is reported.
pub(super) async fn under_its_lock(
    context: &Context,
    work: Work,
    cluster: &Cluster,
    run: LocalBoxFuture<'_, Result<(), Error>>,
) {
    let report = |cause| context.reporter.report(source::failed(cluster, cause));
    let run = Box::pin(async { run.await.unwrap_or_else(report) });
    lock::while_held(context, work, Some(cluster), run).await.unwrap_or_else(report);
}
