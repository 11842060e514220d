//! The stage that brings the empty shards to the peers that will get their data.

use super::create::{Created, Progress};
use super::job::Job;
use super::layout::{Transfer, next_steps};
use super::settle;
use crate::error::Error;

/// A collection whose shards are where their data will be.
pub(super) struct Placed {
    progress: Progress,
}

impl Placed {
    pub(super) fn into_progress(self) -> Progress {
        self.progress
    }
}

/// Moves shards that are still empty: this takes no time, and no replica has to be killed and copied later.
///
/// # Errors
/// Qdrant refuses a step, or the cluster does not settle.
pub(super) async fn place(job: &Job<'_>, created: Created) -> Result<Placed, Error> {
    let (progress, layout) = created.into_parts();
    let plan = job.plan;
    if next_steps(&layout.placement(), &plan.placement).is_empty() {
        return Ok(Placed { progress });
    }
    let _permit = job.context.limits.layout().await;
    settle::lay_out(job.context, job.cluster, &plan.collection, layout, &plan.placement, Transfer::Records).await?;
    Ok(Placed { progress })
}
