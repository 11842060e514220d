//! The first stage: what is on the target, and what is known of earlier restores into it. Nothing is changed.

use std::collections::BTreeSet;

use super::job::Job;
use super::record::{self, Record, State};
use crate::error::{Code, Error};
use crate::marker::Marker;
use crate::qdrant::{Client, Cluster, CollectionInfo};

/// What was found.
pub(super) struct Found {
    /// The collection, where there is one.
    pub there: Option<There>,
    /// The records of restores into this collection of this target, those that began first first.
    pub records: Vec<Record>,
    /// The aliases that this very restore has noted before it deleted the collection.
    pub own_aliases: BTreeSet<String>,
    /// True where a restore that has not ended has left a verified replacement beside it.
    pub beside: bool,
    /// The target's peers, as text; empty for a single server that has no collection.
    pub peers: BTreeSet<String>,
}

impl Found {
    /// How many points there are.
    pub(super) fn points(&self) -> u64 {
        self.there.as_ref().map_or(0, |there| there.points)
    }
}

/// A collection of the name.
pub(super) struct There {
    pub info: CollectionInfo,
    /// The most points that any peer sees.
    pub points: u64,
    /// The aliases that lead to it.
    pub aliases: BTreeSet<String>,
}

impl There {
    /// The mark of the restore that created it and has not ended.
    pub(super) fn marker(&self) -> Option<Marker> {
        Marker::of(&self.info.config)
    }
}

/// Looks at the target.
///
/// # Errors
/// It can't be asked, or the name is an alias there.
pub(super) async fn inspect(job: &Job<'_>) -> Result<Found, Error> {
    let collection = &job.plan.collection;
    let client = job.client()?;
    // Qdrant knows an alias as a collection, too: where there is none, there is no alias, either.
    let there = match client.collection(collection).await? {
        None => None,
        Some(info) => {
            let aliases = client.aliases().await?;
            if let Some(behind) = aliases.get(collection) {
                let cause = format!(
                    "on the target this is an alias of the collection `{behind}`, which a restore under this name would \
                     overwrite"
                );
                return Err(Error::new(Code::TargetOccupied, format!("`{collection}`"), cause)
                    .advice("remove or rename the alias first"));
            }
            let aliases = aliases.into_iter().filter(|(_, to)| to == collection).map(|(alias, _)| alias).collect();
            Some(There { info, points: points(job.cluster, collection).await?, aliases })
        }
    };
    let peers = peers(job.cluster).await?;
    let records = record::read(job, &peers).await?;
    let own = records.iter().filter(|record| record.restore == job.restore && record.state == State::Begun);
    let own_aliases = own.flat_map(|record| record.aliases.clone()).collect();
    let beside = records.iter().any(|record| record.state == State::Begun && record.beside);
    Ok(Found { there, records, own_aliases, beside, peers })
}

/// By what the target is known: the ids of its peers.
async fn peers(cluster: &Cluster) -> Result<BTreeSet<String>, Error> {
    if cluster.distributed {
        return Ok(cluster.ids().iter().map(u64::to_string).collect());
    }
    let Some(peer) = cluster.peers.first() else { return Ok(BTreeSet::new()) };
    // Any collection will do.
    for collection in peer.client.collections().await? {
        if let Some(layout) = peer.client.layout(&collection).await? {
            return Ok([layout.peer_id.to_string()].into());
        }
    }
    Ok(BTreeSet::new())
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
        Err(error) if error.status() == Some(400) => Ok(client.approximate_count(collection).await?),
        counted => Ok(counted?),
    }
}
