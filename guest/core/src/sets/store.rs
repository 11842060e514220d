//! The sets in a bucket.

use super::manifest::{MANIFESTS, SetId, SetManifest};
use crate::ordered::Map;
use crate::s3::Bucket;

/// The largest manifest: 1,000 shards take 1 MB.
const LIMIT: usize = 64 << 20;

/// A manifest that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The set.
    pub id: SetId,
    /// The manifest's key, as the server lists it.
    pub key: String,
}

/// Every collection in the bucket with its sets, the oldest first. `collection`: only of this one.
///
/// # Errors
/// The bucket can't be listed.
pub async fn list(bucket: &Bucket, collection: Option<&str>) -> Result<Map<String, Vec<Found>>, String> {
    let mut found: Map<String, Vec<Found>> = Map::new();
    let prefix = collection.map_or_else(|| format!("{MANIFESTS}/"), SetId::folder);
    bucket
        .list(&prefix, |object| {
            if let Some((collection, id)) = SetId::of_key(&object.key) {
                found.entry(collection).or_default().push(Found { id, key: object.key });
            }
        })
        .await
        .map_err(|error| error.to_string())?;
    for sets in found.values_mut() {
        crate::ordered::sort(sets, |left, right| left.id.cmp(&right.id));
    }
    Ok(found)
}

/// Reads the manifest of `collection` in a set.
///
/// # Errors
/// It can't be read, or is not one: says which and why.
pub async fn read(bucket: &Bucket, collection: &str, set: &Found) -> Result<SetManifest, String> {
    let json = bucket.get(&set.key, LIMIT).await.map_err(|error| error.to_string())?;
    let json = json.ok_or_else(|| format!("there is no manifest `{}` any more", set.key))?;
    SetManifest::parse(&json, collection, &set.id, bucket.key_prefix())
        .map_err(|why| format!("the manifest `{}` can't be used: {why}", set.key))
}
