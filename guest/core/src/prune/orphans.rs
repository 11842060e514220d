//! Whose orphaned snapshots are: another source may store its snapshots under the same keys, and keep its manifests where
//! this run can't see them; and a backup that is at work has written no manifest yet. A snapshot tells the peer that made
//! it.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{Inventory, plain, snapshot_of};
use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::lock::{BackupsAtWork, Maker};
use crate::report::Item;
use crate::sets::{self, StreamedKey};
use crate::snapshot_file::{self, SnapshotFileError};
use crate::source::{self, Record};
use crate::store::{Object, ObjectStore};

/// How many snapshots are walked at the same time.
const AT_ONCE: usize = 8;

/// Takes out of `orphans` all that are not known to be of a source that is known here, and what a backup that is at work
/// may have made; items say how many. A snapshot that is no whole one is of no use to anybody, and stays among them.
pub(super) async fn leave(
    context: &Context,
    bucket: &dyn ObjectStore,
    at_work: &BackupsAtWork<'_>,
    inventory: &Inventory,
    orphans: &mut Vec<Object>,
) -> Vec<Item> {
    if orphans.is_empty() {
        return Vec::new();
    }
    let left = async {
        let known = Known::read(context, bucket, inventory).await?;
        let (makers, foreign) = leave_foreign(bucket, &known, inventory, orphans).await;
        let unrecorded = leave_unrecorded(bucket, at_work, &known, &makers, inventory, orphans).await?;
        Ok::<_, Error>([foreign, unrecorded])
    };
    let reasons = match left.await {
        Ok(left) => left.into_iter().flatten().collect(),
        Err(error) => {
            orphans.clear();
            vec![format!("orphaned snapshots are left: {error}")]
        }
    };
    reasons.into_iter().map(|why| Item::skipped("snapshot", why).name("sweep")).collect()
}

/// Takes out of `orphans` those of sources that are not known here, and says how many. The makers of the others, by their
/// plain keys.
async fn leave_foreign(
    bucket: &dyn ObjectStore,
    known: &Known,
    inventory: &Inventory,
    orphans: &mut Vec<Object>,
) -> (BTreeMap<String, Maker>, Option<String>) {
    let snapshots: BTreeMap<String, Object> = orphans
        .iter()
        .map(|orphan| plain(snapshot_of(&orphan.key)))
        .filter_map(|key| Some((key.clone(), inventory.snapshots.get(&key)?.clone())))
        .collect();
    let mut makers = BTreeMap::new();
    let work = snapshots.into_iter().map(|(plain, object)| async move { (plain, maker(bucket, known, &object).await) });
    let mut foreign = BTreeSet::new();
    concurrent::at_most(AT_ONCE, work, |(plain, maker)| match maker {
        Some(maker) => drop(makers.insert(plain, maker)),
        None => drop(foreign.insert(plain)),
    })
    .await;
    orphans.retain(|orphan| !foreign.contains(&plain(snapshot_of(&orphan.key))));
    let why = (!foreign.is_empty()).then(|| {
        format!(
            "{} orphaned snapshots are left: their source is not known here, and manifests that can't be seen from here may name them",
            foreign.len()
        )
    });
    (makers, why)
}

/// Who made an orphaned snapshot; `None` where it is not known to be somebody who is known here.
async fn maker(bucket: &dyn ObjectStore, known: &Known, object: &Object) -> Option<Maker> {
    let streamed = StreamedKey::parse(bucket.places().bare(&object.key));
    if streamed.as_ref().is_some_and(|streamed| !known.sources.contains(&streamed.source)) {
        return None;
    }
    match (snapshot_file::check_shard(bucket, &object.key, object.bytes).await, streamed) {
        (Ok(peer), _) if !known.peers.contains(&peer) => None,
        (Err(SnapshotFileError::Unreadable(_)), _) => None,
        (_, Some(streamed)) => Some(Maker::Source(streamed.source)),
        (Ok(peer), None) => Some(Maker::Peer(peer)),
        (Err(SnapshotFileError::Broken(_)), None) => Some(Maker::Unknown),
    }
}

/// Takes out of `orphans` what a backup that is at work may have made, and says how many. The snapshots were listed before
/// this is asked; the manifests are listed again afterwards, as a backup may have ended between the two.
async fn leave_unrecorded(
    bucket: &dyn ObjectStore,
    at_work: &BackupsAtWork<'_>,
    known: &Known,
    makers: &BTreeMap<String, Maker>,
    inventory: &Inventory,
    orphans: &mut Vec<Object>,
) -> Result<Option<String>, Error> {
    let backups = at_work.look().await?;
    let (found, _) = sets::list_one(bucket, &inventory.collection).await?;
    if found.iter().any(|found| inventory.sets.iter().all(|set| set.found.key != found.key)) {
        orphans.clear();
        return Ok(Some("orphaned snapshots are left this time: a backup has ended meanwhile".to_owned()));
    }
    let before = orphans.len();
    let mut who = BTreeSet::new();
    orphans.retain(|orphan| {
        let maker = makers.get(&plain(snapshot_of(&orphan.key))).unwrap_or(&Maker::Unknown);
        let by = backups.iter().find(|backup| backup.may_have_made(maker, &known.records));
        who.extend(by.map(|backup| backup.who.as_str()));
        by.is_none()
    });
    let left = before - orphans.len();
    let who = who.into_iter().collect::<Vec<_>>().join("; ");
    Ok((left > 0).then(|| {
        format!(
            "{left} snapshots that belong to no set are left: a backup is at work, which may have made them ({who})"
        )
    }))
}

/// The sources that are known here, by their records and by the manifests of the collection.
struct Known {
    records: Vec<Record>,
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
        Ok(Self { records, peers, sources })
    }
}
