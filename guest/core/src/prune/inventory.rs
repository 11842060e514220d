//! What the bucket holds of a collection's sets, and how good they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::concurrent;
use crate::error::{Code, Error};
use crate::naming::{self, ShardSnapshotName};
use crate::places::{self, Places};
use crate::sets::quality::{self, Depth};
use crate::sets::{self, Found, Level, SetHeader, SetId, SetManifest, StreamedKey};
use crate::source::catalogue::{Catalogue, Origin};
use crate::source::{Record, SourceId};
use crate::store::{Object, ObjectStore};

/// How many sets are looked at at the same time.
const SETS_AT_ONCE: usize = 8;

/// What ends the name of the companion that older Qdrants store beside a snapshot.
const COMPANION: &str = ".checksum";

/// The sets of a collection, and all its shard snapshots.
pub(super) struct Inventory {
    pub collection: String,
    pub key_prefix: String,
    pub places: Places,
    /// The oldest first.
    pub sets: Vec<Listed>,
    /// By their keys without escapes, which some servers undo in listings.
    pub snapshots: BTreeMap<String, Object>,
    /// The ids of sets that were pinned.
    pub pinned: BTreeSet<String>,
}

/// A set that was looked at.
pub(super) struct Listed {
    pub found: Found,
    /// Its manifest, where there is one that can be used.
    pub manifest: Option<SetManifest>,
    /// How good it is, or what is wrong with it.
    pub quality: Result<Level, Error>,
    /// Where it comes from, as far as it says.
    pub header: SetHeader,
    /// Whose it is; `None` where that can't be told.
    pub source: Option<SourceId>,
}

impl Inventory {
    /// As [`Inventory::look`], to delete by: every snapshot has to be the one that was made.
    ///
    /// # Errors
    /// The bucket can't be read, or something of a set can't be looked at.
    pub(super) async fn take(
        bucket: &dyn ObjectStore,
        collection: &str,
        records: &[Record],
        streamed: &[Object],
    ) -> Result<Self, Error> {
        let inventory = Self::look(bucket, collection, records, streamed, Depth::Identity).await?;
        inventory.unknown().map_or(Ok(()), |error| Err(error.clone()))?;
        Ok(inventory)
    }

    /// `streamed`: the snapshots of the collection that this program has stored itself. `depth`: how much of each snapshot
    /// is looked at.
    ///
    /// Lists the snapshots first: what comes into being while the manifests are read has none yet.
    ///
    /// # Errors
    /// The bucket can't be listed.
    pub(super) async fn look(
        bucket: &dyn ObjectStore,
        collection: &str,
        records: &[Record],
        streamed: &[Object],
        depth: Depth,
    ) -> Result<Self, Error> {
        let mut snapshots = Vec::new();
        let folder = naming::shards_folder(bucket.key_prefix(), collection);
        bucket.list(&folder, &mut |object| snapshots.push(object)).await?;
        snapshots.extend_from_slice(streamed);
        let (found, pinned) = sets::list_one(bucket, collection).await?;
        let mut sets = Vec::new();
        let work = found.into_iter().map(|found| look(bucket, collection, found, depth));
        concurrent::at_most(SETS_AT_ONCE, work, |listed| sets.push(listed)).await;
        sets.sort_by(|left: &Listed, right: &Listed| left.found.id.cmp(&right.found.id));
        let catalogue = Catalogue::new(records, sets.iter().map(|set| Origin::of_set(&set.header)));
        for set in &mut sets {
            let whose = catalogue.whose(set.header.source_id.as_deref(), &set.header.peers);
            set.source = whose.map(|source| source.id.clone());
        }
        Ok(Self {
            collection: collection.to_owned(),
            key_prefix: bucket.key_prefix().to_owned(),
            places: bucket.places().clone(),
            sets,
            snapshots: snapshots.into_iter().map(|object| (plain(&object.key), object)).collect(),
            pinned,
        })
    }

    /// Why it is not known of all sets whether they are good.
    pub(super) fn unknown(&self) -> Option<&Error> {
        self.sets.iter().filter_map(|set| set.quality.as_ref().err()).find(|error| error.is_unknown())
    }

    /// True for an object that is a snapshot of a shard of this collection by its name, or the companion of one.
    /// Whatever else lies there is not ours.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        if let Some(streamed) = StreamedKey::parse(self.places.bare(key)) {
            return streamed.collection == self.collection;
        }
        let folder = plain(&naming::shards_folder(&self.key_prefix, &self.collection));
        let Some((shard, name)) = key.strip_prefix(&folder).and_then(|rest| rest.split_once('/')) else { return false };
        let name = ShardSnapshotName::parse(&self.collection, snapshot_of(name));
        name.is_some_and(|name| name.shard.to_string() == shard)
    }
}

/// Reads the manifest of a set and asks how good it is, which may not be known right now.
async fn look(bucket: &dyn ObjectStore, collection: &str, found: Found, depth: Depth) -> Listed {
    let (read, header) = sets::read_with_header(bucket, collection, &found).await;
    let header = header.unwrap_or_default();
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => return Listed { found, manifest: None, quality: Err(error), header, source: None },
    };
    let quality = quality::of_set(bucket, &manifest, &|_| depth).await.map_err(|wrong| match quality::as_one(&wrong) {
        unknown if unknown.is_unknown() => unknown.of(format!("the set {}", found.id)),
        bad => bad,
    });
    Listed { found, manifest: Some(manifest), quality, header, source: None }
}

/// The snapshot that a companion belongs to, or the snapshot itself.
pub(super) fn snapshot_of(key: &str) -> &str {
    key.strip_suffix(COMPANION).unwrap_or(key)
}

/// The companion of a snapshot.
pub(super) fn companion(key: &str) -> String {
    format!("{key}{COMPANION}")
}

/// A key without escapes, to compare by.
pub(super) fn plain(key: &str) -> String {
    naming::unescape_segment(key)
}

/// The collections that have sets, or snapshots of shards.
///
/// # Errors
/// The bucket can't be listed.
pub async fn collections(bucket: &dyn ObjectStore) -> Result<BTreeSet<String>, Error> {
    let mut names: BTreeSet<String> = sets::list(bucket).await?.into_keys().collect();
    let prefix = bucket.key_prefix();
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let mut note = |object: Object| {
        let mut parts = object.key.get(folder.len()..).unwrap_or_default().split('/');
        if let (Some(collection), Some("shards")) = (parts.next(), parts.next()) {
            let collection = naming::unescape_segment(collection);
            if !names.contains(&collection) {
                names.insert(collection);
            }
        }
    };
    bucket.list(&folder, &mut note).await?;
    names.extend(streamed(bucket).await?.into_keys());
    Ok(names)
}

/// The snapshots that this program has stored itself, by collection.
///
/// # Errors
/// The bucket can't be listed.
pub(super) async fn streamed(bucket: &dyn ObjectStore) -> Result<BTreeMap<String, Vec<Object>>, Error> {
    let mut found: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    let mut note = |object: Object| {
        if let Some(key) = StreamedKey::parse(bucket.places().bare(&object.key)) {
            found.entry(key.collection).or_default().push(object);
        }
    };
    bucket.list_own(&format!("{}/", places::STREAMED), &mut note).await?;
    Ok(found)
}

impl Listed {
    /// Why it is not for this run to judge it.
    pub(super) fn not_ours(&self) -> Option<&'static str> {
        let error = self.quality.as_ref().err().filter(|_| self.manifest.is_none())?;
        match error.code() {
            Code::Version => Some("a newer version of this program wrote it"),
            Code::Configuration => {
                Some("its snapshots are below another QDRANT_S3_KEY_PREFIX: only a run with that prefix prunes it")
            }
            _ => None,
        }
    }

    /// True where it may name snapshots that lie here, and can't be asked which.
    pub(super) fn is_unreadable(&self, key_prefix: &str) -> bool {
        let lies_here = |told: &String| told == key_prefix;
        self.manifest.is_none() && self.header.key_prefix.as_ref().is_none_or(lies_here)
    }

    /// The set's id.
    pub(super) fn id(&self) -> &SetId {
        &self.found.id
    }
}
