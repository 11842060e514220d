//! What every stage of a restore works with.

use std::cell::Cell;

use super::noted::Noted;
use super::plan::{Plan, Role};
use super::readers::Readers;
use crate::content::{self, Digest, Extent, Points};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::marker::Marker;
use crate::qdrant::{Client, Cluster, CollectionInfo};
use crate::store::ObjectStore;

/// What the collections of one target have in common while they are restored.
#[derive(Default)]
pub(super) struct Common {
    /// What the work directory has of earlier restores.
    pub noted: Noted,
    /// The peers that have counted a collection.
    pub readers: Readers,
}

/// One collection to be restored into one target cluster.
pub(super) struct Job<'a> {
    pub context: &'a Context,
    pub store: &'a dyn ObjectStore,
    pub cluster: &'a Cluster,
    pub plan: &'a Plan,
    /// What it shares with the others.
    pub common: &'a Common,
    /// The id of this restore: it lasts over the runs that go on with it.
    pub restore: &'a str,
    /// Set once this run has created the collection.
    pub created: &'a Cell<bool>,
}

impl Job<'_> {
    /// The peer that is asked where any of them can tell.
    pub(super) fn client(&self) -> Result<&Client, Error> {
        let peer = self.cluster.peer_to_ask(&self.plan.collection);
        peer.map(|peer| &peer.client).ok_or_else(|| {
            Error::new(Code::NoPeer, "", "the target has no peer that answers").advice("check QDRANT_RESTORE_HOSTS")
        })
    }

    /// The collection as the peer tells it that is asked.
    pub(super) async fn info(&self) -> Result<CollectionInfo, Error> {
        let info = self.client()?.collection(&self.plan.collection).await?;
        info.ok_or_else(|| Error::new(Code::Changed, "", "the collection is gone"))
    }

    /// The points of a peer's own replica of a shard.
    pub(super) fn replica(&self, shard: u32, peer: u64) -> Result<Points<'_>, Error> {
        let gone = || Error::new(Code::NoPeer, format!("peer {peer}"), "it is gone");
        let client = &self.cluster.peer(peer).ok_or_else(gone)?.client;
        Ok(Points { client, collection: &self.plan.collection, shard: Some(shard) })
    }

    /// The digest of a peer's own replica of a shard.
    pub(super) async fn digest(&self, shard: u32, peer: u64, extent: Extent) -> Result<Digest, Error> {
        content::digest(self.context, self.replica(shard, peer)?, extent).await
    }

    /// Tells programs what is done now.
    pub(super) fn step(&self, text: &str) {
        self.context.step(&self.cluster.host, &self.plan.collection, text);
    }

    /// Tells something about the collection that a person should know.
    pub(super) fn warn(&self, text: &str) {
        let host = self.cluster.host.to_string();
        self.context.log.warn(Some(&host), &format!("`{}`: {text}", self.plan.collection));
    }

    /// The mark that this restore sets on the collection; `None` where a peer is too old to know of metadata.
    pub(super) fn marker(&self) -> Option<Marker> {
        self.cluster.knows_metadata().then(|| Marker {
            restore: self.restore.to_owned(),
            backup: self.plan.backup.clone(),
            drill: self.plan.role == Role::Drill,
            beside: match &self.plan.role {
                Role::Beside(other) => Some(other.clone()),
                _ => None,
            },
        })
    }
}
