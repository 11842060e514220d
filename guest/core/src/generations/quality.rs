//! Whether a generation is good: the one place that says so. A backup asks it when it ends, and retention and a restore
//! ask it of what they find.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;

use super::{BucketSnapshot, Generation};
use crate::creation;
use crate::error::{Code, Error};
use crate::sets::quality::made_by;
use crate::snapshot_file::{self, SnapshotDescription};
use crate::store::ObjectStore;

/// A snapshot and what it says about itself.
#[derive(Clone, Debug)]
pub struct Described {
    /// The object.
    pub snapshot: BucketSnapshot,
    /// Its tables.
    pub description: SnapshotDescription,
}

impl Described {
    /// The shards it has data for, and whether that data is good: a replica that was not active when the
    /// snapshot was made may lack points.
    pub fn shards(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.description.shards.iter().filter(|(_, shard)| shard.has_data).map(|(id, shard)| {
            let good = shard.replicas.get(&shard.this_peer).is_none_or(|state| state == "Active");
            (*id, good)
        })
    }
}

/// Walks all snapshots of a generation to their ends: each has to be as large as the manifest says and made by the peer
/// in its name, together they have to be of one collection and hold all of it, and it has to be one that can be made
/// again. There is no SHA-256 of them.
///
/// # Errors
/// All that is wrong with it, or could not be looked at: see [`crate::sets::quality::is_unknown`].
pub async fn of_generation(store: &dyn ObjectStore, generation: &Generation) -> Result<Vec<Described>, Vec<Error>> {
    let mut wrong: Vec<Error> = partial(generation).into_iter().collect();
    wrong.extend(generation.snapshots.iter().filter_map(|snapshot| of_another_size(generation, snapshot)));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut described = Vec::new();
    for read in join_all(generation.snapshots.iter().map(|snapshot| describe(store, snapshot))).await {
        match read {
            Ok(one) => described.push(one),
            Err(error) => wrong.push(error),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    complete(&described).and_then(|()| can_be_made(&described)).map_err(|error| vec![error])?;
    let uuid = generation.manifest.as_ref().and_then(|manifest| manifest.uuid.as_ref());
    let other = described.iter().find(|one| uuid.is_some() && one.description.uuid.as_ref() != uuid);
    match other {
        None => Ok(described),
        Some(other) => Err(vec![Error::new(
            Code::SnapshotDamaged,
            format!("`{}`", other.snapshot.name),
            "it is of another collection of this name than the one that was backed up",
        )]),
    }
}

/// What is said of a backup that lacks shards.
fn partial(generation: &Generation) -> Option<Error> {
    let missing = &generation.manifest.as_ref()?.missing;
    let shards = missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    (!missing.is_empty()).then(|| Error::new(Code::Incomplete, "", format!("it is partial: it lacks shard {shards}")))
}

fn of_another_size(generation: &Generation, snapshot: &BucketSnapshot) -> Option<Error> {
    let listed = generation.manifest.as_ref()?.snapshots.iter().find(|listed| listed.key == snapshot.key)?;
    (listed.bytes != snapshot.bytes).then(|| {
        let cause = format!(
            "it has {} bytes and its manifest says {}: it is not the snapshot that was made",
            snapshot.bytes, listed.bytes
        );
        Error::new(Code::SnapshotDamaged, format!("`{}`", snapshot.name), cause)
    })
}

async fn describe(store: &dyn ObjectStore, snapshot: &BucketSnapshot) -> Result<Described, Error> {
    let thing = || format!("`{}`", snapshot.name);
    let description = snapshot_file::describe(store, &snapshot.key, snapshot.bytes).await;
    let description = description.map_err(|error| Error::from(error).of(thing()))?;
    for shard in description.shards.values().filter(|shard| shard.has_data) {
        made_by(shard.this_peer, snapshot.peer).map_err(|error| error.of(thing()))?;
    }
    Ok(Described { snapshot: snapshot.clone(), description })
}

/// Holds what the snapshots say of the collection against what Qdrant can be told.
fn can_be_made(snapshots: &[Described]) -> Result<(), Error> {
    let Some(first) = snapshots.first() else { return Ok(()) };
    let description = &first.description;
    let key = |shard: u32| -> Option<Value> {
        let mapping = description.shard_keys.iter().find(|mapping| mapping.shard_ids.contains(&shard))?;
        Some(mapping.key.clone())
    };
    let shards: Vec<_> = description.shards.keys().map(|shard| (*shard, key(*shard))).collect();
    creation::check(&description.config, &shards)
}

/// Proves from their tables alone that snapshots belong together and miss nothing.
///
/// # Errors
/// Says what is missing, or which of them do not belong together.
pub fn complete(snapshots: &[Described]) -> Result<(), Error> {
    let incomplete = |cause: String| Error::new(Code::Incomplete, "", cause);
    let Some(first) = snapshots.first() else { return Err(incomplete("there is no snapshot".to_owned())) };
    for other in snapshots {
        let (a, b) = (&first.description, &other.description);
        if a.uuid != b.uuid {
            let cause = format!(
                "`{}` and `{}` come from different collections of this name (uuid {} and {}): from two clusters with \
                 one bucket, or from before and after the collection was made anew",
                first.snapshot.name,
                other.snapshot.name,
                a.uuid.as_deref().unwrap_or("none"),
                b.uuid.as_deref().unwrap_or("none"),
            );
            return Err(incomplete(cause).advice("name the ones to restore in the file `snapshots`"));
        }
        if a.shards.keys().ne(b.shards.keys()) || a.shard_number != b.shard_number {
            let cause =
                format!("`{}` and `{}` disagree on the collection's shards", first.snapshot.name, other.snapshot.name);
            return Err(incomplete(cause));
        }
    }
    let good: BTreeSet<u32> =
        snapshots.iter().flat_map(Described::shards).filter(|(_, good)| *good).map(|(shard, _)| shard).collect();
    let missing: Vec<String> =
        first.description.shards.keys().filter(|shard| !good.contains(shard)).map(u32::to_string).collect();
    if !missing.is_empty() {
        return Err(incomplete(format!(
            "no snapshot has data of an active replica of shard {}; the snapshots of the peers that held it are missing",
            missing.join(", ")
        )));
    }
    if first.description.shards.is_empty() && !first.description.custom_sharding {
        return Err(incomplete("the snapshot names no shard".to_owned()));
    }
    Ok(())
}
