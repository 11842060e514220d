//! Carrying out a plan on one target cluster.

use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::backup::Backup;
use super::layout::Transfer;
use super::plan::{Plan, Target};
use super::shard_keys::ShardKey;
use super::state::{Start, look};
use super::{ledger, prove, recover, settle, version};
use crate::concurrent;
use crate::context::Context;
use crate::ports::LocalBoxFuture;
use crate::qdrant::{Client, Cluster, QdrantError};
use crate::report::{Item, Outcome};
use crate::retry;
use crate::store::ObjectStore;

/// Chooses the backup of one collection when its turn comes: what archives say of themselves is not kept for
/// thousands of collections. An item says why there is none.
pub type Choice<'a> = LocalBoxFuture<'a, Result<Rc<Backup>, Item>>;

/// The choice of a backup that was chosen already.
pub fn given(backup: &Rc<Backup>) -> Choice<'static> {
    Box::pin(std::future::ready(Ok(Rc::clone(backup))))
}

/// How a restore into one cluster ended.
#[derive(Default)]
pub struct Restored {
    /// The collections that failed.
    pub failed: BTreeSet<String>,
    /// Alias to collection, as the manifests of what was restored have them.
    pub aliases: BTreeMap<String, String>,
}

/// Restores into `cluster` what `choices` gives for each collection, `total` in all. One that fails never stops the
/// others.
pub async fn restore<'a>(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    total: usize,
    choices: &mut dyn FnMut() -> Option<(String, Choice<'a>)>,
) -> Restored {
    let mut restored = Restored::default();
    let mut ended = 0;
    let work = std::iter::from_fn(choices).map(|(collection, choice)| async move {
        match choice.await {
            Ok(backup) => {
                let items = restore_one(context, bucket, cluster, &backup).await;
                (backup.collection().to_owned(), backup.aliases().to_vec(), items)
            }
            Err(item) => (collection, Vec::new(), vec![item]),
        }
    });
    let limit = concurrent::restores_at_once(cluster.peers.len(), context.settings.snapshots_per_peer);
    concurrent::at_most(limit, work, |(collection, aliases, done)| {
        ended += 1;
        if done.iter().any(|item| item.outcome == Outcome::Failed) {
            restored.failed.insert(collection.clone());
        }
        context.reporter.progress(&cluster.host, ended, total, &collection, done);
        for alias in aliases {
            // Of two that name an alias the last by name has it, in whichever order they end.
            let to = restored.aliases.entry(alias).or_insert_with(|| collection.clone());
            if *to < collection {
                to.clone_from(&collection);
            }
        }
    })
    .await;
    restored
}

/// Restores one collection: an item for each archive, one for the collection.
async fn restore_one(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster, backup: &Backup) -> Vec<Item> {
    let started = context.ports.clock.monotonic();
    let mut items = Vec::new();
    let result = run(context, bucket, cluster, backup, &mut items).await;
    let item = |outcome, cause| Item {
        host: Some(cluster.host.to_string()),
        collection: Some(backup.collection().to_owned()),
        elapsed: context.ports.clock.monotonic().saturating_sub(started),
        cause: Some(cause),
        ..Item::new("collection", outcome)
    };
    items.push(match result {
        Ok(Proof::Restored(points)) => item(Outcome::Done, format!("{points} points, proven on every replica")),
        Ok(Proof::Would(what)) => item(Outcome::Skipped, format!("would be {what}")),
        Ok(Proof::WasThere) => item(Outcome::Skipped, "restored before, and still as it was backed up".to_owned()),
        Err(cause) => {
            for name in backup.names().into_iter().filter(|_| !context.settings.dry_run) {
                // For people only: the run's own report is not lost with it.
                if let Err(error) = ledger::note_failed(
                    context.ports.files.as_ref(),
                    &cluster.host,
                    name,
                    &context.log.clean(&cause.to_string()),
                ) {
                    context.log.warn(None, &error.to_string());
                }
            }
            item(Outcome::Failed, cause.to_string())
        }
    });
    items
}

/// How a collection came to be as it was.
enum Proof {
    Restored(u64),
    WasThere,
    /// In a dry run.
    Would(&'static str),
}

async fn run(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    backup: &Backup,
    items: &mut Vec<Item>,
) -> Result<Proof, Error> {
    let target = Target { peers: cluster.ids(), distributed: cluster.distributed };
    let plan = backup.plan(&target)?;
    match version::check(backup.versions(), cluster) {
        Ok(None) => {}
        Ok(Some(note)) => context.log.info(None, &format!("`{}`: {note}", plan.collection)),
        Err(cause) if context.settings.skip_version_check => {
            context.log.warn(None, &format!("{cause}; restoring all the same"))
        }
        Err(cause) => return Err(format!("{cause}; QDRANT_SKIP_VERSION_CHECK=true restores all the same").into()),
    }
    if let Some((fewest, configured)) = plan.fewer_replicas() {
        // Writes go on: Qdrant asks no more replicas for confirmation than there are.
        context.log.warn(
            Some(&cluster.host.to_string()),
            &format!(
                "`{}` is configured for {configured} replicas of each shard, and the target has peers for {fewest}: it \
                 outlives the loss of fewer peers than before",
                plan.collection
            ),
        );
    }
    let start = look(context, bucket, cluster, &plan).await?;
    if context.settings.dry_run {
        return Ok(Proof::Would(would(context, cluster, &plan, &start)));
    }
    let client = &cluster.peer_to_ask(&plan.collection).ok_or("the target has no peer that answers")?.client;
    let files = context.ports.files.as_ref();
    let aliases = match start {
        Start::Restored => return Ok(Proof::WasThere),
        Start::Create | Start::Continue => BTreeMap::new(),
        Start::Replace => {
            // Deleting a collection deletes its aliases, those made since the backup among them.
            let aliases = client.aliases().await?;
            context
                .log
                .warn(Some(&cluster.host.to_string()), &format!("`{}`: deleting it to restore it", plan.collection));
            client.delete_collection(&plan.collection).await?;
            aliases.into_iter().filter(|(_, to)| *to == plan.collection).collect()
        }
    };
    ledger::note_begun(files, &cluster.host, &plan)?;
    note_in_bucket(context, bucket, cluster, &plan, false).await;
    if !matches!(start, Start::Continue) {
        create(context, client, &plan).await?;
    }
    let mut layout = settle::settled(context, cluster, &plan.collection).await?;
    if !plan.shard_keys.is_empty() {
        create_shard_keys(context, cluster, client, &plan).await?;
        layout = settle::settled(context, cluster, &plan.collection).await?;
    }
    for (field, schema) in &plan.indexes {
        client.create_index(&plan.collection, field, schema).await?;
    }
    settle::lay_out(context, cluster, &plan.collection, layout, &plan.placement, Transfer::Records).await?;
    let continued = matches!(start, Start::Continue);
    recover::all(context, bucket, cluster, &plan, continued, items).await?;
    let layout = settle::settled(context, cluster, &plan.collection).await?;
    let counts = prove::equalise(context, cluster, &plan, layout).await?;
    let points = prove::check(context, cluster, &plan, counts).await?;
    prove::sample(context, cluster, &plan, points).await?;
    if let Some(finish) = &plan.finish {
        client.update_collection(&plan.collection, finish).await?;
    }
    if !aliases.is_empty() {
        client.set_aliases(&aliases).await?;
    }
    let names: BTreeSet<&String> = plan.recoveries.iter().map(|recovery| &recovery.name).collect();
    for name in names {
        ledger::note_recovered(files, &cluster.host, name)?;
    }
    note_in_bucket(context, bucket, cluster, &plan, true).await;
    Ok(Proof::Restored(points))
}

/// Tells the plan, line by line, and what it begins with.
fn would(context: &Context, cluster: &Cluster, plan: &Plan, start: &Start) -> &'static str {
    let what = match start {
        Start::Create => "created and restored",
        Start::Continue => "restored into the empty or half restored collection that is there",
        Start::Replace => "deleted, created and restored",
        Start::Restored => "left as it is: it was restored before",
    };
    context.plan(&["restore", &plan.collection, &cluster.host.to_string(), what]);
    if matches!(start, Start::Restored) {
        return what;
    }
    for (shard, peers) in &plan.wanted {
        let peers: Vec<String> = peers.iter().map(u64::to_string).collect();
        context.plan(&["place", &plan.collection, &format!("shard {shard}"), &format!("peers {}", peers.join("+"))]);
    }
    for recovery in &plan.recoveries {
        let part = recovery.shard.as_ref().filter(|shard| shard.in_collection);
        let part = part.map(|shard| format!("shard {} of it, sent through this program", shard.id));
        let peer = format!("peer {}", recovery.peer);
        let cells = ["recover", &plan.collection, &peer, &recovery.key].into_iter().chain(part.as_deref());
        context.plan(&cells.collect::<Vec<_>>());
    }
    for (field, schema) in &plan.indexes {
        context.plan(&["index", &plan.collection, field, &schema.to_string()]);
    }
    what
}

/// Notes in the bucket how far the restore is. Without it only a run in the same work directory can go on.
async fn note_in_bucket(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster, plan: &Plan, done: bool) {
    if let Err(cause) = ledger::note_in_bucket(bucket, &cluster.host, plan, done).await {
        context
            .log
            .warn(None, &format!("`{}`: another pod could not go on with this restore: {cause}", plan.collection));
    }
}

/// Creates the collection. A lost answer is followed by looking whether it is there, and only where it is not, it is
/// asked for once more.
async fn create(context: &Context, client: &Client, plan: &Plan) -> Result<(), Error> {
    let mut lost = false;
    loop {
        let Err(error) = client.create_collection(&plan.collection, &plan.create).await else { return Ok(()) };
        // That it is there already is what the one before has done.
        let may_be_there = error.outcome_is_unknown() || (lost && error.is_refused());
        if !may_be_there {
            return Err(text(error).into());
        }
        context.log.warn(
            Some(&client.host().to_string()),
            &format!("`{}`: {error}; looking whether it was created", plan.collection),
        );
        let clock = context.ports.clock.as_ref();
        clock.sleep(retry::pause(clock, 1, None)).await;
        if client.collection(&plan.collection).await?.is_some() {
            return Ok(());
        }
        if lost {
            return Err(text(error).into());
        }
        lost = true;
    }
}

/// Creates the shard keys that are not there yet, in the order of their shard ids, and proves that Qdrant gave
/// them the ids that the archives have.
async fn create_shard_keys(context: &Context, cluster: &Cluster, client: &Client, plan: &Plan) -> Result<(), Error> {
    for key in &plan.shard_keys {
        create_shard_key(context, cluster, client, plan, key).await?;
    }
    let there = keys_there(context, cluster, plan).await?;
    for filler in plan.shard_keys.iter().filter(|key| key.filler && there.values().any(|there| *there == key.key)) {
        match client.drop_shard_key(&plan.collection, &filler.key).await {
            Ok(()) => {}
            // The look at the end tells whether it was done.
            Err(error) if error.outcome_is_unknown() => context.log.warn(None, &text(error)),
            Err(error) => return Err(text(error).into()),
        }
    }
    let there = keys_there(context, cluster, plan).await?;
    let wanted: BTreeMap<u32, Value> = plan
        .shard_keys
        .iter()
        .filter(|key| !key.filler)
        .flat_map(|key| key.shards.iter().map(|shard| (*shard, key.key.clone())))
        .collect();
    if there == wanted {
        Ok(())
    } else {
        Err(format!(
            "Qdrant gave its shard keys other shard ids ({}) than the backup has ({}); nothing was recovered. Delete the \
             collection and restore it again",
            numbered(&there),
            numbered(&wanted),
        ).into())
    }
}

/// Creates a shard key where it is not there yet; after a lost answer once more.
async fn create_shard_key(
    context: &Context,
    cluster: &Cluster,
    client: &Client,
    plan: &Plan,
    key: &ShardKey,
) -> Result<(), Error> {
    let mut lost: Option<QdrantError> = None;
    for attempt in 0..3 {
        let there = keys_there(context, cluster, plan).await?;
        let present = key.shards.iter().all(|shard| there.get(shard) == Some(&key.key));
        if present || (key.filler && there.keys().any(|shard| Some(shard) > key.shards.last())) {
            return Ok(());
        }
        // The last look is for the second answer.
        if attempt == 2 {
            break;
        }
        match client.create_shard_key(&plan.collection, &key.key, key.shards.len()).await {
            Ok(()) => return Ok(()),
            Err(error) if error.outcome_is_unknown() || (lost.is_some() && error.is_refused()) => {
                context.log.warn(None, &format!("{error}; looking whether the shard key was created"));
                lost = Some(error);
            }
            Err(error) => return Err(text(error).into()),
        }
    }
    Err(lost.map(text).unwrap_or_default().into())
}

/// Shard ids and their keys as text.
fn numbered(keys: &BTreeMap<u32, Value>) -> String {
    keys.iter().map(|(shard, key)| format!("{shard}: {key}")).collect::<Vec<_>>().join(", ")
}

/// Shard to shard key, on the target now.
async fn keys_there(context: &Context, cluster: &Cluster, plan: &Plan) -> Result<BTreeMap<u32, Value>, Error> {
    let layout = settle::settled(context, cluster, &plan.collection).await?;
    Ok(layout.shards.into_iter().map(|(shard, replicas)| (shard, replicas.key.unwrap_or_default())).collect())
}

fn text(error: QdrantError) -> String {
    error.to_string()
}
