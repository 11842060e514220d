//! One archive: asked of one peer, found again when the answer is lost, and proven to be in the bucket.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::naming::{self, SnapshotName};
use crate::ordered::Ordered;
use crate::qdrant::{Client, QdrantError, SnapshotDescription};
use crate::tasks::Context;

/// An archive that was made, and with a bucket configured found there.
pub(super) struct Archive {
    pub name: String,
    pub key: Option<String>,
    pub bytes: u64,
    /// Something a person should know although all went well.
    pub note: Option<String>,
}

/// Makes an archive of what the peer `peer_id` behind `client` holds of `collection`.
///
/// # Errors
/// In words: Qdrant refused, the archive never appeared, or it isn't where it has to be.
pub(super) async fn make(
    context: &Context,
    client: &Client,
    peer_id: u64,
    collection: &str,
) -> Result<Archive, String> {
    let known: BTreeSet<String> = names(client, collection).await.map_err(|error| error.to_string())?;
    let permit = context.peer_permit(client.host()).await;
    let (description, note) = create(context, client, peer_id, collection, &known).await?;
    drop(permit);
    let key = match &context.bucket {
        None => None,
        Some(bucket) => {
            let key = naming::snapshot_key(bucket.key_prefix(), collection, &description.name);
            let stored = bucket.size(&key).await.map_err(|error| error.to_string())?.ok_or_else(|| {
                format!(
                    "{} says that it made `{}`, but there is no object `{key}` in the bucket `{}`: this peer stores \
                     snapshots on its own disk, in another bucket or under another path; check its \
                     QDRANT__STORAGE__SNAPSHOTS_CONFIG settings and QDRANT_S3_KEY_PREFIX",
                    client.host(),
                    description.name,
                    bucket.name(),
                )
            })?;
            if stored != description.size {
                return Err(format!(
                    "the object `{key}` has {stored} bytes and Qdrant says {}: it is not the whole archive",
                    description.size
                ));
            }
            Some(key)
        }
    };
    Ok(Archive { name: description.name, key, bytes: description.size, note })
}

/// Asks for the archive. A lost or early (202) answer is followed by looking for the archive, and only when
/// none appeared and the peer is at no snapshot any more is it asked for once more.
async fn create(
    context: &Context,
    client: &Client,
    peer_id: u64,
    collection: &str,
    known: &BTreeSet<String>,
) -> Result<(SnapshotDescription, Option<String>), String> {
    let host = client.host().to_string();
    let mut lost = None;
    for _ in 0..2 {
        let reason = match client.create_snapshot(collection, context.settings.wait).await {
            Ok(Some(description)) => return Ok((description, None)),
            Ok(None) => {
                context.log.info(Some(&host), &format!("`{collection}`: snapshot accepted, waiting for it to appear"));
                "accepted at first, then found in the list".to_owned()
            }
            Err(error) if error.outcome_is_unknown() => {
                context
                    .log
                    .warn(Some(&host), &format!("`{collection}`: {error}; looking whether the snapshot was made"));
                "the answer was lost, the snapshot was found in the list".to_owned()
            }
            Err(error) => return Err(error.to_string()),
        };
        if let Some(found) = find(context, client, peer_id, collection, known).await? {
            return Ok((found, Some(reason)));
        }
        lost = Some(reason);
    }
    Err(format!(
        "{host} was asked twice and made no snapshot that can be found ({}); see the log of the Qdrant pod",
        lost.unwrap_or_default()
    ))
}

/// Waits for a snapshot of this peer that was not there before; `None` when the peer is not making one.
async fn find(
    context: &Context,
    client: &Client,
    peer_id: u64,
    collection: &str,
    known: &BTreeSet<String>,
) -> Result<Option<SnapshotDescription>, String> {
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let limit = context.settings.request_timeout.max(Duration::from_secs(10));
    let mut seen: Option<SnapshotDescription> = None;
    let mut idle = 0;
    let mut pause = Duration::from_millis(200);
    loop {
        let listed = client.snapshots(collection).await;
        let newest = listed.as_ref().ok().and_then(|all| {
            all.iter()
                .filter(|snapshot| !known.contains(&snapshot.name))
                .filter(|snapshot| {
                    SnapshotName::parse(collection, &snapshot.name).is_some_and(|name| name.peer == peer_id)
                })
                .max_by(|a, b| a.name.cmp(&b.name))
        });
        match (newest, &seen) {
            // A file on the peer's own disk may still be growing: its size has to be the same twice.
            (Some(newest), Some(before)) if newest == before => return Ok(Some(newest.clone())),
            (Some(newest), _) => seen = Some(newest.clone()),
            (None, _) => {
                let running = client.running_snapshots(collection).await;
                idle = if matches!(running, Ok(Some(0))) && listed.is_ok() { idle + 1 } else { 0 };
                if idle >= 3 {
                    return Ok(None);
                }
            }
        }
        if clock.monotonic().saturating_sub(started) > limit {
            return Err(format!(
                "no snapshot appeared within {} s on {}; it may still be at work (CURL_TIMEOUT sets the limit)",
                limit.as_secs(),
                client.host()
            ));
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}

async fn names(client: &Client, collection: &str) -> Result<BTreeSet<String>, QdrantError> {
    Ok(client.snapshots(collection).await?.into_iter().map(|snapshot| snapshot.name).into_set())
}
