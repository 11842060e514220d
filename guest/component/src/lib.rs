//! The WASI component: [`qdrant_backup_core`] on WASI 0.2, as a command (`wasi:cli/run`) and as typed calls
//! (`vectorkeep:qdrant-backup`, in two versions).
//!
//! ```text
//! command, operations, embedded the ways in
//! http, clock, files, console   the four ports; written_file: how state files are written
//! executor                      many requests in flight on one thread
//! ```

mod clock;
mod command;
mod console;
mod embedded;
mod executor;
mod files;
mod http;
mod operations;
mod written_file;

use std::rc::Rc;

use qdrant_backup_contract::tasks::Task;
use qdrant_backup_core::ports::{Console, Files, LocalBoxFuture, Ports};
use qdrant_backup_core::report::Report;
use qdrant_backup_core::tasks::{self, RunError};

/// What a task is run with.
struct Run {
    task: Task,
    variables: Vec<(String, String)>,
    snapshots: Option<String>,
}

impl Run {
    /// The run, told to `console`, until `cancelled` ends.
    fn begin(self, console: Rc<dyn Console>, cancelled: LocalBoxFuture<'static, ()>) -> Ending {
        Box::pin(async move {
            let Self { task, variables, snapshots } = self;
            let files = Rc::new(files::WorkDirectory::find());
            let ports = Ports {
                http: Rc::new(http::WasiHttp),
                clock: Rc::new(clock::WasiClock),
                files: Rc::clone(&files) as Rc<dyn Files>,
                console,
            };
            let ended = tasks::run_until(ports, task, &variables, snapshots, cancelled).await;
            files.sync();
            ended
        })
    }

    /// Runs it to its end.
    fn run_to_end(self, console: Rc<dyn Console>) -> Result<Report, RunError> {
        executor::block_on(self.begin(console, Box::pin(std::future::pending())))
    }
}

/// How a run comes to its end.
type Ending = LocalBoxFuture<'static, Result<Report, RunError>>;
