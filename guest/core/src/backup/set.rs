//! A collection as a set: one snapshot of each shard, from one active replica, checked; the manifest last.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::Value;

use super::check::{Checked, NewSnapshot, remove_all};
use super::look::{self, DELETED, Failed, Looked, at_rest, counted, look};
use super::parts::Parts;
use super::snapshot::{Subject, known};
use super::stream::Stream;
use super::transfer::Transfer;
use crate::context::Context;
use crate::encode;
use crate::error::{Code, Error};
use crate::manifest::{ManifestPeer, Points};
use crate::qdrant::{Cluster, Peer};
use crate::report::Item;
use crate::sets::quality::{self, Depth};
use crate::sets::{self, SetId, SetManifest, SetShard, SetSource};
use crate::settings;
use crate::store::ObjectStore;
use crate::timestamp;

/// How many snapshots each peer was asked for in this run, so that the load is spread over all collections.
pub(super) type Load = RefCell<BTreeMap<u64, usize>>;

/// Everything that one collection's backup is about.
pub(super) struct Job<'a> {
    pub context: &'a Context,
    pub bucket: &'a dyn ObjectStore,
    pub cluster: &'a Cluster,
    pub collection: &'a str,
    pub set: &'a SetId,
    pub load: &'a Load,
    pub transfer: &'a Transfer<'a>,
}

/// A replica that can be asked.
struct Replica<'a> {
    id: u64,
    peer: &'a Peer,
}

/// A snapshot that is in the bucket and checked, with the counts of its replica around it.
struct Stored<'a> {
    checked: Checked,
    made: NewSnapshot<'a>,
    points: Points,
}

/// The snapshots of all shards, as far as they could be made.
#[derive(Default)]
struct Snapshots<'a> {
    items: Vec<Item>,
    shards: Vec<SetShard>,
    made: Vec<NewSnapshot<'a>>,
    /// The shards without one, each with the cause.
    missing: BTreeMap<u32, String>,
}

/// How a backup ended that did not come to a set.
enum Ended {
    /// In a dry run: what would be done.
    Foretold(Vec<Item>),
    /// There is nothing to back up, for this reason.
    NoSubject(&'static str),
    /// What there is of it was recorded as a partial backup.
    Partial(Error),
    /// Nothing of it is of use.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NoSubject(why) => Self::NoSubject(why),
            Failed::Error(error) => Self::Failed(error),
        }
    }
}

impl<'a> Job<'a> {
    /// Backs up the collection: an item for each snapshot, one for the set. What a failed one has stored is removed.
    pub(super) async fn back_up(&self) -> Vec<Item> {
        let started = self.now();
        let mut snapshots = Snapshots::default();
        let made = self.make(started, &mut snapshots).await;
        self.transfer.collection_ended(self.collection).await;
        let ended = match made {
            Err(Ended::Failed(_)) if look::is_deleted(self.cluster, self.collection).await => {
                Err(Ended::NoSubject(DELETED))
            }
            ended => ended,
        };
        let item = match ended {
            Ok(manifest) => Item::done("set")
                .bytes(manifest.bytes())
                .cause(format!("{} shards, {} points", manifest.shard_count, manifest.points_count)),
            Err(Ended::Foretold(items)) => return items,
            Err(Ended::NoSubject(why)) => {
                remove_all(self.context, &snapshots.made, &mut snapshots.items).await;
                // What failed on the way failed because of that.
                snapshots.items.retain(|item| !item.is_failed());
                Item::skipped("set", why)
            }
            Err(Ended::Partial(error)) => Item::failed("set", error),
            Err(Ended::Failed(error)) => {
                remove_all(self.context, &snapshots.made, &mut snapshots.items).await;
                Item::failed("set", error)
            }
        };
        let was_made = item.is_done();
        let item = item.name(self.set.as_str()).elapsed(self.now().saturating_sub(started));
        snapshots.items.push(item.collection(self.collection).host(&self.cluster.host));
        if was_made && self.context.turn().is_some() {
            snapshots.items.extend(self.taken_from_others(&snapshots.shards).await);
        }
        snapshots.items
    }

    /// Checks whether snapshots of this set have taken the place of another source's, which has ended with success by then:
    /// nobody else would know before it is looked at again. What can't be read now is told by that look.
    async fn taken_from_others(&self, shards: &[SetShard]) -> Vec<Item> {
        /// No run takes longer from its beginning to its last snapshot, clocks that differ included.
        const APART: time::Duration = time::Duration::days(1);
        let own = self.context.source_of(&self.cluster.host).map(|source| source.id.to_string());
        let Ok((found, _)) = sets::list_one(self.bucket, self.collection).await else { return Vec::new() };
        let near = |other: &SetId| {
            let apart = other.started().zip(self.set.started()).map(|(one, other)| (one - other).abs());
            apart.is_some_and(|apart| apart < APART)
        };
        let mut taken = Vec::new();
        for set in found.iter().filter(|set| near(&set.id)) {
            let Ok(other) = sets::read(self.bucket, self.collection, set).await else { continue };
            let same = |shard: &SetShard| shards.iter().any(|own| own.s3_key == shard.s3_key);
            let Some(shard) = other.shards.iter().find(|shard| same(shard)).filter(|_| other.source_id != own) else {
                continue;
            };
            let whose = other.source_name.as_deref().unwrap_or("unknown");
            let cause = format!(
                "`{}` was the name of a snapshot of the source `{whose}`, too, whose set `{}` has lost it",
                shard.snapshot_name, set.id
            );
            let error = Error::new(Code::Changed, "", cause).advice(
                "run that one's backup again, and give each Qdrant a prefix (S3_CONFIG__PREFIX, with \
                 QDRANT_S3_KEY_PREFIX), or each source a bucket",
            );
            let item = Item::failed("snapshot", error).name(&shard.snapshot_name);
            taken.push(item.collection(self.collection).host(&self.cluster.host));
        }
        taken
    }

    fn now(&self) -> Duration {
        self.context.ports.clock.monotonic()
    }

    fn step(&self, text: &str) {
        self.context.step(&self.cluster.host, self.collection, text);
    }

    /// Look, create and check, look again, record.
    async fn make(&self, started: Duration, snapshots: &mut Snapshots<'a>) -> Result<SetManifest, Ended> {
        let looked = look(self.cluster, self.collection).await?;
        looked.warn(self.context, self.collection);
        at_rest(&looked.layout)?;
        looked.can_be_made()?;
        let (replicas, unreachable) = self.replicas(&looked);
        if let (Err(error), true) = (&looked.told, unreachable.is_empty()) {
            return Err(Ended::Failed(error.clone()));
        }
        if self.context.settings.dry_run {
            return Err(Ended::Foretold(self.foretell(&replicas, &unreachable)));
        }
        snapshots.missing = unreachable;
        self.step(&format!("snapshots of {} shards", replicas.len()));
        let client = &looked.peer.client;
        let count =
            || async { counted(self.context, looked.peer, self.collection, client.count(self.collection).await) };
        let before = count().await;
        let mut replicas: Vec<_> = replicas.into_iter().collect();
        let first = self.transfer.first_shard(self.collection);
        replicas.sort_by_key(|(shard, _)| Some(*shard) != first);
        let work = replicas.into_iter().map(|(shard, replicas)| self.take(shard, replicas, &looked));
        for (item, taken) in join_all(work).await {
            let cause = item.cause.clone().unwrap_or_default();
            snapshots.items.push(item);
            match taken {
                Ok((shard, made)) => {
                    snapshots.shards.push(shard);
                    snapshots.made.push(made);
                }
                Err(shard) => drop(snapshots.missing.insert(shard, cause)),
            }
        }
        if snapshots.shards.is_empty() && !looked.layout.shards.is_empty() {
            return Err(Ended::Failed(missing(&snapshots.missing)));
        }
        self.step("checking whether it has changed meanwhile");
        let (after, unchanged) = join(count(), looked.unchanged(self.cluster, self.collection)).await;
        at_rest(&unchanged?)?;
        let points = Points { before, after };
        let manifest = self.describe(started, &looked, snapshots, points).await;
        if snapshots.missing.is_empty() {
            self.record(manifest?, snapshots).await
        } else {
            self.record_partial(manifest, snapshots).await
        }
    }

    /// For every shard its active replicas on peers that can be reached, the one to ask first; and the shards that have
    /// none, with the reason.
    fn replicas(&self, looked: &Looked<'a>) -> (BTreeMap<u32, Vec<Replica<'a>>>, BTreeMap<u32, String>) {
        let (mut all, mut unreachable) = (BTreeMap::new(), BTreeMap::new());
        for (shard, there) in &looked.layout.shards {
            let active = there.replicas.iter().filter(|(_, replica)| replica.is_active());
            let mut replicas: Vec<Replica<'a>> =
                active.filter_map(|(id, _)| Some(Replica { id: *id, peer: self.cluster.peer(*id)? })).collect();
            let mut load = self.load.borrow_mut();
            replicas.sort_by_key(|replica| (load.get(&replica.id).copied().unwrap_or_default(), replica.id));
            let Some(first) = replicas.first() else {
                let states = there.replicas.iter().map(|(peer, replica)| format!("{} on peer {peer}", replica.state));
                let states = states.collect::<Vec<_>>().join(", ");
                let cause = format!("shard {shard} has no active replica on a peer that can be reached ({states})");
                unreachable.insert(*shard, cause);
                continue;
            };
            *load.entry(first.id).or_default() += 1;
            all.insert(*shard, replicas);
        }
        (all, unreachable)
    }

    fn foretell(&self, replicas: &BTreeMap<u32, Vec<Replica<'_>>>, unreachable: &BTreeMap<u32, String>) -> Vec<Item> {
        let mut items = Vec::new();
        for (shard, replicas) in replicas {
            let Some(first) = replicas.first() else { continue };
            items.push(would_make(self.context, self.collection, first.peer, &format!("shard {shard}")));
        }
        if !unreachable.is_empty() {
            items.push(Item::failed("set", missing(unreachable)).collection(self.collection).name(self.set.as_str()));
        }
        items
    }

    /// Takes the snapshot of one shard: from the chosen replica, or when that fails from another one.
    async fn take(
        &self,
        shard: u32,
        replicas: Vec<Replica<'a>>,
        looked: &Looked<'a>,
    ) -> (Item, Result<(SetShard, NewSnapshot<'a>), u32>) {
        let started = self.now();
        let mut causes = Vec::new();
        let mut code = Code::Incomplete;
        let item = |item: Item| item.collection(self.collection).elapsed(self.now().saturating_sub(started));
        for replica in replicas {
            let host = replica.peer.address();
            self.step(&format!("shard {shard}: a snapshot at {host}"));
            match self.take_from(shard, &replica, looked).await {
                Ok((taken, made, note)) => {
                    self.step(&format!("shard {shard}: its snapshot is in the bucket and checked"));
                    // What was read for its SHA-256 was told as it passed.
                    if !self.transfer.is_stream() && taken.checksum.is_empty() {
                        self.context.passed(&taken.snapshot_name, taken.size.unwrap_or_default(), taken.size);
                    }
                    causes.extend(note);
                    let done = Item::done("snapshot").host(host).name(&taken.snapshot_name);
                    let done = done.bytes(taken.size.unwrap_or_default());
                    let done = if causes.is_empty() { done } else { done.cause(causes.join("; ")) };
                    return (item(done), Ok((taken, made)));
                }
                Err(error) => {
                    code = error.code();
                    causes.push(error.of(host).to_string());
                }
            }
        }
        let failed = Item::failed("snapshot", Error::new(code, "", causes.join("; ")));
        (item(failed.name(format!("shard {shard}"))), Err(shard))
    }

    async fn take_from(
        &self,
        shard: u32,
        replica: &Replica<'a>,
        looked: &Looked<'a>,
    ) -> Result<(SetShard, NewSnapshot<'a>, Option<String>), Error> {
        let subject = Subject { collection: self.collection, peer: replica.id, shard: Some(shard) };
        // A server without clustering tells its id only with a collection.
        let own_id = if self.cluster.distributed { replica.id } else { looked.peer_id };
        let turn = self.transfer.turn(self.collection).await;
        let (is_streamed, stored) = if self.transfer.is_stream() {
            (true, self.stream(subject, shard, replica, own_id).await?)
        } else {
            match self.by_storage(subject, shard, replica, own_id).await {
                Err(error) if self.transfer.is_contradicted_by(&error).await => {
                    drop(turn);
                    (true, self.stream(subject, shard, replica, own_id).await?)
                }
                stored => {
                    let stored = stored?;
                    self.transfer.is_confirmed().await;
                    (false, stored)
                }
            }
        };
        let Stored { checked, made, points } = stored;
        let note = checked.note.clone();
        let mut taken = self.shard(shard, checked, own_id, points, looked)?;
        taken.transfer = is_streamed.then(|| settings::Transfer::Stream.name().to_owned());
        Ok((taken, made, note))
    }

    /// A count of the replica that is asked.
    async fn count(&self, shard: u32, replica: &Replica<'a>) -> Option<u64> {
        let count = replica.peer.client.count_replica(self.collection, shard).await;
        counted(self.context, replica.peer, self.collection, count)
    }

    /// Has Qdrant send the snapshot, and stores it.
    async fn stream(
        &self,
        subject: Subject<'a>,
        shard: u32,
        replica: &Replica<'a>,
        own_id: u64,
    ) -> Result<Stored<'a>, Error> {
        let &Self { context, bucket, .. } = self;
        let key = self.transfer.key(self.collection, self.set, shard);
        let client = &replica.peer.client;
        let before = self.count(shard, replica).await;
        let stream = Stream { context, bucket, client, subject, shard, key, own_id, parts: Parts::OF_S3 };
        let (checked, made) = stream.store().await?;
        let points = Points { before, after: self.count(shard, replica).await };
        Ok(Stored { checked, made, points })
    }

    /// Has Qdrant store the snapshot, and looks at it there.
    async fn by_storage(
        &self,
        subject: Subject<'a>,
        shard: u32,
        replica: &Replica<'a>,
        own_id: u64,
    ) -> Result<Stored<'a>, Error> {
        let client = &replica.peer.client;
        let (known, before) = join(known(client, subject), self.count(shard, replica)).await;
        let created = known?.create(self.context, client, subject).await?;
        let (checked, after) = join(created.check(self.context, own_id), self.count(shard, replica)).await;
        let (checked, made) = checked?;
        Ok(Stored { checked, made, points: Points { before, after } })
    }

    /// What the manifest says of a snapshot.
    fn shard(
        &self,
        shard: u32,
        checked: Checked,
        own_id: u64,
        points: Points,
        looked: &Looked<'a>,
    ) -> Result<SetShard, Error> {
        let stored = checked.stored.ok_or_else(|| Error::new(Code::Configuration, "", "no bucket is configured"))?;
        let there = looked.layout.shards.get(&shard);
        let replicas = there.into_iter().flat_map(|there| &there.replicas);
        Ok(SetShard {
            id: shard,
            snapshot_name: checked.name,
            s3_key: stored.key,
            size: Some(checked.bytes),
            etag: stored.etag,
            checksum: stored.checksum,
            source_peer_id: own_id,
            created_at: timestamp::RFC3339.write(self.context.ports.clock.now()),
            key: there.and_then(|there| there.key.clone()),
            replicas: replicas.map(|(peer, replica)| (peer.to_string(), replica.state.clone())).collect(),
            transfer: None,
            points,
        })
    }

    async fn describe(
        &self,
        started: Duration,
        looked: &Looked<'_>,
        snapshots: &Snapshots<'_>,
        points: Points,
    ) -> Result<SetManifest, Error> {
        let config = looked.told.clone().unwrap_or(Value::Object(serde_json::Map::new()));
        let aliases = looked.peer.client.aliases_of(self.collection).await?;
        let method = config.pointer("/config/params/sharding_method").and_then(Value::as_str).unwrap_or("auto");
        let counted = points.after.or(points.before).or_else(|| config.get("points_count").and_then(Value::as_u64));
        let peers = self.cluster.peers.iter().map(|peer| ManifestPeer {
            id: peer.id.unwrap_or(looked.peer_id),
            host: peer.address(),
            version: peer.version.clone(),
            commit: peer.commit.clone(),
        });
        let whose = self.context.source_of(&self.cluster.host);
        Ok(SetManifest {
            schema_version: SetManifest::SCHEMA_VERSION,
            backup_set_id: self.set.to_string(),
            collection: self.collection.to_owned(),
            qdrant_version: looked.peer.version.clone(),
            sharding_method: method.to_owned(),
            shard_count: looked.layout.shards.len() as u64,
            points_count: counted.unwrap_or_default(),
            aliases,
            shards: snapshots.shards.clone(),
            created_by: crate::CREATED_BY.to_owned(),
            source_id: whose.as_ref().map(|source| source.id.to_string()),
            source_name: whose.map(|source| source.name),
            run_id: Some(self.context.run.to_string()),
            source: Some(SetSource {
                distributed: self.cluster.distributed,
                peers: peers.collect(),
                points,
                created_at: timestamp::RFC3339.write(self.context.ports.clock.now()),
                seconds: self.now().saturating_sub(started).as_secs(),
                label: self.context.settings.label.clone(),
                check: Some(self.context.settings.snapshot_check.name().to_owned()),
            }),
            collection_config: config,
            missing: snapshots.missing.keys().copied().collect(),
        })
    }

    /// Writes the manifest of a whole set, which makes it one.
    async fn record(&self, manifest: SetManifest, snapshots: &mut Snapshots<'_>) -> Result<SetManifest, Ended> {
        // Every snapshot is looked up once more: they may have been removed, or replaced, since they were checked.
        let good = quality::of_set(self.bucket, &manifest, &|_| Depth::Identity).await;
        good.map_err(|wrong| quality::as_one(&wrong).of("the set is not good"))?;
        let key = self.bucket.places().ours(&self.set.key(self.collection));
        self.write(&key, &manifest, snapshots).await?;
        Ok(manifest)
    }

    /// Records what there is of a set that lacks shards, so that it is kept for who asks for it.
    async fn record_partial(
        &self,
        manifest: Result<SetManifest, Error>,
        snapshots: &mut Snapshots<'_>,
    ) -> Result<SetManifest, Ended> {
        let error = missing(&snapshots.missing);
        let key = self.bucket.places().ours(&self.set.partial_key(self.collection));
        let written = match manifest {
            Ok(manifest) => self.write(&key, &manifest, snapshots).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => {
                Err(Ended::Partial(error.advice(format!("what there is of it is kept as a partial backup: `{key}`"))))
            }
            Err(cause) => Err(Ended::Failed(error.advice(format!("it could not be recorded either: {cause}")))),
        }
    }

    async fn write(&self, key: &str, manifest: &SetManifest, snapshots: &mut Snapshots<'_>) -> Result<(), Error> {
        let thing = || format!("the manifest `{key}`");
        let unusable = |cause: String| Error::new(Code::ManifestUnusable, thing(), cause);
        let json = encode::json(&thing(), manifest)?;
        // What would be refused at the restore must not be written.
        let (prefix, places) = (self.bucket.key_prefix(), self.bucket.places());
        SetManifest::parse(&json, self.collection, self.set, prefix, places).map_err(unusable)?;
        match self.bucket.put_new(key, "application/json", json.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unusable(format!("there is already a set `{}` of this collection", self.set))),
            Err(error) if self.withdraw(key, &json).await => Err(error),
            Err(error) => {
                // It may have got there after all, and must not lack its snapshots then.
                snapshots.made.clear();
                let advice = format!("it is not known whether its manifest `{key}` was written; `verify` shows it");
                Err(error.advice(advice))
            }
        }
    }

    /// Makes sure that the manifest, whose answer was an error, is not there.
    async fn withdraw(&self, key: &str, json: &[u8]) -> bool {
        match self.bucket.get(key, json.len().saturating_add(1)).await {
            Ok(Some(there)) if there == json => self.bucket.delete(key).await.is_ok(),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

/// What is said of a set that lacks shards.
fn missing(shards: &BTreeMap<u32, String>) -> Error {
    let causes: Vec<&str> = shards.values().map(String::as_str).collect();
    let cause = format!("{} of its shards have no snapshot: {}", shards.len(), causes.join("; "));
    Error::new(Code::Incomplete, "", cause)
}

/// In a dry run: what would be asked of a peer.
pub(super) fn would_make(context: &Context, collection: &str, peer: &Peer, what: &str) -> Item {
    context.plan(&["snapshot", collection, what, &peer.address()]);
    Item::skipped("snapshot", format!("would be made: {what}")).host(peer.address()).collection(collection)
}
