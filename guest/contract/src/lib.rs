//! What both sides of the sandbox name: the tasks, their command line, the settings, log lines, exit codes. It is the
//! contract with people and with Kubernetes, and has no I/O.
//!
//! ```text
//! command_line      arguments to a task
//! suggest           what a misspelt task may be
//! tasks             the table of the tasks
//! settings          the table of the settings, and their reader
//! log_line, exit    what comes out
//! printable         what may be shown of text from elsewhere
//! size, timestamp   sizes and times as text
//! ```
#![forbid(unsafe_code)]

pub mod command_line;
pub mod exit;
pub mod log_line;
#[cfg(test)]
mod page;
pub mod printable;
pub mod settings;
pub mod size;
mod suggest;
pub mod tasks;
pub mod timestamp;
