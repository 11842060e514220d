//! The record of drills: that a set was restored once, when, and what was compared, and what the content of its snapshots is.
//! It lies beside the manifest, which is never changed, and goes with the set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::found::Found;
use super::manifest::{SetId, SetManifest};
use crate::error::{Code, Error};
use crate::run_id::RunId;
use crate::store::ObjectStore;

/// The version of the record's form; fields may be added to it.
const VERSION: u32 = 1;

/// The largest record.
const LIMIT: usize = 1 << 20;

/// `backup_manifests/<collection>/<set>.drill`: the last drill of a set that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillRecord {
    /// 1.
    pub version: u32,
    /// The collection.
    pub collection: String,
    /// The set.
    pub backup_set_id: String,
    /// Which snapshots were restored: [`SetManifest::fingerprint`].
    pub snapshots: String,
    /// When the restore had ended, RFC 3339 in UTC; empty where the snapshots were only read.
    pub restored_at: String,
    /// How many points there were.
    pub points: u64,
    /// Whether they were verified.
    pub verified: bool,
    /// What was compared, for people.
    pub compared: String,
    /// The host that was restored into.
    pub host: String,
    /// The run.
    pub run_id: String,
    /// What Qdrant's own engine has read of the snapshots. Missing where nobody has read them.
    #[serde(default)]
    pub content: RecordedContent,
}

/// The digests of the points in a set's snapshots, as docs/content-digest.md has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedContent {
    /// When they were read, RFC 3339 in UTC; empty where they were not.
    pub read_at: String,
    /// By which engine, and its version.
    pub read_by: String,
    /// Of all points of each shard.
    pub all: BTreeMap<u32, String>,
    /// N, where [`RecordedContent::sample`] is of N points of each shard.
    pub sample_points: u64,
    /// Of a sample of each shard.
    pub sample: BTreeMap<u32, String>,
}

impl RecordedContent {
    /// The digests of a sample of `points` points of each shard; none where the sample was another.
    pub fn sample_of(&self, points: u64) -> &BTreeMap<u32, String> {
        const NONE: &BTreeMap<u32, String> = &BTreeMap::new();
        if self.sample_points == points { &self.sample } else { NONE }
    }
}

impl DrillRecord {
    /// The version that is written.
    pub const VERSION: u32 = VERSION;

    /// The record of a set whose snapshots were read, and not restored by anybody.
    pub fn read_only(manifest: &SetManifest, points: u64, run: &RunId) -> Self {
        Self {
            version: VERSION,
            collection: manifest.collection.clone(),
            backup_set_id: manifest.backup_set_id.clone(),
            snapshots: manifest.fingerprint(),
            restored_at: String::new(),
            points,
            verified: false,
            compared: String::new(),
            host: String::new(),
            run_id: run.to_string(),
            content: RecordedContent::default(),
        }
    }

    /// When it was restored; `None` where its snapshots were only read.
    pub fn restored_at(&self) -> Option<&str> {
        Some(self.restored_at.as_str()).filter(|at| !at.is_empty())
    }

    /// When its snapshots were read; `None` where they were not.
    pub fn read_at(&self) -> Option<&str> {
        Some(self.content.read_at.as_str()).filter(|at| !at.is_empty())
    }

    /// True where it is about this very set: one of the same name that was made anew was not restored by anybody.
    pub fn is_of(&self, manifest: &SetManifest) -> bool {
        self.collection == manifest.collection
            && self.backup_set_id == manifest.backup_set_id
            && self.snapshots == manifest.fingerprint()
    }

    /// Writes it, in place of that of an earlier drill.
    ///
    /// # Errors
    /// The bucket does not take it.
    pub async fn write(&self, bucket: &dyn ObjectStore) -> Result<(), Error> {
        let key = bucket.places().ours(&SetId::from_text(&self.backup_set_id).drill_key(&self.collection));
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Code::ManifestUnusable, format!("the record `{key}`"), error.to_string()))?;
        bucket.put(&key, "application/json", json).await
    }
}

/// The record of the last drill of a set; `None` where there is none of this very set that can be read as one.
///
/// # Errors
/// The bucket can't be read.
pub async fn read_drill(
    bucket: &dyn ObjectStore,
    set: &Found,
    manifest: &SetManifest,
) -> Result<Option<DrillRecord>, Error> {
    let Some((key, bytes)) = &set.drill else { return Ok(None) };
    if *bytes > LIMIT as u64 {
        return Ok(None);
    }
    let thing = || format!("the record `{key}`");
    let json = bucket.get_listed(key, *bytes, LIMIT).await.map_err(|error| error.of(thing()))?;
    let Some(json) = json else { return Ok(None) };
    // What can't be read as a record says nothing, and hides no set.
    let record: Option<DrillRecord> = crate::decode::json(&json).ok();
    Ok(record.filter(|record| record.version <= VERSION && record.is_of(manifest)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use futures_executor::block_on;

    /// A set, and a drill that has only read its snapshots.
    fn drilled() -> (SetManifest, DrillRecord) {
        let manifest = SetManifest::example(serde_json::Value::Null, Vec::new());
        let record = DrillRecord::read_only(&manifest, 3, &RunId::new(time::OffsetDateTime::UNIX_EPOCH, 0));
        (manifest, record)
    }

    #[test]
    fn what_was_not_done_has_no_time() {
        let (_, mut record) = drilled();
        assert_eq!((record.restored_at(), record.read_at()), (None, None));
        record.content.read_at = "2026-03-01T00:00:00Z".to_owned();
        assert_eq!((record.restored_at(), record.read_at()), (None, Some("2026-03-01T00:00:00Z")));
        record.restored_at = "2026-03-02T00:00:00Z".to_owned();
        assert_eq!(record.restored_at(), Some("2026-03-02T00:00:00Z"));
    }

    /// What is no record, for its size too, says nothing of the set and hides it from nobody.
    #[test]
    fn what_is_too_large_for_a_record_is_not_read() {
        let (manifest, record) = drilled();
        let key = "backup_manifests/docs/s.drill";
        for (bytes, read) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
            let store = Memory::default();
            let mut json = serde_json::to_vec(&record).unwrap();
            json.resize(bytes, b' ');
            store.store(key, &json, "");
            let id = SetId::from_text("s");
            let set = Found { id, key: String::new(), bytes: 0, drill: Some((key.to_owned(), bytes as u64)) };
            let found = block_on(read_drill(&store, &set, &manifest)).unwrap();
            assert_eq!(found, read.then(|| record.clone()), "{bytes}");
        }
    }
}
