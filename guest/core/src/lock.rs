//! Locks in the bucket: two runs of one kind on one cluster are told from each other, and the second one says who holds
//! the lock.
//!
//! A lock is an object that its holder writes anew every [`BEAT`]. Whether its holder lives is seen by watching it for
//! [`SILENCE`], and not by comparing clocks, which may differ between pods. So the lock of a pod that was killed heals
//! itself. It is no fence: the procedures are safe without it, and it only keeps two runs from wasting each other's work.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::naming::escape_segment;
use crate::places;
use crate::ports::LocalBoxFuture;
use crate::qdrant::Cluster;
use crate::store::ObjectStore;
use crate::timestamp;

/// The folder of the locks.
const LOCKS: &str = places::LOCKS;

/// How often a holder writes its lock anew.
const BEAT: Duration = Duration::from_secs(20);

/// How long a lock is watched: one that does not change for so long has no holder any more.
const SILENCE: Duration = Duration::from_secs(65);

/// How often a lock is looked at while it is watched.
const LOOK: Duration = Duration::from_secs(5);

/// A lock that is older than this needs no watching, by whatever clock.
const OLD: time::Duration = time::Duration::hours(24);

/// The largest lock that is read.
const LIMIT: usize = 4096;

/// The kinds of work that exclude one another on one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Archives of whole collections.
    Snapshots,
    /// Sets.
    Sets,
    /// Restores of either.
    Restore,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "create_snap",
            Self::Sets => "create_snap_shards",
            Self::Restore => "restore",
        }
    }
}

/// The key of the lock for `work` on `cluster`; each share of a backup has its own.
fn key(context: &Context, work: Work, cluster: &Cluster) -> String {
    let id = match cluster.peers.iter().filter_map(|peer| peer.id).min() {
        Some(id) => id.to_string(),
        None => cluster.host.to_string().replace("://", "-").replace(':', "-"),
    };
    let share = context.settings.share.map(|share| format!("-{}-of-{}", share.index, share.of)).unwrap_or_default();
    format!("{LOCKS}/{}-{}{share}.json", work.name(), escape_segment(&id))
}

/// Does `run` while the lock for `work` on `cluster` is held. Without a bucket, or one that can't be written, there is
/// no lock, which is told and hinders nothing.
///
/// # Errors
/// Another run holds the lock: says who. Or this one lost it on the way, and was stopped.
pub(crate) async fn while_held(
    context: &Context,
    work: Work,
    cluster: &Cluster,
    run: LocalBoxFuture<'_, ()>,
) -> Result<(), Error> {
    let Some(bucket) = context.store.as_deref().filter(|_| !context.settings.dry_run) else {
        run.await;
        return Ok(());
    };
    let mut lock = Lock {
        context,
        bucket,
        key: bucket.places().ours(&key(context, work, cluster)),
        token: format!("{:016x}", context.ports.clock.random()),
        since: timestamp::RFC3339.write(context.ports.clock.now()),
        beats: 0,
    };
    match lock.acquire().await {
        Ok(()) => {}
        Err(Refusal::Held(by)) => return Err(by.into()),
        Err(Refusal::Impossible(error)) => {
            let why = format!("no lock could be taken, so that a second run at the same time is not noticed: {error}");
            context.log.warn(None, &why);
            run.await;
            return Ok(());
        }
    }
    let lost = {
        let keep = pin!(lock.keep());
        match select(run, keep).await {
            Either::Left(((), _)) => None,
            Either::Right((by, _)) => Some(by),
        }
    };
    match lost {
        None => {
            // A lock that stays heals itself.
            let _ = bucket.delete(&lock.key).await;
            Ok(())
        }
        Some(by) => Err(format!("this run was stopped, as its lock was taken over: {by}").into()),
    }
}

/// The restores at work, as far as their locks tell.
///
/// # Errors
/// The locks can't be read.
pub(crate) async fn running_restores(context: &Context, bucket: &dyn ObjectStore) -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    let prefix = format!("{LOCKS}/{}-", Work::Restore.name());
    bucket.list_own(&prefix, &mut |object| keys.push(object.key)).await?;
    let mut running = Vec::new();
    for key in keys {
        let held = watch(context, bucket, &key).await?;
        running.extend(held.map(|content| describe(&key, &content)));
    }
    Ok(running)
}

enum Refusal {
    Held(String),
    Impossible(Error),
}

struct Lock<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    key: String,
    /// Tells this run from all others.
    token: String,
    since: String,
    beats: u64,
}

impl Lock<'_> {
    fn content(&self) -> Vec<u8> {
        let now = timestamp::RFC3339.write(self.context.ports.clock.now());
        json!({
            "holder": self.context.settings.pod,
            "token": self.token,
            "since": self.since,
            "beat": self.beats,
            "beat_at": now,
        })
        .to_string()
        .into_bytes()
    }

    fn is_mine(&self, content: &[u8]) -> bool {
        text(content, "token").is_some_and(|token| token == self.token)
    }

    async fn acquire(&self) -> Result<(), Refusal> {
        let clock = &self.context.ports.clock;
        loop {
            let Some(there) = self.bucket.get(&self.key, LIMIT).await.map_err(Refusal::Impossible)? else {
                self.bucket.put_new(&self.key, JSON, self.content()).await.map_err(Refusal::Impossible)?;
                // Not every store refuses to overwrite: the look tells who was the last.
                match self.bucket.get(&self.key, LIMIT).await.map_err(Refusal::Impossible)? {
                    Some(there) if self.is_mine(&there) => return Ok(()),
                    _ => continue,
                }
            };
            // The pod's own earlier life is over.
            let mine = self.context.settings.pod.is_some() && text(&there, "holder") == self.context.settings.pod;
            if !mine {
                let found = watch(self.context, self.bucket, &self.key).await.map_err(Refusal::Impossible)?;
                if let Some(content) = found {
                    let by = describe(&self.key, &content);
                    return Err(Refusal::Held(format!("{by}; run this one again when that has ended")));
                }
            }
            self.bucket.put(&self.key, JSON, self.content()).await.map_err(Refusal::Impossible)?;
            if mine {
                return Ok(());
            }
            // Another one may have found it abandoned at the same time.
            clock.sleep(Duration::from_millis(1000 + clock.random() % 1000)).await;
            match self.bucket.get(&self.key, LIMIT).await.map_err(Refusal::Impossible)? {
                Some(there) if self.is_mine(&there) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Writes the lock anew, again and again; ends with who took it.
    async fn keep(&mut self) -> String {
        loop {
            self.context.ports.clock.sleep(BEAT).await;
            self.beats += 1;
            // What can't be read or written now may be so at the next beat.
            match self.bucket.get(&self.key, LIMIT).await {
                Ok(Some(there)) if !self.is_mine(&there) => return describe(&self.key, &there),
                Ok(_) => drop(self.bucket.put(&self.key, JSON, self.content()).await),
                Err(_) => {}
            }
        }
    }
}

const JSON: &str = "application/json";

/// Watches a lock: its content, where its holder lives.
async fn watch(context: &Context, bucket: &dyn ObjectStore, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let clock = &context.ports.clock;
    let Some(first) = bucket.get(key, LIMIT).await? else { return Ok(None) };
    let written = text(&first, "beat_at").and_then(|text| timestamp::RFC3339.read(&text));
    if written.is_some_and(|written| clock.now() - written > OLD) {
        return Ok(None);
    }
    context.log.info(None, &format!("{}: waiting to see whether it is still at work", describe(key, &first)));
    let started = clock.monotonic();
    while clock.monotonic().saturating_sub(started) < SILENCE {
        clock.sleep(LOOK).await;
        match bucket.get(key, LIMIT).await? {
            Some(now) if now != first => return Ok(Some(now)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Who holds a lock, for people.
fn describe(key: &str, content: &[u8]) -> String {
    let part = |name: &str| text(content, name).unwrap_or_else(|| "unknown".to_owned());
    format!("another run holds the lock `{key}`: pod {}, since {}", part("holder"), part("since"))
}

fn text(content: &[u8], name: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(content).ok()?;
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}
