//! The stage that makes the collection: as it was configured, marked as this restore's, its shard keys with the ids that
//! the snapshots have, its payload indexes.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::config::{self, When};
use super::decide::Start;
use super::inspect::Found;
use super::job::Job;
use super::layout::Placement;
use super::record::{Record, State};
use super::shard_keys::ShardKey;
use super::{settle, snapshots};
use crate::error::{Code, Error};
use crate::marker::Marker;
use crate::qdrant::{CONSENSUS_TRIES, Client, Layout, QdrantError};

/// What every stage hands to the next one.
pub(super) struct Progress {
    /// The record of this restore.
    pub record: Record,
    /// Records of earlier ones that have not ended.
    pub unfinished: Vec<Record>,
    /// True where an earlier run of this very restore may have brought some of the data.
    pub continued: bool,
    /// How many points no count has, as they are not optimised yet.
    pub deferred: u64,
    /// What is to be told in the end.
    pub notes: Vec<String>,
}

/// A collection that is there, empty or half restored, and settled.
pub(super) struct Created {
    progress: Progress,
    layout: Layout,
}

impl Created {
    /// Where Qdrant has put its shards.
    pub(super) fn placement(&self) -> Placement {
        self.layout.placement()
    }

    pub(super) fn into_parts(self) -> (Progress, Layout) {
        (self.progress, self.layout)
    }
}

/// Makes the collection. The record of the restore is written before anything is changed.
///
/// # Errors
/// A snapshot is not what it was (nothing was changed then), or Qdrant does not make the collection as it was.
///
/// `beside`: whether a verified replacement lies beside the collection.
pub(super) async fn create(job: &Job<'_>, found: Found, start: Start, beside: bool) -> Result<Created, Error> {
    let client = job.client()?;
    let plan = job.plan;
    if start == Start::Replace {
        snapshots::check(job).await?;
    }
    let unfinished: Vec<Record> = found
        .records
        .into_iter()
        .filter(|record| record.state == State::Begun && record.restore != job.restore)
        .collect();
    // Deleting a collection deletes its aliases, those made since the backup among them.
    let mut aliases: BTreeSet<String> = unfinished.iter().flat_map(|record| record.aliases.clone()).collect();
    aliases.extend(found.own_aliases);
    if let Some(there) = found.there.filter(|_| start == Start::Replace) {
        aliases.extend(there.aliases);
    }
    let record = Record::begun(job, found.peers, aliases, beside || found.beside);
    record.write(job).await?;
    job.step("waiting to be created");
    let permit = job.context.limits.layout().await;
    job.step("creating the collection");
    match start {
        Start::Create => create_collection(job, client).await?,
        Start::Replace => {
            job.warn("deleting it to restore it");
            client.delete_collection(&plan.collection).await?;
            create_collection(job, client).await?;
        }
        Start::Fill => {
            if let Some(marker) = job.marker() {
                client.update_collection(&plan.collection, &json!({ "metadata": marker.entry() })).await?;
            }
        }
        Start::Continue => {}
    }
    // While it settles, others can be created, unless there is more to be agreed on: who gives the place up waits for it
    // behind all that are to be created.
    let _permit = (!plan.shard_keys.is_empty() || !plan.indexes.is_empty()).then_some(permit);
    let mut layout = settle::ready(job.context, job.cluster, &plan.collection).await?;
    if !plan.shard_keys.is_empty() {
        create_shard_keys(job, client).await?;
        layout = settle::ready(job.context, job.cluster, &plan.collection).await?;
    }
    let (notes, _) = config::restore(job, When::Created).await?;
    for (field, schema) in &plan.indexes {
        client.create_index(&plan.collection, field, schema).await?;
    }
    let progress = Progress { record, unfinished, continued: start == Start::Continue, deferred: 0, notes };
    Ok(Created { progress, layout })
}

/// Creates the collection. A lost answer is followed by checking whether it is there, and only where it is not, it is
/// asked for again.
async fn create_collection(job: &Job<'_>, client: &Client) -> Result<(), Error> {
    let collection = &job.plan.collection;
    let mut body = job.plan.create.clone();
    let marker = job.marker();
    if let (Some(marker), Some(fields)) = (&marker, body.as_object_mut()) {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let (Some(metadata), Value::Object(entry)) = (metadata.as_object_mut(), marker.entry()) {
            metadata.extend(entry);
        }
    }
    let mut lost = false;
    let mut tries = 0;
    loop {
        tries += 1;
        let Err(error) = client.create_collection(collection, &body).await else {
            job.created.set(true);
            return Ok(());
        };
        // That it exists already is what the one before has done.
        let may_be_there = error.outcome_is_unknown() || (lost && error.is_refused());
        if !may_be_there {
            return Err(error.into());
        }
        job.warn(&format!("{error}; checking whether it was created"));
        let clock = job.context.ports.clock.as_ref();
        clock.sleep(Duration::from_millis(500)).await;
        if let Some(info) = client.collection(collection).await? {
            return if Marker::of(&info.config) == marker {
                Ok(())
            } else {
                let cause = "something else created it meanwhile";
                Err(Error::new(Code::TargetOccupied, format!("`{collection}`"), cause))
            };
        }
        if tries == CONSENSUS_TRIES {
            return Err(error.into());
        }
        lost = true;
    }
}

/// Creates the shard keys that are not there yet, in the order of their shard ids, and makes sure that Qdrant gave them
/// the ids that the snapshots have.
async fn create_shard_keys(job: &Job<'_>, client: &Client) -> Result<(), Error> {
    let plan = job.plan;
    for key in &plan.shard_keys {
        create_shard_key(job, client, key).await?;
    }
    let there = keys_there(job).await?;
    let mut there = there;
    let mut lost = false;
    for _ in 0..CONSENSUS_TRIES {
        let is_there = |key: &&ShardKey| key.filler && there.values().any(|there| *there == key.key);
        let fillers: Vec<&ShardKey> = plan.shard_keys.iter().filter(is_there).collect();
        if fillers.is_empty() {
            break;
        }
        for filler in fillers {
            match client.drop_shard_key(&plan.collection, &filler.key).await {
                Ok(()) => {}
                // The next look tells whether it was done.
                Err(error) if error.outcome_is_unknown() || (lost && error.is_refused()) => {
                    job.warn(&format!("{error}; checking whether the shard key was dropped"));
                    lost = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        there = keys_there(job).await?;
    }
    let named = plan.shard_keys.iter().filter(|key| !key.filler);
    let wanted: BTreeMap<u32, Value> =
        named.flat_map(|key| key.shards.iter().map(|shard| (*shard, key.key.clone()))).collect();
    if there == wanted {
        return Ok(());
    }
    let cause = format!(
        "Qdrant gave its shard keys other shard ids ({}) than the backup has ({}); nothing was recovered",
        numbered(&there),
        numbered(&wanted),
    );
    Err(Error::new(Code::QdrantAnswer, format!("`{}`", plan.collection), cause)
        .advice("delete the collection and restore it again"))
}

/// Creates a shard key where it is not there yet; after lost answers again.
async fn create_shard_key(job: &Job<'_>, client: &Client, key: &ShardKey) -> Result<(), Error> {
    let mut lost: Option<QdrantError> = None;
    for attempt in 0..=CONSENSUS_TRIES {
        let there = keys_there(job).await?;
        let present = key.shards.iter().all(|shard| there.get(shard) == Some(&key.key));
        if present || (key.filler && there.keys().any(|shard| Some(shard) > key.shards.last())) {
            return Ok(());
        }
        // The last look is for the last answer.
        if attempt == CONSENSUS_TRIES {
            break;
        }
        match client.create_shard_key(&job.plan.collection, &key.key, key.shards.len(), key.replicas).await {
            Ok(()) => return Ok(()),
            Err(error) if error.outcome_is_unknown() || (lost.is_some() && error.is_refused()) => {
                job.warn(&format!("{error}; checking whether the shard key was created"));
                lost = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let never = || Error::new(Code::QdrantAnswer, format!("the shard key {}", key.key), "it is not there");
    Err(lost.map_or_else(never, Error::from))
}

/// Shard ids and their keys as text.
fn numbered(keys: &BTreeMap<u32, Value>) -> String {
    keys.iter().map(|(shard, key)| format!("{shard}: {key}")).collect::<Vec<_>>().join(", ")
}

/// Shard to shard key, on the target now.
async fn keys_there(job: &Job<'_>) -> Result<BTreeMap<u32, Value>, Error> {
    let layout = settle::ready(job.context, job.cluster, &job.plan.collection).await?;
    Ok(layout.shards.into_iter().map(|(shard, replicas)| (shard, replicas.key.unwrap_or_default())).collect())
}
