//! A collection as a set: one archive of each shard, from one active replica, proven; the manifest last.

use crate::error::Error;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::Value;

use super::archive::{self, Subject};
use super::collection::{RED, counted, would_make};
use crate::archive::{check_shard, sha256};
use crate::context::Context;
use crate::manifest::{ManifestPeer, Points};
use crate::qdrant::{Cluster, Layout, Peer};
use crate::report::{Item, Outcome};
use crate::sets::{SetId, SetManifest, SetShard, SetSource};
use crate::settings::ArchiveCheck;
use crate::store::ObjectStore;
use crate::timestamp;

/// How many archives each peer was asked for in this run, so that the load is spread over all collections.
pub(super) type Load = RefCell<BTreeMap<u64, usize>>;

/// Everything that one collection's backup is about.
pub(super) struct Job<'a> {
    pub context: &'a Context,
    pub bucket: &'a dyn ObjectStore,
    pub cluster: &'a Cluster,
    pub collection: &'a str,
    pub set: &'a SetId,
    pub load: &'a Load,
}

/// A replica that can be asked.
struct Replica<'a> {
    id: u64,
    peer: &'a Peer,
}

impl Job<'_> {
    /// Backs up the collection: an item for each archive, one for the set. What a failed one has stored is deleted.
    pub(super) async fn back_up(&self) -> Vec<Item> {
        let started = self.now();
        let mut items = Vec::new();
        let stored = RefCell::default();
        let result = self.archives_and_manifest(started, &stored, &mut items).await;
        let item = |outcome, cause| Item {
            host: Some(self.cluster.host.to_string()),
            collection: Some(self.collection.to_owned()),
            name: Some(self.set.to_string()),
            elapsed: self.now().saturating_sub(started),
            cause: Some(cause),
            ..Item::new("set", outcome)
        };
        let last = match result {
            Ok(None) => return items,
            Ok(Some(manifest)) => Item {
                bytes: Some(manifest.bytes()),
                ..item(Outcome::Done, format!("{} shards, {} points", manifest.shard_count, manifest.points_count))
            },
            Err(cause) => {
                let left = self.clean_up(stored.take()).await;
                // Nothing of a set that did not come to be counts as done.
                for item in items.iter_mut().filter(|item| item.outcome == Outcome::Done) {
                    item.outcome = Outcome::Skipped;
                    item.cause = Some("deleted again, as the set is not whole".to_owned());
                }
                item(Outcome::Failed, format!("{cause}{left}"))
            }
        };
        items.push(last);
        items
    }

    fn now(&self) -> Duration {
        self.context.ports.clock.monotonic()
    }

    async fn archives_and_manifest(
        &self,
        started: Duration,
        stored: &RefCell<Vec<String>>,
        items: &mut Vec<Item>,
    ) -> Result<Option<SetManifest>, Error> {
        let first = self.cluster.peer_to_ask(self.collection).ok_or("none of its peers can be reached")?;
        let (config, layout) = self.look(first).await?;
        if config.get("status").and_then(Value::as_str) == Some("red") {
            self.context.log.warn(Some(&first.address()), &format!("`{}`: {RED}", self.collection));
        }
        let replicas = self.replicas(&layout)?;
        if self.context.settings.dry_run {
            for (shard, replicas) in &replicas {
                let first = replicas.first().map(|replica| replica.peer);
                items.extend(
                    first.map(|peer| would_make(self.context, self.collection, peer, &format!("shard {shard}"))),
                );
            }
            return Ok(None);
        }
        let count =
            || async { counted(self.context, first, self.collection, first.client.count(self.collection).await) };
        let before = count().await;
        let work = replicas.iter().map(|(shard, replicas)| self.take(*shard, replicas, stored));
        let mut shards = Vec::new();
        let mut failed = 0;
        for (item, shard) in join_all(work).await {
            failed += usize::from(item.outcome == Outcome::Failed);
            items.push(item);
            shards.extend(shard);
        }
        if failed > 0 {
            return Err(format!("{failed} of its {} shards have no archive", replicas.len()).into());
        }
        let (after, now) = join(count(), self.look(first)).await;
        let (config_now, layout_now) = now?;
        if layout_now.placement() != layout.placement() || params(&config_now) != params(&config) {
            return Err(
                "its shards were moved or its parameters changed while the archives were made, so that they may \
                        not fit together; run the backup again"
                    .to_owned()
                    .into(),
            );
        }
        for shard in &mut shards {
            if !self.cluster.distributed {
                shard.source_peer_id = layout.peer_id;
            }
            let there = layout.shards.get(&shard.id);
            shard.key = there.and_then(|there| there.key.clone());
            shard.replicas = there
                .into_iter()
                .flat_map(|there| &there.replicas)
                .map(|(peer, replica)| (peer.to_string(), replica.state.clone()))
                .collect();
        }
        let points = Points { before, after };
        let manifest = self.describe(started, config, shards, points, first, layout.peer_id).await?;
        self.write(&manifest, stored).await?;
        Ok(Some(manifest))
    }

    /// The whole description of the collection, and its layout, which has to be at rest.
    async fn look(&self, peer: &Peer) -> Result<(Value, Layout), Error> {
        let told = peer.client.collection_as_told(self.collection);
        let (config, layout) = join(told, self.cluster.layout(peer, self.collection)).await;
        let config = config?;
        let config = config.ok_or_else(|| format!("there is no such collection on {} any more", peer.address()))?;
        let layout = layout?;
        let layout = layout.ok_or_else(|| format!("there is no such collection on {} any more", peer.address()))?;
        if layout.transfers + layout.resharding > 0 {
            return Err("its shards are being moved right now; run the backup again when that has ended"
                .to_owned()
                .into());
        }
        let number = config.pointer("/config/params/shard_number").and_then(Value::as_u64).unwrap_or_default();
        let custom = config.pointer("/config/params/sharding_method").and_then(Value::as_str) == Some("custom");
        if !custom && number != layout.shards.len() as u64 {
            return Err(format!("it has {} shards and is configured for {number}", layout.shards.len()).into());
        }
        Ok((config, layout))
    }

    /// For every shard its active replicas on peers that can be reached, the one to ask first.
    fn replicas(&self, layout: &Layout) -> Result<BTreeMap<u32, Vec<Replica<'_>>>, Error> {
        let mut all = BTreeMap::new();
        for (shard, there) in &layout.shards {
            let mut replicas: Vec<Replica<'_>> = there
                .replicas
                .iter()
                .filter(|(_, replica)| replica.is_active())
                .filter_map(|(id, _)| Some(Replica { id: *id, peer: self.cluster.peer(*id)? }))
                .collect();
            let mut load = self.load.borrow_mut();
            replicas.sort_by_key(|replica| (load.get(&replica.id).copied().unwrap_or_default(), replica.id));
            let first = replicas.first().ok_or_else(|| {
                let states = there.replicas.iter().map(|(peer, replica)| format!("{} on peer {peer}", replica.state));
                format!(
                    "shard {shard} has no active replica on a peer that can be reached ({})",
                    states.collect::<Vec<_>>().join(", ")
                )
            })?;
            *load.entry(first.id).or_default() += 1;
            all.insert(*shard, replicas);
        }
        Ok(all)
    }

    /// Takes the archive of one shard: from the chosen replica, or when that fails from another one.
    async fn take(
        &self,
        shard: u32,
        replicas: &[Replica<'_>],
        stored: &RefCell<Vec<String>>,
    ) -> (Item, Option<SetShard>) {
        let started = self.now();
        let mut causes = Vec::new();
        for replica in replicas {
            let item = |outcome| Item {
                host: Some(replica.peer.address()),
                collection: Some(self.collection.to_owned()),
                elapsed: self.now().saturating_sub(started),
                ..Item::new("snapshot", outcome)
            };
            match self.take_from(shard, replica, stored).await {
                Ok((taken, note)) => {
                    causes.extend(note);
                    let cause = (!causes.is_empty()).then(|| causes.join("; "));
                    let name = Some(taken.snapshot_name.clone());
                    return (Item { name, bytes: taken.size, cause, ..item(Outcome::Done) }, Some(taken));
                }
                Err(cause) => causes.push(format!("{}: {cause}", replica.peer.address())),
            }
        }
        let failed = Item {
            collection: Some(self.collection.to_owned()),
            name: Some(format!("shard {shard}")),
            elapsed: self.now().saturating_sub(started),
            cause: Some(causes.join("; ")),
            ..Item::new("snapshot", Outcome::Failed)
        };
        (failed, None)
    }

    async fn take_from(
        &self,
        shard: u32,
        replica: &Replica<'_>,
        stored: &RefCell<Vec<String>>,
    ) -> Result<(SetShard, Option<String>), Error> {
        let client = &replica.peer.client;
        let count = || async {
            counted(self.context, replica.peer, self.collection, client.count_replica(self.collection, shard).await)
        };
        let subject = Subject { collection: self.collection, peer: replica.id, shard: Some(shard) };
        let (known, before) = join(archive::known(client, subject), count()).await;
        let made = archive::make(self.context, client, subject, known?).await?;
        let (made, after) = join(made.stored(self.context, client, subject), count()).await;
        let made = made?;
        let key = made.key.ok_or("no bucket is configured")?;
        stored.borrow_mut().push(key.clone());
        let stat = self.bucket.stat(&key).await?;
        let stat = stat.ok_or_else(|| format!("the object `{key}` is gone again"))?;
        let check = self.context.settings.archive_check;
        if check != ArchiveCheck::None {
            check_shard(self.bucket, &key, made.bytes).await?;
        }
        let checksum = match check {
            ArchiveCheck::Full => sha256(self.bucket, &key, made.bytes).await?,
            ArchiveCheck::Tail | ArchiveCheck::None => String::new(),
        };
        // Read after all of it: an archive that was replaced meanwhile is not the one that was checked.
        let now = self.bucket.stat(&key).await?;
        if now.as_ref() != Some(&stat) {
            return Err(format!("the object `{key}` was replaced by another one while it was checked").into());
        }
        let shard = SetShard {
            id: shard,
            snapshot_name: made.name,
            s3_key: key,
            size: Some(made.bytes),
            etag: stat.etag,
            checksum,
            source_peer_id: replica.id,
            created_at: timestamp::RFC3339.write(self.context.ports.clock.now()),
            key: None,
            replicas: BTreeMap::new(),
            points: Points { before, after },
        };
        Ok((shard, made.note))
    }

    async fn describe(
        &self,
        started: Duration,
        config: Value,
        shards: Vec<SetShard>,
        points: Points,
        first: &Peer,
        first_id: u64,
    ) -> Result<SetManifest, Error> {
        let aliases = first.client.aliases_of(self.collection).await?;
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let counted = points.after.or(points.before).or_else(|| config.get("points_count").and_then(Value::as_u64));
        let whose = self.context.source_of(&self.cluster.host);
        Ok(SetManifest {
            schema_version: SetManifest::SCHEMA_VERSION,
            backup_set_id: self.set.to_string(),
            collection: self.collection.to_owned(),
            qdrant_version: first.version.clone(),
            sharding_method: text("/config/params/sharding_method").unwrap_or("auto").to_owned(),
            shard_count: shards.len() as u64,
            points_count: counted.unwrap_or_default(),
            aliases,
            shards,
            created_by: crate::CREATED_BY.to_owned(),
            source_id: whose.as_ref().map(|source| source.id.to_string()),
            source_name: whose.map(|source| source.name),
            run_id: Some(self.context.run.to_string()),
            source: Some(SetSource {
                distributed: self.cluster.distributed,
                peers: self
                    .cluster
                    .peers
                    .iter()
                    .map(|peer| ManifestPeer {
                        // Without clustering there is one peer, which tells its id only with a collection.
                        id: peer.id.unwrap_or(first_id),
                        host: peer.address(),
                        version: peer.version.clone(),
                        commit: peer.commit.clone(),
                    })
                    .collect(),
                points,
                created_at: timestamp::RFC3339.write(self.context.ports.clock.now()),
                seconds: self.now().saturating_sub(started).as_secs(),
                label: self.context.settings.label.clone(),
            }),
            collection_config: config,
        })
    }

    async fn write(&self, manifest: &SetManifest, stored: &RefCell<Vec<String>>) -> Result<(), Error> {
        let key = self.bucket.places().ours(&self.set.key(self.collection));
        let json = serde_json::to_vec_pretty(manifest)?;
        // What would be refused at the restore must not be written.
        SetManifest::parse(&json, self.collection, self.set, self.bucket.key_prefix())?;
        match self.bucket.put_new(&key, "application/json", json.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("there is another set `{}` of this collection already", self.set).into()),
            Err(error) if self.withdraw(&key, &json).await => Err(error),
            Err(error) => {
                // It may have got there after all, and must not lack its archives then.
                stored.take();
                Err(format!("{error}; whether its manifest `{key}` is there is not known: `verify` tells").into())
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

    /// Deletes the archives of a set that did not come to be; says which are left.
    async fn clean_up(&self, stored: Vec<String>) -> String {
        let mut left = Vec::new();
        for key in stored {
            if let Err(error) = self.bucket.delete(&key).await {
                left.push(format!("`{key}` ({error})"));
            }
        }
        if left.is_empty() {
            String::new()
        } else {
            format!("; these of its archives could not be deleted: {}", left.join(", "))
        }
    }
}

/// What must not change during a backup; counts and states do.
fn params(config: &Value) -> Option<&Value> {
    config.pointer("/config/params")
}
