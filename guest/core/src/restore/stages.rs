//! The line of stages from the plan to the verified collection. Each takes what only the one before can give.

use super::create::create;
use super::decide::Start;
use super::equalise::equalise;
use super::inspect::Found;
use super::job::Job;
use super::place::place;
use super::recover::recover;
use super::verify::{Verified, verify};
use crate::error::Error;
use crate::report::Item;

/// Creates the collection, brings its data and verifies it.
///
/// `beside`: whether a verified replacement lies beside it.
///
/// # Errors
/// A stage says why it can't be done.
pub(super) async fn restore(
    job: &Job<'_>,
    found: Found,
    start: Start,
    beside: bool,
    items: &mut Vec<Item>,
) -> Result<Verified, Error> {
    let step = |text| job.step(text);
    let created = create(job, found, start, beside).await?;
    // A move goes through consensus, which takes seconds where many collections are restored.
    let adopted = job.plan.adopting(&created.placement(), &job.cluster.ids());
    let job = &Job { plan: adopted.as_ref().unwrap_or(job.plan), ..*job };
    step("placing its shards");
    let placed = place(job, created).await?;
    step("recovering its shards from their snapshots");
    let recovered = recover(job, placed, items).await?;
    step("comparing its replicas");
    let equalised = equalise(job, recovered).await?;
    step("verifying it");
    verify(job, equalised).await
}
