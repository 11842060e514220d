//! Which backup of a collection to restore: the newest good generation of its snapshots.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::generations::{self, BucketSnapshot, Described, of_generation};
use crate::manifest::Manifest;
use crate::report::Item;
use crate::sets::quality;
use crate::store::ObjectStore;

/// The snapshots to restore one collection from.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The collection.
    pub collection: String,
    /// Its snapshots with what each says about itself.
    pub snapshots: Vec<Described>,
    /// The manifest that lists them, where there is one.
    pub manifest: Option<Manifest>,
    /// Older or incomplete backups of the same collection, each named with the reason.
    pub skipped: Vec<Item>,
    /// What is wrong with each newer backup, by its snapshots' names.
    pub refused: Vec<String>,
}

/// Warns where the newest backup of a collection is not what it is restored from: the exit code is that of a restore that
/// went well. `refused` says what is wrong with each newer one.
pub fn warn_of_older(context: &Context, collection: &str, taken: &str, refused: &[String]) {
    if !refused.is_empty() {
        let why = refused.join("; ");
        context.log.warn(None, &format!("`{collection}` is restored from an older backup, {taken}: {why}"));
    }
}

/// Chooses from all snapshots of one collection. An older backup is taken only in place of one that is known to be no
/// whole one, and not of one that can't be read right now.
///
/// # Errors
/// No backup is complete: says for each what is missing.
pub async fn select(
    bucket: &dyn ObjectStore,
    collection: &str,
    snapshots: Vec<BucketSnapshot>,
) -> Result<Selection, Error> {
    let mut candidates = generations::of_collection(bucket, collection, snapshots, 1).await?.into_iter();
    let mut skipped = Vec::new();
    let mut refused = Vec::new();
    while let Some(generation) = candidates.next() {
        match of_generation(bucket, &generation).await {
            Ok(snapshots) => {
                let older = candidates.flat_map(|older| older.snapshots);
                skipped.extend(older.map(|snapshot| skip(snapshot, "there is a newer backup")));
                let manifest = generation.manifest;
                return Ok(Selection { collection: collection.to_owned(), snapshots, manifest, skipped, refused });
            }
            Err(wrong) => {
                let (names, cause) = (generation.names(), quality::as_one(&wrong));
                if quality::is_unknown(&wrong) {
                    let advice = "it is not known whether this backup is complete, and no older one is used instead";
                    return Err(cause.of(names).advice(advice));
                }
                let why = cause.to_string();
                skipped.extend(generation.snapshots.into_iter().map(|snapshot| skip(snapshot, &why)));
                refused.push(format!("{names}: {cause}"));
            }
        }
    }
    Err(Error::new(Code::Incomplete, "", format!("no backup of it can be restored: {}", refused.join("; "))))
}

fn skip(snapshot: BucketSnapshot, cause: &str) -> Item {
    Item::skipped("snapshot", cause).collection(snapshot.collection).name(snapshot.name).bytes(snapshot.bytes)
}
