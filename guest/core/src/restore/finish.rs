//! The last stages: the aliases that the replaced collection had, the settings that come last, the record.

use std::collections::BTreeMap;

use serde_json::json;

use super::config::{self, When};
use super::create::Progress;
use super::job::Job;
use super::plan::Role;
use super::record::State;
use super::verify::{Compared, Level, Verified, lowered};
use crate::error::{Code, Error};
use crate::marker;
use crate::qdrant::CollectionInfo;
use crate::timestamp;

/// How a restore ended.
#[derive(Clone)]
pub(super) struct Finished {
    /// The number of points.
    pub points: u64,
    /// How sure it is that they are those of the backup.
    pub level: Level,
    /// What was compared.
    pub compared: Compared,
}

/// A verified collection with its last settings and its aliases.
pub(super) struct Configured {
    progress: Progress,
    info: CollectionInfo,
    finished: Finished,
}

impl Configured {
    /// True where a verified replacement lies beside the collection.
    pub(super) fn is_beside(&self) -> bool {
        self.progress.record.beside
    }
}

/// Sets what is set last, and has the aliases lead to the collection.
///
/// # Errors
/// Qdrant refuses a step, or it can't be called verified and has to be: the next run goes on.
pub(super) async fn configure(job: &Job<'_>, verified: Verified) -> Result<Configured, Error> {
    let (progress, points, level, compared) = verified.into_parts();
    if let Some(settings) = &job.plan.finish {
        job.client()?.update_collection(&job.plan.collection, settings).await?;
    }
    let (more, info) = config::restore(job, When::Finished).await?;
    let level = lowered(job, level, more)?;
    put_back(job, &progress.record.aliases).await?;
    Ok(Configured { progress, info, finished: Finished { points, level, compared } })
}

/// Ends the restore of a collection.
///
/// # Errors
/// Its end can't be recorded, or Qdrant refuses to take the mark away: the next run goes on.
pub(super) async fn finish(job: &Job<'_>, configured: Configured) -> Result<Finished, Error> {
    let Configured { mut progress, info, finished } = configured;
    progress.record.created_at = info.created_at();
    progress.record.ended_at = Some(timestamp::RFC3339.write(job.context.ports.clock.now()));
    progress.record.state = State::Ended;
    progress.record.verified = finished.level == Level::Verified;
    // Before the mark goes: a run that finds neither would take the collection for somebody's.
    progress.record.write(job).await?;
    for mut earlier in progress.unfinished {
        earlier.state = State::Superseded;
        earlier.write(job).await?;
    }
    if job.marker().is_some() && job.plan.role == Role::Lasting {
        let unmarked = json!({"metadata": {marker::NAME: null}});
        job.client()?.update_collection(&job.plan.collection, &unmarked).await?;
    }
    Ok(finished)
}

/// Has the aliases lead to the collection again that led to the one which was deleted for it.
async fn put_back(job: &Job<'_>, aliases: &std::collections::BTreeSet<String>) -> Result<(), Error> {
    if aliases.is_empty() {
        return Ok(());
    }
    let client = job.client()?;
    let collection = &job.plan.collection;
    let there = client.aliases().await?;
    let mut wanted = BTreeMap::new();
    for alias in aliases {
        match there.get(alias) {
            None => {
                wanted.insert(alias.clone(), collection.clone());
            }
            Some(to) if to == collection => {}
            Some(to) => {
                job.warn(&format!("the alias `{alias}` pointed to it before, and points to `{to}` now: left there"))
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    client.set_aliases(&wanted).await?;
    let there = client.aliases().await?;
    match wanted.keys().find(|alias| there.get(*alias) != Some(collection)) {
        None => Ok(()),
        Some(alias) => {
            Err(Error::new(Code::Alias, format!("the alias `{alias}`"), "Qdrant answered ok, but it does not exist"))
        }
    }
}
