//! Whose backups a target gets: found by the peers of the target, the records of the sources and what the backups say,
//! and never by a name.

use std::collections::{BTreeMap, BTreeSet};

use crate::generations::{BucketSnapshot, each_snapshot_in};
use time::OffsetDateTime;

use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::naming::SnapshotFilter;
use crate::qdrant::Cluster;
use crate::sets::{self, Headed};
use crate::snapshot_file;
use crate::source::catalogue::{Catalogue, Entry, Origin};
use crate::source::choice::{Why, choose};
use crate::source::{self, Record, Source};
use crate::store::ObjectStore;

/// How many snapshots of a peer that no source is known to have are read for the other peers of its cluster.
const READ_OF_A_PEER: usize = 3;

/// How many snapshots are read at the same time.
const AT_ONCE: usize = 8;

/// The newest snapshots of each peer, by which its cluster is found, and how many it has.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<u64, OfPeer>);

#[derive(Default)]
struct OfPeer {
    count: u64,
    collections: BTreeMap<String, OfCollection>,
    /// The newest first.
    newest: Vec<BucketSnapshot>,
}

/// The snapshots of one collection as a whole that one peer has made.
#[derive(Default)]
pub(crate) struct OfCollection {
    pub count: u64,
    pub bytes: u64,
    /// When the newest was begun.
    pub newest: Option<OffsetDateTime>,
}

impl Samples {
    /// Takes note of a snapshot.
    pub(crate) fn note(&mut self, snapshot: &BucketSnapshot) {
        let of_peer = self.0.entry(snapshot.peer).or_default();
        of_peer.count += 1;
        let of = of_peer.collections.entry(snapshot.collection.clone()).or_default();
        (of.count, of.bytes) = (of.count + 1, of.bytes.saturating_add(snapshot.bytes));
        of.newest = of.newest.max(Some(snapshot.started));
        of_peer.newest.push(snapshot.clone());
        of_peer.newest.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.started));
        of_peer.newest.truncate(READ_OF_A_PEER);
    }

    /// Every peer with the number of its snapshots, and when the newest was begun.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (u64, u64, Option<OffsetDateTime>)> {
        self.0.iter().map(|(peer, of)| (*peer, of.count, of.newest.first().map(|snapshot| snapshot.started)))
    }

    /// Every peer with each collection that it has made snapshots of.
    pub(crate) fn collections(&self) -> impl Iterator<Item = (u64, &str, &OfCollection)> {
        self.0.iter().flat_map(|(peer, of)| of.collections.iter().map(move |(name, of)| (*peer, name.as_str(), of)))
    }

    /// Lists the bucket's.
    ///
    /// # Errors
    /// The bucket can't be listed.
    async fn take(bucket: &dyn ObjectStore) -> Result<Self, Error> {
        let mut samples = Self::default();
        each_snapshot_in(bucket, &SnapshotFilter::new(""), &mut |snapshot| samples.note(&snapshot)).await?;
        Ok(samples)
    }

    /// What the snapshots say of where they come from. A snapshot names all peers that hold replicas of its collection;
    /// it is read only where no record knows the peer that made it.
    async fn origins(&self, bucket: &dyn ObjectStore, records: &[Record]) -> Vec<Origin> {
        let recorded: BTreeSet<u64> = records.iter().flat_map(Record::peers).collect();
        let mut origins = Vec::new();
        let work = self.0.iter().map(|(peer, of_peer)| async {
            let mut peers = BTreeSet::from([*peer]);
            for snapshot in of_peer.newest.iter().filter(|_| !recorded.contains(peer)) {
                // One that can't be read leaves its peer on its own, which joins nothing that does not belong together.
                if let Ok(told) = snapshot_file::describe(bucket, &snapshot.key, snapshot.bytes).await {
                    peers.extend(told.shards.values().flat_map(|shard| shard.replicas.keys()));
                    break;
                }
            }
            Origin { peers, ..Origin::default() }
        });
        concurrent::at_most(AT_ONCE, work, |origin| origins.push(origin)).await;
        origins
    }
}

/// Where sets come from, each kind once.
fn origins_of(sets: &[Headed]) -> BTreeSet<Origin> {
    sets.iter().filter_map(|set| set.header.as_ref()).map(Origin::of_set).collect()
}

/// All that the bucket says of sources.
pub(crate) struct Survey {
    /// The records.
    pub records: Vec<Record>,
    /// Every set.
    pub sets: Vec<Headed>,
    /// The snapshots of whole collections.
    pub snapshots: Samples,
    /// The sources.
    pub catalogue: Catalogue,
}

/// A source, and what there is of it.
pub(crate) struct OfSource<'a> {
    pub entry: &'a Entry,
    /// The collections that have sets.
    pub collections: BTreeSet<&'a str>,
    pub sets: u64,
    /// Snapshots of whole collections.
    pub snapshots: u64,
    /// When its newest backup of either kind was begun.
    pub newest: Option<OffsetDateTime>,
    /// When it was last seen, where it has a record.
    pub seen_at: Option<&'a str>,
}

impl Survey {
    /// Every source.
    pub(crate) fn sources(&self) -> impl Iterator<Item = OfSource<'_>> {
        self.catalogue.entries().iter().map(|entry| self.of(entry))
    }

    fn of<'a>(&'a self, entry: &'a Entry) -> OfSource<'a> {
        let is_of = |id: Option<&str>, peers: &BTreeSet<u64>| self.catalogue.whose(id, peers) == Some(&entry.source);
        let sets = self
            .sets
            .iter()
            .filter(|set| set.header.as_ref().is_some_and(|header| is_of(header.source_id.as_deref(), &header.peers)));
        let snapshots = self.snapshots.peers().filter(|(peer, ..)| is_of(None, &BTreeSet::from([*peer])));
        let snapshots: Vec<_> = snapshots.collect();
        let record = self.records.iter().find(|record| record.id == entry.source.id);
        OfSource {
            entry,
            collections: sets.clone().map(|set| set.collection.as_str()).collect(),
            sets: sets.clone().count() as u64,
            snapshots: snapshots.iter().map(|(_, count, _)| count).sum(),
            newest: sets
                .filter_map(|set| set.found.id.started())
                .chain(snapshots.iter().filter_map(|(.., at)| *at))
                .max(),
            seen_at: record.map(|record| record.seen_at.as_str()),
        }
    }
}

/// All sources of the bucket.
///
/// # Errors
/// The bucket can't be read.
pub(crate) async fn all_sources(context: &Context, bucket: &dyn ObjectStore) -> Result<Survey, Error> {
    let records = source::list_allowed(context, bucket).await?;
    let sets = sets::headers(bucket, &sets::list(bucket).await?).await;
    let snapshots = Samples::take(bucket).await?;
    let origins = snapshots.origins(bucket, &records).await;
    let catalogue = Catalogue::new(&records, origins_of(&sets).into_iter().chain(origins));
    Ok(Survey { records, sets, snapshots, catalogue })
}

/// Whose backups one target gets.
pub struct Whose {
    catalogue: Catalogue,
    /// The source; `None` where the bucket has no backups.
    pub(crate) source: Option<Source>,
}

impl Whose {
    /// True for a backup that says this of its origin and is this source's.
    pub(crate) fn is_of(&self, id: Option<&str>, peers: &BTreeSet<u64>) -> bool {
        self.source.is_some() && self.catalogue.whose(id, peers) == self.source.as_ref()
    }

    /// True for a set of this source, and for one of which nothing is known: that is told when it is looked at, and
    /// not passed over.
    pub fn is_of_set(&self, set: &Headed) -> bool {
        set.header.as_ref().is_none_or(|header| self.is_of(header.source_id.as_deref(), &header.peers))
    }

    /// True where there are backups of others.
    pub(crate) fn others_have_backups(&self) -> bool {
        self.catalogue.with_backups().any(|entry| Some(&entry.source) != self.source.as_ref())
    }

    /// Whose backups these are, for people, where that is known.
    pub(crate) fn name(&self) -> String {
        self.source.as_ref().map(|source| format!("the source {source}")).unwrap_or_default()
    }
}

/// What of the bucket's sets was read before it is asked whose they are.
#[derive(Clone, Copy)]
pub(crate) struct KnownSets<'a> {
    /// The sets.
    pub sets: &'a [Headed],
    /// True where these are all.
    pub all: bool,
}

impl KnownSets<'_> {
    /// Nothing was read.
    pub(crate) const NONE: Self = Self { sets: &[], all: false };
}

/// Finds whose sets a restore into `cluster` takes; `sets` are all of the bucket.
///
/// # Errors
/// The bucket or the target can't be asked, or it can't be told whose: lists the sources.
pub async fn sets_of_target(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    sets: &[Headed],
) -> Result<Whose, Error> {
    of_target(context, bucket, cluster, KnownSets { sets, all: true }, None).await
}

/// Finds whose backups `cluster` gets. `sets` and `snapshots` are what the caller has read already; where these do not
/// tell, the rest of the bucket is read.
///
/// # Errors
/// The bucket or the target can't be asked, or it can't be told whose: lists the sources.
pub(crate) async fn of_target(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    sets: KnownSets<'_>,
    snapshots: Option<&Samples>,
) -> Result<Whose, Error> {
    let peers = source::peers(cluster).await?;
    let records = source::list_allowed(context, bucket).await?;
    let named = context.settings.restore_source.as_deref();
    let mut origins: Vec<Origin> = origins_of(sets.sets).into_iter().collect();
    if let Some(snapshots) = snapshots {
        origins.extend(snapshots.origins(bucket, &records).await);
    }
    let mut catalogue = Catalogue::new(&records, origins.iter().cloned());
    let mut chosen = choose(&catalogue, &peers, named);
    if !matches!(chosen, Ok(Some((_, Why::Own | Why::Named)))) {
        // That there is one source, or which ones there are, is known only when all of the bucket is.
        if !sets.all {
            origins.extend(origins_of(&sets::headers(bucket, &sets::list(bucket).await?).await));
        }
        if snapshots.is_none() {
            origins.extend(Samples::take(bucket).await?.origins(bucket, &records).await);
        }
        catalogue = Catalogue::new(&records, origins);
        chosen = choose(&catalogue, &peers, named);
    }
    let source = chosen?.map(|(source, why)| {
        let host = cluster.host.to_string();
        // Who restores of both kinds asks twice.
        if context.source_of(&cluster.host).as_ref() != Some(&source) {
            context.log.info(Some(&host), &format!("taking backups of the source {source}: {}", why.text()));
        }
        context.note_source(&cluster.host, &source);
        source
    });
    Ok(Whose { catalogue, source })
}
