//! A task by version 0.1.0 of the contract: one call, for components of older releases. There are no events, and who cancels
//! drops the call.

use std::time::Duration;

use qdrant_backup_contract::tasks::Task;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentType, Lift, Linker, WasmList};

use super::bindings::operations::{self, ErrorKind, Report, SettingProblem, Status};
use super::bindings::v0_1::exports::vectorkeep::qdrant_backup::tasks;
use super::ended::{cant_start, explain};
use super::state::State;
use super::watch::Watch;

/// The name of the interface.
pub(super) const INTERFACE: &str = "vectorkeep:qdrant-backup/tasks@0.1.0";

/// How often is looked whether the call is to be dropped.
const LOOK: Duration = Duration::from_millis(50);

/// What the component answers. Its items are left where they are: a kind there is a word.
#[derive(ComponentType, Lift)]
#[component(record)]
#[allow(dead_code)]
struct Answer {
    status: tasks::Status,
    items: WasmList<tasks::Item>,
    milliseconds: u64,
}

/// Runs `task` to its end; the report has no items.
///
/// # Errors
/// As `sandbox::run`.
pub(super) async fn run(
    store: &mut Store<State>,
    linker: &Linker<State>,
    component: &Component,
    task: &Task,
    request: &operations::Request,
    watch: Watch<'_>,
) -> Result<Result<Report, operations::Error>, String> {
    let setting =
        |setting: &operations::Setting| tasks::Setting { name: setting.name.clone(), value: setting.value.clone() };
    let request = tasks::Request {
        task: named(task, &request.settings)
            .ok_or_else(|| format!("the component is of an older release and has no `{}`", task.name()))?,
        settings: request.settings.iter().map(setting).collect(),
        snapshots: request.snapshots.clone(),
    };
    let interface = component.get_export_index(None, INTERFACE);
    let function = interface.and_then(|interface| component.get_export_index(Some(&interface), "run"));
    let function = function.ok_or_else(|| format!("the component has no `run` in `{INTERFACE}`"))?;
    let instance = linker.instantiate_async(&mut *store, component).await.map_err(cant_start)?;
    let run = instance
        .get_typed_func::<(&tasks::Request,), (Result<Answer, tasks::Error>,)>(&mut *store, function)
        .map_err(cant_start)?;
    let cancelled = async {
        while !watch.cancel.is_asked() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let (answer,) = tokio::select! {
        answer = run.call_async(&mut *store, (&request,)) => answer.map_err(|error| explain(&error))?,
        () = cancelled => return Err("the run was cancelled".to_owned()),
    };
    Ok(answer.map(report).map_err(error))
}

fn report(answer: Answer) -> Report {
    let status = match answer.status {
        tasks::Status::Done => Status::Done,
        tasks::Status::Failed => Status::Failed,
        tasks::Status::Partial => Status::Partial,
    };
    Report { status, items: Vec::new(), milliseconds: answer.milliseconds }
}

fn error(error: tasks::Error) -> operations::Error {
    let (kind, message, problems) = match error {
        tasks::Error::Failed(why) => (ErrorKind::Other, why, Vec::new()),
        tasks::Error::Configuration(problems) => (ErrorKind::Configuration, String::new(), problems),
    };
    let problem =
        |problem: tasks::SettingProblem| SettingProblem { variable: problem.variable, problem: problem.problem };
    let problems = problems.into_iter().map(problem).collect();
    operations::Error { kind, code: String::new(), retryable: false, message, problems }
}

/// The task as that version has it, if it does.
fn named(task: &Task, settings: &[operations::Setting]) -> Option<tasks::Task> {
    let json = settings.iter().any(|setting| setting.name == "QDRANT_OUTPUT" && setting.value == "json");
    Some(match task {
        Task::GetCollections => tasks::Task::GetCollections,
        Task::GetSnapshots => tasks::Task::GetSnapshots,
        Task::GetSnapshotsS3 => tasks::Task::GetSnapshotsS3,
        Task::GetAliases => tasks::Task::GetAliases,
        Task::CreateSnapshots => tasks::Task::CreateSnapshots,
        Task::RecoverSnapshots => tasks::Task::RecoverSnapshots,
        Task::CreateSets => tasks::Task::CreateSets,
        Task::RecoverSets => tasks::Task::RecoverSets,
        Task::Prune { legacy } => tasks::Task::PruneSets(tasks::PruneOptions { legacy: *legacy }),
        Task::Verify => tasks::Task::VerifySets,
        Task::Drill => tasks::Task::Drill,
        Task::Pin { set, remove } => tasks::Task::PinSet(tasks::PinOptions { set: set.clone(), remove: *remove }),
        Task::ListSets => tasks::Task::ListSets(tasks::ListOptions { json }),
        Task::ListSources => tasks::Task::ListSources(tasks::ListOptions { json }),
        Task::RecoverAliases => tasks::Task::RecoverAliases,
        Task::Reset { keep_backup } => tasks::Task::Reset(tasks::ResetOptions { keep_backup: *keep_backup }),
        #[allow(unreachable_patterns)]
        _ => return None,
    })
}
