//! `get_coll`: the collections of the source, into the file `collections` and on standard output.

use crate::clusters::source::{self, Source};
use crate::context::Context;
use crate::error::Error;
use crate::report::Item;
use crate::state_files;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let source = source::find(context).await?;
    let known = state_files::read_collections(context.ports.files.as_ref())?;
    if !known.is_empty() {
        let reason = "the file is there already and is kept; `reset` removes it";
        context.ports.console.data(&state_files::collections_csv(&known));
        context.reporter.report(Item::skipped("file", reason).name(state_files::COLLECTIONS));
        return Ok(());
    }
    list(context, &source).await
}

/// Lists the collections of every cluster of the source and writes the file.
async fn list(context: &Context, source: &Source) -> Result<(), Error> {
    let mut lines = Vec::new();
    let mut whole = source.is_whole();
    context.reporter.report_all(source.missing_items());
    for cluster in &source.clusters {
        match source::collections(cluster).await {
            Ok(names) => lines.extend(
                names
                    .into_iter()
                    .map(|collection| state_files::Collection { host: Some(cluster.host.to_string()), collection }),
            ),
            Err(error) => {
                whole = false;
                context.reporter.report(Item::failed("cluster", error).host(&cluster.host));
            }
        }
    }
    if lines.is_empty() {
        context.log.info(None, "the source has no collections");
        return Ok(());
    }
    let csv = state_files::collections_csv(&lines);
    if !whole {
        // A file with some of them would choose these for every task from now on.
        context.ports.console.data(&csv);
        context
            .log
            .warn(None, &format!("the file `{}` is not written, as the list is not whole", state_files::COLLECTIONS));
        return Ok(());
    }
    context.ports.files.replace(state_files::COLLECTIONS, csv.as_bytes())?;
    context.ports.console.data(&csv);
    let item = Item::done("file").name(state_files::COLLECTIONS).cause(format!("{} collections", lines.len()));
    context.reporter.report(item);
    Ok(())
}
