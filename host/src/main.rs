//! The program; everything is in the library.

use std::process::ExitCode;

use qdrant_backup::{Environment, command_line, termination};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let io = termination::streams();
    let code = command_line(&arguments, &Environment::of_process(), &io);
    termination::write(&io);
    ExitCode::from(code)
}
