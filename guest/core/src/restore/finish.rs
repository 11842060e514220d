//! The last stages: the aliases that the replaced collection had, the settings that come last, the record.

use std::collections::BTreeMap;

use serde_json::json;

use super::config::{self, When};
use super::job::Job;
use super::plan::Role;
use super::record::State;
use super::verify::{Compared, Level, Verified, lowered};
use crate::error::{Code, Error};
use crate::marker;
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

/// Ends the restore of a collection that was verified.
///
/// # Errors
/// Qdrant refuses a step, or it can't be called verified and has to be: the next run goes on.
pub(super) async fn finish(job: &Job<'_>, verified: Verified) -> Result<Finished, Error> {
    let (mut progress, points, level, compared) = verified.into_parts();
    let client = job.client()?;
    let collection = &job.plan.collection;
    if let Some(settings) = &job.plan.finish {
        client.update_collection(collection, settings).await?;
    }
    let (more, info) = config::restore(job, When::Finished).await?;
    let level = lowered(job, level, more)?;
    put_back(job, &progress.record.aliases).await?;
    progress.record.created_at = info.created_at();
    progress.record.ended_at = Some(timestamp::RFC3339.write(job.context.ports.clock.now()));
    progress.record.state = State::Ended;
    progress.record.verified = level == Level::Verified;
    // Before the mark goes: a run that finds neither would take the collection for somebody's.
    progress.record.write(job).await?;
    for mut earlier in progress.unfinished {
        earlier.state = State::Superseded;
        earlier.write(job).await?;
    }
    if job.marker().is_some() && job.plan.role == Role::Lasting {
        client.update_collection(collection, &json!({"metadata": {marker::NAME: null}})).await?;
    }
    Ok(Finished { points, level, compared })
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
