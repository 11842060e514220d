//! Giving every peer its archives: by links, and where a peer does not take links by sending them.

use crate::error::Error;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::{Plan, Recovery};
use crate::archive::{self, Assembly, Piece};
use crate::context::Context;
use crate::qdrant::{Client, Cluster, QdrantError};
use crate::report::{Item, Outcome};
use crate::retry;
use crate::store::ObjectStore;

/// Gives all peers their archives at the same time; those of one peer one after another.
pub(super) async fn all(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    plan: &Plan,
    continued: bool,
    items: &mut Vec<Item>,
) -> Result<(), Error> {
    let mut by_peer: BTreeMap<u64, Vec<&Recovery>> = BTreeMap::new();
    for recovery in &plan.recoveries {
        by_peer.entry(recovery.peer).or_default().push(recovery);
    }
    let peers = by_peer.into_iter().map(|(peer, recoveries)| async move {
        let mut items = Vec::new();
        for recovery in recoveries {
            let started = context.ports.clock.monotonic();
            let (host, result) = match cluster.peer(peer) {
                // An earlier run got so far with it.
                Some(peer) if continued && recovery.is_counted() && is_there(&peer.client, plan, recovery).await => {
                    items.push(Item {
                        host: Some(peer.address()),
                        collection: Some(plan.collection.clone()),
                        name: Some(recovery.name.clone()),
                        cause: Some("it is there already".to_owned()),
                        ..Item::new("snapshot", Outcome::Skipped)
                    });
                    continue;
                }
                Some(peer) => {
                    (peer.address(), Job { context, bucket, client: &peer.client, plan, recovery }.recover().await)
                }
                None => (cluster.host.to_string(), Err(format!("peer {peer} is gone").into())),
            };
            let (outcome, cause) = match result {
                Ok(note) => (Outcome::Done, note),
                Err(cause) => (Outcome::Failed, Some(cause.to_string())),
            };
            items.push(Item {
                host: Some(host),
                collection: Some(plan.collection.clone()),
                name: Some(recovery.name.clone()),
                bytes: Some(recovery.bytes),
                elapsed: context.ports.clock.monotonic().saturating_sub(started),
                cause,
                ..Item::new("snapshot", outcome)
            });
            if outcome == Outcome::Failed {
                break;
            }
        }
        items
    });
    let recovered: Vec<Item> = join_all(peers).await.into_iter().flatten().collect();
    let failed = recovered.iter().filter(|item| item.outcome == Outcome::Failed).count();
    items.extend(recovered);
    match failed {
        0 => Ok(()),
        failed => Err(format!(
            "{failed} of its {} archives could not be recovered, so that shards of it are empty; do not use it. Run the \
             restore again, it goes on",
            plan.recoveries.len()
        ).into()),
    }
}

/// One archive for one peer.
struct Job<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    client: &'a Client,
    plan: &'a Plan,
    recovery: &'a Recovery,
}

/// Why a peer did not take an archive.
enum Failure {
    /// Qdrant's answer, or that there was none.
    Qdrant(QdrantError),
    /// It did not get that far.
    Before(String),
}

impl Job<'_> {
    /// Gives the peer the archive. After a lost answer the peer is watched until it is at no recovery any more. Only
    /// where the data is not there then, it is given the archive again.
    async fn recover(&self) -> Result<Option<String>, Error> {
        let Self { context, client, plan, recovery, .. } = self;
        let _permit = context.limits.peer(client.host()).await;
        let host = client.host().to_string();
        let mut by_link = recovery.shard.as_ref().is_none_or(|shard| !shard.in_collection);
        let mut lost: Option<QdrantError> = None;
        let mut sent = 0;
        while sent < 2 {
            client.expect_peer(&plan.collection, recovery.peer).await?;
            let answer = if by_link { self.link().await } else { self.upload().await };
            match answer {
                Ok(()) => return Ok((!by_link).then(|| "sent through this program".to_owned())),
                Err(Failure::Before(cause)) => return Err(cause.into()),
                Err(Failure::Qdrant(error)) if by_link && error.refuses_links() => {
                    let name = &recovery.name;
                    context.log.warn(Some(&host), &format!("{error}; sending `{name}` through this program"));
                    by_link = false;
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
                Err(Failure::Qdrant(error)) => return Err(error.to_string().into()),
            }
        }
        Err(lost.map(|error| error.to_string()).unwrap_or_default().into())
    }

    /// Tells the peer where to fetch the archive.
    async fn link(&self) -> Result<(), Failure> {
        let Self { context, bucket, client, plan, recovery } = self;
        // Made just now: its validity counts from here, and Qdrant fetches at once.
        let url = bucket.presigned_get(&recovery.key, context.settings.link_expiry);
        let url = url.map_err(|error| Failure::Before(error.to_string()))?;
        let answer = match &recovery.shard {
            None => client.recover(&plan.collection, &url).await,
            Some(shard) => client.recover_shard(&plan.collection, shard.id, &url, shard.checksum.as_deref()).await,
        };
        answer.map_err(Failure::Qdrant)
    }

    /// Sends the archive, shard by shard.
    async fn upload(&self) -> Result<(), Failure> {
        let &Self { bucket, recovery, .. } = self;
        let before = |error: archive::ArchiveError| Failure::Before(error.to_string());
        let stored = bucket.size(&recovery.key).await.map_err(|error| Failure::Before(error.to_string()))?;
        let stored = stored.ok_or_else(|| Failure::Before(format!("the object `{}` is gone", recovery.key)))?;
        if let Some(shard) = recovery.shard.as_ref().filter(|shard| !shard.in_collection) {
            let whole = vec![Piece::Copy { start: 0, end: stored }];
            return self.send(shard.id, stored, &whole, shard.checksum.as_deref()).await;
        }
        for shard in recovery.shards.keys() {
            let pieces = archive::shard_of_collection(bucket, &recovery.key, stored, *shard).await.map_err(before)?;
            self.send(*shard, stored, &pieces, None).await?;
        }
        Ok(())
    }

    /// Sends `pieces` of the object as the archive of a shard; anew where the peer says that it is busy.
    async fn send(&self, shard: u32, stored: u64, pieces: &[Piece], checksum: Option<&str>) -> Result<(), Failure> {
        let &Self { context, bucket, client, plan, recovery } = self;
        let mut attempt = 1;
        loop {
            let mut archive = Assembly::new(bucket, &recovery.key, stored, pieces.to_vec());
            let length = archive.length();
            let answer = client.upload_shard(&plan.collection, shard, &mut archive, length, checksum).await;
            let Err(error) = answer else { return Ok(()) };
            if let Some(failure) = archive.failure() {
                return Err(Failure::Before(failure.to_string()));
            }
            if attempt == retry::ATTEMPTS || !error.may_retry(false) {
                return Err(Failure::Qdrant(error));
            }
            let clock = context.ports.clock.as_ref();
            clock.sleep(retry::pause(clock, attempt, None)).await;
            attempt += 1;
        }
    }
}

/// True when every shard of the archive has the points that the manifest says, or without a manifest any. The proof
/// comes at the end of the restore; this only spares a second recovery.
async fn is_there(client: &Client, plan: &Plan, recovery: &Recovery) -> bool {
    for (shard, expected) in &recovery.shards {
        let count = client.count_replica(&plan.collection, *shard).await;
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
            return Err(format!(
                "{}: its answer was lost, and {why} (CURL_TIMEOUT sets how long to wait)",
                client.host()
            )
            .into());
        }
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}
