//! `recover_colla`: the aliases alone.

use std::collections::{BTreeMap, BTreeSet};

use super::targets;
use crate::aliases;
use crate::clusters::target::{self, Needs};
use crate::context::Context;
use crate::error::Error;
use crate::lock::Work;
use crate::qdrant::Cluster;
use crate::restore;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let found = target::find(context, Needs::OnePeer).await?;
    context.reporter.report_all(found.missing_items());
    for cluster in &found.clusters {
        targets::under_its_lock(context, Work::Aliases, cluster, Box::pin(restore_into(context, cluster))).await;
    }
    Ok(())
}

async fn restore_into(context: &Context, cluster: &Cluster) -> Result<(), Error> {
    let whose = match context.store.as_deref() {
        Some(bucket) => Some(restore::of_target(context, bucket, cluster, restore::KnownSets::NONE, None).await?),
        None => None,
    };
    if let Some(saved) = aliases::find(context, cluster, whose.as_ref(), BTreeMap::new()).await {
        let switched = aliases::switch(context, cluster, saved, &BTreeSet::new(), &BTreeMap::new()).await;
        context.reporter.report_all(switched.items);
    }
    Ok(())
}
