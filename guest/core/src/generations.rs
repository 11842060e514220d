//! Generations: the snapshots of a whole collection that belong together, one of each peer, as `create_snap` makes them.

mod found;
mod quality;

pub use found::{BucketSnapshot, by_time, each_snapshot_in, generations, snapshots_in};
pub use quality::{Described, complete, of_generation};

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::error::{Code, Error};
use crate::manifest::Manifest;
use crate::store::ObjectStore;

/// The largest manifest: 1,000 shards take 1 MB.
const LIMIT: usize = 64 << 20;

/// Snapshots that belong together.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The newest first.
    pub snapshots: Vec<BucketSnapshot>,
    /// The manifest that lists them. Without one they were grouped by their times.
    pub manifest: Option<Manifest>,
}

impl Generation {
    /// The names of its snapshots, for people.
    pub fn names(&self) -> String {
        self.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The generations of one collection, the newest first. Its manifests are read from the newest on, until `enough` of them
/// list snapshots that are all there; what they do not list is grouped by time.
///
/// # Errors
/// The manifests can't be listed or read, or one of them is none.
pub async fn of_collection(
    store: &dyn ObjectStore,
    collection: &str,
    snapshots: Vec<BucketSnapshot>,
    enough: usize,
) -> Result<Vec<Generation>, Error> {
    let mut generations = Vec::new();
    let mut rest = snapshots;
    let mut complete = 0;
    for (key, bytes) in manifests(store, collection).await? {
        if complete == enough {
            break;
        }
        let Some(manifest) = read(store, collection, &key, bytes).await? else { continue };
        let there = |key: &String| rest.iter().find(|snapshot| snapshot.key == *key).cloned();
        let found: Option<Vec<BucketSnapshot>> = manifest.snapshots.iter().map(|listed| there(&listed.key)).collect();
        let Some(mut snapshots) = found.filter(|found| !found.is_empty()) else { continue };
        let keys: BTreeSet<&str> = manifest.snapshots.iter().map(|listed| listed.key.as_str()).collect();
        rest.retain(|snapshot| !keys.contains(snapshot.key.as_str()));
        found::newest_first(&mut snapshots);
        complete += usize::from(manifest.missing.is_empty());
        generations.push(Generation { snapshots, manifest: Some(manifest) });
    }
    let grouped = generations_by_time(rest);
    generations.extend(grouped);
    generations.sort_by_key(|generation| Reverse(generation.snapshots.iter().map(|snapshot| snapshot.started).max()));
    Ok(generations)
}

fn generations_by_time(snapshots: Vec<BucketSnapshot>) -> impl Iterator<Item = Generation> {
    found::generations(snapshots).into_iter().map(|snapshots| Generation { snapshots, manifest: None })
}

/// The keys of all manifests of a collection with their sizes, the newest first.
///
/// # Errors
/// The bucket can't be listed.
pub async fn manifests(store: &dyn ObjectStore, collection: &str) -> Result<Vec<(String, u64)>, Error> {
    let mut found = Vec::new();
    let mut note = |object: crate::store::Object| {
        if object.key.ends_with(".json") {
            found.push((object.key, object.bytes));
        }
    };
    store.list_own(&Manifest::prefix(collection), &mut note).await?;
    found.sort_by(|left: &(String, u64), right| store.places().bare(&right.0).cmp(store.places().bare(&left.0)));
    Ok(found)
}

/// Reads a manifest; `None` where it has gone since it was listed.
///
/// # Errors
/// It can't be read, is none, or is about another collection.
pub async fn read(store: &dyn ObjectStore, collection: &str, key: &str, bytes: u64) -> Result<Option<Manifest>, Error> {
    let thing = || format!("the manifest `{key}`");
    let Some(json) = store.get_listed(key, bytes, LIMIT).await.map_err(|error| error.of(thing()))? else {
        return Ok(None);
    };
    let manifest = Manifest::parse(&json).map_err(|cause| Error::new(Code::ManifestUnusable, thing(), cause))?;
    if manifest.collection == collection {
        return Ok(Some(manifest));
    }
    let cause = format!("it is about the collection `{}`", manifest.collection);
    Err(Error::new(Code::ManifestUnusable, thing(), cause))
}
