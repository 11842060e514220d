//! The program; everything is in the library.

use std::process::ExitCode;

use qdrant_backup::{Environment, Io, command_line};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let io = Io::of_process();
    let code = command_line(&arguments, &Environment::of_process(), &io);
    io.leave_last_line();
    ExitCode::from(code)
}
