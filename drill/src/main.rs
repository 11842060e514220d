//! `qdrant-backup-drill`: opens every snapshot of the newest sets in Qdrant's own engine, without any cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let variables: Vec<(String, String)> = std::env::vars().collect();
    ExitCode::from(qdrant_backup_drill::command_line(&arguments, variables))
}
