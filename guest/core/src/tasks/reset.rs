//! `reset`: removes the state files, or renames them. Needs neither the cluster nor S3.

use crate::context::Context;
use crate::error::Error;
use crate::report::Item;
use crate::state_files;
use crate::timestamp;

pub(super) async fn run(context: &Context, keep_backup: bool) -> Result<(), Error> {
    let time = timestamp::COPY.write(context.ports.clock.now());
    let files = &context.ports.files;
    for file in state_files::STATE_FILES {
        let result = match files.read(file) {
            Ok(None) => continue,
            Ok(Some(_)) if keep_backup => {
                let backup = format!("{file}-{time}.bkp");
                files.rename(file, &backup).map(|()| format!("renamed to {backup}"))
            }
            _ => files.remove(file).map(|_| "removed".to_owned()),
        };
        let item = match result {
            Ok(what) => Item::done("file").cause(what),
            Err(error) => Item::failed("file", error),
        };
        context.reporter.report(item.name(*file));
    }
    Ok(())
}
