//! The replacement of a collection that is restored beside it, and verified, before the old one is deleted
//! (`QDRANT_RESTORE_BESIDE`). Qdrant can't rename a collection, and an alias in place of the name would change what there
//! is: so the same snapshots are restored once more under the name itself. Until that is verified, too, the replacement
//! stays: at no time is there neither the old collection nor a verified new one.

use std::cell::Cell;

use super::decide::Start;
use super::inspect::inspect;
use super::job::Job;
use super::plan::{Plan, Role};
use super::stages;
use super::verify::{Level, Verified};
use crate::error::{Code, Error};
use crate::marker::{self, Marker};
use crate::report::Item;

/// The name of the replacement of `collection`.
pub(super) fn name(collection: &str) -> String {
    format!("{}{collection}", marker::BESIDE)
}

/// Restores the backup beside the collection, and verifies it. What a cut-off run of a restore of the same backup has left
/// there is gone on with.
///
/// # Errors
/// It can't be restored, or not be verified: what was made is dropped again, and the collection was not touched.
pub(super) async fn restore(job: &Job<'_>, items: &mut Vec<Item>) -> Result<(), Error> {
    let created = Cell::new(false);
    let collection = name(&job.plan.collection);
    let plan = Plan { collection, role: Role::Beside(job.plan.collection.clone()), ..job.plan.clone() };
    let beside = Job { plan: &plan, created: &created, ..*job };
    let kept = match carry_out(&beside, items).await {
        Ok(verified) => match verified.level() {
            Level::Verified => return Ok(()),
            Level::Restored(notes) => {
                let cause = format!("the replacement beside it could not be verified: {}", notes.join("; "));
                Error::new(Code::VerificationFailed, "", cause)
                    .advice("without QDRANT_RESTORE_BESIDE it is replaced anyway")
            }
        },
        Err(error) => error,
    };
    let error = kept.of(format!("`{}` was not changed", job.plan.collection));
    if !created.get() {
        return Err(error);
    }
    let dropped = match job.client() {
        Ok(client) => client.delete_collection(&plan.collection).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    Err(match dropped {
        Ok(()) => error,
        Err(left) => error.advice(format!("`{}` is left: it could not be deleted: {left}", plan.collection)),
    })
}

async fn carry_out(job: &Job<'_>, items: &mut Vec<Item>) -> Result<Verified, Error> {
    let found = inspect(job).await?;
    let start = match found.there.as_ref().map(|there| there.marker()) {
        None => Start::Create,
        Some(Some(marker))
            if Some(&marker) == job.marker().map(|own| Marker { restore: marker.restore.clone(), ..own }).as_ref() =>
        {
            Start::Continue
        }
        Some(_) => {
            let cause = "a collection has the name of the replacement already, and it is not of this backup";
            return Err(Error::new(Code::TargetOccupied, format!("`{}`", job.plan.collection), cause)
                .advice("finish the restore that made it, or delete it"));
        }
    };
    stages::restore(job, found, start, false, items).await
}

/// Drops the replacement of a collection that was verified itself. `restored`: whether this run has made it, which tells on
/// servers that keep no mark.
pub(super) async fn drop_it(job: &Job<'_>, restored: bool) {
    let dropped = async {
        let client = job.client()?;
        let name = name(&job.plan.collection);
        let Some(info) = client.collection(&name).await? else { return Ok(()) };
        let marker = Marker::of(&info.config);
        if marker.is_none_or(|marker| marker.beside.as_ref() != Some(&job.plan.collection))
            && !(restored && job.marker().is_none())
        {
            return Ok(());
        }
        Ok::<_, Error>(client.delete_collection(&name).await?)
    };
    if let Err(error) = dropped.await {
        job.warn(&format!(
            "its replacement `{}` is left: it could not be deleted: {error}",
            name(&job.plan.collection)
        ));
    }
}
