//! Runs the qdrant-backup component in a sandbox that gives it the configured servers, one directory and some
//! memory, and nothing else. The program is a thin `main` over [`command_line`]; other programs call
//! [`execute`], or [`perform`] where they show what happens, cancel a run, or want its report.
//!
//! ```text
//! cli, table, environment, options   what a run is given
//! config, completions, man, version  what the program says of itself
//! run, signals                one run, from its options to its exit code
//! sandbox                     the component and all that it may touch
//! egress, client              where requests may go, and how they get there
//! io, messages, termination   where text goes
//! live                        what a run looks like on a terminal
//! component_file              a component as a file, compressed or not
//! delivery                    the component written to a file, into a ConfigMap, as an OCI artifact
//! ```

pub mod cli;
pub mod client;
mod completions;
mod component_file;
mod config;
pub mod delivery;
pub mod egress;
mod ended;
pub mod environment;
mod io;
mod live;
mod man;
mod messages;
mod options;
mod run;
mod sandbox;
mod signals;
mod table;
pub mod termination;
mod units;
mod version;

pub use ended::Ended;
pub use environment::Environment;
pub use io::{Captured, Io};
pub use options::Options;
pub use qdrant_backup_contract::exit::EXIT_DEADLINE;
pub use qdrant_backup_contract::tasks::Task;
pub use run::{execute, perform, run};
pub use sandbox::{COMPONENT, Cancel, Watch, operations};

use cli::{CliError, Command};
use qdrant_backup_contract::exit::{EXIT_USAGE, Status};

/// The whole program: understands `arguments` (without the program's name) and `environment`, runs the task,
/// and returns the exit code.
pub fn command_line(arguments: &[String], environment: &Environment, io: &Io) -> u8 {
    match cli::parse(arguments, environment) {
        Ok(Command::Print(text)) => {
            io.data(&format!("{}\n", text.trim_end()));
            0
        }
        Ok(Command::Deliver(delivery)) => match delivery.run() {
            Ok(text) => {
                io.data(&format!("{text}\n"));
                0
            }
            Err(why) => {
                io.line(&why);
                Status::Failed.exit_code()
            }
        },
        Ok(Command::Run(options)) => {
            for warning in environment.warnings() {
                messages::Messages::new(io.clone(), messages::Messages::format_of(&options.settings)).warn(&warning);
            }
            run(&options, io)
        }
        Err(CliError::Usage(text)) => {
            io.line(text.trim_end());
            EXIT_USAGE
        }
        Err(CliError::Configuration(problems)) => {
            for problem in problems {
                io.line(&problem);
            }
            EXIT_USAGE
        }
    }
}
