//! The way in of programs that embed the component by version 0.1.0 of the contract: typed records, nothing from the
//! environment.

// The glue that is generated exports functions under fixed names, which Rust calls unsafe.
#![allow(unsafe_code, missing_docs)]

use std::rc::Rc;

use qdrant_backup_contract::exit::Status;
use qdrant_backup_contract::tasks::Task;
use qdrant_backup_core::report::{Item, Outcome, Report};
use qdrant_backup_core::tasks::RunError;

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package vectorkeep:qdrant-backup-export@0.1.0;
        world embedded { export vectorkeep:qdrant-backup/tasks@0.1.0; }
    ",
    world: "vectorkeep:qdrant-backup-export/embedded",
});

use crate::console::Standard;

use exports::vectorkeep::qdrant_backup::tasks as wit;

struct Embedded;

export!(Embedded);

impl wit::Guest for Embedded {
    fn run(request: wit::Request) -> Result<wit::Report, wit::Error> {
        let started = wasip2::clocks::monotonic_clock::now();
        let mut variables: Vec<(String, String)> =
            request.settings.into_iter().map(|setting| (setting.name, setting.value)).collect();
        if let wit::Task::ListSets(wit::ListOptions { json: true })
        | wit::Task::ListSources(wit::ListOptions { json: true }) = &request.task
        {
            variables.push(("QDRANT_OUTPUT".to_owned(), "json".to_owned()));
        }
        let run = crate::Run { task: task(request.task), variables, snapshots: request.snapshots };
        let outcome = run.run_to_end(Rc::new(Standard));
        let milliseconds = wasip2::clocks::monotonic_clock::now().saturating_sub(started) / 1_000_000;
        outcome.map(|outcome| report(outcome, milliseconds)).map_err(error)
    }
}

fn task(task: wit::Task) -> Task {
    match task {
        wit::Task::GetCollections => Task::GetCollections,
        wit::Task::GetSnapshots => Task::GetSnapshots,
        wit::Task::GetSnapshotsS3 => Task::GetSnapshotsS3,
        wit::Task::GetAliases => Task::GetAliases,
        wit::Task::CreateSnapshots => Task::CreateSnapshots,
        wit::Task::RecoverSnapshots => Task::RecoverSnapshots,
        wit::Task::CreateSets => Task::CreateSets,
        wit::Task::RecoverSets => Task::RecoverSets,
        wit::Task::PruneSets(options) => Task::Prune { legacy: options.legacy },
        wit::Task::VerifySets => Task::Verify,
        wit::Task::Drill => Task::Drill,
        wit::Task::PinSet(options) => Task::Pin { set: options.set, remove: options.remove },
        wit::Task::ListSets(_) => Task::ListSets,
        wit::Task::ListSources(_) => Task::ListSources,
        wit::Task::RecoverAliases => Task::RecoverAliases,
        wit::Task::Reset(options) => Task::Reset { keep_backup: options.keep_backup },
    }
}

fn report(report: Report, milliseconds: u64) -> wit::Report {
    let status = match report.status() {
        Status::Done => wit::Status::Done,
        Status::Failed => wit::Status::Failed,
        Status::Partial => wit::Status::Partial,
    };
    wit::Report { status, items: report.items.into_iter().map(item).collect(), milliseconds }
}

fn item(item: Item) -> wit::Item {
    wit::Item {
        outcome: match item.outcome {
            Outcome::Done => wit::Outcome::Done,
            Outcome::Skipped => wit::Outcome::Skipped,
            Outcome::Failed(_) => wit::Outcome::Failed,
        },
        kind: item.kind.to_owned(),
        host: item.host,
        collection: item.collection,
        name: item.name,
        bytes: item.bytes,
        milliseconds: u64::try_from(item.elapsed.as_millis()).unwrap_or(u64::MAX),
        cause: item.cause,
    }
}

fn error(error: RunError) -> wit::Error {
    match error {
        RunError::Failed(error) => wit::Error::Failed(error.to_string()),
        RunError::Configuration(problems) => wit::Error::Configuration(
            problems
                .into_iter()
                .map(|problem| wit::SettingProblem { variable: problem.variable, problem: problem.problem })
                .collect(),
        ),
    }
}
