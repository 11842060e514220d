//! The WASI component: [`qdrant_backup_core`] on WASI 0.2, as a command (`wasi:cli/run`) and as a typed call
//! (`vectorkeep:qdrant-backup/tasks`).
//!
//! ```text
//! command, embedded             the two ways in
//! http, clock, files, console   the four ports
//! executor                      many requests in flight on one thread
//! ```

mod clock;
mod command;
mod console;
mod embedded;
mod executor;
mod files;
mod http;

use std::rc::Rc;

use qdrant_backup_contract::tasks::Task;
use qdrant_backup_core::ports::{Files, Ports};
use qdrant_backup_core::report::Report;
use qdrant_backup_core::tasks::{self, RunError};

/// Runs a task to its end.
fn run(task: Task, variables: &[(String, String)], snapshots: Option<String>) -> Result<Report, RunError> {
    let files = Rc::new(files::WorkDirectory::find());
    let ports = Ports {
        http: Rc::new(http::WasiHttp),
        clock: Rc::new(clock::WasiClock),
        files: Rc::clone(&files) as Rc<dyn Files>,
        console: Rc::new(console::Standard),
    };
    let ended = executor::block_on(tasks::run(ports, task, variables, snapshots));
    files.sync();
    ended
}
