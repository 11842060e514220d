//! `make faults`: what goes wrong between the program, Qdrant and S3, and whether it does any harm.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Duration;

use qdrant_backup_tests::faults::matrix;

const USAGE: &str =
    "usage: faults [--minutes N] [--workers N] [--cases N] [--task NAME] [--class TEXT] [--fault TEXT] [--verbose]";

#[tokio::main]
async fn main() -> ExitCode {
    let mut options = matrix::Options {
        budget: Duration::from_secs(12 * 60),
        workers: 6,
        most: usize::MAX,
        task: None,
        class: String::new(),
        fault: String::new(),
        verbose: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--verbose" {
            options.verbose = true;
            continue;
        }
        let value = arguments.next().unwrap_or_default();
        let number = value.parse::<u64>().ok();
        match (argument.as_str(), number) {
            ("--minutes", Some(minutes)) => options.budget = Duration::from_secs(60 * minutes),
            ("--workers", Some(workers)) => options.workers = workers as usize,
            ("--cases", Some(cases)) => options.most = cases as usize,
            ("--task", _) => options.task = Some(value),
            ("--class", _) => options.class = value,
            ("--fault", _) => options.fault = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let summary = matrix::run(&options).await;
    print!("{summary}");
    if summary.wrong().is_empty() && summary.tried() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
