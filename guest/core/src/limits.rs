//! What spares the servers: how much each peer does at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_lock::{Semaphore, SemaphoreGuardArc};

use crate::settings::Host;

/// The permits of one run.
pub struct Limits {
    per_peer: usize,
    peers: RefCell<BTreeMap<Host, Arc<Semaphore>>>,
}

impl Limits {
    /// `per_peer` (`QDRANT_SNAPSHOTS_PER_PEER`, at least 1) snapshots or recoveries at a time on each peer.
    pub fn new(per_peer: usize) -> Self {
        Self { per_peer: per_peer.max(1), peers: RefCell::default() }
    }

    /// Waits until the peer at `host` may be given work (a snapshot, a recovery); it is free again when the permit is
    /// dropped.
    pub async fn peer(&self, host: &Host) -> SemaphoreGuardArc {
        self.of(host).acquire_arc().await
    }

    fn of(&self, host: &Host) -> Arc<Semaphore> {
        let mut peers = self.peers.borrow_mut();
        Arc::clone(peers.entry(host.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.per_peer))))
    }
}
