//! The look at a collection before, and after, its snapshots are made: its configuration and its layout, as its peers
//! tell them. Nothing that one dead peer can break is needed to save what the others hold.

use futures_util::future::join_all;
use serde_json::Value;

use crate::context::Context;
use crate::creation::{self, names};
use crate::error::{Code, Error};
use crate::marker::{self, Marker};
use crate::qdrant::{Cluster, Layout, Peer, QdrantError};

/// A collection as it was looked at.
pub(super) struct Looked<'a> {
    /// The peer that told it.
    pub peer: &'a Peer,
    /// The whole `result` of `GET /collections/{c}`; or why it can't be told, as where a shard has no living replica.
    pub told: Result<Value, Error>,
    /// Where its shards are, by the ids of [`Cluster::ids`].
    pub layout: Layout,
    /// The id of the peer that told it, which a server without clustering has, too.
    pub peer_id: u64,
}

/// How a look ended that found no collection.
pub(super) enum Failed {
    /// There is nothing to back up, for this reason.
    NoSubject(&'static str),
    /// It can't be backed up: says why.
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What is told of a collection that a drill has made, which its mark says.
const SCRATCH: &str = "a drill has made it, and the next one drops it: there is nothing to back up";

/// What is told of a collection that a restore keeps beside the one that it replaces.
const BESIDE: &str = "a restore keeps it until the collection beside it is replaced: there is nothing to back up";

/// What is told of a collection that is gone.
pub(super) const DELETED: &str = "it was deleted after the collections had been listed: there is nothing to back up";

/// Looks at a collection: asks one peer, and where that can't tell its layout, the others.
///
/// # Errors
/// The collection is a drill's or half restored, or no peer tells its layout.
pub(super) async fn look<'a>(cluster: &'a Cluster, collection: &str) -> Result<Looked<'a>, Failed> {
    let first = cluster
        .peer_to_ask(collection)
        .ok_or_else(|| Error::new(Code::NoPeer, format!("`{collection}`"), "none of its peers can be reached"))?;
    let others = cluster.peers.iter().filter(|peer| peer.address() != first.address());
    let mut causes = Vec::new();
    for peer in [first].into_iter().chain(others) {
        match cluster.layout(peer, collection).await {
            Ok(Some(layout)) => {
                let told = told(peer, collection).await;
                let marker = told.as_ref().ok().and_then(|told| told.get("config")).and_then(Marker::of);
                marker.map_or(Ok(()), is_no_subject)?;
                return Ok(Looked { peer, told, peer_id: layout.peer_id, layout });
            }
            Ok(None) => causes.push(absent(peer, collection)),
            Err(error) => causes.push(error.into()),
        }
    }
    Err(Failed::Error(crate::sets::quality::as_one(&causes)))
}

/// A collection with the mark of a restore is no subject of a backup: it is a drill's, or has a part of the points of a
/// backup that is there already, and would push out good ones.
fn is_no_subject(marker: Marker) -> Result<(), Failed> {
    if marker.drill {
        return Err(Failed::NoSubject(SCRATCH));
    }
    if marker.beside.is_some() {
        return Err(Failed::NoSubject(BESIDE));
    }
    let cause = format!(
        "it may be half restored: the restore {} of `{}` into it has begun and has not ended",
        marker.restore, marker.backup
    );
    Err(Failed::Error(Error::new(Code::Changed, "", cause).advice(format!(
        "end it by another run of the restore; or, where the collection is to stay as it is, remove `{}` from its metadata",
        marker::NAME
    ))))
}

async fn told(peer: &Peer, collection: &str) -> Result<Value, Error> {
    peer.client.collection_as_told(collection).await?.ok_or_else(|| absent(peer, collection))
}

fn absent(peer: &Peer, collection: &str) -> Error {
    let cause = format!("there is no such collection on {} any more", peer.address());
    Error::new(Code::Changed, format!("`{collection}`"), cause)
}

/// True where every peer answers as itself and has no such collection: it does not list it, or says of the collection
/// itself that there is none. That one peer does not know it may be the peer's own fault.
pub(super) async fn is_deleted(cluster: &Cluster, collection: &str) -> bool {
    let asked = cluster.peers.iter().map(|peer| async move {
        let same = peer.id.is_none() || peer.client.peer_id().await.is_ok_and(|id| id == peer.id);
        let listed = async || {
            let names = peer.client.collections().await;
            names.map_or(true, |names| names.iter().any(|name| name == collection))
        };
        same && (!listed().await || peer.client.says_missing(collection).await)
    });
    !cluster.peers.is_empty() && join_all(asked).await.into_iter().all(|gone| gone)
}

impl Looked<'_> {
    /// Finds what would keep a restore from making the collection as it is, whatever the target: now, while the source
    /// lives, and not when it is needed.
    ///
    /// # Errors
    /// Says what Qdrant can't be told.
    pub(super) fn can_be_made(&self) -> Result<(), Error> {
        let Ok(told) = &self.told else { return Ok(()) };
        let shards: Vec<_> = self.layout.shards.iter().map(|(id, shard)| (*id, shard.key.clone())).collect();
        creation::check(told.get("config").unwrap_or(&Value::Null), &shards)
    }

    /// Says what a person should know of it.
    pub(super) fn warn(&self, context: &Context, collection: &str) {
        let warn = |text: String| context.log.warn(Some(&self.peer.address()), &format!("`{collection}`: {text}"));
        let status = self.told.as_ref().ok().and_then(|told| told.get("status")).and_then(Value::as_str);
        if status == Some("red") {
            warn("its status is red: Qdrant reports failed operations; the snapshot may carry the fault".to_owned());
        }
        let params = self.told.as_ref().ok().and_then(params);
        if let Some(refused) = params.and_then(names::of_vectors) {
            warn(format!("{refused}: the backup can be restored into earlier versions only"));
        }
        if self.layout.transfers + self.layout.resharding > 0 {
            warn("shards are being moved right now; a snapshot made meanwhile may miss the moving ones".to_owned());
        }
        for (id, shard) in &self.layout.shards {
            for (peer, replica) in shard.replicas.iter().filter(|(_, replica)| !replica.is_active()) {
                warn(format!("the replica of shard {id} on peer {peer} is {} and is not relied on", replica.state));
            }
        }
    }

    /// Looks again, after the snapshots were made. What can't be looked at may have changed. Returns the layout.
    ///
    /// # Errors
    /// It can't be asked, or shards were moved or parameters changed, so that the snapshots may not fit together.
    pub(super) async fn unchanged(&self, cluster: &Cluster, collection: &str) -> Result<Layout, Error> {
        let layout = cluster.layout(self.peer, collection).await;
        let layout = layout.map_err(Error::from)?.ok_or_else(|| absent(self.peer, collection))?;
        let same_params = match &self.told {
            Ok(before) => params(before) == params(&told(self.peer, collection).await?),
            // What could not be told before can't be compared.
            Err(_) => true,
        };
        if same_params && layout.placement() == self.layout.placement() {
            return Ok(layout);
        }
        let cause = "its shards were moved or its parameters changed while the snapshots were made, so that they may not \
                     fit together";
        Err(Error::new(Code::Changed, "", cause).advice("run the backup again"))
    }
}

/// Makes sure that no shard is being moved.
///
/// # Errors
/// One is.
pub(super) fn at_rest(layout: &Layout) -> Result<(), Error> {
    if layout.transfers + layout.resharding == 0 {
        return Ok(());
    }
    Err(Error::new(Code::Changed, "", "its shards are being moved right now")
        .advice("run the backup again when that has ended"))
}

/// What must not change during a backup; counts and states do.
fn params(told: &Value) -> Option<&Value> {
    told.pointer("/config/params")
}

/// A count, where the server gives one. Where it does not, the manifest says less, which is told; a server that does
/// not know the request at all (before 1.10) is too old for it.
pub(super) fn counted(
    context: &Context,
    peer: &Peer,
    collection: &str,
    count: Result<u64, QdrantError>,
) -> Option<u64> {
    count
        .map_err(|error| {
            if !error.is_not_found() {
                let what = format!("`{collection}`: not counted, so that a restore has less to compare with: {error}");
                context.log.warn(Some(&peer.address()), &what);
            }
        })
        .ok()
}
