//! Locks in the bucket: runs that would be in each other's way are told from each other, and the later one says who is at
//! work.
//!
//! A lock is an object of its own run, which says what the run does ([`Claim`]) and is written anew every [`BEAT`]. A run
//! writes its lock, then lists all, and goes on only where no other one is in its way; of two that begin at the same
//! time at least one sees the other, as each writes before it lists. Whether a holder lives is seen by watching its lock
//! for [`SILENCE`], not by comparing clocks, which may differ between pods, and not by the pod's name, which two pods may
//! have. So the lock of a pod that was killed heals itself. It is no fence: the procedures are safe without it, and it
//! keeps runs from wasting, and from removing, each other's work. A backup is in no prune's way, nor a prune in a backup's:
//! what a backup at work has made is left alone ([`BackupsAtWork`]).

mod at_work;
mod table;

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::Value;
use time::OffsetDateTime;

use crate::context::Context;
use crate::error::{Code, Error};
use crate::places;
use crate::ports::LocalBoxFuture;
use crate::qdrant::Cluster;
use crate::source;
use crate::store::{Object, ObjectStore};
use crate::timestamp;

pub(crate) use at_work::{BackupAtWork, BackupsAtWork};
pub use table::{Claim, Maker, Work};

/// How often a holder writes its lock anew.
const BEAT: Duration = Duration::from_secs(20);

/// How long a lock is watched: one that does not change for so long has no holder any more.
const SILENCE: Duration = Duration::from_secs(65);

/// How often a lock is looked at while it is watched.
const LOOK: Duration = Duration::from_secs(5);

/// A lock that is older than this needs no watching, by whatever clock.
const OLD: time::Duration = time::Duration::hours(24);

/// The largest lock that is read.
const LIMIT: usize = 64 << 10;

/// How often a run tries to get its lock: each time another one was given up, had ended, or began at the same time.
const TRIES: u32 = 8;

/// How often one that is only being taken is waited for, before it is watched: its run may have been killed.
const POLITE_TRIES: u32 = 3;

/// Does `run` while the lock for `work` is held. `cluster`: what it works on. Without a bucket, or one that can't be
/// written, there is no lock, which is told and hinders nothing but removing.
///
/// # Errors
/// Another run is in the way: says who. Or this one lost its lock on the way, and was stopped. Or it would remove what
/// others may need, and nobody could be told.
pub(crate) async fn while_held(
    context: &Context,
    work: Work,
    cluster: Option<&Cluster>,
    run: LocalBoxFuture<'_, ()>,
) -> Result<(), Error> {
    let Some(bucket) = context.notes() else {
        run.await;
        return Ok(());
    };
    let mut lock = Lock::new(context, bucket, work, cluster).await;
    match lock.acquire().await {
        Ok(()) => {}
        Err(Refusal::Held(error)) => return Err(error),
        Err(Refusal::Impossible(error)) => {
            lock.release().await;
            if work.removes() {
                return Err(Error::new(Code::Locked, "", format!("no lock could be taken: {error}"))
                    .advice("nothing is removed, as a restore may need it at the same time"));
            }
            let why = format!("no lock could be taken, so a second run at the same time would not be noticed: {error}");
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
            lock.release().await;
            Ok(())
        }
        Some(by) => {
            Err(Error::new(Code::Locked, "", format!("this run was stopped, as its lock was taken over: {by}")))
        }
    }
}

/// Locks that nobody has written for more than a day: their runs were killed, and no other came in their way since.
///
/// # Errors
/// The bucket can't be read.
pub(crate) async fn stale(context: &Context, bucket: &dyn ObjectStore) -> Result<Vec<Object>, Error> {
    let now = context.ports.clock.now();
    let is_old = |written: Option<OffsetDateTime>| written.is_some_and(|written| now - written > OLD);
    let mut old = Vec::new();
    let mut note = |object: Object| {
        if is_old(object.last_modified) {
            old.push(object);
        }
    };
    bucket.list_own(&format!("{}/", places::LOCKS), &mut note).await?;
    let mut stale = Vec::new();
    for object in old {
        let Some(content) = bucket.get(&object.key, LIMIT).await? else { continue };
        let beat = text(&content, "beat_at").and_then(|text| timestamp::RFC3339.read(&text));
        if is_old(beat.or(object.last_modified)) {
            stale.push(object);
        }
    }
    Ok(stale)
}

enum Refusal {
    Held(Error),
    Impossible(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Impossible(error)
    }
}

struct Lock<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    cluster: Option<&'a Cluster>,
    claim: Claim,
    key: String,
    since: String,
    beats: u64,
    /// True once no other is in the way.
    held: bool,
}

/// What watching another run's lock has shown.
enum Watched {
    /// It was written anew.
    AtWork,
    /// Nobody has written it for so long that its holder is gone. The keys of all locks of that run.
    Silent(Vec<String>),
    /// It is not there any more: its run has ended.
    Ended,
}

/// Another run's lock.
struct Other {
    key: String,
    content: Vec<u8>,
}

impl<'a> Lock<'a> {
    async fn new(context: &'a Context, bucket: &'a dyn ObjectStore, work: Work, cluster: Option<&'a Cluster>) -> Self {
        let peers = match cluster {
            // One that does not answer is known by its host; the work itself will fail and say so.
            Some(cluster) => source::peers(cluster).await.unwrap_or_default(),
            None => Default::default(),
        };
        let claim = Claim {
            work,
            source: None,
            peers,
            host: cluster.map(|cluster| table::plain(&cluster.host.to_string())),
            share: context.settings.share.filter(|_| matches!(work, Work::Snapshots | Work::Sets | Work::Retention)),
        };
        let mut lock = Self {
            context,
            bucket,
            cluster,
            claim,
            key: String::new(),
            since: timestamp::RFC3339.write(context.ports.clock.now()),
            beats: 0,
            held: false,
        };
        lock.learn_source();
        let name = format!("{}/{}-{}-{:016x}.json", places::LOCKS, work.name(), lock.claim.subject(), context.token);
        lock.key = bucket.places().ours(&name);
        lock
    }

    /// A restore learns whose backups it takes only when it has the lock.
    fn learn_source(&mut self) {
        let known = self.cluster.and_then(|cluster| self.context.source_of(&cluster.host));
        self.claim.source = known.map(|source| source.id.to_string());
    }

    fn content(&self) -> Vec<u8> {
        let now = timestamp::RFC3339.write(self.context.ports.clock.now());
        let mut fields = self.claim.fields();
        for (name, value) in [
            ("holder", Value::from(self.context.settings.pod.clone())),
            ("run_id", self.context.run.as_str().into()),
            ("token", token(self.context).into()),
            ("held", self.held.into()),
            ("since", self.since.clone().into()),
            ("beat", self.beats.into()),
            ("beat_at", now.into()),
        ] {
            fields.insert(name.to_owned(), value);
        }
        Value::Object(fields).to_string().into_bytes()
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.beats += 1;
        self.learn_source();
        self.context.held.lock(&self.key);
        self.bucket.put(&self.key, "application/json", self.content()).await
    }

    /// Lets others have their turn. A lock that stays heals itself.
    async fn release(&mut self) {
        self.held = false;
        let _ = self.bucket.delete(&self.key).await;
        self.context.held.unlock(&self.key);
    }

    /// The locks of other runs that are in the way of this one, and whether its own is among all.
    async fn others(&self) -> Result<(Vec<Other>, bool), Error> {
        let mut listed = false;
        let others = others(self.context, self.bucket, |key| listed |= key == self.key).await?;
        let in_the_way = others.into_iter().filter(|(_, claim)| claim.excludes(&self.claim));
        Ok((in_the_way.map(|(other, _)| other).collect(), listed))
    }

    async fn acquire(&mut self) -> Result<(), Refusal> {
        let clock = &self.context.ports.clock;
        let mut last = String::new();
        for attempt in 1..=TRIES {
            self.write().await?;
            let (others, listed) = self.others().await?;
            let Some(other) = others.into_iter().next() else {
                if listed {
                    self.held = true;
                    return Ok(self.write().await?);
                }
                last = format!("the store does not list the lock `{}` that it has just stored", self.key);
                self.context.log.warn(None, &format!("{last}; trying again"));
                clock.sleep(Duration::from_millis(500 + clock.random() % 1000)).await;
                continue;
            };
            // Neither may watch while the other one watches it.
            self.release().await;
            last = describe(&other);
            if is_being_taken(&other.content) && attempt <= POLITE_TRIES {
                self.context.log.info(None, &format!("{last}: it started at the same time, trying again"));
                clock.sleep(Duration::from_millis(500 + clock.random() % 3000)).await;
                continue;
            }
            match watch(self.context, self.bucket, &other).await? {
                Watched::AtWork => {
                    return Err(Refusal::Held(Error::new(Code::Locked, "", last).advice(match self.claim.work {
                        work if work.removes() => "it may need what would be removed; prune when it has ended",
                        _ => "run this one again when that has ended",
                    })));
                }
                Watched::Ended => {}
                Watched::Silent(keys) => remove_stale(self.context, self.bucket, &other, &keys).await?,
            }
        }
        Err(Refusal::Impossible(Error::new(Code::StoreAnswer, "", format!("gave up after {TRIES} attempts: {last}"))))
    }

    /// Writes the lock anew, again and again; ends with who took it.
    async fn keep(&mut self) -> String {
        loop {
            self.context.ports.clock.sleep(BEAT).await;
            // What can't be read or written now may be so at the next beat.
            match self.bucket.get(&self.key, LIMIT).await {
                Ok(Some(there)) if text(&there, "token").is_none_or(|told| told != token(self.context)) => {
                    return describe(&Other { key: self.key.clone(), content: there });
                }
                Ok(Some(_)) => drop(self.write().await),
                // Who found this run silent has removed its lock, and may be at work now.
                Ok(None) => {
                    let _ = self.write().await;
                    let others = self.others().await.map(|(others, _)| others).unwrap_or_default();
                    if let Some(other) = others.iter().find(|other| !is_being_taken(&other.content)) {
                        self.release().await;
                        return describe(other);
                    }
                }
                Err(_) => {}
            }
        }
    }
}

/// Watches a lock: whether its holder is at work.
async fn watch(context: &Context, bucket: &dyn ObjectStore, other: &Other) -> Result<Watched, Error> {
    let clock = &context.ports.clock;
    let written = text(&other.content, "beat_at").and_then(|text| timestamp::RFC3339.read(&text));
    if written.is_some_and(|written| clock.now() - written > OLD) {
        return Ok(Watched::Silent(vec![other.key.clone()]));
    }
    // A run that was killed while it pruned has two locks, and need not be watched twice.
    let run = text(&other.content, "token");
    let all = others(context, bucket, |_| ()).await?.into_iter().map(|(other, _)| other);
    let same: Vec<Other> = all.filter(|lock| run.is_some() && text(&lock.content, "token") == run).collect();
    let who = describe(other);
    context.log.info(None, &format!("{who}: waiting for its heartbeat"));
    let started = clock.monotonic();
    while clock.monotonic().saturating_sub(started) < SILENCE {
        clock.sleep(LOOK).await;
        match bucket.get(&other.key, LIMIT).await? {
            Some(now) if now != other.content => return Ok(Watched::AtWork),
            Some(_) => {}
            None => return Ok(Watched::Ended),
        }
    }
    let mut keys = vec![other.key.clone()];
    for lock in same.into_iter().filter(|lock| lock.key != other.key) {
        if bucket.get(&lock.key, LIMIT).await?.is_some_and(|now| now == lock.content) {
            keys.push(lock.key);
        }
    }
    Ok(Watched::Silent(keys))
}

/// What the locks of this run say of whose they are.
fn token(context: &Context) -> String {
    format!("{:016x}", context.token)
}

/// The locks of other runs. Tells `listed` the keys of all.
async fn others(
    context: &Context,
    bucket: &dyn ObjectStore,
    mut listed: impl FnMut(&str),
) -> Result<Vec<(Other, Claim)>, Error> {
    let mut keys = Vec::new();
    bucket.list_own(&format!("{}/", places::LOCKS), &mut |object| keys.push(object.key)).await?;
    let mut others = Vec::new();
    for key in keys {
        listed(&key);
        // One that has ended meanwhile is gone.
        let Some(content) = bucket.get(&key, LIMIT).await? else { continue };
        if text(&content, "token").is_some_and(|told| told == token(context)) {
            continue;
        }
        if let Some(claim) = Claim::read(&key, &content) {
            others.push((Other { key, content }, claim));
        }
    }
    Ok(others)
}

/// Removes the locks of a run that is no more, of which `other` is one.
async fn remove_stale(
    context: &Context,
    bucket: &dyn ObjectStore,
    other: &Other,
    keys: &[String],
) -> Result<(), Error> {
    context.log.warn(None, &format!("{}: no heartbeat, its stale lock is removed", describe(other)));
    for key in keys {
        bucket.delete(key).await?;
    }
    Ok(())
}

/// True for a lock whose run has not seen yet whether it may begin. Those of version 0.1.0 don't say.
fn is_being_taken(content: &[u8]) -> bool {
    let told: Value = serde_json::from_slice(content).unwrap_or_default();
    told.get("held").and_then(Value::as_bool) == Some(false)
}

/// Who holds a lock, for people.
fn describe(other: &Other) -> String {
    let part = |name: &str| text(&other.content, name).unwrap_or_else(|| "unknown".to_owned());
    let run = text(&other.content, "run_id").map(|run| format!(", run {run}")).unwrap_or_default();
    format!("another run holds the lock `{}`: pod {}, since {}{run}", other.key, part("holder"), part("since"))
}

fn text(content: &[u8], name: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(content).ok()?;
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

    use futures_executor::block_on;

    use super::*;
    use crate::ports::Ports;
    use crate::ports::nothing::{Nothing, Passing};
    use crate::settings::{Needs, from_variables};
    use crate::store::memory::Memory;

    /// A run that takes a second lock would wait for itself otherwise, and take its own first one for another's.
    #[test]
    fn a_run_is_not_in_its_own_way() {
        let (clock, store) = (Rc::new(Passing::default()), Rc::new(Memory::default()));
        let ports =
            Ports { http: Rc::new(Nothing), clock: clock.clone(), files: Rc::new(Nothing), console: Rc::new(Nothing) };
        let mut context = Context::new(ports, from_variables(&[], Needs::NOTHING).unwrap().0);
        context.store = Some(store.clone());
        let mut held = Vec::new();
        let second = Box::pin(async {
            let look = Box::pin(async { held.extend(store.objects.borrow().keys().cloned()) });
            while_held(&context, Work::Prune, None, look).await.unwrap();
        });
        block_on(while_held(&context, Work::Restore, None, second)).unwrap();
        assert_eq!(held.len(), 2, "both are held: {held:?}");
        assert_eq!(clock.0.get(), Duration::ZERO, "nobody was waited for");
        assert!(store.objects.borrow().is_empty());
    }
}
