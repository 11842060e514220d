//! `get_colla`: the aliases of the source, into the file `collection_aliases` and, if asked, into the bucket.

use crate::aliases;
use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::source as identity;
use crate::state_files;
use crate::tasks::listing;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    if let Some(bucket) = context.store.as_deref() {
        for cluster in &source.clusters {
            if let Err(cause) = identity::identify(context, bucket, cluster).await {
                // They are not saved as another one's, nor as nobody's.
                context.reporter.report(source::failed(cluster, cause));
                return Ok(());
            }
        }
    }
    let found = aliases::save(context, &source).await;
    listing::print(context, &state_files::aliases_csv(&found), found.iter().map(listing::alias));
    Ok(())
}
