//! How the snapshots of a source's shards get into the bucket: Qdrant stores them there, or sends them to this program. What
//! Qdrant is configured for can't be asked; it is found out with the smallest shard, once a source.

use std::cell::Cell;

use super::check::NewSnapshot;
use super::snapshot::{Subject, known};
use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Cluster, Peer};
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
        let transfer = Self { context, bucket, cluster, source, stream: Cell::new(false) };
        let stream = match context.settings.transfer {
            settings::Transfer::Storage => false,
            settings::Transfer::Stream => true,
            settings::Transfer::Auto => transfer.found_out(recorded.as_ref(), collections).await,
        };
        transfer.stream.set(stream);
        if stream {
            transfer.say("snapshots of shards are streamed through this program into the bucket");
        }
        transfer
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
        if !self.stream.replace(true) {
            self.say(&format!("{error}; from now on snapshots of shards are streamed through this program"));
            self.remember(settings::Transfer::Stream).await;
        }
        true
    }

    fn say(&self, what: &str) {
        self.context.log.info(Some(&self.cluster.host.to_string()), what);
    }

    /// True where snapshots have to be sent through this program: as it is remembered, or as the smallest shard shows.
    async fn found_out(&self, recorded: Option<&Source>, collections: &[String]) -> bool {
        if let Some(recorded) = recorded
            && let Ok(Some(known)) = source::transfer(self.bucket, recorded).await
        {
            return known == settings::Transfer::Stream.name();
        }
        if self.context.settings.dry_run || collections.is_empty() {
            return false;
        }
        let stores = match self.stores_in_bucket(collections).await {
            Ok(Some(stores)) => stores,
            // Nothing is known: each snapshot tells by itself.
            Ok(None) => return false,
            Err(error) => {
                self.say(&format!("it is not known whether Qdrant stores snapshots in this bucket: {error}"));
                return false;
            }
        };
        let found = if stores { settings::Transfer::Storage } else { settings::Transfer::Stream };
        self.remember(found).await;
        !stores
    }

    async fn remember(&self, found: settings::Transfer) {
        let Some(source) = self.context.source_of(&self.cluster.host) else { return };
        if let Err(error) = source::note_transfer(self.bucket, &source, found.name()).await {
            self.say(&format!(
                "how snapshots get into the bucket was not recorded, and the next run finds it out again: {error}"
            ));
        }
    }

    /// Makes a snapshot of the smallest shard, checks whether it is in the bucket, and removes it. `None`: there is none
    /// that could be made.
    async fn stores_in_bucket(&self, collections: &[String]) -> Result<Option<bool>, Error> {
        let Some((collection, peer, shard)) = self.smallest(collections).await else { return Ok(None) };
        let client = &peer.client;
        let subject = Subject { collection: &collection, peer: peer.id.unwrap_or_default(), shard: Some(shard) };
        let created = known(client, subject).await?.create(self.context, client, subject).await?;
        let name = created.description.name;
        let key = subject.key(self.bucket.key_prefix(), &name);
        let there = self.bucket.stat(&key).await;
        let removed = NewSnapshot::of_qdrant(client, subject, name.clone()).remove(self.context).await;
        if let Err(left) = removed {
            let what =
                format!("the snapshot `{name}`, made to see where Qdrant stores it, could not be deleted: {left}");
            self.context.log.warn(Some(&peer.address()), &what);
        }
        let stores = there?.is_some();
        self.say(if stores {
            "Qdrant stores its snapshots in this bucket"
        } else {
            "Qdrant does not store its snapshots in this bucket (they are on the peers' own disks, or elsewhere)"
        });
        Ok(Some(stores))
    }

    /// The shard with the fewest points of the collection with the fewest points, and a peer that can be asked for it.
    async fn smallest(&self, collections: &[String]) -> Option<(String, &'a Peer, u32)> {
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
                    shards.push((points, *shard, peer));
                }
            }
            if let Some((_, shard, peer)) = shards.into_iter().min_by_key(|(points, shard, _)| (*points, *shard)) {
                return Some((collection.clone(), peer, shard));
            }
        }
        None
    }
}
