//! The record of a source, as it lies in the bucket.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::identity::{Source, SourceId};
use crate::places;

/// `sources/<id>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 1.
    pub version: u32,
    /// See [`SourceId`].
    pub id: SourceId,
    /// See [`Source::name`].
    pub name: String,
    /// The ids of all peers that were ever seen, as text, since JSON readers lose digits of large numbers.
    pub peers: BTreeSet<String>,
    /// When it was first seen, RFC 3339 in UTC.
    pub created_at: String,
    /// When it was last seen, to a day.
    pub seen_at: String,
    /// How the snapshots of its shards get into the bucket, where that was found out: `storage` or `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// The prefix of Qdrant's own (`QDRANT_S3_KEY_PREFIX`) below which its snapshots lay then; missing in records of the
    /// version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
}

impl Record {
    /// The bare key of the record of `id`.
    pub(super) fn key(id: &SourceId) -> String {
        format!("{}/{id}.json", places::SOURCES)
    }

    /// The ids of its peers.
    pub fn peers(&self) -> BTreeSet<u64> {
        self.peers.iter().filter_map(|peer| peer.parse().ok()).collect()
    }

    /// The source.
    pub fn source(&self) -> Source {
        Source { id: self.id.clone(), name: self.name.clone() }
    }

    /// True where one of `peers` is among its own.
    pub(super) fn has_one_of(&self, peers: &BTreeSet<u64>) -> bool {
        peers.iter().any(|peer| self.peers.contains(&peer.to_string()))
    }
}
