//! The stage that gives every peer its snapshots: by links, and where a peer does not take links by sending them.

use crate::error::{Code, Error};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::create::Progress;
use super::expected::Bounds;
use super::job::Job;
use super::place::Placed;
use super::plan::{Plan, Recovery};
use crate::context::{Context, Passing};
use crate::ports::{Body, HttpError, LocalBoxFuture};
use crate::qdrant::{Client, QdrantError};
use crate::report::Item;
use crate::retry::{Fault, Nature};
use crate::snapshot_file::{self, Assembly, Piece};

/// A collection whose replicas have their data.
pub(super) struct Recovered {
    progress: Progress,
}

impl Recovered {
    pub(super) fn into_progress(self) -> Progress {
        self.progress
    }
}

/// Gives all peers their snapshots at the same time; those of one peer one after another. An item for each of them.
///
/// # Errors
/// A peer did not take one: shards of the collection are empty.
pub(super) async fn recover(job: &Job<'_>, placed: Placed, items: &mut Vec<Item>) -> Result<Recovered, Error> {
    let progress = placed.into_progress();
    let mut by_peer: BTreeMap<u64, Vec<&Recovery>> = BTreeMap::new();
    for recovery in &job.plan.recoveries {
        by_peer.entry(recovery.peer).or_default().push(recovery);
    }
    let continued = progress.continued;
    let peers = by_peer.into_iter().map(|(peer, recoveries)| of_one_peer(job, peer, recoveries, continued));
    let recovered: Vec<Item> = join_all(peers).await.into_iter().flatten().collect();
    let failed = recovered.iter().filter(|item| item.is_failed()).count();
    items.extend(recovered);
    if failed == 0 {
        return Ok(Recovered { progress });
    }
    let cause = format!(
        "{failed} of its {} snapshots could not be recovered, so that shards of it are empty; do not use it",
        job.plan.recoveries.len()
    );
    Err(Error::new(Code::Incomplete, "", cause).advice("run the restore again, it goes on"))
}

/// Gives one peer its snapshots, until one fails.
async fn of_one_peer(job: &Job<'_>, peer: u64, recoveries: Vec<&Recovery>, continued: bool) -> Vec<Item> {
    let mut items = Vec::new();
    for recovery in recoveries {
        let item = of_one_snapshot(job, peer, recovery, continued).await;
        let failed = item.is_failed();
        items.push(item);
        if failed {
            break;
        }
    }
    items
}

async fn of_one_snapshot(job: &Job<'_>, peer: u64, recovery: &Recovery, continued: bool) -> Item {
    let clock = &job.context.ports.clock;
    let started = clock.monotonic();
    let about = |item: Item| item.collection(&job.plan.collection).name(&recovery.name);
    let Some(peer) = job.cluster.peer(peer) else {
        let error = Error::new(Code::NoPeer, format!("peer {peer}"), "it is gone");
        return about(Item::failed("snapshot", error)).host(&job.cluster.host);
    };
    if continued && recovery.is_counted() && is_there(&peer.client, job.plan, recovery).await {
        return about(Item::skipped("snapshot", "it exists already")).host(peer.address());
    }
    let sending = Sending { job, client: &peer.client, recovery };
    let text = format!("recovering at {}: `{}`", peer.address(), recovery.name);
    job.context.step(&job.cluster.host, &job.plan.collection, &text);
    let item = match sending.recover().await {
        Ok(None) => Item::done("snapshot"),
        Ok(Some(note)) => Item::done("snapshot").cause(note),
        Err(error) => Item::failed("snapshot", error),
    };
    about(item).host(peer.address()).bytes(recovery.bytes).elapsed(clock.monotonic().saturating_sub(started))
}

/// One snapshot for one peer.
struct Sending<'a> {
    job: &'a Job<'a>,
    client: &'a Client,
    recovery: &'a Recovery,
}

/// Why a peer did not take a snapshot.
enum Failure {
    /// Qdrant's answer, or that there was none.
    Qdrant(QdrantError),
    /// It did not get that far.
    Before(Error),
}

impl Fault for Failure {
    fn nature(&self) -> Nature {
        match self {
            Self::Qdrant(error) => error.nature(false),
            Self::Before(_) => Nature::Lasting,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Qdrant(error) => error.retry_after(),
            Self::Before(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qdrant(error) => error.fmt(f),
            Self::Before(error) => error.fmt(f),
        }
    }
}

impl Sending<'_> {
    /// Gives the peer the snapshot. After a lost answer the peer is watched until it is at no recovery any more. Only
    /// where the data is not there then, it is given the snapshot again.
    async fn recover(&self) -> Result<Option<String>, Error> {
        let &Self { job: &Job { context, plan, .. }, client, recovery } = self;
        let _permit = context.limits.peer(client.host()).await;
        let host = client.host().to_string();
        let in_collection = recovery.shard.as_ref().is_some_and(|shard| shard.in_collection);
        let mut by_link = !in_collection && !client.has_refused_link();
        let mut lost: Option<QdrantError> = None;
        let mut sent = 0;
        while sent < 2 {
            let expected = client.expect_peer(&plan.collection, recovery.peer).await;
            expected.map_err(|cause| Error::new(Code::Changed, "", cause))?;
            let answer = if by_link { self.link().await } else { self.upload().await };
            match answer {
                Ok(()) => return Ok((!by_link).then(|| "sent through this program".to_owned())),
                Err(Failure::Before(error)) => return Err(error),
                Err(Failure::Qdrant(error)) if by_link && error.refuses_links() => {
                    let name = &recovery.name;
                    context.log.warn(Some(&host), &format!("{error}; sending `{name}` through this program"));
                    by_link = false;
                    client.note_refused_link();
                }
                Err(Failure::Qdrant(error)) if error.outcome_is_unknown() => {
                    context.log.warn(Some(&host), &format!("`{}`: {error}; watching the peer", plan.collection));
                    wait_until_idle(context, client, &plan.collection).await?;
                    if is_there(client, plan, recovery).await {
                        return Ok(None);
                    }
                    lost = Some(error);
                    sent += 1;
                }
                Err(Failure::Qdrant(error)) => return Err(error.into()),
            }
        }
        let never = || Error::new(Code::QdrantAnswer, "", "the peer did not take it");
        Err(lost.map_or_else(never, Error::from))
    }

    /// Tells the peer where to fetch the snapshot.
    async fn link(&self) -> Result<(), Failure> {
        let &Self { job: &Job { context, store, plan, .. }, client, recovery } = self;
        // Made just now: its validity counts from here, and Qdrant fetches at once.
        let url = store.presigned_get(&recovery.key, context.settings.link_expiry).await;
        let url = url.map_err(Failure::Before)?;
        let answer = match &recovery.shard {
            None => client.recover(&plan.collection, &url).await,
            Some(shard) => client.recover_shard(&plan.collection, shard.id, &url, shard.checksum.as_deref()).await,
        };
        answer.map_err(Failure::Qdrant)
    }

    /// Sends the snapshot, shard by shard.
    async fn upload(&self) -> Result<(), Failure> {
        let &Self { job: &Job { store: bucket, .. }, recovery, .. } = self;
        let before = |error: snapshot_file::SnapshotFileError| Failure::Before(error.into());
        let gone = || Error::new(Code::SnapshotMissing, format!("the object `{}`", recovery.key), "it is gone");
        let stored = bucket.size(&recovery.key).await.map_err(Failure::Before)?;
        let stored = stored.ok_or_else(|| Failure::Before(gone()))?;
        if let Some(shard) = recovery.shard.as_ref().filter(|shard| !shard.in_collection) {
            let whole = vec![Piece::Copy { start: 0, end: stored }];
            return self.send(shard.id, stored, &whole, shard.checksum.as_deref()).await;
        }
        for shard in recovery.shards.keys() {
            let pieces =
                snapshot_file::shard_of_collection(bucket, &recovery.key, stored, *shard).await.map_err(before)?;
            self.send(*shard, stored, &pieces, None).await?;
        }
        Ok(())
    }

    /// Sends `pieces` of the object as the snapshot of a shard; anew where the peer says that it is busy.
    async fn send(&self, shard: u32, stored: u64, pieces: &[Piece], checksum: Option<&str>) -> Result<(), Failure> {
        let &Self { job: &Job { context, store: bucket, plan, .. }, client, recovery } = self;
        let sent = client.retries().run(async || {
            let snapshot = Assembly::new(bucket, &recovery.key, stored, pieces.to_vec());
            let length = snapshot.length();
            let mut snapshot = Told { snapshot, passing: context.passing(&recovery.name, length) };
            let answer = client.upload_shard(&plan.collection, shard, &mut snapshot, length, checksum).await;
            match (answer, snapshot.snapshot.failure()) {
                (Ok(()), _) => Ok(()),
                (Err(_), Some(failure)) => Err(Failure::Before(failure.clone())),
                (Err(error), None) => Err(Failure::Qdrant(error)),
            }
        });
        sent.await
    }
}

/// A snapshot that is sent, and programs are told how far.
struct Told<'a> {
    snapshot: Assembly<'a>,
    passing: Passing<'a>,
}

impl Body for Told<'_> {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            let chunk = self.snapshot.chunk().await?;
            self.passing.add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
            Ok(chunk)
        })
    }
}

/// True when every shard of the snapshot has the points that the manifest says, or without a manifest any, in a
/// collection that this restore has created: nobody else brings it points. This only spares a second recovery; what is
/// there is verified in the end.
async fn is_there(client: &Client, plan: &Plan, recovery: &Recovery) -> bool {
    for (shard, expected) in &recovery.shards {
        let count = client.count_replica(&plan.collection, *shard).await;
        let expected = expected.and_then(Bounds::equal);
        let right = count.is_ok_and(|count| expected.map_or(count > 0, |expected| count == expected));
        if !right {
            return false;
        }
    }
    true
}

/// Waits until `client` says that it is at no recovery of the collection.
async fn wait_until_idle(context: &Context, client: &Client, collection: &str) -> Result<(), Error> {
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let mut pause = Duration::from_millis(500);
    loop {
        clock.sleep(pause).await;
        let why = match client.running_recoveries(collection).await {
            Ok(Some(0) | None) => return Ok(()),
            Ok(Some(running)) => format!("{running} recoveries are still running"),
            Err(error) => error.to_string(),
        };
        if clock.monotonic().saturating_sub(started) > context.settings.request_timeout {
            let cause = format!("its answer was lost, and {why}");
            return Err(Error::new(Code::NotSettled, client.host().to_string(), cause)
                .advice("CURL_TIMEOUT sets how long to wait"));
        }
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}
