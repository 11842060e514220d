//! The tasks: what a person asks for, one module each.

mod create_sets;
mod create_snapshots;
mod drill;
mod get_aliases;
mod get_collections;
mod get_snapshots;
mod list_sets;
mod list_sources;
mod prune;
mod recover_aliases;
mod recover_sets;
mod recover_snapshots;
mod reset;
mod table;
mod verify;

use std::rc::Rc;

use crate::context::Context;
use crate::error::Error;
use crate::ports::{FileError, LocalBoxFuture, Ports};
use crate::publish::publish;
use crate::report::{Item, Outcome, Report};
use crate::s3::Bucket;
use crate::settings::{self, Needs, Problem, Settings};
use crate::state_files;
use crate::task::Task;

/// Why a run has no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The settings are wrong; nothing was sent anywhere.
    Configuration(Vec<Problem>),
    /// The run could not start or go on; says why and what to do.
    Failed(String),
}

/// Runs `task` to its end. `variables` are the settings by their environment variables' names; `snapshots`
/// is the content of a `snapshots` file that takes the place of the one in the work directory.
///
/// # Errors
/// Wrong settings, or a cause that left nothing to report item by item.
///
/// Boxed in this crate: the caller's would compile all of it a second time.
pub fn run(
    ports: Ports,
    task: Task,
    variables: &[(String, String)],
    snapshots: Option<String>,
) -> LocalBoxFuture<'_, Result<Report, RunError>> {
    Box::pin(carry_out(ports, task, variables, snapshots))
}

async fn carry_out(
    ports: Ports,
    task: Task,
    variables: &[(String, String)],
    snapshots: Option<String>,
) -> Result<Report, RunError> {
    let (settings, notes) = settings::from_variables(variables, Needs::of(&task)).map_err(RunError::Configuration)?;
    let mut context = Context::new(ports, settings);
    for note in notes {
        context.log.warn(None, &note);
    }
    let chosen = written_by_people(&context, &task, snapshots).map_err(|error| RunError::Failed(error.to_string()))?;
    if let Some(s3) = context.settings.s3.as_ref().filter(|_| uses_bucket(&task, &context.settings)) {
        let bucket = Bucket::open(&context.ports, s3).await;
        let bucket = bucket.map_err(|error| RunError::Failed(context.log.clean(&error.to_string())))?;
        context.store = Some(Rc::new(bucket));
    }
    let name = task.name();
    // Boxed, each a function of its own: in one, numbers of variables and places in it are long ones.
    let run: LocalBoxFuture<'_, Result<(), Error>> = match &task {
        Task::GetCollections => Box::pin(get_collections::run(&context)),
        Task::GetSnapshots => Box::pin(get_snapshots::run(&context)),
        Task::GetSnapshotsS3 => Box::pin(get_snapshots::run_s3(&context)),
        Task::GetAliases => Box::pin(get_aliases::run(&context)),
        Task::CreateSnapshots => Box::pin(create_snapshots::run(&context)),
        Task::CreateSets => Box::pin(create_sets::run(&context)),
        Task::RecoverSets => Box::pin(recover_sets::run(&context)),
        Task::Prune { legacy } => Box::pin(prune::run(&context, *legacy)),
        Task::Drill => Box::pin(drill::run(&context)),
        Task::Verify => Box::pin(verify::run(&context)),
        Task::Pin { set, remove } => Box::pin(prune::pin(&context, set, *remove)),
        Task::ListSets { json } => Box::pin(list_sets::run(&context, *json)),
        Task::ListSources { json } => Box::pin(list_sources::run(&context, *json)),
        Task::RecoverSnapshots => Box::pin(recover_snapshots::run(&context, chosen)),
        Task::RecoverAliases => Box::pin(recover_aliases::run(&context)),
        Task::Reset { keep_backup } => Box::pin(reset::run(&context, *keep_backup)),
    };
    let ended = run.await;
    if let Err(cause) = ended.map_err(|cause| context.log.clean(&cause.to_string())) {
        if context.reporter.has_reported_nothing() {
            let item = Item { cause: Some(cause.clone()), ..Item::new("task", Outcome::Failed) };
            publish(&context, name, &Report { items: vec![item] }).await;
            return Err(RunError::Failed(cause));
        }
        context.reporter.report(Item { cause: Some(cause), ..Item::new("task", Outcome::Failed) });
    }
    let report = context.reporter.finish();
    publish(&context, name, &report).await;
    Ok(report)
}

/// Reads the files by which people say what is meant, before anything is sent: a slip of the pen must not cost half a run.
/// What they choose to restore.
fn written_by_people(
    context: &Context,
    task: &Task,
    snapshots: Option<String>,
) -> Result<Vec<state_files::Snapshot>, Error> {
    let files = context.ports.files.as_ref();
    let in_words = |error: FileError| error.to_string();
    match task {
        Task::ListSets { .. }
        | Task::ListSources { .. }
        | Task::Verify
        | Task::Drill
        | Task::Pin { .. }
        | Task::Reset { .. } => {}
        Task::GetAliases | Task::RecoverAliases => {}
        Task::RecoverSnapshots => {
            state_files::read_collections(files).map_err(in_words)?;
            return recover_snapshots::chosen(context, snapshots);
        }
        Task::GetSnapshots | Task::GetSnapshotsS3 => {
            state_files::read_collections(files).map_err(in_words)?;
            state_files::read_snapshots(files).map_err(in_words)?;
        }
        Task::GetCollections | Task::CreateSnapshots | Task::CreateSets | Task::RecoverSets | Task::Prune { .. } => {
            state_files::read_collections(files).map_err(in_words)?;
        }
    }
    Ok(Vec::new())
}

/// True for tasks that read or write the bucket with these settings. The others run without S3.
fn uses_bucket(task: &Task, settings: &Settings) -> bool {
    match task {
        Task::GetSnapshotsS3
        | Task::CreateSnapshots
        | Task::RecoverSnapshots
        | Task::CreateSets
        | Task::RecoverSets
        | Task::ListSets { .. }
        | Task::ListSources { .. }
        | Task::Prune { .. }
        | Task::Verify
        | Task::Drill
        | Task::Pin { .. } => true,
        Task::GetAliases | Task::RecoverAliases => settings.aliases_on_s3,
        Task::GetCollections | Task::GetSnapshots | Task::Reset { .. } => false,
    }
}
