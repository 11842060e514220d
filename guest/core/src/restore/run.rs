//! Restoring collections into one target cluster, stage by stage.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::aliases::Aliases;
use super::backup::Backup;
use super::decide::{Asked, Decision, Start, decide, occupies};
use super::finish::{Configured, Finished, configure, finish};
use super::inspect::{Found, inspect};
use super::job::{Common, Job};
use super::plan::Target;
use super::record::Record;
use super::verify::{Level, look_again};
use super::{beside, history, names, stages, version};
use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::ports::LocalBoxFuture;
use crate::qdrant::Cluster;
use crate::report::{self, Item};
use crate::reporter::size;
use crate::store::ObjectStore;

/// Chooses the backup of one collection when its turn comes: what snapshots say of themselves is not kept for
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
    /// Those that are restored, by this run or before, and not verified.
    pub unverified: BTreeSet<String>,
    /// The collections that this run has created.
    pub created: BTreeSet<String>,
    /// What was restored, and what was compared.
    pub ended: BTreeMap<String, Evidence>,
    /// Those that the manifests of what was restored name.
    pub aliases: Aliases,
}

/// What a restored collection was compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The number of points.
    pub points: u64,
    /// True where it is as it was backed up, as far as that can be compared.
    pub verified: bool,
    /// What was compared, for people.
    pub compared: String,
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
    let (restore, common) = (id(context), &Common::default());
    let work = std::iter::from_fn(choices).map(|(collection, choice)| async move {
        match choice.await {
            Ok(backup) => {
                context.begun(&cluster.host, backup.collection(), total);
                let one = restore_one((context, bucket, cluster), common, restore, &backup).await;
                (backup.collection().to_owned(), Some(backup), one)
            }
            Err(item) => (collection, None, One { items: vec![item], created: false, unverified: false, ended: None }),
        }
    });
    let limit = concurrent::restores_at_once(cluster.peers.len(), context.settings.snapshots_per_peer);
    concurrent::at_most(
        limit,
        work,
        |(collection, backup, One { items: done, created, unverified, ended: evidence })| {
            ended += 1;
            if unverified {
                restored.unverified.insert(collection.clone());
            }
            restored.ended.extend(evidence.map(|evidence| (collection.clone(), evidence)));
            if created {
                restored.created.insert(collection.clone());
            }
            if done.iter().any(Item::is_failed) {
                restored.failed.insert(collection.clone());
            }
            context.reporter.progress(&cluster.host, ended, total, &collection, done);
            backup.iter().for_each(|backup| restored.aliases.note(backup));
        },
    )
    .await;
    restored
}

/// The id of the restore: what a person has named it, so that the runs of one restore know of each other, else the run's.
fn id(context: &Context) -> &str {
    context.settings.restore_id.as_deref().unwrap_or_else(|| context.run.as_str())
}

/// How one collection ended.
struct One {
    items: Vec<Item>,
    created: bool,
    unverified: bool,
    ended: Option<Evidence>,
}

/// Restores one collection: an item for each snapshot, one for the collection.
async fn restore_one(
    surroundings: (&Context, &dyn ObjectStore, &Cluster),
    common: &Common,
    restore: &str,
    backup: &Backup,
) -> One {
    let (context, _, cluster) = surroundings;
    let started = context.ports.clock.monotonic();
    let mut items = Vec::new();
    let created = Cell::new(false);
    let (mut evidence, mut unverified) = (None, false);
    let item = match planned(surroundings, common, restore, backup, &created, &mut items).await {
        Ok(Ended::Restored(finished)) => {
            let verified = finished.level == Level::Verified;
            unverified = !verified;
            let compared = finished.compared.to_string();
            evidence = Some(Evidence { points: finished.points, verified, compared });
            restored(finished)
        }
        Ok(Ended::Would(what)) => Item::skipped("collection", format!("would be {what}")),
        Ok(Ended::Left { why, verified }) => {
            unverified = !verified;
            Item::skipped("collection", why)
        }
        Err(error) => {
            note_failed(context, cluster, backup, &error);
            Item::failed("collection", error)
        }
    };
    let elapsed = context.ports.clock.monotonic().saturating_sub(started);
    items.push(item.host(&cluster.host).collection(backup.collection()).elapsed(elapsed));
    One { items, created: created.get(), unverified, ended: evidence }
}

/// Notes in the work directory what was not restored, for people only: the run's own report is not lost with it.
fn note_failed(context: &Context, cluster: &Cluster, backup: &Backup, error: &Error) {
    let Some(files) = context.state_files() else { return };
    let reason = context.log.clean(&error.to_string());
    for name in backup.names() {
        if let Err(error) = history::note_failed(files, &cluster.host, name, &reason) {
            context.log.warn(None, &error.to_string());
        }
    }
}

fn restored(finished: Finished) -> Item {
    let Finished { points, level, compared } = finished;
    match level {
        Level::Verified => {
            let cause = format!("{points} points, verified on every replica: {compared}");
            Item::done("collection").cause(cause).verified(true).content(compared.content.name())
        }
        Level::Restored(notes) => Item::done("collection")
            .cause(format!("{points} points, restored and not verified: {} (compared: {compared})", notes.join("; ")))
            .verified(false)
            .content(compared.content.name()),
    }
}

/// How the restore of a collection ended that did not fail.
enum Ended {
    Restored(Finished),
    /// It was left as it is, for this reason; whether it was verified when it was restored.
    Left {
        why: String,
        verified: bool,
    },
    /// In a dry run.
    Would(&'static str),
}

/// Makes the plan, and carries it out.
async fn planned(
    (context, store, cluster): (&Context, &dyn ObjectStore, &Cluster),
    common: &Common,
    restore: &str,
    backup: &Backup,
    created: &Cell<bool>,
    items: &mut Vec<Item>,
) -> Result<Ended, Error> {
    let target = Target { peers: cluster.ids(), distributed: cluster.distributed };
    let plan = backup.plan(&target)?;
    let job = Job { context, store, cluster, plan: &plan, common, restore, created };
    match version::check(backup.versions(), cluster) {
        Ok(None) => {}
        Ok(Some(note)) => context.log.info(None, &format!("`{}`: {note}", plan.collection)),
        Err(error) if context.settings.skip_version_check => {
            context.log.warn(None, &format!("{error}; restoring anyway"));
        }
        Err(error) => return Err(error.advice("QDRANT_SKIP_VERSION_CHECK=true restores anyway")),
    }
    names::check(&plan, cluster)?;
    if let Some((fewest, configured)) = plan.fewer_replicas() {
        // Writes go on: Qdrant asks no more replicas for confirmation than there are.
        job.warn(&format!(
            "configured for {configured} replicas of each shard, and the target has peers for {fewest}: it survives the loss of fewer peers than before"
        ));
    }
    decided(&job, items).await
}

/// Looks what is there, decides how to begin, and restores.
async fn decided(job: &Job<'_>, items: &mut Vec<Item>) -> Result<Ended, Error> {
    let found = inspect(job).await?;
    let asked = Asked { restore: job.restore, force: job.context.settings.restore_force };
    let decision = decide(&found, job.plan, asked)?;
    if job.context.settings.dry_run {
        return Ok(Ended::Would(would(job, &decision, found.points())));
    }
    let start = match decision {
        Decision::Begin(start) => start,
        Decision::Leave { why, verified } => return Ok(Ended::Left { why, verified }),
        Decision::Look(record) => return left(job, &record, found.points()).await,
    };
    let is_beside = start == Start::Replace && job.context.settings.restore_beside;
    if is_beside {
        beside::restore(job, items).await?;
        job.context
            .log
            .info(None, &format!("`{}`: its replacement was restored beside it and verified", job.plan.collection));
    }
    let configured = configured(job, found, start, is_beside, items).await.map_err(|error| {
        let name = beside::name(&job.plan.collection);
        let stays = format!("a verified replacement stays as `{name}` until another run of the restore has ended");
        if is_beside { error.advice(stays) } else { error }
    })?;
    // Before the record says that the restore has ended: nobody would look for it then.
    if configured.is_beside() {
        beside::drop_it(job, is_beside).await;
    }
    let finished = finish(job, configured).await?;
    if let Level::Restored(notes) = &finished.level {
        job.warn(&format!("restored and not verified: {}", notes.join("; ")));
    }
    let names: BTreeSet<&String> = job.plan.recoveries.iter().map(|recovery| &recovery.name).collect();
    for name in names {
        history::note_recovered(job.context.ports.files.as_ref(), &job.cluster.host, name)?;
    }
    Ok(Ended::Restored(finished))
}

/// Up to the last step that may show that the collection is not as it has to be.
async fn configured(
    job: &Job<'_>,
    found: Found,
    start: Start,
    is_beside: bool,
    items: &mut Vec<Item>,
) -> Result<Configured, Error> {
    let verified = stages::restore(job, found, start, is_beside, items).await?;
    match verified.level() {
        Level::Restored(notes) if verified.is_beside() => {
            let cause = format!("it was restored, and unlike its replacement not verified: {}", notes.join("; "));
            Err(Error::new(Code::VerificationFailed, "", cause))
        }
        _ => configure(job, verified).await,
    }
}

/// A collection that holds points, and that was restored before, is left alone. What its points are now nobody has
/// compared, and so it is told.
///
/// # Errors
/// It is visibly another one than was restored.
async fn left(job: &Job<'_>, record: &Record, points: u64) -> Result<Ended, Error> {
    match look_again(job).await {
        Ok(()) => {
            let why = format!(
                "restored before by {} (ended {}); it has as many points as then, and its content was not compared; QDRANT_RESTORE_FORCE=true restores it again",
                record.restore,
                record.ended_at.as_deref().unwrap_or("at a time unknown")
            );
            Ok(Ended::Left { why, verified: record.verified })
        }
        Err(error) if error.is_unknown() => Err(error),
        Err(error) => {
            Err(occupies(job.plan, points, &format!(": it was restored before and has changed since ({error})")))
        }
    }
}

/// Tells the plan, line by line, and what it begins with.
fn would(job: &Job<'_>, decision: &Decision, there: u64) -> &'static str {
    let (context, plan, host) = (job.context, job.plan, job.cluster.host.to_string());
    let what = match decision {
        Decision::Begin(Start::Create) => "created and restored",
        Decision::Begin(Start::Fill | Start::Continue) => {
            "restored into the empty or half restored collection that is there"
        }
        Decision::Begin(Start::Replace) if context.settings.restore_beside => {
            "restored beside and verified, then deleted, created and restored"
        }
        Decision::Begin(Start::Replace) => "deleted, created and restored",
        Decision::Leave { .. } | Decision::Look(_) => "left as it is: it was restored before",
    };
    let there = format!("{there} points there now");
    let bytes = report::total(plan.recoveries.iter().map(|recovery| recovery.bytes));
    let much = format!("{} snapshots, {}", plan.recoveries.len(), size(bytes));
    context.plan(&["restore", &plan.collection, &host, what, &there, &much]);
    if !matches!(decision, Decision::Begin(_)) {
        return what;
    }
    for (shard, peers) in &plan.wanted {
        let peers: Vec<String> = peers.iter().map(u64::to_string).collect();
        let places = if plan.free {
            format!("{} of the peers, as Qdrant chooses", peers.len())
        } else {
            format!("peers {}", peers.join("+"))
        };
        context.plan(&["place", &plan.collection, &format!("shard {shard}"), &places]);
    }
    let mut told = BTreeSet::new();
    for recovery in plan.recoveries.iter().filter(|one| !plan.free || told.insert(&one.key)) {
        let part = recovery.shard.as_ref().filter(|shard| shard.in_collection);
        let part = part.map(|shard| format!("shard {} of it, sent through this program", shard.id));
        let peer = if plan.free { "each of its peers".to_owned() } else { format!("peer {}", recovery.peer) };
        let cells = ["recover", &plan.collection, &peer, &recovery.key].into_iter().chain(part.as_deref());
        context.plan(&cells.collect::<Vec<_>>());
    }
    for (field, schema) in &plan.indexes {
        context.plan(&["index", &plan.collection, field, &schema.to_string()]);
    }
    what
}
