//! What was restored and what was not, in the work directory, for people. Nothing is decided by it.

use crate::ports::{FileError, Files};
use crate::settings::Host;
use crate::state_files;

/// Notes that a snapshot was restored to `target`.
pub(super) fn note_recovered(files: &dyn Files, target: &Host, snapshot_name: &str) -> Result<(), FileError> {
    state_files::append_recovery(
        files,
        &state_files::Recovery {
            host: target.to_string(),
            snapshot_name: snapshot_name.to_owned(),
            outcome: "ok".to_owned(),
        },
    )
}

/// Notes a snapshot that could not be restored.
pub(super) fn note_failed(
    files: &dyn Files,
    target: &Host,
    snapshot_name: &str,
    reason: &str,
) -> Result<(), FileError> {
    state_files::append_failure(
        files,
        &state_files::Failure {
            host: target.to_string(),
            snapshot_name: snapshot_name.to_owned(),
            reason: reason.to_owned(),
        },
    )
}
