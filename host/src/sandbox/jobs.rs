//! A task by version 0.2.0 of the contract: a job that is worked at until it is finished. What is done here any program that
//! embeds the component can do.

use qdrant_backup_contract::command_line::words;
use qdrant_backup_contract::tasks::Task;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::bindings::operations::{self, Event, Report};
use super::bindings::v0_2::Embedder;
use super::ended::{cant_start, explain};
use super::state::State;
use super::watch::Watch;

/// The name of the interface.
pub(super) const INTERFACE: &str = "vectorkeep:qdrant-backup/operations@0.2.0";

/// How long one call works at most, in milliseconds: only between two of them a job can be cancelled.
const LOOK: u32 = 200;

/// Runs `task` to its end.
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
    let crashed = |error: wasmtime::Error| explain(&error);
    let component = Embedder::instantiate_async(&mut *store, component, linker).await.map_err(cant_start)?;
    let operations = component.vectorkeep_qdrant_backup_operations();
    let task = operations::Task::Command(words(task));
    let job = match operations.call_start(&mut *store, &task, request).await.map_err(crashed)? {
        Ok(job) => job,
        Err(error) => return Ok(Err(error)),
    };
    let calls = operations.job();
    let mut cancelled = false;
    loop {
        for event in calls.call_wait(&mut *store, job, LOOK).await.map_err(crashed)? {
            (watch.events)(&event);
            if let Event::Finished(finished) = event {
                return Ok(finished);
            }
        }
        if watch.cancel.is_asked() && !cancelled {
            cancelled = true;
            calls.call_cancel(&mut *store, job).await.map_err(crashed)?;
        }
    }
}
