//! The program itself, for tests that need it as a file: the same three lines as the host's `main`.

use std::process::ExitCode;

use qdrant_backup::{Environment, Io, command_line};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(command_line(&arguments, &Environment::of_process(), &Io::of_process()))
}
