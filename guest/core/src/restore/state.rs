//! What is on the target before a restore, and what that means for it.

use super::body::shape;
use super::plan::Plan;
use super::{ledger, prove};
use crate::context::Context;
use crate::error::Error;
use crate::qdrant::{Client, Cluster};
use crate::store::ObjectStore;

/// How to begin.
pub(super) enum Start {
    /// There is no such collection.
    Create,
    /// It is there, empty or half restored by an earlier run of the same plan.
    Continue,
    /// It holds points and may be overwritten: delete it, create it anew.
    Replace,
    /// It was restored before and still is.
    Restored,
}

/// Looks at the target.
///
/// # Errors
/// The collection may not be touched: says why and what to do.
pub(super) async fn look(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<Start, Error> {
    let collection = &plan.collection;
    let client = &cluster.peer_to_ask(collection).ok_or("the target has no peer that answers")?.client;
    // Qdrant knows an alias as a collection, too: where there is none, there is no alias, either.
    let Some(info) = client.collection(collection).await? else {
        return Ok(Start::Create);
    };
    let aliases = client.aliases().await?;
    if let Some(behind) = aliases.get(collection) {
        return Err(format!(
            "on the target `{collection}` is an alias of the collection `{behind}`, which a restore under this name would \
             overwrite; remove or rename the alias first"
        ).into());
    }
    let points = points(cluster, collection).await?;
    let files = context.ports.files.as_ref();
    let recovered = ledger::recovered(files, &cluster.host)?;
    let finished =
        !plan.recoveries.is_empty() && plan.recoveries.iter().all(|recovery| recovered.contains(&recovery.name));
    let in_bucket = ledger::in_bucket(bucket, &cluster.host, plan).await?;
    // One that was begun and not ended may never settle, and is not worth waiting for.
    if finished || in_bucket == ledger::State::Done {
        let host = cluster.host.to_string();
        match prove::check_again(context, cluster, plan).await {
            Ok(_) if points > 0 || plan.points == Some(0) => return Ok(Start::Restored),
            Ok(_) => context
                .log
                .warn(Some(&host), &format!("`{collection}` was restored before and is empty now: restoring it again")),
            Err(cause) => context
                .log
                .warn(Some(&host), &format!("`{collection}` was restored before and has changed since: {cause}")),
        }
    }
    // Points in a collection whose restore was begun and never finished are that restore's own.
    let half_done = !finished
        && in_bucket != ledger::State::Done
        && (in_bucket == ledger::State::Begun || ledger::begun(files, &cluster.host, plan)?);
    let same_shape = info.config.get("params").map(shape) == Some(shape(&plan.create));
    match (points, same_shape) {
        (0, true) => Ok(Start::Continue),
        (_, true) if half_done => Ok(Start::Continue),
        _ if context.settings.restore_force => Ok(Start::Replace),
        (0, false) => Err(format!(
            "there is an empty collection `{collection}` with other parameters ({}) than the backup's ({}); delete it, or set \
             QDRANT_RESTORE_FORCE=true to have it replaced",
            info.config.get("params").map(shape).unwrap_or_default(),
            shape(&plan.create),
        ).into()),
        (points, _) => Err(format!(
            "the collection `{collection}` on the target holds {points} points and is not overwritten; restore elsewhere, \
             delete it, or set QDRANT_RESTORE_FORCE=true to have it deleted and restored"
        ).into()),
    }
}

/// The most points any peer sees: a peer with an empty replica must not make a collection look empty.
async fn points(cluster: &Cluster, collection: &str) -> Result<u64, Error> {
    let mut most = 0;
    for peer in &cluster.peers {
        most = most.max(count(&peer.client, collection).await?);
    }
    Ok(most)
}

/// The exact count; where strict mode forbids it, a single point found means that it isn't empty.
async fn count(client: &Client, collection: &str) -> Result<u64, Error> {
    match client.count(collection).await {
        Ok(count) => Ok(count),
        Err(error) if error.status() == Some(400) => client.approximate_count(collection).await.map_err(Error::from),
        Err(error) => Err(error.to_string().into()),
    }
}
