//! How the snapshots of a source's shards get into the bucket: Qdrant stores them there, or sends them to this program. What
//! Qdrant is configured for can't be asked; it is found out once a source: by the first snapshot that is made, which is of a
//! small shard, and which all others wait for.

use std::cell::Cell;

use async_lock::{Mutex, MutexGuard, OnceCell};

use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::Cluster;
use crate::sets::{SetId, StreamedKey};
use crate::settings;
use crate::source::{self, Source, SourceId};
use crate::store::ObjectStore;

/// Among how many collections the smallest shard is looked for, and how many are asked about at the same time.
const LOOKED_AT: usize = 64;
const AT_ONCE: usize = 16;

/// What stands in keys for a source that does not tell its peers.
const UNKNOWN: &str = "unknown";

/// The way of one source's snapshots in this run.
pub(super) struct Transfer<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    cluster: &'a Cluster,
    /// The id of the source, or that which it would have if it had a record.
    source: Option<String>,
    /// True where they are sent to this program.
    stream: Cell<bool>,
    /// The collection, and its shard, by whose snapshots it is found out; `None` where it is known.
    first: Option<(String, u32)>,
    /// Whose snapshot finds it out.
    finding: Mutex<()>,
    /// Set when nobody has to wait any more: it was found out, or can't be.
    ended: OnceCell<()>,
}

impl<'a> Transfer<'a> {
    /// Finds out how the snapshots of `collections` get into the bucket, as far as the settings leave it open.
    pub(super) async fn decide(
        context: &'a Context,
        bucket: &'a dyn ObjectStore,
        cluster: &'a Cluster,
        collections: &[String],
    ) -> Self {
        let recorded = context.source_of(&cluster.host);
        let source = match &recorded {
            Some(source) => Some(source.id.to_string()),
            None => {
                let peers = source::peers(cluster).await.unwrap_or_default();
                SourceId::of_new(&peers).map(|id| id.to_string())
            }
        };
        let (stream, finding, ended) = (Cell::new(false), Mutex::new(()), OnceCell::new());
        let mut transfer = Self { context, bucket, cluster, source, stream, first: None, finding, ended };
        let stream = match context.settings.transfer {
            settings::Transfer::Storage => Some(false),
            settings::Transfer::Stream => Some(true),
            settings::Transfer::Auto => transfer.remembered(recorded.as_ref()).await,
        };
        match stream {
            Some(stream) => transfer.stream.set(stream),
            None => transfer.first = transfer.smallest(collections).await,
        }
        if transfer.is_stream() {
            transfer.say("snapshots of shards are streamed through this program into the bucket");
        }
        transfer
    }

    /// The collection that has to be backed up before the others can be, where there is one.
    pub(super) fn first_collection(&self) -> Option<&str> {
        self.first.as_ref().map(|(collection, _)| collection.as_str())
    }

    /// The shard of `collection` that is to be taken first.
    pub(super) fn first_shard(&self, collection: &str) -> Option<u32> {
        self.first.as_ref().filter(|(first, _)| first == collection).map(|(_, shard)| *shard)
    }

    /// Waits until it is found out how snapshots get into the bucket. With a guard it is the caller's snapshot that finds it
    /// out, and the guard that keeps the others waiting.
    pub(super) async fn turn(&self, collection: &str) -> Option<MutexGuard<'_, ()>> {
        if self.first.is_none() || self.ended.is_initialized() {
            return None;
        }
        if self.first_shard(collection).is_none() {
            self.ended.wait().await;
            return None;
        }
        let guard = self.finding.lock().await;
        (!self.ended.is_initialized()).then_some(guard)
    }

    /// The snapshot that was made is in the bucket: Qdrant stores them there.
    pub(super) async fn is_confirmed(&self) {
        if self.end().await {
            self.say("Qdrant stores its snapshots in this bucket");
            self.remember(settings::Transfer::Storage).await;
        }
    }

    /// The backup of `collection` has ended: where it was to find out, nobody waits any longer, and each snapshot tells by
    /// itself.
    pub(super) async fn collection_ended(&self, collection: &str) {
        if self.first_shard(collection).is_some() {
            self.end().await;
        }
    }

    /// Lets all go on; true for the first who does.
    async fn end(&self) -> bool {
        self.first.is_some() && self.ended.set(()).await.is_ok()
    }

    /// True where snapshots are sent through this program.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.get()
    }

    /// The source, as it stands in keys, where it is known.
    pub(super) fn known_source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Where the snapshot of a shard is stored that is sent through this program.
    pub(super) fn key(&self, collection: &str, set: &SetId, shard: u32) -> String {
        let key = StreamedKey {
            source: self.source.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            collection: collection.to_owned(),
            set: set.to_string(),
            shard,
        };
        self.bucket.places().ours(&key.key())
    }

    /// Whether `error`, which came of a snapshot that Qdrant was to store, says that it does not store them in this bucket.
    /// All that follow are sent through this program then, where the settings leave it open.
    pub(super) async fn is_contradicted_by(&self, error: &Error) -> bool {
        if self.context.settings.transfer != settings::Transfer::Auto || error.code() != Code::SnapshotMissing {
            return false;
        }
        let is_first = self.end().await;
        if !self.stream.replace(true) {
            let what = if is_first {
                format!(
                    "Qdrant does not store its snapshots in this bucket (they are on the peers' own disks, or elsewhere; of \
                     the first one: {})",
                    error.what_to_do()
                )
            } else {
                error.to_string()
            };
            self.say(&format!(
                "{what}; from now on snapshots of shards are streamed through this program into the bucket"
            ));
            self.remember(settings::Transfer::Stream).await;
        }
        true
    }

    fn say(&self, what: &str) {
        self.context.log.info(Some(&self.cluster.host.to_string()), what);
    }

    /// True where snapshots have to be sent through this program, as an earlier run has found out.
    async fn remembered(&self, recorded: Option<&Source>) -> Option<bool> {
        let known = source::transfer(self.bucket, recorded?).await.ok()??;
        Some(known == settings::Transfer::Stream.name())
    }

    async fn remember(&self, found: settings::Transfer) {
        let Some(source) = self.context.source_of(&self.cluster.host) else { return };
        if let Err(error) = source::note_transfer(self.bucket, &source, found.name()).await {
            self.say(&format!(
                "how snapshots get into the bucket was not recorded, and the next run finds it out again: {error}"
            ));
        }
    }

    /// The shard with the fewest points of the collection with the fewest points.
    async fn smallest(&self, collections: &[String]) -> Option<(String, u32)> {
        let mut sizes = Vec::new();
        let asked = collections.iter().take(LOOKED_AT).map(|collection| async move {
            let peer = self.cluster.peer_to_ask(collection)?;
            let told = peer.client.collection_as_told(collection).await.ok().flatten()?;
            Some((told.get("points_count").and_then(serde_json::Value::as_u64)?, collection, peer))
        });
        concurrent::at_most(AT_ONCE, asked, |size| sizes.extend(size)).await;
        sizes.sort_by_key(|(points, collection, _)| (*points, *collection));
        for (_, collection, peer) in sizes {
            let Ok(Some(layout)) = self.cluster.layout(peer, collection).await else { continue };
            let mut shards = Vec::new();
            for (shard, there) in &layout.shards {
                let active = there.replicas.iter().filter(|(_, replica)| replica.is_active());
                let Some(peer) = active.filter_map(|(id, _)| self.cluster.peer(*id)).next() else { continue };
                if let Ok(points) = peer.client.count_replica(collection, *shard).await {
                    shards.push((points, *shard));
                }
            }
            if let Some((_, shard)) = shards.into_iter().min() {
                return Some((collection.clone(), shard));
            }
        }
        None
    }
}
