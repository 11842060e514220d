//! Whose backup it is: a source is a cluster, or a server on its own, that is known by the ids of its peers.
//!
//! Qdrant gives a cluster no id, and a server without clustering tells its peer id only with a collection. So the bucket
//! has a record of each source, `sources/<id>.json`, that lists the peers that were seen. A cluster is that source when
//! one of its peers is listed; peers that come are added, so that a source survives that all of them are replaced one by
//! one. Names and hosts are for people, and never decide. docs/identity.md has all of it.

pub mod catalogue;
pub mod choice;
mod identity;
mod neighbours;
pub mod place;
mod record;
mod turn;

pub use identity::{Source, SourceId};
pub use record::Record;
pub use turn::Turn;

use std::collections::BTreeSet;

use neighbours::Neighbours;

use crate::context::Context;
use crate::encode;
use crate::error::{Code, Error};
use crate::places;
use crate::qdrant::Cluster;
use crate::store::ObjectStore;
use crate::timestamp;

/// The version of the record's form; fields may be added to it.
const VERSION: u32 = 1;

/// The largest record: 1,000 peers take 22 KB.
const LIMIT: usize = 1 << 20;

/// How old `seen_at` may become, in seconds.
const SEEN_EVERY: i64 = 86_400;

/// The records of all sources in the bucket, by id.
///
/// # Errors
/// They can't be read, or one of them is none: then it is not known whose a backup is.
pub async fn list(store: &dyn ObjectStore) -> Result<Vec<Record>, Error> {
    let mut found = Vec::new();
    store.list_own(&format!("{}/", places::SOURCES), &mut |object| found.push(object)).await?;
    let mut records: Vec<Record> = Vec::new();
    for object in found {
        let bare = store.places().bare(&object.key);
        let Some(id) = bare.rsplit('/').next().and_then(|name| name.strip_suffix(".json")) else { continue };
        if records.iter().any(|record| record.id.as_str() == id) {
            continue;
        }
        let Some(json) = store.get_listed(&object.key, object.bytes, LIMIT).await? else { continue };
        let unusable = |cause: String| {
            Error::new(Code::ManifestUnusable, format!("the record `{}` of a source", object.key), cause).advice(
                "a newer version of this program may have written it; delete it where it is damaged, and the next backup \
                 writes it anew",
            )
        };
        let record: Record = crate::decode::json(&json).map_err(|error| unusable(error.to_string()))?;
        if record.version > VERSION || record.id.as_str() != id {
            return Err(unusable(format!("version {} of the source {}", record.version, record.id)));
        }
        records.push(record);
    }
    records.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(records)
}

/// As [`list`]; where the keys may not list records, there are none, which is told: sources are then told apart by what
/// the backups say.
///
/// # Errors
/// As for [`list`].
pub async fn list_allowed(context: &Context, store: &dyn ObjectStore) -> Result<Vec<Record>, Error> {
    match list(store).await {
        Err(error) if error.code() == Code::StoreUnauthorized => {
            let folder = store.places().ours(&format!("{}/", places::SOURCES));
            context.log.warn(None, &format!("the records of sources (`{folder}`) can't be read: {error}"));
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// The record of the source that has one of `peers`.
///
/// # Errors
/// Two sources have some of them: which one it is can't be told.
pub fn matching<'a>(records: &'a [Record], peers: &BTreeSet<u64>) -> Result<Option<&'a Record>, Error> {
    let found: Vec<&Record> = records.iter().filter(|record| record.has_one_of(peers)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [record] => Ok(Some(record)),
        several => {
            let sources: Vec<String> = several.iter().map(|record| record.source().to_string()).collect();
            Err(Error::new(
                Code::SourceUnclear,
                "",
                format!("the cluster has peers of several sources: {}", sources.join(", ")),
            )
            .advice(
                "a peer of one has joined the other, or a volume was cloned; delete the record `sources/<id>.json` of \
                 the source that is no more, or give the two a QDRANT_BACKUP_PREFIX each",
            ))
        }
    }
}

/// The ids of the peers of a cluster, as far as it tells: a server without clustering, and without a collection, has
/// none.
///
/// # Errors
/// It does not answer.
pub async fn peers(cluster: &Cluster) -> Result<BTreeSet<u64>, Error> {
    if cluster.distributed {
        return Ok(cluster.members.clone());
    }
    let Some(peer) = cluster.peers.first() else { return Ok(BTreeSet::new()) };
    for collection in peer.client.collections().await? {
        // One that is deleted meanwhile tells nothing.
        if let Some(layout) = peer.client.layout(&collection).await? {
            return Ok(BTreeSet::from([layout.peer_id]));
        }
    }
    Ok(BTreeSet::new())
}

/// The source that `cluster` is; its record is written where there is none, and gets the peers that are new. `None`
/// where it tells no peer id, which is a server without clustering and without a collection, and where the keys do not
/// allow for records.
///
/// # Errors
/// The cluster or the bucket can't be asked, or the cluster has peers of two sources.
pub async fn identify(context: &Context, store: &dyn ObjectStore, cluster: &Cluster) -> Result<Option<Source>, Error> {
    let peers = peers(cluster).await?;
    let Some(new) = SourceId::of_new(&peers) else { return Ok(None) };
    match record(context, store, cluster, &peers, new).await {
        Ok((record, all)) => {
            let source = record.source();
            let host = cluster.host.to_string();
            context.log.info(Some(&host), &format!("source {source}"));
            context.note_source(&cluster.host, &source);
            let neighbours = Neighbours::of(&record, &all, context.ports.clock.now());
            if let Some(warning) = neighbours.warning(store.key_prefix()) {
                context.log.warn(Some(&host), &warning);
            }
            context.note_turn(neighbours.turn());
            Ok(Some(source))
        }
        Err(error) if error.code() == Code::StoreUnauthorized => {
            let why = format!(
                "the source has no record, so that its backups are known by the ids of its peers alone; the key needs \
                 s3:ListBucket, s3:GetObject and s3:PutObject for `{}`: {error}",
                store.places().ours(&format!("{}/", places::SOURCES)),
            );
            context.log.warn(Some(&cluster.host.to_string()), &why);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How the snapshots of a source's shards get into the bucket, where that was found out before.
///
/// # Errors
/// The records can't be read.
pub async fn transfer(store: &dyn ObjectStore, source: &Source) -> Result<Option<String>, Error> {
    Ok(list(store).await?.into_iter().find(|record| record.id == source.id).and_then(|record| record.transfer))
}

/// Notes in the source's record how the snapshots of its shards get into the bucket.
///
/// # Errors
/// The record can't be read or written.
pub async fn note_transfer(store: &dyn ObjectStore, source: &Source, transfer: &str) -> Result<(), Error> {
    let Some(mut record) = list(store).await?.into_iter().find(|record| record.id == source.id) else { return Ok(()) };
    record.transfer = Some(transfer.to_owned());
    let key = store.places().ours(&Record::key(&record.id));
    store.put(&key, "application/json", encode::json(&format!("the record `{key}`"), &record)?).await
}

/// The record, and those of all.
async fn record(
    context: &Context,
    store: &dyn ObjectStore,
    cluster: &Cluster,
    peers: &BTreeSet<u64>,
    new: SourceId,
) -> Result<(Record, Vec<Record>), Error> {
    let records = list(store).await?;
    let now = context.ports.clock.now();
    let written = timestamp::RFC3339.write(now);
    let name = context.settings.source_name.clone();
    let seen: BTreeSet<String> = peers.iter().map(u64::to_string).collect();
    let Some(known) = matching(&records, peers)? else {
        let record = Record {
            version: VERSION,
            id: new,
            name: name.unwrap_or_else(|| cluster.host.to_string()),
            peers: seen,
            created_at: written.clone(),
            seen_at: written,
            transfer: None,
            key_prefix: Some(store.key_prefix().to_owned()),
        };
        let Some(notes) = context.notes() else { return Ok((record, records)) };
        let key = store.places().ours(&Record::key(&record.id));
        let is_new =
            notes.put_new(&key, "application/json", encode::json(&format!("the record `{key}`"), &record)?).await?;
        // Another pod, or another source, may have come at the same time.
        let records = list(store).await?;
        if is_new {
            return Ok((record, records));
        }
        let known = matching(&records, peers)?.cloned().ok_or_else(|| {
            Error::new(Code::SourceUnclear, format!("the record `{key}`"), "it is there and has none of these peers")
                .advice("run this again; delete the record where this goes on")
        })?;
        return Ok((known, records));
    };
    let mut record = known.clone();
    record.peers.extend(seen);
    record.key_prefix = Some(store.key_prefix().to_owned());
    if let Some(name) = name {
        record.name = name;
    }
    let recent = timestamp::RFC3339.read(&record.seen_at).is_some_and(|at| (now - at).whole_seconds() < SEEN_EVERY);
    if let Some(notes) = context.notes().filter(|_| record != *known || !recent) {
        record.seen_at = written;
        let key = store.places().ours(&Record::key(&record.id));
        notes.put(&key, "application/json", encode::json(&format!("the record `{key}`"), &record)?).await?;
    }
    Ok((record, records))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn known(id: &str, name: &str, peers: &[u64]) -> Record {
        Record {
            version: VERSION,
            id: SourceId::from_text(id),
            name: name.to_owned(),
            peers: peers.iter().map(u64::to_string).collect(),
            created_at: String::new(),
            seen_at: String::new(),
            transfer: None,
            key_prefix: None,
        }
    }

    #[test]
    fn a_record_that_is_not_understood_is_no_record_less() {
        let read = |version: u32, id: &str| {
            let store = crate::store::memory::Memory::default();
            let record = Record { version, ..known(id, "name", &[1]) };
            store.store("sources/a.json", &serde_json::to_vec(&record).unwrap(), "");
            futures_executor::block_on(list(&store))
        };
        assert_eq!(read(VERSION, "a").unwrap(), [known("a", "name", &[1])]);
        for (version, id) in [(VERSION + 1, "a"), (VERSION, "b")] {
            assert_eq!(read(version, id).unwrap_err().code(), Code::ManifestUnusable, "{version}, {id}");
        }
    }

    #[test]
    fn one_common_peer_makes_the_source_and_two_sources_none() {
        let records = [known("a", "first", &[1, 2, 3]), known("b", "second", &[7])];
        let id = |peers: &[u64]| {
            let peers = peers.iter().copied().collect();
            matching(&records, &peers).map(|found| found.map(|record| record.id.to_string()))
        };
        assert_eq!(id(&[3, 4, 5]).unwrap(), Some("a".to_owned()));
        assert_eq!(id(&[7]).unwrap(), Some("b".to_owned()));
        assert_eq!(id(&[9]).unwrap(), None);
        assert_eq!(id(&[]).unwrap(), None);
        let error = id(&[1, 7]).unwrap_err();
        assert_eq!(error.code(), Code::SourceUnclear);
        assert!(error.to_string().contains("`first` (a), `second` (b)"), "{error}");
    }

    #[test]
    fn all_pods_come_to_the_same_id_of_a_new_source() {
        let id = |peers: &[u64]| SourceId::of_new(&peers.iter().copied().collect());
        assert_eq!(id(&[5, 3, 9]), id(&[3, 9, 5]));
        assert_ne!(id(&[5]), id(&[3]));
        assert_eq!(id(&[]), None);
        assert!(id(&[5]).unwrap().as_str().len() == 16);
    }
}
