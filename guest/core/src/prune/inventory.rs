//! What the bucket holds of a collection's sets.

use crate::concurrent;
use crate::error::Error;
use crate::naming::{self, ShardSnapshotName};
use crate::places::Places;
use crate::sets::{self, Found, ReadError, SetId, SetManifest};
use crate::store::{Object, ObjectStore};
use std::collections::{BTreeMap, BTreeSet};

/// How many manifests are read at the same time.
const MANIFESTS_AT_ONCE: usize = 8;

/// What ends the name of the companion that older Qdrants store beside an archive.
const COMPANION: &str = ".checksum";

/// The sets of a collection, and all its shard archives.
pub(super) struct Inventory {
    pub collection: String,
    pub key_prefix: String,
    pub places: Places,
    /// The oldest first.
    pub sets: Vec<Listed>,
    /// By their keys without escapes, which some servers undo in listings.
    pub archives: BTreeMap<String, Object>,
    /// The ids of sets that were pinned.
    pub pinned: BTreeSet<String>,
}

/// A set whose manifest was read.
pub(super) struct Listed {
    pub found: Found,
    /// Or what is wrong with it.
    pub manifest: Result<SetManifest, ReadError>,
}

impl Inventory {
    /// Lists the archives first: what comes into being while the manifests are read has none yet.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub(super) async fn take(bucket: &dyn ObjectStore, collection: &str) -> Result<Self, Error> {
        let mut archives = Vec::new();
        let folder = naming::shards_folder(bucket.key_prefix(), collection);
        bucket.list(&folder, &mut |object| archives.push(object)).await?;
        let (mut found, pinned) = sets::list_one(bucket, collection).await?;
        let mut sets = Vec::new();
        let mut failed = None;
        let work = found.drain(..).map(|found| async move { (sets::read(bucket, collection, &found).await, found) });
        concurrent::at_most(MANIFESTS_AT_ONCE, work, |(read, found)| match read {
            Err(ReadError::Unreadable(cause)) => failed = Some(cause),
            manifest => sets.push(Listed { found, manifest }),
        })
        .await;
        sets.sort_by(|left: &Listed, right: &Listed| left.found.id.cmp(&right.found.id));
        match failed {
            Some(cause) => Err(cause.into()),
            None => Ok(Self {
                collection: collection.to_owned(),
                key_prefix: bucket.key_prefix().to_owned(),
                places: bucket.places().clone(),
                sets,
                archives: archives.into_iter().map(|object| (plain(&object.key), object)).collect(),
                pinned,
            }),
        }
    }

    /// What is wrong with the set: its manifest, or archives that are not there as they were made.
    pub(super) fn damage(&self, set: &Listed) -> Option<String> {
        let manifest = match &set.manifest {
            Ok(manifest) => manifest,
            Err(cause) => return Some(cause.to_string()),
        };
        let wrong = manifest.shards.iter().find(|shard| {
            let there = self.archives.get(plain(&shard.s3_key).as_str());
            there.is_none_or(|there| shard.size.is_some_and(|size| size != there.bytes))
        });
        wrong.map(|shard| format!("`{}` is missing or of another size", shard.s3_key))
    }

    /// True for an object that is an archive of a shard of this collection by its name, or the companion of one.
    /// Whatever else lies there is not ours.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        let folder = plain(&naming::shards_folder(&self.key_prefix, &self.collection));
        let Some((shard, name)) = key.strip_prefix(&folder).and_then(|rest| rest.split_once('/')) else { return false };
        let name = ShardSnapshotName::parse(&self.collection, archive_of(name));
        name.is_some_and(|name| name.shard.to_string() == shard)
    }
}

/// The archive that a companion belongs to, or the archive itself.
pub(super) fn archive_of(key: &str) -> &str {
    key.strip_suffix(COMPANION).unwrap_or(key)
}

/// The companion of an archive.
pub(super) fn companion(key: &str) -> String {
    format!("{key}{COMPANION}")
}

/// A key without escapes, to compare by.
pub(super) fn plain(key: &str) -> String {
    naming::unescape_segment(key)
}

/// The collections that have sets, or archives of shards.
///
/// # Errors
/// The bucket can't be listed.
pub async fn collections(bucket: &dyn ObjectStore) -> Result<BTreeSet<String>, Error> {
    let mut names: BTreeSet<String> = sets::list(bucket).await?.into_iter().map(|(collection, _)| collection).collect();
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
    Ok(names)
}

impl Listed {
    /// True when it is not for this version of the program to judge it.
    pub(super) fn is_newer(&self) -> bool {
        matches!(self.manifest, Err(ReadError::Newer(_)))
    }

    /// The set's id.
    pub(super) fn id(&self) -> &SetId {
        &self.found.id
    }
}
