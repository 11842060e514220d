//! The manifest of a set, in the bash script's schema 2.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::streamed::StreamedKey;
use crate::manifest::{ManifestPeer, Points};
use crate::naming;
use crate::places::{self, Places};
use crate::report::total;
use crate::timestamp;

/// The folder of the manifests of all sets in the bucket.
pub const MANIFESTS: &str = places::SET_MANIFESTS;

/// What stands behind the set's id in the key of the record of a partial backup.
const PARTIAL: &str = ".partial";

/// What ends the key of a marker that pins a set.
const PIN: &str = ".pin";

/// What ends the key of the record of a drill. No version takes it for a manifest.
const DRILL: &str = ".drill";

/// The schema written. 1, without sizes and ETags, is read as well.
const SCHEMA_VERSION: u32 = 2;

/// What all collections of one run share: `2026-01-29T11-44-22Z-<pod>`. Sorted as text, sets are sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetId(String);

impl SetId {
    /// The id of a run that begins at `now` in the pod `name`; what can't be in a key is left out of the name.
    pub fn new(now: OffsetDateTime, name: &str) -> Self {
        let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String = name.chars().filter(good).collect();
        Self(format!("{}-{name}", timestamp::KEY.write(now)))
    }

    /// An id as it stands in a manifest or a key.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// When the run began, where the id says it.
    pub fn started(&self) -> Option<OffsetDateTime> {
        timestamp::KEY.read(self.0.get(..timestamp::KEY.length())?)
    }

    /// The key of the manifest of `collection` in this set.
    pub fn key(&self, collection: &str) -> String {
        format!("{}{}.json", Self::folder(collection), self.0)
    }

    /// The prefix of the keys of all manifests of a collection.
    pub fn folder(collection: &str) -> String {
        format!("{MANIFESTS}/{}/", naming::escape_segment(collection))
    }

    /// The key of what restores from this set have begun and ended. The script's has the extension `csv`.
    pub fn state_key(&self, collection: &str) -> String {
        format!("{}/{}/{}.json", places::RESTORE_STATE, naming::escape_segment(collection), self.0)
    }

    /// The key of the marker that keeps `collection` in this set from being removed.
    pub fn pin_key(&self, collection: &str) -> String {
        format!("{}{}{PIN}", Self::folder(collection), self.0)
    }

    /// The set that a marker's key pins.
    pub fn of_pin(key: &str) -> Option<&str> {
        key.rsplit('/').next()?.strip_suffix(PIN)
    }

    /// The key of the record of a drill that has restored `collection` from this set.
    pub fn drill_key(&self, collection: &str) -> String {
        format!("{}{}{DRILL}", Self::folder(collection), self.0)
    }

    /// The collection and the set that the key of the record of a drill is about.
    pub fn of_drill(key: &str) -> Option<(String, Self)> {
        Self::of_key(&format!("{}.json", key.strip_suffix(DRILL)?))
    }

    /// The key of the record of a partial backup of `collection` in this set.
    pub fn partial_key(&self, collection: &str) -> String {
        format!("{}{}{PARTIAL}.json", Self::folder(collection), self.0)
    }

    /// The collection and the set of the key of a manifest, or of a record of a partial backup.
    pub fn of_key(key: &str) -> Option<(String, Self)> {
        let (folder, name) = key.strip_prefix(MANIFESTS)?.strip_prefix('/')?.split_once('/')?;
        let id = name.strip_suffix(".json").filter(|id| !id.is_empty() && !id.contains('/'))?;
        let id = id.strip_suffix(PARTIAL).unwrap_or(id);
        Some((naming::collection_of_folder(folder)?, Self(id.to_owned())))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One collection in one set.
#[derive(Clone, Debug, Serialize, PartialEq, Deserialize)]
pub struct SetManifest {
    /// 2.
    pub schema_version: u32,
    /// See [`SetId`].
    pub backup_set_id: String,
    /// The collection's name.
    pub collection: String,
    /// Qdrant's version, `unknown` where the script could not ask.
    #[serde(default)]
    pub qdrant_version: String,
    /// `auto` or `custom`.
    #[serde(default)]
    pub sharding_method: String,
    /// The number of shards.
    pub shard_count: u64,
    /// The number of points, exact where `source.points` says so.
    #[serde(default)]
    pub points_count: u64,
    /// The whole `result` of `GET /collections/{c}`, as it was before the first snapshot.
    pub collection_config: Value,
    /// The names of the collection's aliases.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The shards, by id.
    pub shards: Vec<SetShard>,
    /// The tool and its version.
    #[serde(default)]
    pub created_by: String,
    /// The id of the source; missing in sets of the script and of version 0.1.0, and where the source has no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// What people call the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What the script does not record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SetSource>,
    /// The shards of which no snapshot could be made: a partial backup, which counts for no retention and no restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u32>,
}

/// One shard and its snapshot.
#[derive(Clone, Debug, Serialize, PartialEq, Deserialize)]
pub struct SetShard {
    /// Shard id.
    pub id: u32,
    /// The snapshot's name, given by Qdrant.
    pub snapshot_name: String,
    /// The snapshot's key.
    pub s3_key: String,
    /// The snapshot's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The snapshot's ETag, opaque.
    #[serde(default)]
    pub etag: String,
    /// SHA-256 of the snapshot, 64 hexadecimal digits; empty where it was not computed.
    #[serde(default)]
    pub checksum: String,
    /// The peer that made it.
    #[serde(default)]
    pub source_peer_id: u64,
    /// When it was checked, RFC 3339 in UTC.
    #[serde(default)]
    pub created_at: String,
    /// The shard key, with custom sharding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// The replicas: peer id (as text, since JSON readers lose digits of large numbers) to state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, String>,
    /// How the snapshot got into the bucket: `stream`, where this program has stored it, and not Qdrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// Exact counts of the replica around the making of the snapshot.
    #[serde(default)]
    pub points: Points,
}

/// Where a set comes from, and how it was made.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Deserialize)]
pub struct SetSource {
    /// False when it ran without clustering.
    #[serde(default)]
    pub distributed: bool,
    /// The peers.
    #[serde(default)]
    pub peers: Vec<ManifestPeer>,
    /// The exact number of points in the collection, before and after.
    #[serde(default)]
    pub points: Points,
    /// When the manifest was written, RFC 3339 in UTC.
    #[serde(default)]
    pub created_at: String,
    /// How long the collection took.
    #[serde(default)]
    pub seconds: u64,
    /// `QDRANT_BACKUP_LABEL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How every snapshot was checked when it was made: `full` and `tail` walked it to its end and read which peer made
    /// it. Absent in the manifests of versions that did not read the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

impl SetManifest {
    /// The schema that is written.
    pub const SCHEMA_VERSION: u32 = SCHEMA_VERSION;

    /// Reads a manifest and holds it against its own rules, which are those of the script's validator, and its place:
    /// `collection` and `id` as in its key.
    ///
    /// # Errors
    /// It is none of this schema, contradicts itself, or names objects that aren't its own; says what.
    pub fn parse(json: &[u8], collection: &str, id: &SetId, key_prefix: &str, places: &Places) -> Result<Self, String> {
        // What a later version wrote may have fields of other kinds.
        if let Some(version) = Self::newer(json) {
            return Err(format!("schema version {version} is newer than this program ({SCHEMA_VERSION})"));
        }
        let manifest: Self = crate::decode::json(json).map_err(|error| format!("not a manifest: {error}"))?;
        manifest.check(collection, id, key_prefix, places)?;
        Ok(manifest)
    }

    /// The schema version, where a later version of this program wrote the manifest.
    pub fn newer(json: &[u8]) -> Option<u64> {
        let value: Value = crate::decode::json(json).ok()?;
        value.get("schema_version").and_then(Value::as_u64).filter(|version| *version > u64::from(SCHEMA_VERSION))
    }

    /// The peers that it was made on, as far as it says.
    pub fn peers(&self) -> Vec<u64> {
        let named = self.source.iter().flat_map(|source| &source.peers).map(|peer| peer.id);
        // 0 stands for a server that was not known by its id, and such servers are not all one.
        named.chain(self.shards.iter().map(|shard| shard.source_peer_id)).filter(|id| *id != 0).collect()
    }

    fn check(&self, collection: &str, id: &SetId, key_prefix: &str, places: &Places) -> Result<(), String> {
        if self.schema_version == 0 {
            return Err(format!("schema version {} is not one of 1 to {SCHEMA_VERSION}", self.schema_version));
        }
        if self.collection != collection || self.backup_set_id != id.as_str() {
            return Err(format!("it is about `{}` in the set `{}`", self.collection, self.backup_set_id));
        }
        if !self.collection_config.is_object() {
            return Err("it has no configuration of the collection".to_owned());
        }
        if (self.shards.len() + self.missing.len()) as u64 != self.shard_count {
            return Err(format!("it lists {} shards of {}", self.shards.len(), self.shard_count));
        }
        let folder = naming::shards_folder(key_prefix, collection);
        for (place, shard) in self.shards.iter().enumerate() {
            if self.shards.iter().take(place).any(|other| other.id == shard.id) {
                return Err(format!("it lists shard {} twice", shard.id));
            }
            let of_qdrant = shard.s3_key.strip_prefix(&folder).is_some_and(naming::is_plain);
            if shard.snapshot_name.is_empty() || !(of_qdrant || self.has_streamed(shard, places)) {
                return Err(format!(
                    "the snapshot of shard {} (`{}`) is not one below `{folder}` (QDRANT_S3_KEY_PREFIX)",
                    shard.id, shard.s3_key
                ));
            }
            if self.schema_version == SCHEMA_VERSION && (shard.etag.is_empty() || shard.size.is_none()) {
                return Err(format!("shard {} has no size and ETag", shard.id));
            }
            let hex = |c: char| c.is_ascii_hexdigit();
            if !shard.checksum.is_empty() && (shard.checksum.len() != 64 || !shard.checksum.chars().all(hex)) {
                return Err(format!("the checksum of shard {} is no SHA-256", shard.id));
            }
        }
        Ok(())
    }

    /// True where the key of a snapshot is that of the streamed one of this very set.
    fn has_streamed(&self, shard: &SetShard, places: &Places) -> bool {
        StreamedKey::parse(places.bare(&shard.s3_key)).is_some_and(|key| {
            key.collection == self.collection
                && key.set == self.backup_set_id
                && key.shard == shard.id
                && self.source_id.as_ref().is_none_or(|source| *source == key.source)
        })
    }

    /// The bytes of all snapshots.
    pub fn bytes(&self) -> u64 {
        total(self.shards.iter().filter_map(|shard| shard.size))
    }

    /// The set's id.
    pub fn id(&self) -> SetId {
        SetId(self.backup_set_id.clone())
    }

    /// The exact number of points that the snapshots hold, where nothing was written meanwhile.
    pub fn exact_points(&self) -> Option<u64> {
        self.shards.iter().try_fold(0_u64, |points, shard| Some(points.saturating_add(shard.points.exact()?)))
    }

    /// True when every snapshot was walked to its end when it was made, and told the peer that it was asked of.
    pub fn was_checked(&self) -> bool {
        let check = self.source.as_ref().and_then(|source| source.check.as_deref());
        matches!(check, Some("full" | "tail"))
    }

    /// What tells these very snapshots from others: a SHA-256 of their keys, sizes, ETags and checksums.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for shard in &self.shards {
            let (size, checksum) = (shard.size.unwrap_or_default(), shard.checksum.to_ascii_lowercase());
            hash.update(format!("{}\t{}\t{size}\t{}\t{checksum}\n", shard.id, shard.s3_key, shard.etag));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// True when a checksum of every snapshot is known.
    pub fn has_checksums(&self) -> bool {
        self.shards.iter().all(|shard| !shard.checksum.is_empty())
    }
}

#[cfg(test)]
impl SetShard {
    /// A shard of the collection `docs` with nothing special.
    pub(crate) fn example(id: u32) -> Self {
        Self {
            id,
            snapshot_name: "x.snapshot".to_owned(),
            s3_key: format!("snapshots/docs/shards/{id}/x.snapshot"),
            size: Some(10),
            etag: "made".to_owned(),
            checksum: String::new(),
            source_peer_id: 1,
            created_at: String::new(),
            key: None,
            replicas: [("1".to_owned(), "Active".to_owned())].into(),
            transfer: None,
            points: Points { before: Some(1), after: Some(1) },
        }
    }
}

#[cfg(test)]
impl SetManifest {
    /// The set `s` of the collection `docs` with nothing special.
    pub(crate) fn example(collection_config: Value, shards: Vec<SetShard>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            backup_set_id: "s".to_owned(),
            collection: "docs".to_owned(),
            qdrant_version: "1.18.3".to_owned(),
            sharding_method: "auto".to_owned(),
            shard_count: shards.len() as u64,
            points_count: shards.iter().filter_map(|shard| shard.points.after).sum(),
            collection_config,
            aliases: Vec::new(),
            shards,
            created_by: String::new(),
            source_id: None,
            source_name: None,
            run_id: None,
            source: None,
            missing: Vec::new(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    /// As the script writes one (its documentation's fields, in its order).
    fn of_the_script() -> Value {
        json!({
            "schema_version": 2,
            "backup_set_id": "2026-01-29T11-44-22Z-qdrant-backup-28123-abcde",
            "collection": "docs",
            "qdrant_version": "1.18.3",
            "sharding_method": "auto",
            "shard_count": 1,
            "points_count": 53,
            "collection_config": {"status": "green", "config": {"params": {"shard_number": 1}}, "payload_schema": {}},
            "aliases": ["live"],
            "shards": [{
                "id": 0,
                "snapshot_name": "docs-shard-0-2026-01-29-11-44-23.snapshot",
                "s3_key": "snapshots/docs/shards/0/docs-shard-0-2026-01-29-11-44-23.snapshot",
                "size": 33_740_800,
                "etag": "0123-1",
                "checksum": "",
                "source_peer_id": 4_087_575_062_899_578_u64,
                "created_at": "2026-01-29T11:44:25Z"
            }],
            "created_by": "qdrant_backup_recovery.sh@main"
        })
    }

    fn parse(value: &Value) -> Result<SetManifest, String> {
        let id = SetId::from_text("2026-01-29T11-44-22Z-qdrant-backup-28123-abcde");
        SetManifest::parse(value.to_string().as_bytes(), "docs", &id, "snapshots", &Places::default())
    }

    #[test]
    fn a_set_of_the_script_is_read_whole() {
        let manifest = parse(&of_the_script()).unwrap();
        assert_eq!((manifest.shards[0].id, manifest.bytes(), manifest.exact_points()), (0, 33_740_800, None));
        assert!(!manifest.has_checksums() && manifest.source.is_none());
        let mut first = of_the_script();
        first["schema_version"] = json!(1);
        for field in ["size", "etag", "checksum"] {
            first["shards"][0].as_object_mut().unwrap().remove(field);
        }
        assert_eq!(parse(&first).unwrap().shards[0].size, None);
    }

    /// The rules of the script's validator, which reads what we write.
    #[test]
    fn what_is_written_passes_the_script_s_validator() {
        let mut manifest = parse(&of_the_script()).unwrap();
        manifest.source = Some(SetSource::default());
        manifest.shards[0].points = Points { before: Some(1), after: Some(1) };
        let written = serde_json::to_value(&manifest).unwrap();
        assert!(written["schema_version"] == 2 && written["collection_config"].is_object());
        for text in ["backup_set_id", "collection"] {
            assert!(written[text].as_str().is_some_and(|text| !text.is_empty()));
        }
        assert_eq!(written["shard_count"].as_u64(), Some(written["shards"].as_array().unwrap().len() as u64));
        let shard = &written["shards"][0];
        for text in ["etag", "s3_key", "snapshot_name"] {
            assert!(shard[text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
        }
        assert!(shard["size"].is_u64() && shard["id"].is_u64());
        for (name, value) in of_the_script().as_object().unwrap() {
            assert!(written.get(name).is_some_and(|written| written.is_array() || written == value), "{name}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_reaches_elsewhere_is_refused() {
        for (pointer, value, why) in [
            ("/schema_version", json!(3), "schema version 3"),
            ("/schema_version", json!(0), "schema version 0"),
            ("/collection", json!("other"), "about `other`"),
            ("/backup_set_id", json!("2020"), "in the set `2020`"),
            ("/shard_count", json!(2), "1 shards of 2"),
            ("/collection_config", json!([]), "no configuration"),
            ("/shards/0/s3_key", json!("snapshots/other/shards/0/x.snapshot"), "not one below"),
            ("/shards/0/s3_key", json!("snapshots/docs/shards/../../secrets"), "not one below"),
            ("/shards/0/s3_key", json!("snapshots/docs/shards/0/.."), "not one below"),
            ("/shards/0/s3_key", json!("snapshots/docs/shards//x"), "not one below"),
            ("/shards/0/s3_key", json!("/snapshots/docs/shards/0/x"), "not one below"),
            ("/shards/0/s3_key", json!("snapshots/docs/shards/"), "not one below"),
            ("/shards/0/etag", json!(""), "no size and ETag"),
            ("/shards/0/checksum", json!("abc"), "no SHA-256"),
            ("/shards/0/id", json!("0"), "not a manifest"),
        ] {
            let mut manifest = of_the_script();
            *manifest.pointer_mut(pointer).unwrap() = value;
            let error = parse(&manifest).unwrap_err();
            assert!(error.contains(why), "{pointer}: {error}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_fit_a_key() {
        let id = SetId::new(datetime!(2026-01-29 11:44:22 UTC), "pod/../x-1");
        assert_eq!(id.as_str(), "2026-01-29T11-44-22Z-pod..x-1");
        assert_eq!(id.started(), Some(datetime!(2026-01-29 11:44:22 UTC)));
        assert_eq!(id.key("a b"), "backup_manifests/a b/2026-01-29T11-44-22Z-pod..x-1.json");
        assert_eq!(SetId::of_key(&id.key("a?b")), Some(("a?b".to_owned(), id)));
        for key in [
            "backup_manifests/docs/",
            "backup_manifests/x.json",
            "other/docs/x.json",
            "backup_manifests/a/b/c.json",
            "backup_manifests/%2E%2E/x.json",
        ] {
            assert_eq!(SetId::of_key(key), None, "{key}");
        }
        assert_eq!(SetId::from_text("by hand").started(), None);
    }
}
