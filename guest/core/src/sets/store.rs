//! The sets in a bucket.

use super::found::{Found, LIMIT};
use super::header::SetHeader;
use super::manifest::{MANIFESTS, SetId, SetManifest};
use crate::error::{Code, Error};
use crate::store::{Object, ObjectStore};
use std::collections::{BTreeMap, BTreeSet};

/// Every collection in the bucket with its sets, the oldest first.
///
/// # Errors
/// The bucket can't be listed.
pub async fn list(bucket: &dyn ObjectStore) -> Result<BTreeMap<String, Vec<Found>>, Error> {
    let mut listed = Listed::default();
    bucket.list_own(&format!("{MANIFESTS}/"), &mut |object| listed.note(bucket, object)).await?;
    Ok(listed.sorted())
}

/// The sets of one collection, the oldest first, and the ids of those that are pinned.
///
/// # Errors
/// The bucket can't be listed.
pub async fn list_one(bucket: &dyn ObjectStore, collection: &str) -> Result<(Vec<Found>, BTreeSet<String>), Error> {
    let (mut listed, mut pinned) = (Listed::default(), BTreeSet::new());
    let mut note = |object: Object| match SetId::of_pin(&object.key) {
        Some(id) => drop(pinned.insert(id.to_owned())),
        None => listed.note(bucket, object),
    };
    bucket.list_own(&SetId::folder(collection), &mut note).await?;
    Ok((listed.sorted().remove(collection).unwrap_or_default(), pinned))
}

/// What lies in the folder of the manifests.
#[derive(Default)]
struct Listed {
    sets: BTreeMap<String, Vec<Found>>,
    drills: BTreeMap<(String, String), (String, u64)>,
}

impl Listed {
    fn note(&mut self, bucket: &dyn ObjectStore, object: Object) {
        let Object { key, bytes, .. } = object;
        let bare = bucket.places().bare(&key);
        if let Some((collection, id)) = SetId::of_drill(bare) {
            // The place that counts more is listed first.
            self.drills.entry((collection, id.to_string())).or_insert((key, bytes));
        } else if let Some((collection, id)) = SetId::of_key(bare) {
            self.sets.entry(collection).or_default().push(Found { id, key, bytes, drill: None });
        }
    }

    fn sorted(mut self) -> BTreeMap<String, Vec<Found>> {
        for (collection, sets) in &mut self.sets {
            sort(sets);
            for set in sets {
                set.drill = self.drills.remove(&(collection.clone(), set.id.to_string()));
            }
        }
        self.sets
    }
}

fn sort(sets: &mut Vec<Found>) {
    sets.sort_by(|left, right| left.id.cmp(&right.id));
    // Of one that lies at two places, the place that counts more was listed first.
    sets.dedup_by(|later, first| later.id == first.id);
}

/// Reads the manifest of `collection` in a set.
///
/// # Errors
/// It can't be read, which tells nothing of it ([`Error::is_unknown`]); a later version of this program wrote it
/// ([`Code::Version`]); its snapshots lie under another `QDRANT_S3_KEY_PREFIX` ([`Code::Configuration`]), which is no
/// damage, and does not say whose they are; or it is no manifest, contradicts itself, or is gone
/// ([`Code::ManifestUnusable`]).
pub async fn read(bucket: &dyn ObjectStore, collection: &str, set: &Found) -> Result<SetManifest, Error> {
    read_with_header(bucket, collection, set).await.0
}

/// As [`read`], with what the manifest says of its origin, where it can be read at all.
pub async fn read_with_header(
    bucket: &dyn ObjectStore,
    collection: &str,
    set: &Found,
) -> (Result<SetManifest, Error>, Option<SetHeader>) {
    read_below(bucket, collection, set, |_| None).await
}

/// As [`read_with_header`], whatever prefix of Qdrant's own its snapshots lie below: to list it and to look at it.
pub async fn read_anywhere(
    bucket: &dyn ObjectStore,
    collection: &str,
    set: &Found,
) -> (Result<SetManifest, Error>, Option<SetHeader>) {
    read_below(bucket, collection, set, |header| header.key_prefix.as_deref()).await
}

/// Reads a manifest whose snapshots lie below the prefix that `prefix` names, else below the bucket's own.
async fn read_below(
    bucket: &dyn ObjectStore,
    collection: &str,
    set: &Found,
    prefix: impl Fn(&SetHeader) -> Option<&str>,
) -> (Result<SetManifest, Error>, Option<SetHeader>) {
    match content(bucket, set).await {
        Ok(json) => {
            let header = SetHeader::parse(&json, collection);
            let key_prefix = header.as_ref().and_then(prefix).unwrap_or(bucket.key_prefix());
            (parse(bucket, collection, set, &json, key_prefix, header.as_ref()), header)
        }
        Err(error) => (Err(error), None),
    }
}

async fn content(bucket: &dyn ObjectStore, set: &Found) -> Result<Vec<u8>, Error> {
    let thing = || format!("the manifest `{}`", set.key);
    let json = bucket.get_listed(&set.key, set.bytes, LIMIT).await.map_err(|error| error.of(thing()))?;
    json.ok_or_else(|| Error::new(Code::ManifestUnusable, thing(), "it no longer exists"))
}

fn parse(
    bucket: &dyn ObjectStore,
    collection: &str,
    set: &Found,
    json: &[u8],
    key_prefix: &str,
    header: Option<&SetHeader>,
) -> Result<SetManifest, Error> {
    SetManifest::parse(json, collection, &set.id, key_prefix, bucket.places()).map_err(|why| {
        let told = header.and_then(|header| header.key_prefix.as_deref());
        let code = if SetManifest::newer(json).is_some() {
            Code::Version
        } else if told.is_some_and(|prefix| prefix != key_prefix) {
            Code::Configuration
        } else {
            Code::ManifestUnusable
        };
        Error::new(code, format!("the manifest `{}`", set.key), format!("it can't be used: {why}"))
    })
}
