//! The manifest of one collection's backup: what was there, and which snapshots hold it.
//!
//! It is written last, so that its presence means that every shard has a snapshot that was found in the bucket.
//! Readers ignore fields they do not know; a change that old readers would misread raises `schema_version`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

use crate::naming;
use crate::places;
use crate::timestamp;

/// The folder of all manifests in the bucket.
pub const FOLDER: &str = places::SNAPSHOT_MANIFESTS;

/// The schema written, and the newest one read.
pub const SCHEMA_VERSION: u32 = 1;

/// A manifest of snapshots of whole collections, one for each peer.
#[derive(Clone, Debug, Serialize, PartialEq, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the last snapshot was checked, RFC 3339 in UTC.
    pub created_at: String,
    /// The tool and its version.
    pub created_by: String,
    /// The collection's name.
    pub collection: String,
    /// False when the source runs without clustering.
    pub distributed: bool,
    /// The source's peers.
    pub peers: Vec<ManifestPeer>,
    /// `config` of `GET /collections/{c}`.
    pub config: Value,
    /// `payload_schema` of `GET /collections/{c}`.
    pub payload_schema: BTreeMap<String, Value>,
    /// Every shard with its replicas, those without a snapshot included.
    pub shards: Vec<ManifestShard>,
    /// The exact number of points in the collection, before and after the snapshots were made.
    pub points: Points,
    /// The aliases of the collection.
    pub aliases: Vec<String>,
    /// The snapshots; the format says `archives`.
    #[serde(rename = "archives")]
    pub snapshots: Vec<ManifestSnapshot>,
    /// The id of the source; missing in manifests of version 0.1.0, and where the source has no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// What people call the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The collection's own id, as its snapshots tell it: two of one name differ in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The shards that no snapshot has: a partial backup, which counts for no retention and no restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u32>,
}

/// A peer of the source.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, Deserialize)]
pub struct ManifestPeer {
    /// Peer id.
    pub id: u64,
    /// Its REST address.
    pub host: String,
    /// Qdrant's version.
    pub version: String,
    /// The commit Qdrant was built from.
    pub commit: Option<String>,
}

/// A shard of the source.
#[derive(Clone, Debug, Serialize, PartialEq, Deserialize)]
pub struct ManifestShard {
    /// Shard id.
    pub id: u32,
    /// Shard key, with custom sharding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Peer id (as text, since JSON readers lose digits of large numbers) to replica state.
    pub replicas: BTreeMap<String, String>,
}

/// Exact counts around the making of a snapshot; equal ones mean that the snapshot holds just so many.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq, Deserialize)]
pub struct Points {
    /// Before; missing where the server refuses exact counts.
    pub before: Option<u64>,
    /// After.
    pub after: Option<u64>,
}

impl Points {
    /// The number a snapshot must hold, where nothing was written meanwhile.
    pub fn exact(self) -> Option<u64> {
        self.before.filter(|before| self.after == Some(*before))
    }
}

/// A snapshot in the bucket.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, Deserialize)]
pub struct ManifestSnapshot {
    /// Object key.
    pub key: String,
    /// Snapshot name.
    pub name: String,
    /// Object size in bytes.
    pub bytes: u64,
    /// The peer that made it.
    pub peer_id: u64,
    /// The shards it has data for, with their counts on that peer.
    pub shards: BTreeMap<u32, Points>,
}

impl Manifest {
    /// The key of a new manifest: sorted by time, and unique by `unique`, so that none overwrites another.
    pub fn key(collection: &str, created_at: OffsetDateTime, unique: u64) -> String {
        let time = timestamp::KEY.write(created_at);
        format!("{}{time}-{:08x}.json", Self::prefix(collection), unique & 0xffff_ffff)
    }

    /// The key of a new record of a partial backup.
    pub fn partial_key(collection: &str, created_at: OffsetDateTime, unique: u64) -> String {
        Self::key(collection, created_at, unique).replace(".json", ".partial.json")
    }

    /// The prefix of all manifests of a collection.
    pub fn prefix(collection: &str) -> String {
        format!("{FOLDER}/{}/", naming::escape_segment(collection))
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// It isn't JSON of this schema, or of a newer one.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| format!("not JSON: {error}"))?;
        let version = value.get("schema_version").and_then(Value::as_u64);
        match version {
            Some(version) if version <= u64::from(SCHEMA_VERSION) => {
                crate::decode::from_value(value).map_err(|cause| format!("not a manifest: {cause}"))
            }
            Some(version) => Err(format!("schema version {version} is newer than this program ({SCHEMA_VERSION})")),
            None => Err("not a manifest: no schema_version".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn keys_sort_by_time_and_never_collide() {
        let first = Manifest::key("docs", datetime!(2026-01-29 11:44:22 UTC), 1);
        assert_eq!(first, "snapshot_manifests/docs/2026-01-29T11-44-22Z-00000001.json");
        assert!(first < Manifest::key("docs", datetime!(2026-01-29 11:44:23 UTC), 0));
        assert_ne!(first, Manifest::key("docs", datetime!(2026-01-29 11:44:22 UTC), 2));
    }

    #[test]
    fn a_snapshot_under_writes_has_no_exact_count() {
        assert_eq!(Points { before: Some(5), after: Some(5) }.exact(), Some(5));
        assert_eq!(Points { before: Some(5), after: Some(6) }.exact(), None);
        assert_eq!(Points { before: None, after: None }.exact(), None);
    }

    #[test]
    fn a_newer_schema_is_refused_and_unknown_fields_are_not() {
        assert!(Manifest::parse(br#"{"schema_version": 2}"#).unwrap_err().contains("newer"));
        assert!(Manifest::parse(b"[]").is_err());
        let json = serde_json::json!({
            "schema_version": 1, "created_at": "", "created_by": "", "collection": "docs", "distributed": true, "peers": [],
            "config": {}, "payload_schema": {}, "shards": [], "points": {"before": 1, "after": 1}, "aliases": [],
            "archives": [], "later": true
        });
        assert_eq!(Manifest::parse(json.to_string().as_bytes()).unwrap().collection, "docs");
    }
}
