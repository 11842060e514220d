//! `recover_colla`: the aliases alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::aliases;
use crate::clusters::source;
use crate::clusters::target::{self, Needs};
use crate::context::Context;
use crate::error::Error;
use crate::lock::{self, Work};
use crate::restore;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let targets = target::find(context, Needs::OnePeer).await?;
    context.reporter.report_all(targets.missing_items());
    for cluster in &targets.clusters {
        let run = Box::pin(async move {
            let whose = match context.store.as_deref() {
                Some(bucket) => {
                    match restore::of_target(context, bucket, cluster, restore::KnownSets::NONE, None).await {
                        Ok(whose) => Some(whose),
                        Err(cause) => return context.reporter.report(source::failed(cluster, cause)),
                    }
                }
                None => None,
            };
            if let Some(saved) = aliases::find(context, cluster, whose.as_ref(), BTreeMap::new()).await {
                let switched = aliases::switch(context, cluster, saved, &BTreeSet::new(), &BTreeMap::new()).await;
                context.reporter.report_all(switched.items);
            }
        });
        if let Err(cause) = lock::while_held(context, Work::Aliases, Some(cluster), run).await {
            context.reporter.report(source::failed(cluster, cause));
        }
    }
    Ok(())
}
