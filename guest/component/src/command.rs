//! The way in of a command line: arguments and environment, success or failure.

use std::rc::Rc;

use qdrant_backup_contract::command_line::{self, Invocation};
use qdrant_backup_contract::settings::{Scope, VARIABLES, secrets_in_files, unknown_names};
use qdrant_backup_core::tasks::RunError;

use crate::console::Standard;

struct Command;

wasip2::cli::command::export!(Command);

impl wasip2::exports::cli::run::Guest for Command {
    fn run() -> Result<(), ()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let (task, settings) = match command_line::parse(&arguments) {
            Ok(Invocation::Run { task, settings }) => (task, settings),
            Ok(Invocation::Print(text)) => {
                println!("{text}");
                return Ok(());
            }
            Err(error) => {
                eprintln!("{error}");
                return Err(());
            }
        };
        // The runtime may hand over a whole environment; what isn't ours is not looked at.
        let is_ours =
            |name: &str| VARIABLES.iter().any(|variable| variable.name == name && variable.scope != Scope::Host);
        let (mut ours, others): (Vec<_>, Vec<_>) = std::env::vars().partition(|(name, _)| is_ours(name));
        for warning in unknown_names(others.iter().map(|(name, _)| name.as_str())) {
            eprintln!("warning: {warning}");
        }
        let variables = ours.iter().chain(&others).map(|(name, value)| (name.as_str(), value.as_str()));
        match secrets_in_files(variables, |file| std::fs::read_to_string(file).map_err(|error| error.to_string())) {
            Ok(secrets) => ours.extend(secrets),
            Err(problems) => {
                problems.iter().for_each(|problem| eprintln!("{problem}"));
                return Err(());
            }
        }
        ours.extend(settings);
        let run = crate::Run { task, variables: ours, snapshots: None };
        match run.run_to_end(Rc::new(Standard)) {
            Ok(report) if report.status().exit_code() == 0 => Ok(()),
            Ok(_) => Err(()),
            Err(RunError::Configuration(problems)) => {
                for problem in problems {
                    eprintln!("{}: {}", problem.variable, problem.problem);
                }
                Err(())
            }
            Err(RunError::Failed(error)) => {
                eprintln!("{error}");
                Err(())
            }
        }
    }
}
