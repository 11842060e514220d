//! A collection as a generation: one snapshot of each peer that holds a part of it, the counts around them, and the
//! manifest at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::Value;
use time::OffsetDateTime;

use super::check::{Checked, NewSnapshot, remove_all};
use super::look::{self, DELETED, Failed, Looked, counted, look};
use super::set::would_make;
use super::snapshot::{Subject, known};
use crate::context::Context;
use crate::encode;
use crate::error::{Code, Error};
use crate::generations::{BucketSnapshot, Generation, of_generation};
use crate::manifest::{Manifest, ManifestPeer, ManifestShard, ManifestSnapshot, Points, SCHEMA_VERSION};
use crate::naming::SnapshotName;
use crate::qdrant::{Cluster, Layout, Peer};
use crate::report::Item;
use crate::sets::quality;
use crate::settings::SnapshotCheck;
use crate::state_files;
use crate::store::ObjectStore;
use crate::timestamp;

/// Everything that one collection's backup is about.
pub(super) struct Job<'a> {
    pub context: &'a Context,
    pub cluster: &'a Cluster,
    pub collection: &'a str,
}

/// A peer to be asked, with the shards it holds.
struct Holder<'a> {
    peer: &'a Peer,
    peer_id: u64,
    shards: Vec<u32>,
}

/// A snapshot that was checked, with the counts around it.
struct Taken {
    peer_id: u64,
    snapshot: Checked,
    shards: BTreeMap<u32, Points>,
}

/// How a backup ended that did not come to a generation.
enum Ended {
    /// In a dry run: what would be done.
    Foretold(Vec<Item>),
    /// There is nothing to back up, for this reason.
    NoSubject(&'static str),
    /// It is not whole, or not recorded.
    Failed(Box<Item>),
}

impl<'a> Job<'a> {
    /// Backs up the collection; the items are its snapshots, and the collection or manifest where these failed.
    pub(super) async fn back_up(&self) -> Vec<Item> {
        let started = self.now();
        let mut items = Vec::new();
        let mut made = Vec::new();
        let ended = match self.make(&mut items, &mut made).await {
            Err(Ended::Failed(_)) if look::is_deleted(self.cluster, self.collection).await => {
                Err(Ended::NoSubject(DELETED))
            }
            ended => ended,
        };
        let item = match ended {
            Ok(()) => return items,
            Err(Ended::Foretold(items)) => return items,
            Err(Ended::NoSubject(why)) => {
                remove_all(self.context, &made, &mut items).await;
                // What failed on the way failed because of that.
                items.retain(|item| !item.is_failed());
                Item::skipped("collection", why)
            }
            Err(Ended::Failed(item)) => *item,
        };
        let elapsed = self.now().saturating_sub(started);
        items.push(item.host(&self.cluster.host).collection(self.collection).elapsed(elapsed));
        items
    }

    fn now(&self) -> Duration {
        self.context.ports.clock.monotonic()
    }

    /// Look, create and check, look again, record.
    async fn make(&self, items: &mut Vec<Item>, made: &mut Vec<NewSnapshot<'a>>) -> Result<(), Ended> {
        let failed = |error: Error| Ended::Failed(Box::new(Item::failed("collection", error)));
        let looked = look(self.cluster, self.collection).await.map_err(|ended| match ended {
            Failed::NoSubject(why) => Ended::NoSubject(why),
            Failed::Error(error) => failed(error),
        })?;
        looked.warn(self.context, self.collection);
        looked.can_be_made().map_err(failed)?;
        let holders = holders(self.cluster, &looked);
        if holders.is_empty() {
            let cause = format!(
                "no reachable peer holds an active replica of it; its shards are on {}",
                names_of(&looked.layout.peers())
            );
            return Err(failed(Error::new(Code::NoPeer, "", cause)));
        }
        if self.context.settings.dry_run {
            let item = |holder: &Holder<'_>| would_make(self.context, self.collection, holder.peer, "its part");
            return Err(Ended::Foretold(holders.iter().map(item).collect()));
        }
        let client = &looked.peer.client;
        let count =
            || async { counted(self.context, looked.peer, self.collection, client.count(self.collection).await) };
        let before = count().await;
        let mut taken = Vec::new();
        let work = holders.iter().map(|holder| self.take(holder));
        for (item, one) in join_all(work).await {
            items.push(item);
            if let Some((one, its)) = one {
                taken.push(one);
                made.push(its);
            }
        }
        if taken.is_empty() {
            return Err(failed(Error::new(Code::Incomplete, "", "no snapshot of it could be made")));
        }
        let (after, unchanged) = join(count(), looked.unchanged(self.cluster, self.collection)).await;
        unchanged.map_err(failed)?;
        let points = Points { before, after };
        let missing = uncovered(&looked.layout, &taken);
        self.record(&looked, &taken, points, missing).await
    }

    /// Takes the snapshot of one peer, the counts of its replicas around it, and writes it down.
    async fn take(&self, holder: &Holder<'a>) -> (Item, Option<(Taken, NewSnapshot<'a>)>) {
        let started = self.now();
        let host = holder.peer.address();
        let taken = self.take_from(holder).await;
        let item =
            |item: Item| item.host(&host).collection(self.collection).elapsed(self.now().saturating_sub(started));
        let (taken, made) = match taken {
            Ok(taken) => taken,
            Err(error) => return (item(Item::failed("snapshot", error)), None),
        };
        let name = &taken.snapshot.name;
        let line = state_files::Snapshot {
            host: Some(host.clone()),
            collection: self.collection.to_owned(),
            snapshot_name: name.clone(),
        };
        if let Err(error) = state_files::append_snapshot(self.context.ports.files.as_ref(), &line) {
            // The snapshot is there, but a restore by the `snapshots` file would not know of it.
            let error = Error::new(Code::WorkDirectory, "", error.to_string());
            return (item(Item::failed("snapshot", error).name(name)), None);
        }
        let done = Item::done("snapshot").name(name).bytes(taken.snapshot.bytes);
        let done = if let Some(note) = &taken.snapshot.note { done.cause(note) } else { done };
        (item(done), Some((taken, made)))
    }

    async fn take_from(&self, holder: &Holder<'a>) -> Result<(Taken, NewSnapshot<'a>), Error> {
        let client = &holder.peer.client;
        let subject = Subject { collection: self.collection, peer: holder.peer_id, shard: None };
        let (known, before) = join(known(client, subject), self.counts(holder)).await;
        let created = known?.create(self.context, client, subject).await?;
        let (checked, after) = join(created.check(self.context, holder.peer_id), self.counts(holder)).await;
        let (snapshot, made) = checked?;
        let points = |shard: &u32| Points { before: before.get(shard).copied(), after: after.get(shard).copied() };
        let shards = holder.shards.iter().map(|shard| (*shard, points(shard))).collect();
        Ok((Taken { peer_id: holder.peer_id, snapshot, shards }, made))
    }

    /// The exact count of each replica of a peer, as far as the server tells.
    async fn counts(&self, holder: &Holder<'_>) -> BTreeMap<u32, u64> {
        let counted = holder.shards.iter().map(|shard| async move {
            let count = holder.peer.client.count_replica(self.collection, *shard).await;
            (*shard, counted(self.context, holder.peer, self.collection, count))
        });
        join_all(counted).await.into_iter().filter_map(|(shard, count)| Some((shard, count?))).collect()
    }

    /// Writes the manifest into the bucket, where there is one. Nothing is told where that went well: a manifest that
    /// was written says nothing that the snapshots' own items do not.
    async fn record(
        &self,
        looked: &Looked<'_>,
        taken: &[Taken],
        points: Points,
        missing: BTreeSet<u32>,
    ) -> Result<(), Ended> {
        let incomplete = (!missing.is_empty()).then(|| incomplete(&missing));
        let failed = |error: Error| Ended::Failed(Box::new(Item::failed("collection", error)));
        let Some(bucket) = self.context.store.as_deref() else {
            return incomplete.map_or(Ok(()), |error| Err(failed(error)));
        };
        let now = self.context.ports.clock.now();
        let random = self.context.ports.clock.random();
        let Some(error) = incomplete else {
            let key = bucket.places().ours(&Manifest::key(self.collection, now, random));
            let recorded = match self.describe(looked, taken, points, missing, now).await {
                Ok(manifest) => self.recorded(bucket, &key, manifest).await,
                Err(error) => Err(error),
            };
            return recorded.map_err(|error| Ended::Failed(Box::new(Item::failed("manifest", error).name(key))));
        };
        let key = bucket.places().ours(&Manifest::partial_key(self.collection, now, random));
        let written = match self.describe(looked, taken, points, missing, now).await {
            Ok(manifest) => write(bucket, &key, &manifest).await,
            Err(error) => Err(error),
        };
        let advice = match written {
            Ok(()) => format!("what there is of it is kept as a partial backup: `{key}`"),
            Err(cause) => format!("it could not be recorded as a partial backup either: {cause}"),
        };
        Err(failed(error.advice(advice)))
    }

    /// Records what is found to be good: every snapshot is looked up once more, walked, and held against the others.
    async fn recorded(&self, bucket: &dyn ObjectStore, key: &str, mut manifest: Manifest) -> Result<(), Error> {
        if self.context.settings.snapshot_check != SnapshotCheck::None {
            let snapshots = manifest.snapshots.iter().filter_map(|listed| found(self.collection, listed)).collect();
            let generation = Generation { snapshots, manifest: Some(manifest.clone()) };
            let described = of_generation(bucket, &generation).await;
            let described = described.map_err(|wrong| quality::as_one(&wrong).of("the snapshots are not good"))?;
            manifest.uuid = described.first().and_then(|one| one.description.uuid.clone());
        }
        for listed in &manifest.snapshots {
            if bucket.size(&listed.key).await? != Some(listed.bytes) {
                let cause = "it is gone again, or of another size";
                return Err(Error::new(Code::SnapshotMissing, format!("the object `{}`", listed.key), cause));
            }
        }
        write(bucket, key, &manifest).await
    }

    async fn describe(
        &self,
        looked: &Looked<'_>,
        taken: &[Taken],
        points: Points,
        missing: BTreeSet<u32>,
        now: OffsetDateTime,
    ) -> Result<Manifest, Error> {
        let told = match (&looked.told, missing.is_empty()) {
            (Ok(told), _) => told.clone(),
            (Err(error), true) => return Err(error.clone()),
            // The snapshots have it, too.
            (Err(_), false) => Value::Null,
        };
        let peers = self.cluster.peers.iter().map(|peer| ManifestPeer {
            id: peer.id.unwrap_or(looked.peer_id),
            host: peer.address(),
            version: peer.version.clone(),
            commit: peer.commit.clone(),
        });
        let id_of = |peer: &u64| if self.cluster.distributed { *peer } else { looked.peer_id };
        let shards = looked.layout.shards.iter().map(|(id, shard)| ManifestShard {
            id: *id,
            key: shard.key.clone(),
            replicas: shard
                .replicas
                .iter()
                .map(|(peer, replica)| (id_of(peer).to_string(), replica.state.clone()))
                .collect(),
        });
        let snapshots = taken.iter().map(|taken| ManifestSnapshot {
            key: taken.snapshot.stored.as_ref().map(|stored| stored.key.clone()).unwrap_or_default(),
            name: taken.snapshot.name.clone(),
            bytes: taken.snapshot.bytes,
            peer_id: taken.peer_id,
            shards: taken.shards.clone(),
        });
        let whose = self.context.source_of(&self.cluster.host);
        let schema = told.get("payload_schema").and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Manifest {
            schema_version: SCHEMA_VERSION,
            created_at: timestamp::RFC3339.write(now),
            created_by: crate::CREATED_BY.to_owned(),
            collection: self.collection.to_owned(),
            distributed: self.cluster.distributed,
            peers: peers.collect(),
            config: told.get("config").cloned().unwrap_or_default(),
            payload_schema: schema.into_iter().map(|(field, schema)| (field, without_counts(schema))).collect(),
            shards: shards.collect(),
            points,
            aliases: looked.peer.client.aliases_of(self.collection).await?,
            snapshots: snapshots.collect(),
            source_id: whose.as_ref().map(|source| source.id.to_string()),
            source_name: whose.map(|source| source.name),
            run_id: Some(self.context.run.to_string()),
            uuid: None,
            missing: missing.into_iter().collect(),
        })
    }
}

/// A snapshot that a manifest lists, as a listing of the bucket has it.
fn found(collection: &str, listed: &ManifestSnapshot) -> Option<BucketSnapshot> {
    let name = SnapshotName::parse(collection, &listed.name)?;
    Some(BucketSnapshot {
        collection: collection.to_owned(),
        name: listed.name.clone(),
        key: listed.key.clone(),
        bytes: listed.bytes,
        peer: name.peer,
        started: name.started,
        stored: None,
    })
}

async fn write(bucket: &dyn ObjectStore, key: &str, manifest: &Manifest) -> Result<(), Error> {
    let thing = format!("the manifest `{key}`");
    let json = encode::json(&thing, manifest)?;
    if bucket.put_new(key, "application/json", json).await? {
        return Ok(());
    }
    Err(Error::new(Code::ManifestUnusable, thing, "an object of this name is there already"))
}

/// The peers with an active replica. A collection without any shard (custom sharding before its first key) is
/// asked of one peer, so that its configuration is saved.
fn holders<'a>(cluster: &'a Cluster, looked: &Looked<'a>) -> Vec<Holder<'a>> {
    let holder = |peer: &'a Peer| {
        let shards = looked.layout.active_on(peer.id.unwrap_or_default()).collect();
        Holder { peer, peer_id: peer.id.unwrap_or(looked.peer_id), shards }
    };
    let holders = cluster.peers.iter().map(holder);
    if looked.layout.shards.is_empty() {
        holders.take(1).collect()
    } else {
        holders.filter(|holder| !holder.shards.is_empty()).collect()
    }
}

/// The shards that no snapshot has data for.
fn uncovered(layout: &Layout, taken: &[Taken]) -> BTreeSet<u32> {
    let covered: BTreeSet<u32> = taken.iter().flat_map(|taken| taken.shards.keys().copied()).collect();
    layout.shards.keys().copied().filter(|shard| !covered.contains(shard)).collect()
}

fn incomplete(missing: &BTreeSet<u32>) -> Error {
    let shards = missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let cause = format!(
        "incomplete: no snapshot has data of shard {shards}; see the failures of its peers (with \
                         GET_PEERS_FROM_CLUSTER_INFO=false every peer has to be among QDRANT_SOURCE_HOSTS)"
    );
    Error::new(Code::Incomplete, "", cause)
}

/// `points` of an index is approximate and changes by itself; type and parameters are what was configured.
fn without_counts(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("points");
    }
    schema
}

fn names_of(peers: &BTreeSet<u64>) -> String {
    if peers.is_empty() {
        "no peer at all".to_owned()
    } else {
        format!("peer {}", peers.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
    }
}
