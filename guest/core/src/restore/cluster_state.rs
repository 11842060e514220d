//! What the source's cluster had besides its collections: told of, or set, after a restore.

use super::candidates::passes;
use crate::clusters::state;
use crate::context::Context;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::runs::{self, Kind};
use crate::source::Source;
use crate::store::ObjectStore;

/// Tells what the cluster of the source had when all of it was backed up last, by backups of these `kinds`, and the target
/// has not; sets it where that is wanted.
pub(crate) async fn restore_cluster_state(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    source: Option<&Source>,
    kinds: &[Kind],
) {
    let Some(source) = source else { return };
    let settings = &context.settings;
    // Snapshots of whole collections are chosen by their own names.
    let by_moment = kinds.contains(&Kind::Sets);
    let takes = |started, run: &str| !by_moment || passes(settings, started, run);
    let newest = runs::newest(bucket, &source.id, kinds, &takes).await;
    match newest {
        Ok(run) => {
            if let Some(recorded) = run.and_then(|run| run.cluster) {
                state::restore(context, cluster, &recorded).await;
            }
        }
        Err(error) => {
            let error = error.of("the state of the source's cluster");
            let item = if settings.restore_cluster_state {
                Item::failed(state::KIND, error)
            } else {
                Item::skipped(state::KIND, error.to_string())
            };
            context.reporter.report(item.host(&cluster.host));
        }
    }
}
