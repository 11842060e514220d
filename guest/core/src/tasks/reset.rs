//! `reset`: removes the state files, or renames them. Needs neither the cluster nor S3.

use crate::context::Context;
use crate::error::Error;
use crate::report::{Item, Outcome};
use crate::state_files;
use crate::timestamp;

pub(super) async fn run(context: &Context, keep_backup: bool) -> Result<(), Error> {
    let time = timestamp::COPY.write(context.ports.clock.now());
    let files = &context.ports.files;
    for file in state_files::STATE_FILES {
        let item = |outcome, cause: Option<String>| Item {
            name: Some((*file).to_owned()),
            cause,
            ..Item::new("file", outcome)
        };
        let result = match files.read(file) {
            Ok(None) => continue,
            Ok(Some(_)) if keep_backup => {
                let backup = format!("{file}-{time}.bkp");
                files.rename(file, &backup).map(|()| format!("renamed to {backup}"))
            }
            _ => files.remove(file).map(|_| "removed".to_owned()),
        };
        context.reporter.report(match result {
            Ok(what) => item(Outcome::Done, Some(what)),
            Err(error) => item(Outcome::Failed, Some(error.to_string())),
        });
    }
    Ok(())
}
