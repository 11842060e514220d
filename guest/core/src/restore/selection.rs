//! Which backup of a collection to restore: the newest one whose archives prove to hold all of it.

use super::archives::{BucketArchive, generations, newest_first};
use crate::archive::{self, ArchiveDescription, ArchiveError};
use crate::error::{Code, Error};
use crate::manifest::{Manifest, ManifestArchive};
use crate::report::Item;
use crate::store::ObjectStore;
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// The archives to restore one collection from.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The collection.
    pub collection: String,
    /// Its archives with what each says about itself.
    pub archives: Vec<Described>,
    /// The manifest that lists them, where there is one.
    pub manifest: Option<Manifest>,
    /// Older or incomplete backups of the same collection, each named with the reason.
    pub skipped: Vec<Item>,
}

/// An archive and what it says about itself.
#[derive(Clone, Debug)]
pub struct Described {
    /// The object.
    pub archive: BucketArchive,
    /// Its tables.
    pub description: ArchiveDescription,
}

impl Described {
    /// The shards it has data for, and whether that data is good: a replica that was not active when the
    /// archive was made may lack points.
    pub fn shards(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.description.shards.iter().filter(|(_, shard)| shard.has_data).map(|(id, shard)| {
            let good = shard.replicas.get(&shard.this_peer).is_none_or(|state| state == "Active");
            (*id, good)
        })
    }
}

/// Why a backup is not taken.
enum Unfit {
    /// The bucket can't be read: nothing is known of it.
    Unreadable(String),
    /// It is not complete, or damaged.
    Damaged(String),
}

/// Chooses from all archives of one collection. An older backup is taken only in place of one that is known to be no
/// whole one, and not of one that can't be read right now.
///
/// # Errors
/// No backup is complete: says for each what is missing.
pub async fn select(
    bucket: &dyn ObjectStore,
    collection: &str,
    archives: Vec<BucketArchive>,
) -> Result<Selection, Error> {
    let mut candidates = generations(archives.clone());
    let manifest = newest_manifest(bucket, collection, &archives).await?;
    if let Some((manifest, listed)) = &manifest {
        // The manifest says exactly what belongs together; whatever is left over is grouped by time.
        let keys: BTreeSet<&str> = manifest.archives.iter().map(|archive| archive.key.as_str()).collect();
        let rest = archives.into_iter().filter(|archive| !keys.contains(archive.key.as_str())).collect();
        candidates = generations(rest);
        candidates.push(listed.clone());
        candidates.sort_by_key(|generation| std::cmp::Reverse(generation.iter().map(|archive| archive.started).max()));
    }
    let mut chosen: Option<Selection> = None;
    let mut skipped = Vec::new();
    let mut refused = Vec::new();
    for generation in candidates {
        if chosen.is_some() {
            skipped.extend(generation.into_iter().map(|archive| skip(archive, "there is a newer backup")));
            continue;
        }
        let manifest =
            manifest.as_ref().filter(|(_, listed)| *listed == generation).map(|(manifest, _)| manifest.clone());
        let names = generation.iter().map(|archive| archive.name.clone()).collect::<Vec<_>>().join(", ");
        match describe(bucket, &generation, manifest.as_ref()).await {
            Ok(archives) => {
                chosen = Some(Selection { collection: collection.to_owned(), archives, manifest, skipped: Vec::new() });
            }
            Err(Unfit::Unreadable(cause)) => {
                let cause = format!(
                    "{cause}; whether this backup is whole is not known, and no older one is taken in its place"
                );
                return Err(Error::new(Code::StoreAnswer, names, cause));
            }
            Err(Unfit::Damaged(cause)) => {
                skipped.extend(generation.into_iter().map(|archive| skip(archive, &cause)));
                refused.push(format!("{names}: {cause}"));
            }
        }
    }
    match chosen {
        Some(selection) => Ok(Selection { skipped, ..selection }),
        None => {
            let cause = format!("no backup of it can be restored: {}", refused.join("; "));
            Err(Error::new(Code::Incomplete, "", cause))
        }
    }
}

fn skip(archive: BucketArchive, cause: &str) -> Item {
    Item::skipped("snapshot", cause).collection(archive.collection).name(archive.name).bytes(archive.bytes)
}

/// The newest manifest whose archives are all there, with them.
pub(crate) async fn newest_manifest(
    bucket: &dyn ObjectStore,
    collection: &str,
    archives: &[BucketArchive],
) -> Result<Option<(Manifest, Vec<BucketArchive>)>, Error> {
    const LIMIT: usize = 64 << 20;
    let mut keys = Vec::new();
    bucket
        .list_own(&Manifest::prefix(collection), &mut |object| {
            if object.key.ends_with(".json") {
                keys.push((object.key, object.bytes));
            }
        })
        .await?;
    keys.sort_by(|left: &(String, u64), right| bucket.places().bare(&left.0).cmp(bucket.places().bare(&right.0)));
    for (key, bytes) in keys.into_iter().rev() {
        let Some(json) = bucket.get_listed(&key, bytes, LIMIT).await? else {
            continue;
        };
        let unusable = |cause: String| Error::new(Code::ManifestUnusable, format!("the manifest `{key}`"), cause);
        let manifest = Manifest::parse(&json).map_err(unusable)?;
        if manifest.collection != collection {
            return Err(unusable(format!("it is about the collection `{}`", manifest.collection)));
        }
        let found: Option<Vec<BucketArchive>> = manifest.archives.iter().map(|listed| same(listed, archives)).collect();
        if let Some(mut found) = found.filter(|found| !found.is_empty()) {
            newest_first(&mut found);
            return Ok(Some((manifest, found)));
        }
    }
    Ok(None)
}

fn same(listed: &ManifestArchive, archives: &[BucketArchive]) -> Option<BucketArchive> {
    archives.iter().find(|archive| archive.key == listed.key).cloned()
}

/// Reads the tables of all archives of a backup and proves that together they hold the whole collection.
async fn describe(
    bucket: &dyn ObjectStore,
    generation: &[BucketArchive],
    manifest: Option<&Manifest>,
) -> Result<Vec<Described>, Unfit> {
    for archive in generation {
        let listed = manifest.and_then(|manifest| manifest.archives.iter().find(|listed| listed.key == archive.key));
        if let Some(listed) = listed.filter(|listed| listed.bytes != archive.bytes) {
            return Err(Unfit::Damaged(format!(
                "`{}` has {} bytes and its manifest says {}: it is not the archive that was made",
                archive.name, archive.bytes, listed.bytes
            )));
        }
    }
    let read = generation.iter().map(|archive| async move {
        let description = archive::describe(bucket, &archive.key, archive.bytes).await;
        let description = description.map_err(|error| {
            let cause = format!("`{}`: {error}", archive.name);
            match error {
                ArchiveError::Unreadable(_) => Unfit::Unreadable(cause),
                ArchiveError::Broken(_) => Unfit::Damaged(cause),
            }
        })?;
        Ok(Described { archive: archive.clone(), description })
    });
    let described = join_all(read).await.into_iter().collect::<Result<Vec<_>, Unfit>>()?;
    complete(&described).map_err(|error| Unfit::Damaged(error.to_string()))?;
    Ok(described)
}

/// Proves from their tables alone that archives belong together and miss nothing.
pub fn complete(archives: &[Described]) -> Result<(), Error> {
    let incomplete = |cause: String| Error::new(Code::Incomplete, "", cause);
    let Some(first) = archives.first() else { return Err(incomplete("there is no snapshot".to_owned())) };
    for other in archives {
        let (a, b) = (&first.description, &other.description);
        if a.uuid != b.uuid {
            return Err(incomplete(format!(
                "`{}` and `{}` come from different collections of this name (uuid {} and {}): from two clusters with \
                 one bucket, or from before and after the collection was made anew; name the ones to restore in the \
                 file `snapshots`",
                first.archive.name,
                other.archive.name,
                a.uuid.as_deref().unwrap_or("none"),
                b.uuid.as_deref().unwrap_or("none"),
            )));
        }
        if a.shards.keys().ne(b.shards.keys()) || a.shard_number != b.shard_number {
            return Err(incomplete(format!(
                "`{}` and `{}` disagree on the collection's shards",
                first.archive.name, other.archive.name
            )));
        }
    }
    let good: BTreeSet<u32> =
        archives.iter().flat_map(Described::shards).filter(|(_, good)| *good).map(|(shard, _)| shard).collect();
    let missing: Vec<String> =
        first.description.shards.keys().filter(|shard| !good.contains(shard)).map(u32::to_string).collect();
    if !missing.is_empty() {
        return Err(incomplete(format!(
            "no archive has data of an active replica of shard {}; the archives of the peers that held it are missing",
            missing.join(", ")
        )));
    }
    if first.description.shards.is_empty() && !first.description.custom_sharding {
        return Err(incomplete("the snapshot names no shard".to_owned()));
    }
    Ok(())
}
