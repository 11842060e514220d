//! The peers through which restored collections are counted, as a reader gets them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::qdrant::{Cluster, Peer};

/// Those that have counted a collection in this run, by their addresses.
///
/// Of each collection the replicas are counted where they are, and all peers see the same replicas at the same peers: what
/// one reader gets, another one gets, if it reaches the peers that hold them. So of each collection one peer is a reader, and
/// each peer is one at least once in a run: as many requests as there are collections and peers, and not as many as the one
/// times the other.
#[derive(Default)]
pub(super) struct Readers(RefCell<BTreeSet<String>>);

impl Readers {
    /// The peers that count `collection`: the one that is asked about it, and those that have counted none.
    pub(super) fn of<'c>(&self, cluster: &'c Cluster, collection: &str) -> Vec<&'c Peer> {
        let usual = cluster.peer_to_ask(collection).map(Peer::address);
        let mut known = self.0.borrow_mut();
        cluster
            .peers
            .iter()
            .filter(|peer| known.insert(peer.address()) || usual.as_ref() == Some(&peer.address()))
            .collect()
    }

    /// What `peer` has counted is not right: it is asked again of the next collection.
    pub(super) fn forget(&self, peer: &Peer) {
        self.0.borrow_mut().remove(&peer.address());
    }
}
