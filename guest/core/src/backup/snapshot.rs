//! One snapshot: asked of one peer, and found again when the answer is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use crate::context::Context;
use crate::error::{Code, Error};
use crate::naming::{self, ShardSnapshotName, SnapshotName};
use crate::qdrant::{Client, QdrantError, SnapshotDescription};

/// What a snapshot is made of: a peer's part of a collection, or its replica of one shard.
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

    /// When a snapshot of this subject was begun, by its name; `None` for the name of anything else.
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

    /// True when the name of a snapshot says that this very peer has made it.
    pub(super) fn is_signed(&self, name: &str) -> bool {
        self.shard.is_none() && self.started(name).is_some()
    }

    /// Its key in the bucket.
    pub(super) fn key(&self, prefix: &str, name: &str) -> String {
        match self.shard {
            None => naming::snapshot_key(prefix, self.collection, name),
            Some(shard) => naming::shard_snapshot_key(prefix, self.collection, shard, name),
        }
    }
}

/// The snapshots of `subject` that are there already.
pub(super) struct Known(BTreeSet<String>);

/// Asks which snapshots of `subject` are there already.
///
/// # Errors
/// The peer does not tell.
pub(super) async fn known(client: &Client, subject: Subject<'_>) -> Result<Known, Error> {
    let listed = subject.list(client).await?;
    Ok(Known(listed.into_iter().map(|snapshot| snapshot.name).collect()))
}

/// A snapshot that Qdrant says it has made.
pub(super) struct Created<'a> {
    pub client: &'a Client,
    pub subject: Subject<'a>,
    pub description: SnapshotDescription,
    pub note: Option<String>,
}

impl Known {
    /// Makes a snapshot of `subject` on the peer behind `client`, other than those that are known.
    ///
    /// # Errors
    /// Qdrant refused, or the snapshot never appeared.
    pub(super) async fn create<'a>(
        self,
        context: &Context,
        client: &'a Client,
        subject: Subject<'a>,
    ) -> Result<Created<'a>, Error> {
        let Self(known) = self;
        let permit = context.limits.peer(client.host()).await;
        wait_for_another_second(context, subject, &known).await;
        if let Some(turn) = context.turn().filter(|_| subject.shard.is_some()) {
            let clock = &context.ports.clock;
            clock.sleep(turn.wait(clock.now())).await;
        }
        let (description, note) = create(context, client, subject, &known).await?;
        drop(permit);
        if known.contains(&description.name) {
            let cause = format!(
                "{} gave the snapshot the name of an earlier one, `{}`, which is lost with it: two backups of this \
                 collection ran within the same second",
                client.host(),
                description.name
            );
            return Err(Error::new(Code::Changed, "", cause).advice("run one backup at a time"));
        }
        Ok(Created { client, subject, description, note })
    }
}

/// Names have a resolution of a second, and Qdrant puts a new snapshot in the place of an old one of the same name.
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

/// Asks for the snapshot. A lost or early (202) answer is followed by looking for the snapshot, and only when
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
                    .warn(Some(&host), &format!("`{collection}`: {error}; checking whether the snapshot was made"));
                "the answer was lost, the snapshot was found in the list".to_owned()
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = find(context, client, subject, known).await? {
            return Ok((found, Some(reason)));
        }
        lost = Some(reason);
    }
    let cause = format!("{host} was asked twice and made no snapshot that can be found ({})", lost.unwrap_or_default());
    Err(Error::new(Code::SnapshotMissing, "", cause).advice("see the log of the Qdrant pod"))
}

/// Waits for a snapshot of this peer that was not there before; `None` when the peer is not making one.
async fn find(
    context: &Context,
    client: &Client,
    subject: Subject<'_>,
    known: &BTreeSet<String>,
) -> Result<Option<SnapshotDescription>, Error> {
    /// How many looks in a row have to see neither a snapshot nor one being made.
    const IDLE: u32 = 3;
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let limit = context.settings.request_timeout.max(Duration::from_secs(10));
    let mut seen: Option<SnapshotDescription> = None;
    let mut idle = 0;
    let mut pause = Duration::from_millis(200);
    loop {
        let listed = subject.list(client).await;
        let newest = listed.as_ref().ok().and_then(|all| newest(all, subject, known));
        match newest {
            // A file on the peer's own disk may still be growing: its size has to be the same twice.
            Some(newest) if seen.as_ref() == Some(newest) => return Ok(Some(newest.clone())),
            Some(newest) => seen = Some(newest.clone()),
            None => {
                let running = client.running_snapshots(subject.collection).await;
                idle = if matches!(running, Ok(Some(0))) && listed.is_ok() { idle + 1 } else { 0 };
                if idle >= IDLE {
                    return Ok(None);
                }
            }
        }
        if clock.monotonic().saturating_sub(started) > limit {
            let cause = format!("no snapshot appeared within {} s on {}", limit.as_secs(), client.host());
            return Err(Error::new(Code::SnapshotMissing, "", cause)
                .advice("it may still be at work (CURL_TIMEOUT sets the limit)"));
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}

/// The newest snapshot of `subject` in a list that was not there before.
fn newest<'a>(
    listed: &'a [SnapshotDescription],
    subject: Subject<'_>,
    known: &BTreeSet<String>,
) -> Option<&'a SnapshotDescription> {
    let new = listed.iter().filter(|one| !known.contains(&one.name) && subject.started(&one.name).is_some());
    new.max_by(|left, right| left.name.cmp(&right.name))
}
