//! What is known of earlier restores: in this work directory, which archives a target has, and which collection was
//! begun; in the bucket, for the next pod on another node, which collection was begun and ended from a set. A hint: the
//! target itself is always asked before it is believed.

use super::plan::Plan;
use crate::error::Error;
use crate::ports::{FileError, Files};
use crate::settings::Host;
use crate::state_files;
use crate::store::ObjectStore;
use std::collections::{BTreeMap, BTreeSet};

/// The archives that `target` was given and that were proven there.
pub(super) fn recovered(files: &dyn Files, target: &Host) -> Result<BTreeSet<String>, FileError> {
    let target = target.to_string();
    let lines = state_files::read_recovery_history(files)?;
    Ok(lines.into_iter().filter(|line| line.host == target).map(|line| line.snapshot_name).collect())
}

/// Notes that an archive is proven to be on `target`.
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

/// Notes an archive that could not be restored, for people.
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

/// True when this work directory began to restore just these archives into `target`, so that a collection with
/// points there is the half-done work and not somebody's data.
pub(super) fn begun(files: &dyn Files, target: &Host, plan: &Plan) -> Result<bool, FileError> {
    let wanted = begin(target, plan);
    Ok(state_files::read_begun(files)?
        .into_iter()
        .rev()
        .find(|line| line.host == wanted.host && line.collection == wanted.collection)
        == Some(wanted))
}

/// Notes that the restore begins: before the collection is created.
pub(super) fn note_begun(files: &dyn Files, target: &Host, plan: &Plan) -> Result<(), FileError> {
    state_files::append_begun(files, &begin(target, plan))
}

fn begin(target: &Host, plan: &Plan) -> state_files::Begun {
    let mut names: Vec<&str> = plan.recoveries.iter().map(|recovery| recovery.name.as_str()).collect();
    names.sort();
    state_files::Begun { host: target.to_string(), collection: plan.collection.clone(), snapshots: names.join(" ") }
}

/// How far a restore from a set has come, as the bucket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is known.
    Unknown,
    /// It was begun: points in the collection are its own.
    Begun,
    /// It was proven: points in the collection may be newer.
    Done,
}

const BEGUN: &str = "begun";
const DONE: &str = "done";

/// Looks into the bucket.
///
/// # Errors
/// It can't be read.
pub(super) async fn in_bucket(bucket: &dyn ObjectStore, target: &Host, plan: &Plan) -> Result<State, Error> {
    let states = states(bucket, plan).await?;
    Ok(match states.get(&place(target, plan)).map(String::as_str) {
        Some(BEGUN) => State::Begun,
        Some(_) => State::Done,
        None => State::Unknown,
    })
}

/// Notes in the bucket that the restore begins, or that it is proven.
///
/// # Errors
/// It can't be written: only a run in this work directory will be able to go on.
pub(super) async fn note_in_bucket(
    bucket: &dyn ObjectStore,
    target: &Host,
    plan: &Plan,
    done: bool,
) -> Result<(), Error> {
    let Some(key) = &plan.ledger else { return Ok(()) };
    let mut states = states(bucket, plan).await?;
    states.insert(place(target, plan), if done { DONE } else { BEGUN }.to_owned());
    let json = serde_json::to_vec(&states)?;
    bucket.put(&bucket.places().ours(key), "application/json", json).await.map_err(Error::from)
}

/// Target and collection to state.
async fn states(bucket: &dyn ObjectStore, plan: &Plan) -> Result<BTreeMap<String, String>, Error> {
    const LIMIT: usize = 1 << 20;
    let Some(key) = &plan.ledger else { return Ok(BTreeMap::new()) };
    let json = bucket.get_own(key, LIMIT).await?;
    // What can't be understood says nothing: at worst a person has to ask for the restore by force.
    Ok(json.and_then(|json| crate::decode::json(&json).ok()).unwrap_or_default())
}

fn place(target: &Host, plan: &Plan) -> String {
    format!("{target} {}", plan.collection)
}
