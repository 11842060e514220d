//! `make faults`: what goes wrong between the program, Qdrant and S3, and whether it does any harm.
//!
//! `faults as-program TASK ...` is the program itself, for the tests that kill it.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Duration;

use qdrant_backup::{Environment, Io, command_line};
use qdrant_backup_tests::faults::{crash, matrix};

const USAGE: &str = "usage: faults PROGRAM [--minutes N] [--workers N] [--cases N] [--only matrix|kills] [--task NAME] \
                     [--class TEXT] [--fault TEXT] [--every N] [--verbose]";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(program) = arguments.next().filter(|program| !program.starts_with('-')) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if program == "as-program" {
        let arguments: Vec<String> = arguments.collect();
        let run = move || command_line(&arguments, &Environment::of_process(), &Io::Inherit);
        return ExitCode::from(tokio::task::spawn_blocking(run).await.unwrap_or(1));
    }
    let Some(options) = Options::parse(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut good = true;
    if options.only != "kills" {
        let summary = matrix::run(&matrix::Options {
            // What is under way at the end needs its time, too.
            budget: options.time.mul_f64(if options.only == "matrix" { 0.95 } else { 0.72 }),
            workers: options.workers,
            most: options.cases,
            task: options.task.clone(),
            class: options.class.clone(),
            fault: options.fault.clone(),
            verbose: options.verbose,
        })
        .await;
        println!("{summary}");
        good &= summary.wrong().is_empty() && summary.tried() > 0;
    }
    if options.only != "matrix" {
        let summary = crash::run(&crash::Options {
            program: vec![program.into()],
            budget: options.time.mul_f64(if options.only == "kills" { 0.95 } else { 0.22 }),
            every: options.every,
            workers: options.workers.div_ceil(2),
            task: options.task.clone(),
            verbose: options.verbose,
        })
        .await;
        println!("{summary}");
        good &= summary.wrong().is_empty() && summary.killed() > 0;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    time: Duration,
    workers: usize,
    cases: usize,
    only: String,
    task: Option<String>,
    class: String,
    fault: String,
    every: usize,
    verbose: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            time: Duration::from_secs(15 * 60),
            workers: 8,
            cases: usize::MAX,
            only: String::new(),
            task: None,
            class: String::new(),
            fault: String::new(),
            every: 1,
            verbose: false,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--verbose" {
                options.verbose = true;
                continue;
            }
            let value = arguments.next()?;
            let number = value.parse::<u64>().ok();
            match (argument.as_str(), number) {
                ("--minutes", Some(minutes)) => options.time = Duration::from_secs(60 * minutes),
                ("--workers", Some(workers)) => options.workers = workers as usize,
                ("--cases", Some(cases)) => options.cases = cases as usize,
                ("--every", Some(every)) => options.every = every as usize,
                ("--only", None) if ["matrix", "kills"].contains(&value.as_str()) => options.only = value,
                ("--task", _) => options.task = Some(value),
                ("--class", _) => options.class = value,
                ("--fault", _) => options.fault = value,
                _ => return None,
            }
        }
        Some(options)
    }
}
