//! One collection: which peers to ask, their archives, the counts around them, and the manifest at the end.

use crate::error::{Code, Error};
use futures_util::future::{join, join_all, join3};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::archive::{self, Archive, Subject};
use crate::context::Context;
use crate::manifest::{Manifest, ManifestArchive, ManifestPeer, ManifestShard, Points};
use crate::qdrant::{Cluster, CollectionInfo, Layout, Peer, QdrantError};
use crate::report::{Item, Outcome};
use crate::state_files;
use crate::timestamp;

/// Backs up one collection; the items are its archives, and the collection or manifest where these failed.
pub(super) async fn back_up(context: &Context, cluster: &Cluster, collection: &str) -> Vec<Item> {
    let started = context.ports.clock.monotonic();
    let failed = |cause: String| {
        vec![Item {
            host: Some(cluster.host.to_string()),
            collection: Some(collection.to_owned()),
            elapsed: context.ports.clock.monotonic().saturating_sub(started),
            cause: Some(cause),
            ..Item::new("collection", Outcome::Failed)
        }]
    };
    let Some(first) = cluster.peer_to_ask(collection) else {
        return failed("none of its peers can be reached".to_owned());
    };
    let count = || async { counted(context, first, collection, first.client.count(collection).await) };
    let count_first = async { if context.settings.dry_run { None } else { count().await } };
    let (found, before) = join(look(first, collection), count_first).await;
    let (info, layout) = match found {
        Ok(found) => found,
        Err(error) => return failed(error.to_string()),
    };
    for warning in warnings(&info, &layout) {
        context.log.warn(Some(&first.address()), &format!("`{collection}`: {warning}"));
    }
    let holders = holders(cluster, &layout);
    if holders.is_empty() {
        return failed(format!(
            "none of the reachable peers holds an active replica of it; its shards are on {}",
            names_of(&layout.peers())
        ));
    }
    if context.settings.dry_run {
        return holders.iter().map(|holder| would_make(context, collection, holder.peer, "its part")).collect();
    }
    let taken = join_all(holders.iter().map(|holder| take(context, holder, collection))).await;

    let mut items = Vec::new();
    let mut proven = Vec::new();
    for (item, archive) in taken {
        items.push(item);
        proven.extend(archive);
    }
    let uncovered = uncovered(&layout, &proven);
    if !uncovered.is_empty() {
        let shards = uncovered.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let cause = if proven.is_empty() {
            "no archive of it could be made".to_owned()
        } else {
            format!(
                "incomplete: no archive has data for shard {shards}; see the failures of its peers (with \
                 GET_PEERS_FROM_CLUSTER_INFO=false every peer has to be among QDRANT_SOURCE_HOSTS)"
            )
        };
        items.extend(failed(cause));
        return items;
    }
    let (after, now, aliases) = join3(count(), layout_of(first, collection), first.client.aliases_of(collection)).await;
    if now.as_ref().is_ok_and(|now| now.placement() != layout.placement()) {
        items.extend(failed(
            "its shards were moved while the archives were made, so that they may not fit together; run the backup again".to_owned(),
        ));
        return items;
    }
    let written = Written { info, layout, aliases, proven, points: Points { before, after } };
    items.extend(write_manifest(context, cluster, collection, written).await);
    items
}

/// In a dry run: what would be asked of a peer.
pub(super) fn would_make(context: &Context, collection: &str, peer: &Peer, what: &str) -> Item {
    context.plan(&["archive", collection, what, &peer.address()]);
    Item {
        host: Some(peer.address()),
        collection: Some(collection.to_owned()),
        cause: Some(format!("would be made: {what}")),
        ..Item::new("snapshot", Outcome::Skipped)
    }
}

/// What to tell of a collection whose status is red.
pub(super) const RED: &str = "its status is red: Qdrant reports failed operations; the archive may carry the fault";

/// What the manifest is made from.
struct Written {
    info: CollectionInfo,
    layout: Layout,
    aliases: Result<Vec<String>, QdrantError>,
    proven: Vec<Proven>,
    points: Points,
}

/// An archive that exists, with the counts around it.
struct Proven {
    peer_id: u64,
    archive: Archive,
    shards: BTreeMap<u32, Points>,
}

/// A peer to be asked, with the shards it holds.
struct Holder<'a> {
    peer: &'a Peer,
    peer_id: u64,
    shards: Vec<u32>,
}

fn missing(peer: &Peer, collection: &str) -> Error {
    Error::new(
        Code::Changed,
        format!("the collection `{collection}`"),
        format!("it is not on {} any more", peer.address()),
    )
}

pub(super) async fn look(peer: &Peer, collection: &str) -> Result<(CollectionInfo, Layout), Error> {
    let (info, layout) = join(peer.client.collection(collection), layout_of(peer, collection)).await;
    let info = info?.ok_or_else(|| missing(peer, collection))?;
    Ok((info, layout?))
}

pub(super) async fn layout_of(peer: &Peer, collection: &str) -> Result<Layout, Error> {
    let layout = peer.client.layout(collection).await?;
    layout.ok_or_else(|| missing(peer, collection))
}

fn warnings(info: &CollectionInfo, layout: &Layout) -> Vec<String> {
    let mut warnings = Vec::new();
    if info.status == "red" {
        warnings.push(RED.to_owned());
    }
    if layout.transfers + layout.resharding > 0 {
        warnings
            .push("shards are being moved right now; an archive made meanwhile may miss the moving ones".to_owned());
    }
    for (id, shard) in &layout.shards {
        for (peer, replica) in shard.replicas.iter().filter(|(_, replica)| !replica.is_active()) {
            warnings
                .push(format!("the replica of shard {id} on peer {peer} is {} and is not relied on", replica.state));
        }
    }
    warnings
}

/// The peers with an active replica. A collection without any shard (custom sharding before its first key) is
/// asked of one peer, so that its configuration is saved.
fn holders<'a>(cluster: &'a Cluster, layout: &Layout) -> Vec<Holder<'a>> {
    let holders: Vec<Holder<'a>> = cluster
        .peers
        .iter()
        .map(|peer| {
            let peer_id = peer.id.unwrap_or(layout.peer_id);
            Holder { peer, peer_id, shards: layout.active_on(peer_id).collect() }
        })
        .collect();
    if layout.shards.is_empty() {
        holders.into_iter().take(1).collect()
    } else {
        holders.into_iter().filter(|holder| !holder.shards.is_empty()).collect()
    }
}

/// Takes the archive of one peer, the counts of its replicas around it, and records it.
async fn take(context: &Context, holder: &Holder<'_>, collection: &str) -> (Item, Option<Proven>) {
    let started = context.ports.clock.monotonic();
    let host = holder.peer.address();
    let client = &holder.peer.client;
    let subject = Subject { collection, peer: holder.peer_id, shard: None };
    let counts = || counts(context, holder, collection);
    let (known, before) = join(archive::known(client, subject), counts()).await;
    let made = match known {
        Ok(known) => archive::make(context, client, subject, known).await,
        Err(cause) => Err(cause),
    };
    let (made, after) = match made {
        Ok(made) => join(made.stored(context, client, subject), counts()).await,
        Err(cause) => (Err(cause), BTreeMap::new()),
    };
    let elapsed = context.ports.clock.monotonic().saturating_sub(started);
    let item = |outcome| Item {
        host: Some(host.clone()),
        collection: Some(collection.to_owned()),
        elapsed,
        ..Item::new("snapshot", outcome)
    };
    let archive = match made {
        Ok(archive) => archive,
        Err(error) => return (Item { cause: Some(error.to_string()), ..item(Outcome::Failed) }, None),
    };
    let done = Item {
        name: Some(archive.name.clone()),
        bytes: Some(archive.bytes),
        cause: archive.note.clone(),
        ..item(Outcome::Done)
    };
    let line = state_files::Snapshot {
        host: Some(host.clone()),
        collection: collection.to_owned(),
        snapshot_name: archive.name.clone(),
    };
    if let Err(error) = state_files::append_snapshot(context.ports.files.as_ref(), &line) {
        // The archive is there, but a restore by the `snapshots` file would not know of it.
        return (Item { cause: Some(error.to_string()), outcome: Outcome::Failed, ..done }, None);
    }
    let points = |of: &BTreeMap<u32, u64>, shard: &u32| of.get(shard).copied();
    let shards = holder
        .shards
        .iter()
        .map(|shard| (*shard, Points { before: points(&before, shard), after: points(&after, shard) }))
        .collect();
    (done, Some(Proven { peer_id: holder.peer_id, archive, shards }))
}

/// The exact count of each replica of a peer, as far as the server tells.
async fn counts(context: &Context, holder: &Holder<'_>, collection: &str) -> BTreeMap<u32, u64> {
    let counted = holder.shards.iter().map(|shard| async move {
        let count = holder.peer.client.count_replica(collection, *shard).await;
        (*shard, counted(context, holder.peer, collection, count))
    });
    join_all(counted).await.into_iter().filter_map(|(shard, count)| Some((shard, count?))).collect()
}

/// A count, where the server gives one. Where it does not, the manifest proves less, which is told; a server that does
/// not know the request at all (before 1.10) is too old for it.
pub(super) fn counted(
    context: &Context,
    peer: &Peer,
    collection: &str,
    count: Result<u64, QdrantError>,
) -> Option<u64> {
    count
        .map_err(|error| {
            if !error.is_not_found() {
                let what = format!("`{collection}`: not counted, so that a restore has less to compare with: {error}");
                context.log.warn(Some(&peer.address()), &what);
            }
        })
        .ok()
}

/// The shards that no archive has data for.
fn uncovered(layout: &Layout, proven: &[Proven]) -> BTreeSet<u32> {
    let covered: BTreeSet<u32> = proven.iter().flat_map(|archive| archive.shards.keys().copied()).collect();
    let mut uncovered: BTreeSet<u32> = layout.shards.keys().copied().collect();
    uncovered.retain(|shard| !covered.contains(shard));
    if proven.is_empty() && uncovered.is_empty() {
        // A collection without shards has no archive either.
        uncovered.insert(0);
    }
    uncovered
}

/// Writes the manifest into the bucket, where there is one. An item only where that failed: a manifest that was
/// written says nothing that the archives' own items do not.
async fn write_manifest(context: &Context, cluster: &Cluster, collection: &str, written: Written) -> Option<Item> {
    let bucket = context.store.as_deref()?;
    let started = context.ports.clock.monotonic();
    let now = context.ports.clock.now();
    let key = bucket.places().ours(&Manifest::key(collection, now, context.ports.clock.random()));
    let failed = |cause: String| Item {
        host: Some(cluster.host.to_string()),
        collection: Some(collection.to_owned()),
        name: Some(key.clone()),
        elapsed: context.ports.clock.monotonic().saturating_sub(started),
        cause: Some(cause),
        ..Item::new("manifest", Outcome::Failed)
    };
    let manifest = match describe(context, cluster, collection, written, now) {
        Ok(manifest) => manifest,
        Err(error) => return Some(failed(error.to_string())),
    };
    let json = match serde_json::to_vec_pretty(&manifest) {
        Ok(json) => json,
        Err(error) => return Some(failed(error.to_string())),
    };
    match bucket.put_new(&key, "application/json", json).await {
        Ok(true) => None,
        Ok(false) => Some(failed("an object of this name is there already".to_owned())),
        Err(error) => Some(failed(error.to_string())),
    }
}

fn describe(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    written: Written,
    now: time::OffsetDateTime,
) -> Result<Manifest, QdrantError> {
    let Written { info, layout, aliases, proven, points } = written;
    let peers = cluster.peers.iter().map(|peer| ManifestPeer {
        id: peer.id.unwrap_or(layout.peer_id),
        host: peer.address(),
        version: peer.version.clone(),
        commit: peer.commit.clone(),
    });
    let shards = layout.shards.iter().map(|(id, shard)| ManifestShard {
        id: *id,
        key: shard.key.clone(),
        replicas: shard.replicas.iter().map(|(peer, replica)| (peer.to_string(), replica.state.clone())).collect(),
    });
    let archives = proven.into_iter().map(|proven| ManifestArchive {
        key: proven.archive.key.unwrap_or_default(),
        name: proven.archive.name,
        bytes: proven.archive.bytes,
        peer_id: proven.peer_id,
        shards: proven.shards,
    });
    let whose = context.source_of(&cluster.host);
    Ok(Manifest {
        schema_version: crate::manifest::SCHEMA_VERSION,
        created_at: timestamp::RFC3339.write(now),
        created_by: crate::CREATED_BY.to_owned(),
        collection: collection.to_owned(),
        distributed: cluster.distributed,
        peers: peers.collect(),
        config: info.config,
        payload_schema: info
            .payload_schema
            .into_iter()
            .map(|(field, schema)| (field, without_counts(schema)))
            .collect(),
        shards: shards.collect(),
        points,
        aliases: aliases?,
        archives: archives.collect(),
        source_id: whose.as_ref().map(|source| source.id.to_string()),
        source_name: whose.map(|source| source.name),
        run_id: Some(context.run.to_string()),
    })
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
