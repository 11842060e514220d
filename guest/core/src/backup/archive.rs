//! One archive: asked of one peer, found again when the answer is lost, and proven to be in the bucket.

use crate::error::Error;
use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use crate::context::Context;
use crate::naming::{self, ShardSnapshotName, SnapshotName};
use crate::qdrant::{Client, QdrantError, SnapshotDescription};

/// An archive that was made, and with a bucket configured found there.
pub(super) struct Archive {
    pub name: String,
    pub key: Option<String>,
    pub bytes: u64,
    /// Something a person should know although all went well.
    pub note: Option<String>,
}

/// What an archive is made of: a peer's part of a collection, or its replica of one shard.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub collection: &'a str,
    /// The peer that is asked.
    pub peer: u64,
    /// `None`: all that the peer holds.
    pub shard: Option<u32>,
}

impl Subject<'_> {
    async fn create(&self, client: &Client, wait: bool) -> Result<Option<SnapshotDescription>, QdrantError> {
        match self.shard {
            None => client.create_snapshot(self.collection, wait).await,
            Some(shard) => client.create_shard_snapshot(self.collection, shard, wait).await,
        }
    }

    async fn list(&self, client: &Client) -> Result<Vec<SnapshotDescription>, QdrantError> {
        match self.shard {
            None => client.snapshots(self.collection).await,
            Some(shard) => client.shard_snapshots(self.collection, shard).await,
        }
    }

    /// When an archive of this subject was begun, by its name; `None` for the name of anything else.
    fn started(&self, name: &str) -> Option<OffsetDateTime> {
        match self.shard {
            None => SnapshotName::parse(self.collection, name)
                .filter(|name| name.peer == self.peer)
                .map(|name| name.started),
            // The name does not say which peer made it.
            Some(shard) => ShardSnapshotName::parse(self.collection, name)
                .filter(|name| name.shard == shard)
                .map(|name| name.started),
        }
    }

    /// True when the name of an archive says that this very peer has made it.
    fn is_signed(&self, name: &str) -> bool {
        self.shard.is_none() && self.started(name).is_some()
    }

    fn key(&self, prefix: &str, name: &str) -> String {
        match self.shard {
            None => naming::snapshot_key(prefix, self.collection, name),
            Some(shard) => naming::shard_snapshot_key(prefix, self.collection, shard, name),
        }
    }
}

/// The archives of `subject` that are there already.
pub(super) struct Known(BTreeSet<String>);

/// Asks which archives of `subject` are there already.
///
/// # Errors
/// The peer does not tell.
pub(super) async fn known(client: &Client, subject: Subject<'_>) -> Result<Known, Error> {
    let listed = subject.list(client).await?;
    Ok(Known(listed.into_iter().map(|snapshot| snapshot.name).collect()))
}

/// Makes an archive of `subject` on the peer behind `client`, other than the `known` ones.
///
/// # Errors
/// In words: Qdrant refused, or the archive never appeared.
pub(super) async fn make(
    context: &Context,
    client: &Client,
    subject: Subject<'_>,
    Known(known): Known,
) -> Result<Made, Error> {
    let permit = context.limits.peer(client.host()).await;
    wait_for_another_second(context, subject, &known).await;
    let (description, note) = create(context, client, subject, &known).await?;
    drop(permit);
    if known.contains(&description.name) {
        return Err(format!(
            "{} gave the archive the name of an earlier one, `{}`, which is lost with it: two backups of this collection \
             ran within the same second",
            client.host(),
            description.name
        ).into());
    }
    Ok(Made { description, note })
}

/// An archive that Qdrant says it has made.
pub(super) struct Made {
    description: SnapshotDescription,
    note: Option<String>,
}

impl Made {
    /// Proves that the right peer has made it and that it is in the bucket.
    ///
    /// # Errors
    /// In words: it is of another peer, or isn't where it has to be.
    pub(super) async fn stored(
        self,
        context: &Context,
        client: &Client,
        subject: Subject<'_>,
    ) -> Result<Archive, Error> {
        let Self { description, note } = self;
        if !subject.is_signed(&description.name) {
            client.expect_peer(subject.collection, subject.peer).await?;
        }
        let SnapshotDescription { name, size: bytes, .. } = description;
        let Some(bucket) = context.store.as_deref() else { return Ok(Archive { name, key: None, bytes, note }) };
        let key = subject.key(bucket.key_prefix(), &name);
        let Some(stored) = bucket.size(&key).await? else {
            return Err(format!(
                "{} says that it made `{name}`, but there is no object `{key}` in the bucket `{}`: this peer stores \
                 snapshots on its own disk, in another bucket or under another path; check its \
                 QDRANT__STORAGE__SNAPSHOTS_CONFIG settings and QDRANT_S3_KEY_PREFIX",
                client.host(),
                bucket.name(),
            )
            .into());
        };
        if stored == bytes {
            Ok(Archive { name, key: Some(key), bytes, note })
        } else {
            Err(format!("the object `{key}` has {stored} bytes and Qdrant says {bytes}: it is not the whole archive")
                .into())
        }
    }
}

/// Names have a resolution of a second, and Qdrant puts a new archive in the place of an old one of the same name.
async fn wait_for_another_second(context: &Context, subject: Subject<'_>, known: &BTreeSet<String>) {
    /// Qdrant's clock may be ahead of ours; what is further ahead is not waited for.
    const SKEW: i64 = 3;
    let Some(newest) = known.iter().filter_map(|name| subject.started(name)).max() else { return };
    let clock = &context.ports.clock;
    for _ in 0..=SKEW {
        let ahead = newest.unix_timestamp() - clock.now().unix_timestamp();
        if !(0..=SKEW).contains(&ahead) {
            return;
        }
        clock.sleep(Duration::from_secs(1)).await;
    }
}

/// Asks for the archive. A lost or early (202) answer is followed by looking for the archive, and only when
/// none appeared and the peer is at no snapshot any more is it asked for once more.
async fn create(
    context: &Context,
    client: &Client,
    subject: Subject<'_>,
    known: &BTreeSet<String>,
) -> Result<(SnapshotDescription, Option<String>), Error> {
    let host = client.host().to_string();
    let collection = subject.collection;
    let mut lost = None;
    for _ in 0..2 {
        let reason = match subject.create(client, context.settings.wait).await {
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
            Err(error) => return Err(error.to_string().into()),
        };
        if let Some(found) = find(context, client, subject, known).await? {
            return Ok((found, Some(reason)));
        }
        lost = Some(reason);
    }
    Err(format!(
        "{host} was asked twice and made no snapshot that can be found ({}); see the log of the Qdrant pod",
        lost.unwrap_or_default()
    )
    .into())
}

/// Waits for a snapshot of this peer that was not there before; `None` when the peer is not making one.
async fn find(
    context: &Context,
    client: &Client,
    subject: Subject<'_>,
    known: &BTreeSet<String>,
) -> Result<Option<SnapshotDescription>, Error> {
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let limit = context.settings.request_timeout.max(Duration::from_secs(10));
    let mut seen: Option<SnapshotDescription> = None;
    let mut idle = 0;
    let mut pause = Duration::from_millis(200);
    loop {
        let listed = subject.list(client).await;
        let newest = listed.as_ref().ok().and_then(|all| {
            all.iter()
                .filter(|snapshot| !known.contains(&snapshot.name) && subject.started(&snapshot.name).is_some())
                .max_by(|a, b| a.name.cmp(&b.name))
        });
        match (newest, &seen) {
            // A file on the peer's own disk may still be growing: its size has to be the same twice.
            (Some(newest), Some(before)) if newest == before => return Ok(Some(newest.clone())),
            (Some(newest), _) => seen = Some(newest.clone()),
            (None, _) => {
                let running = client.running_snapshots(subject.collection).await;
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
            )
            .into());
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}
