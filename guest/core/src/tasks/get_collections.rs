//! `get_coll`: the collections of the source, into the file `collections` and on standard output.

use crate::clusters::source::{self, Source};
use crate::context::Context;
use crate::error::Error;
use crate::report::Item;
use crate::state_files;
use crate::tasks::listing;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let source = source::find(context).await?;
    let known = state_files::read_collections(context.ports.files.as_ref())?;
    if known.is_empty() {
        return list(context, &source).await;
    }
    listing::print(context, &state_files::collections_csv(&known), known.iter().map(listing::collection));
    let item = Item::skipped("file", "the file exists and is kept; `reset` removes it");
    context.reporter.report(item.name(state_files::COLLECTIONS));
    Ok(())
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
                context.reporter.report(source::failed(cluster, error));
            }
        }
    }
    // Where somebody could not be asked, there may be some.
    if lines.is_empty() && whole {
        context.log.info(None, "the source has no collections");
    }
    listing::print(context, &state_files::collections_csv(&lines), lines.iter().map(listing::collection));
    if !whole {
        // A file with some of them would pass for all of them.
        let what = format!("the file `{}` is not written, as the list is incomplete", state_files::COLLECTIONS);
        context.log.warn(None, &what);
        return Ok(());
    }
    if lines.is_empty() {
        return Ok(());
    }
    let text = state_files::collections_file(&lines);
    context.ports.files.replace(state_files::COLLECTIONS, text.as_bytes())?;
    let item = Item::done("file").name(state_files::COLLECTIONS);
    context.reporter.report(item.cause(format!("{} collections", lines.len())));
    Ok(())
}
