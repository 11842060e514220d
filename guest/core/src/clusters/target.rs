//! The targets of a restore: clusters, all of whose peers answer.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Cluster, Missing, discover_target};
use crate::report::Item;

/// The targets.
pub(crate) struct Targets {
    pub clusters: Vec<Cluster>,
    unusable: Vec<Missing>,
}

impl Targets {
    /// Hosts that did not answer, and clusters that can't be restored into: each a failure.
    pub(crate) fn missing_items(&self) -> Vec<Item> {
        let item = |missing: &Missing| Item {
            name: missing.id.map(|id| format!("peer {id}")),
            ..Item::failed("cluster", unusable(missing)).host(&missing.host)
        };
        self.unusable.iter().map(item).collect()
    }
}

/// Why a peer or a host can't be restored into; of a peer that may be gone for good, how to go on without it.
pub(crate) fn unusable(missing: &Missing) -> Error {
    let Some(id) = missing.id else { return missing.error() };
    let cause = format!(
        "peer {id} is a member of the cluster and can't be used, so that Qdrant may place shards on it that never get \
         their data: {}",
        missing.cause
    );
    Error::new(Code::NoPeer, "", cause).advice(format!("bring it back, or, {}", Missing::remedy(id)))
}

/// Which peers of a target have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// All: shards are placed.
    EveryPeer,
    /// One: what is changed is agreed on by the cluster.
    OnePeer,
}

/// The clusters that are restored into, or compared with. Configured hosts that don't answer are reported.
///
/// # Errors
/// Nothing can be restored into.
pub async fn found(context: &Context) -> Result<Vec<Cluster>, Error> {
    let targets = find(context, Needs::EveryPeer).await?;
    context.reporter.report_all(targets.missing_items());
    Ok(targets.clusters)
}

/// Finds the clusters behind `QDRANT_RESTORE_HOSTS`. Where every peer is needed, a cluster with one that can't be reached
/// is left out: its shards could be created there and never get their data.
///
/// # Errors
/// Nothing can be restored into.
pub(crate) async fn find(context: &Context, needs: Needs) -> Result<Targets, Error> {
    let discovered = discover_target(&context.ports, &context.settings).await;
    let mut targets = Targets { clusters: Vec::new(), unusable: discovered.missing };
    for cluster in discovered.clusters {
        if cluster.missing.is_empty() || (needs == Needs::OnePeer && !cluster.peers.is_empty()) {
            for missing in &cluster.missing {
                context.log.warn(Some(&missing.host), &format!("not needed for this: {}", unusable(missing)));
            }
            for peer in &cluster.peers {
                let id = peer.id.map_or_else(|| "without clustering".to_owned(), |id| format!("peer {id}"));
                context.log.info(Some(&peer.address()), &format!("Qdrant {}, {id}", peer.version));
            }
            for warning in cluster.version_warnings() {
                context.log.warn(Some(&cluster.host.to_string()), &warning);
            }
            targets.clusters.push(cluster);
        } else {
            targets.unusable.extend(cluster.missing);
        }
    }
    if targets.clusters.is_empty() {
        let causes: Vec<String> = targets.unusable.iter().map(|missing| unusable(missing).to_string()).collect();
        let cause = format!("there is no target to restore into: {}", causes.join("; "));
        return Err(Error::new(Code::NoPeer, "", cause).advice("look at QDRANT_RESTORE_HOSTS"));
    }
    Ok(targets)
}
