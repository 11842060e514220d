//! `recover_colla`: the aliases alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::aliases;
use crate::clusters::target;
use crate::context::Context;
use crate::error::Error;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let targets = target::find(context).await?;
    context.reporter.report_all(targets.missing_items());
    for cluster in &targets.clusters {
        if let Some(saved) = aliases::find(context, cluster, BTreeMap::new()).await {
            let items = aliases::switch(context, cluster, saved, &BTreeSet::new(), &BTreeMap::new()).await;
            context.reporter.report_all(items);
        }
    }
    Ok(())
}
