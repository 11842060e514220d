//! A stand-in for a Qdrant server or cluster: the recorded REST API on top of Qdrant's own storage engine.
//!
//! Points, payloads, indexes and snapshots are real; consensus is one lock. Every peer has an address of its own and the
//! same port, as pods have. What goes wrong on real servers goes wrong here: a forgotten peer leaves empty shards behind
//! answers of 200, a snapshot of a collection with custom sharding restores nothing into a missing one, replicas are
//! killed and copied by a restore with the wrong priority.

mod answer;
mod archive;
mod cluster;
mod collection;
#[cfg(feature = "program")]
mod edge;
mod memory;
mod recover;
mod replica;
mod routes;
mod server;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use server::listen;
pub use storage::{S3Access, sha256};

use crate::faults::{Chosen, Fault, Faults, Listener, Server};
use cluster::Cluster;
use storage::Storage;

/// The REST port of every peer.
pub const PORT: u16 = 6333;

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of peers.
    pub peers: usize,
    /// The ids of the first peers; others get random ones.
    pub ids: Vec<u64>,
    /// False for one server without clustering.
    pub clustered: bool,
    /// Where snapshots go; without it onto the peers' disks.
    pub s3: Option<S3Access>,
    /// `snapshots_storage: local`: onto the peers' disks, whatever `s3` says.
    pub local_snapshots: bool,
    /// The peers know each other by names that lead nowhere from outside: `qdrant-<number>.inner`, from 1 on.
    pub inner_names: bool,
    /// So many bytes are in each shard's snapshot besides its points.
    pub ballast: usize,
    /// The API key.
    pub api_key: Option<String>,
    /// A key that may only read.
    pub read_only_api_key: Option<String>,
    /// The version it says it is.
    pub version: String,
    /// `service.enable_snapshot_url_recovery`.
    pub url_recovery: bool,
    /// The service's own configuration of collections, as the body of `PUT /collections/{c}` has it.
    pub service: serde_json::Value,
    /// Parts of a collection's configuration that its version has and no known one; others ignore them.
    pub later: Vec<String>,
    /// How long the cluster takes to do what it has agreed on.
    pub lag: Duration,
    /// How long the replicas of a collection are not active after it was created, or one of them recovered.
    pub settle: Duration,
    /// How long a snapshot takes.
    pub work: Duration,
    /// How far its clock is ahead.
    pub ahead: Duration,
    /// What goes wrong with requests.
    pub faults: Faults,
    /// On the network in memory and with points in memory, not with sockets and Qdrant's engine.
    pub memory: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            peers: 3,
            ids: Vec::new(),
            clustered: true,
            s3: None,
            local_snapshots: false,
            inner_names: false,
            ballast: 0,
            api_key: None,
            read_only_api_key: None,
            version: "1.18.3".to_owned(),
            url_recovery: true,
            service: serde_json::Value::Null,
            later: Vec::new(),
            lag: Duration::from_millis(10),
            settle: Duration::ZERO,
            work: Duration::ZERO,
            ahead: Duration::ZERO,
            faults: Faults::default(),
            memory: false,
        }
    }
}

/// A peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id: a number that JSON readers with floating point numbers get wrong.
    pub id: u64,
    /// Its IP address.
    pub ip: String,
}

/// Something that a peer has done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// The peer's id.
    pub peer: u64,
    /// The collection.
    pub collection: String,
    /// The shard; none for all that the peer has.
    pub shard: Option<u32>,
    /// The snapshot: made, or put in place.
    pub snapshot: String,
    /// True where it was put in place.
    pub recovery: bool,
}

/// A running stand-in; stops when dropped.
pub struct Qdrant {
    cluster: Arc<Cluster>,
    storage: Arc<Storage>,
    servers: BTreeMap<usize, Server>,
}

impl Qdrant {
    /// Starts a stand-in.
    pub async fn start(options: Options) -> Self {
        let listeners = server::listen(options.peers, options.memory).await;
        Self::with(options, listeners)
    }

    fn with(options: Options, listeners: Vec<(String, Listener)>) -> Self {
        let ids = options.ids.iter().copied().map(Some).chain(std::iter::repeat(None));
        let new =
            |((ip, _), id): (&(String, Listener), Option<u64>)| Peer { id: id.unwrap_or_else(peer_id), ip: ip.clone() };
        let peers = listeners.iter().zip(ids).map(new).collect();
        let storage = Arc::new(match &options.s3 {
            Some(access) if !options.local_snapshots => Storage::S3(access.clone()),
            _ => Storage::Disk(std::sync::Mutex::default()),
        });
        let cluster = Arc::new(Cluster::new(options, peers));
        let servers = listeners
            .into_iter()
            .enumerate()
            .map(|(index, (_, listener))| (index, server::start(listener, &cluster, &storage, index)))
            .collect();
        Self { cluster, storage, servers }
    }

    /// The peers.
    pub fn peers(&self) -> &[Peer] {
        &self.cluster.peers
    }

    /// The REST addresses of the peers: `http://ip:port`.
    pub fn hosts(&self) -> Vec<String> {
        self.cluster.peers.iter().map(|peer| format!("http://{}:{PORT}", peer.ip)).collect()
    }

    /// Stops a peer: nobody listens there any more. Its data stays.
    pub async fn stop_peer(&mut self, index: usize) {
        if let Some(server) = self.servers.remove(&index) {
            server.stop().await;
        }
    }

    /// Starts a stopped peer again.
    pub async fn start_peer(&mut self, index: usize) {
        let listener = server::bind(&self.cluster.peers[index].ip).await.expect("its address is free");
        self.servers.insert(index, server::start(listener, &self.cluster, &self.storage, index));
    }

    /// Has requests of the program go wrong from now on.
    pub fn fail(&self, fault: Fault) {
        self.cluster.options.faults.add(Chosen::Qdrant, fault);
    }

    /// What was done so far: every snapshot that was made, every one that was put in place.
    pub fn work(&self) -> Vec<Work> {
        self.cluster.state().done.clone()
    }

    /// Forgets what was done so far.
    pub fn forget_work(&self) {
        self.cluster.state().done.clear();
    }

    /// True while any peer is at work.
    pub fn is_busy(&self) -> bool {
        self.cluster.is_busy()
    }

    /// Has a new server with another id and nothing on it answer at the address of a peer, as where a pod has lost its
    /// volume.
    pub async fn replace_peer(&mut self, index: usize) -> Self {
        self.stop_peer(index).await;
        let ip = self.cluster.peers[index].ip.clone();
        let listener = server::bind(&ip).await.expect("its address is free");
        Self::with(Options { peers: 1, ids: Vec::new(), ..self.cluster.options.clone() }, vec![(ip, listener)])
    }

    /// Has the cluster name a peer that is no more at the address of another one, as where that has come back with a new
    /// volume.
    pub fn add_ghost(&self, index: usize) {
        let ip = self.cluster.peers[index].ip.clone();
        self.cluster.state().ghosts.push(Peer { id: peer_id(), ip });
    }

    /// Changes the status of a collection, as a failed operation would.
    pub fn set_status(&self, collection: &str, status: &'static str) {
        self.cluster.state().collections.get_mut(collection).expect("the collection").status = status;
    }

    /// Changes the state of a replica, as a fault would.
    pub fn set_replica_state(&self, collection: &str, shard: u32, peer: usize, state: &str) {
        let mut shared = self.cluster.state();
        let collection = shared.collections.get_mut(collection).expect("the collection");
        let replicas = &mut collection.shards.get_mut(&shard).expect("the shard").replicas;
        state.clone_into(&mut replicas.get_mut(&self.cluster.peers[peer].id).expect("the replica").state);
    }

    /// Adds points to the replicas of one peer only, as writes during a backup do.
    pub fn write_to_one_replica(&self, collection: &str, shard: u32, peer: usize, points: &[serde_json::Value]) {
        self.writer()(collection, shard, peer, points);
    }

    /// The same for later: collection, shard, peer, points.
    pub fn writer(&self) -> impl Fn(&str, u32, usize, &[serde_json::Value]) + Clone + Send + Sync + use<> {
        let cluster = Arc::clone(&self.cluster);
        move |collection, shard, peer, points| {
            let mut shared = cluster.state();
            let collection = shared.collections.get_mut(collection).expect("the collection");
            let replicas = &mut collection.shards.get_mut(&shard).expect("the shard").replicas;
            replicas.get_mut(&cluster.peers[peer].id).expect("the replica").engine.upsert(points).expect("points");
        }
    }
}

/// Beyond 2^53.
fn peer_id() -> u64 {
    (1 << 53) + 1 + uuid::Uuid::new_v4().as_u64_pair().0 % (1 << 60)
}
