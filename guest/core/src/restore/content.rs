//! The content of a replica, point by point.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::job::Job;
use crate::error::{Code, Error};

/// The most points that are read to compare replicas: copying more from peer to peer is faster.
pub(super) const MOST: u64 = 10_000;

/// How many points are read at a time: with their vectors they have to fit into one answer.
const PAGE: u64 = 250;

/// SHA-256 over all points of a peer's own replica of a shard, in the order of their ids, with payload and vectors.
///
/// # Errors
/// It can't be read, or does not end.
pub(super) async fn digest_of(job: &Job<'_>, peer: u64, shard: u32) -> Result<Vec<u8>, Error> {
    let gone = || Error::new(Code::NoPeer, format!("peer {peer}"), "it is gone");
    let client = &job.cluster.peer(peer).ok_or_else(gone)?.client;
    let mut digest = Sha256::new();
    let mut offset = None;
    for _ in 0..=MOST / PAGE {
        let (points, next) = client.scroll_replica(&job.plan.collection, shard, PAGE, offset.as_ref()).await?;
        for point in &points {
            digest.update(point.to_string());
            digest.update(b"\n");
        }
        match next {
            None | Some(Value::Null) => return Ok(digest.finalize().to_vec()),
            next => offset = next,
        }
    }
    Err(Error::new(Code::QdrantAnswer, format!("shard {shard}"), "it has more points than it was counted with"))
}
