//! What the servers know, and what they answer with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use hyper::body::Bytes;

/// The points of each shard.
pub const POINTS: u64 = 100;

/// What is to be served.
#[derive(Clone, Copy)]
pub struct Options {
    /// How many peers the cluster has.
    pub peers: usize,
    /// How many collections the source has, or the bucket has snapshots of.
    pub collections: usize,
    /// How many peers hold a part of each collection.
    pub spread: usize,
    /// How long every call takes.
    pub latency: Duration,
    /// True: the collections are there; false: only their snapshots are, for a restore.
    pub source: bool,
    /// How long a collection's replicas are not active after it was created or recovered.
    pub settle: Duration,
    /// How many bytes of data each snapshot has.
    pub data: u64,
    /// False: the peers fetch no snapshots, all have to be sent to them.
    pub links: bool,
    /// True: the bucket is reached by https.
    pub tls: bool,
    /// How many points each shard has to be scrolled.
    pub points: u64,
}

/// What happened since the start.
#[derive(Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub connections: AtomicU64,
    pub first: Mutex<Option<Instant>>,
    pub kinds: Mutex<BTreeMap<String, u64>>,
    /// Snapshots and recoveries at the same time, on the peer that had most of them.
    pub working: Vec<AtomicUsize>,
    pub most_working: AtomicUsize,
}

/// Everything the servers know.
pub struct State {
    pub options: Options,
    pub collections: Mutex<HashMap<usize, Collection>>,
    pub objects: Mutex<BTreeMap<String, Object>>,
    pub counters: Counters,
}

/// A collection that is there.
pub struct Collection {
    pub recovered: HashSet<usize>,
    pub rest: Instant,
}

/// What the bucket holds under a key.
#[derive(Clone)]
pub enum Object {
    Stored(Bytes),
    Archive { collection: usize, peer: usize, shard: Option<usize> },
}

/// An answer: status, headers besides the length, body, and a length other than the body's (for HEAD).
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub length: Option<u64>,
}

/// Address 0 is the S3 server's, the others are the peers'.
pub fn address(index: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(index).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low + 1)
}

/// The id of a peer.
pub fn id(peer: usize) -> u64 {
    4_000_000_000_000_000 + peer as u64
}
