//! What this work directory knows of earlier restores: which archives a target has, and which collection was
//! begun. A hint: the target itself is always asked before it is believed.

use super::plan::Plan;
use crate::ordered::{Set, sort};
use crate::ports::{FileError, Files};
use crate::records;
use crate::settings::Host;

/// The archives that `target` was given and that were proven there.
pub(super) fn recovered(files: &dyn Files, target: &Host) -> Result<Set<String>, FileError> {
    let target = target.to_string();
    let lines = records::read_recovery_history(files)?;
    Ok(lines.into_iter().filter(|line| line.host == target).map(|line| line.snapshot_name).collect())
}

/// Notes that an archive is proven to be on `target`.
pub(super) fn note_recovered(files: &dyn Files, target: &Host, snapshot_name: &str) -> Result<(), FileError> {
    records::append_recovery(
        files,
        &records::Recovery {
            host: target.to_string(),
            snapshot_name: snapshot_name.to_owned(),
            outcome: "ok".to_owned(),
        },
    )
}

/// Notes an archive that could not be restored, for people.
pub(super) fn note_failed(
    files: &dyn Files,
    target: &Host,
    snapshot_name: &str,
    reason: &str,
) -> Result<(), FileError> {
    records::append_failure(
        files,
        &records::Failure {
            host: target.to_string(),
            snapshot_name: snapshot_name.to_owned(),
            reason: reason.to_owned(),
        },
    )
}

/// True when this work directory began to restore just these archives into `target`, so that a collection with
/// points there is the half-done work and not somebody's data.
pub(super) fn begun(files: &dyn Files, target: &Host, plan: &Plan) -> Result<bool, FileError> {
    let wanted = begin(target, plan);
    Ok(records::read_begun(files)?
        .into_iter()
        .rev()
        .find(|line| line.host == wanted.host && line.collection == wanted.collection)
        == Some(wanted))
}

/// Notes that the restore begins: before the collection is created.
pub(super) fn note_begun(files: &dyn Files, target: &Host, plan: &Plan) -> Result<(), FileError> {
    records::append_begun(files, &begin(target, plan))
}

fn begin(target: &Host, plan: &Plan) -> records::Begun {
    let mut names: Vec<&str> = plan.recoveries.iter().map(|recovery| recovery.name.as_str()).collect();
    sort(&mut names, Ord::cmp);
    records::Begun { host: target.to_string(), collection: plan.collection.clone(), snapshots: names.join(" ") }
}
