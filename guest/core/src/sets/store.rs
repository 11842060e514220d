//! The sets in a bucket.

use super::manifest::{MANIFESTS, SetId, SetManifest};
use crate::error::{Code, Error};
use crate::store::{Object, ObjectStore};
use std::collections::{BTreeMap, BTreeSet};

/// The largest manifest: 1,000 shards take 1 MB.
pub(super) const LIMIT: usize = 64 << 20;

/// A manifest that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The set.
    pub id: SetId,
    /// The manifest's key, as the server lists it.
    pub key: String,
    /// Its size, as the server lists it.
    pub bytes: u64,
}

/// Why a manifest can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The bucket can't be read: nothing is known of the manifest.
    Unreadable(String),
    /// A later version of this program wrote it.
    Newer(String),
    /// It is no manifest, contradicts itself, or is gone.
    Damaged(String),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unreadable(why) | Self::Newer(why) | Self::Damaged(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Unreadable(_) => Code::StoreAnswer,
            ReadError::Newer(_) | ReadError::Damaged(_) => Code::ManifestUnusable,
        };
        Self::new(code, "", error.to_string())
    }
}

/// Every collection in the bucket with its sets, the oldest first.
///
/// # Errors
/// The bucket can't be listed.
pub async fn list(bucket: &dyn ObjectStore) -> Result<BTreeMap<String, Vec<Found>>, Error> {
    let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    let mut note = |object: Object| {
        let Object { key, bytes, .. } = object;
        if let Some((collection, id)) = SetId::of_key(bucket.places().bare(&key)) {
            found.entry(collection).or_default().push(Found { id, key, bytes });
        }
    };
    bucket.list_own(&format!("{MANIFESTS}/"), &mut note).await?;
    for sets in found.values_mut() {
        sort(sets);
    }
    Ok(found)
}

/// The sets of one collection, the oldest first, and the ids of those that are pinned.
///
/// # Errors
/// The bucket can't be listed.
pub async fn list_one(bucket: &dyn ObjectStore, collection: &str) -> Result<(Vec<Found>, BTreeSet<String>), Error> {
    let (mut found, mut pinned) = (Vec::new(), BTreeSet::new());
    let mut note = |object: Object| {
        let Object { key, bytes, .. } = object;
        if let Some(id) = SetId::of_pin(&key) {
            pinned.insert(id.to_owned());
        } else if let Some((_, id)) = SetId::of_key(bucket.places().bare(&key)) {
            found.push(Found { id, key, bytes });
        }
    };
    bucket.list_own(&SetId::folder(collection), &mut note).await?;
    sort(&mut found);
    Ok((found, pinned))
}

fn sort(sets: &mut Vec<Found>) {
    sets.sort_by(|left, right| left.id.cmp(&right.id));
    // Of one that lies at two places, the place that counts more was listed first.
    sets.dedup_by(|later, first| later.id == first.id);
}

/// Reads the manifest of `collection` in a set.
///
/// # Errors
/// It can't be read, or is not one: says which and why.
pub async fn read(bucket: &dyn ObjectStore, collection: &str, set: &Found) -> Result<SetManifest, ReadError> {
    let json = bucket.get_listed(&set.key, set.bytes, LIMIT).await;
    let json = json.map_err(|error| ReadError::Unreadable(error.to_string()))?;
    let json = json.ok_or_else(|| ReadError::Damaged(format!("there is no manifest `{}` any more", set.key)))?;
    SetManifest::parse(&json, collection, &set.id, bucket.key_prefix()).map_err(|why| {
        let text = format!("the manifest `{}` can't be used: {why}", set.key);
        if SetManifest::newer(&json).is_some() { ReadError::Newer(text) } else { ReadError::Damaged(text) }
    })
}
