//! The tasks: what a person asks for, one module each.

mod check;
mod compare;
mod create_sets;
mod create_snapshots;
mod drill;
mod get_aliases;
mod get_collections;
mod get_snapshots;
mod list_sets;
mod list_sources;
mod listing;
mod prune;
mod recover_aliases;
mod recover_sets;
mod recover_snapshots;
mod report;
mod reset;
mod restore;
mod targets;
mod verify;

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};

use qdrant_backup_contract::tasks::{Input, Task};

use crate::context::Context;
use crate::error::{Code, Error};
use crate::ports::{LocalBoxFuture, Ports};
use crate::publish::{begin, publish};
use crate::report::{Item, Report};
use crate::s3::Bucket;
use crate::settings::{self, Needs, Problem};
use crate::state_files;
use crate::store::ObjectStore;

/// Why a run has no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The settings are wrong; nothing was sent anywhere.
    Configuration(Vec<Problem>),
    /// The run could not start or go on; says why and what to do, without secrets.
    Failed(Error),
}

/// Runs `task` to its end. `variables` are the settings by their environment variables' names; `snapshots`
/// is the content of a `snapshots` file that takes the place of the one in the work directory.
///
/// # Errors
/// Wrong settings, or a cause that left nothing to report item by item.
///
pub fn run(
    ports: Ports,
    task: Task,
    variables: &[(String, String)],
    snapshots: Option<String>,
) -> LocalBoxFuture<'_, Result<Report, RunError>> {
    run_until(ports, task, variables, snapshots, Box::pin(std::future::pending()))
}

/// As [`run`], until `cancelled` comes to its end: then all work is dropped where it is, the run's uploads are aborted and
/// its locks removed, and it has failed with [`Code::Cancelled`].
///
/// # Errors
/// As [`run`].
///
/// Boxed in this crate: the caller's would compile all of it a second time.
pub fn run_until<'a>(
    ports: Ports,
    task: Task,
    variables: &'a [(String, String)],
    snapshots: Option<String>,
    cancelled: LocalBoxFuture<'a, ()>,
) -> LocalBoxFuture<'a, Result<Report, RunError>> {
    Box::pin(async move {
        let row = task.row();
        let (mut settings, notes) = settings::from_variables(variables, row.needs).map_err(RunError::Configuration)?;
        if task == Task::Check {
            crate::check::adjust(&mut settings);
        }
        let mut context = Context::new(ports, settings);
        notes.iter().for_each(|note| context.log.warn(None, note));
        let ended = {
            // Dropped at the end of the block, and all that it was at.
            let work = pin!(work(&mut context, &task, snapshots, &notes));
            match select(work, cancelled).await {
                Either::Left((ended, _)) => Some(ended),
                Either::Right(((), _)) => None,
            }
        };
        let ended = match ended {
            Some(ended) => ended,
            None => Err(let_go(&context).await),
        };
        match ended {
            Err(error) if context.reporter.has_reported_nothing() => {
                let error = context.log.clean_error(error);
                let report = Report { items: vec![Item::failed("task", error.clone())] };
                publish(&context, row.name, &report).await;
                return Err(RunError::Failed(error));
            }
            Err(error) => context.reporter.report(Item::failed("task", error)),
            Ok(()) => {}
        }
        let report = context.reporter.finish();
        match task {
            // Its own table and JSON are printed already.
            Task::Check => {}
            Task::Verify => verify::print(&context, &report),
            _ => context.end_plan(row.name),
        }
        publish(&context, row.name, &report).await;
        Ok(report)
    })
}

/// What is done between the look at the settings and the report.
async fn work(context: &mut Context, task: &Task, snapshots: Option<String>, notes: &[String]) -> Result<(), Error> {
    let row = task.row();
    let chosen = prepare(context, row.inputs, row.needs, snapshots).await;
    begin(context, row.name).await;
    carry_out(context, task, chosen?, notes).await
}

/// Lets go of what a cancelled run holds, and says so.
async fn let_go(context: &Context) -> Error {
    if let Some(bucket) = context.store.as_deref() {
        context.held.let_go(bucket, &context.log).await;
    }
    Error::new(Code::Cancelled, "", "the run was cancelled").advice("run the task again to go on")
}

/// The task itself.
fn carry_out<'a>(
    context: &'a Context,
    task: &'a Task,
    chosen: Vec<state_files::Snapshot>,
    notes: &'a [String],
) -> LocalBoxFuture<'a, Result<(), Error>> {
    // Boxed, each a function of its own: in one, numbers of variables and places in it are long ones.
    match task {
        Task::GetCollections => Box::pin(get_collections::run(context)),
        Task::GetSnapshots => Box::pin(get_snapshots::run(context)),
        Task::GetSnapshotsS3 => Box::pin(get_snapshots::run_s3(context)),
        Task::GetAliases => Box::pin(get_aliases::run(context)),
        Task::CreateSnapshots => Box::pin(create_snapshots::run(context)),
        Task::CreateSets => Box::pin(create_sets::run(context)),
        Task::RecoverSets => Box::pin(recover_sets::run(context)),
        Task::Restore => Box::pin(restore::run(context)),
        Task::Prune { legacy } => Box::pin(prune::run(context, *legacy)),
        Task::Compare => Box::pin(compare::run(context)),
        Task::Drill => Box::pin(drill::run(context)),
        Task::Verify => Box::pin(verify::run(context)),
        Task::Pin { set, remove } => Box::pin(prune::pin(context, set, *remove)),
        Task::ListSets => Box::pin(list_sets::run(context)),
        Task::ListSources => Box::pin(list_sources::run(context)),
        Task::Report => Box::pin(report::run(context)),
        Task::Check => Box::pin(async {
            check::run(context, notes).await;
            Ok(())
        }),
        Task::RecoverSnapshots => Box::pin(recover_snapshots::run(context, chosen)),
        Task::RecoverAliases => Box::pin(recover_aliases::run(context)),
        Task::Reset { keep_backup } => Box::pin(reset::run(context, *keep_backup)),
    }
}

/// Reads the inputs and opens the bucket. Returns what people choose to restore.
async fn prepare(
    context: &mut Context,
    inputs: &[Input],
    needs: Needs,
    snapshots: Option<String>,
) -> Result<Vec<state_files::Snapshot>, Error> {
    let chosen = read_inputs(context, inputs, snapshots)?;
    context.store = open_store(context, needs).await?;
    Ok(chosen)
}

/// Reads the files by which people say what is meant, before anything is sent: a typing error must not cost half a
/// run. Returns what they choose to restore.
fn read_inputs(
    context: &Context,
    inputs: &[Input],
    mut snapshots: Option<String>,
) -> Result<Vec<state_files::Snapshot>, Error> {
    let files = context.ports.files.as_ref();
    let mut chosen = Vec::new();
    for input in inputs {
        match input {
            Input::Collections => drop(state_files::read_collections(files)?),
            Input::Snapshots => drop(state_files::read_snapshots(files)?),
            Input::Choice => chosen = recover_snapshots::chosen(context, snapshots.take())?,
        }
    }
    Ok(chosen)
}

/// The bucket, where the task uses one and one is configured.
async fn open_store(context: &Context, needs: Needs) -> Result<Option<Rc<dyn ObjectStore>>, Error> {
    match &context.settings.s3 {
        Some(s3) if needs.bucket_is_used(context.settings.aliases_on_s3) => {
            Ok(Some(Rc::new(Bucket::open_in(&context.ports, &context.settings, s3).await?)))
        }
        _ => Ok(None),
    }
}
