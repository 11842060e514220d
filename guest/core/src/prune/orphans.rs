//! Whose orphaned snapshots are: another source may store its snapshots under the same keys, and keep its manifests where
//! this run can't see them. A snapshot tells the peer that made it.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{Inventory, plain, snapshot_of};
use crate::archive::{self, ArchiveError};
use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::report::Item;
use crate::sets::StreamedKey;
use crate::source;
use crate::store::{Object, ObjectStore};

/// How many snapshots are walked at the same time.
const AT_ONCE: usize = 8;

/// Takes out of `orphans` all that are not known to be of a source that is known here; an item says how many. A snapshot
/// that is no whole one is of no use to anybody, and stays among them.
pub(super) async fn leave_foreign(
    context: &Context,
    bucket: &dyn ObjectStore,
    inventory: &Inventory,
    orphans: &mut Vec<Object>,
) -> Option<Item> {
    if orphans.is_empty() {
        return None;
    }
    let known = match Known::read(context, bucket, inventory).await {
        Ok(known) => known,
        Err(error) => {
            orphans.clear();
            return Some(Item::skipped("snapshot", format!("orphaned snapshots are left: {error}")).name("sweep"));
        }
    };
    let snapshots: BTreeMap<String, Object> = orphans
        .iter()
        .map(|orphan| plain(snapshot_of(&orphan.key)))
        .filter_map(|key| Some((key.clone(), inventory.snapshots.get(&key)?.clone())))
        .collect();
    let mut foreign = BTreeSet::new();
    let known = &known;
    let work = snapshots.into_iter().map(|(plain, object)| async move {
        let streamed = StreamedKey::parse(bucket.places().bare(&object.key));
        if streamed.is_some_and(|streamed| !known.sources.contains(&streamed.source)) {
            return (plain, false);
        }
        let ours = match archive::check_shard(bucket, &object.key, object.bytes).await {
            Ok(peer) => known.peers.contains(&peer),
            Err(ArchiveError::Broken(_)) => true,
            Err(ArchiveError::Unreadable(_)) => false,
        };
        (plain, ours)
    });
    concurrent::at_most(AT_ONCE, work, |(plain, ours)| {
        if !ours {
            foreign.insert(plain);
        }
    })
    .await;
    orphans.retain(|orphan| !foreign.contains(&plain(snapshot_of(&orphan.key))));
    (!foreign.is_empty()).then(|| {
        let why = format!(
            "{} orphaned snapshots are left: their source is not known here, and manifests that can't be seen from here may name them",
            foreign.len()
        );
        Item::skipped("snapshot", why).name("sweep")
    })
}

/// The sources that are known here, by their records and by the manifests of the collection.
struct Known {
    peers: BTreeSet<u64>,
    /// Their ids, as they stand in the keys of streamed snapshots.
    sources: BTreeSet<String>,
}

impl Known {
    async fn read(context: &Context, bucket: &dyn ObjectStore, inventory: &Inventory) -> Result<Self, Error> {
        let records = source::list_allowed(context, bucket).await?;
        let mut peers: BTreeSet<u64> = records.iter().flat_map(source::Record::peers).collect();
        let mut sources: BTreeSet<String> = records.iter().map(|record| record.id.to_string()).collect();
        for set in &inventory.sets {
            peers.extend(&set.header.peers);
            sources.extend(set.header.source_id.clone());
            let shards = set.manifest.iter().flat_map(|manifest| &manifest.shards);
            let streamed = shards.filter_map(|shard| StreamedKey::parse(bucket.places().bare(&shard.s3_key)));
            sources.extend(streamed.map(|streamed| streamed.source));
        }
        Ok(Self { peers, sources })
    }
}
