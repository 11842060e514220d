//! What pruning would do, and what it knows of each set: the plan of a run that carries nothing out.

use std::collections::BTreeSet;

use super::inventory::{Inventory, Listed};
use super::plan::{self, NotSwept, Plan, Rules};
use super::{COLLECTIONS_AT_ONCE, Pruning, Scope};
use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::lock::Work;
use crate::report::total;
use crate::sets::quality::{self, Depth};
use crate::sets::retention::Verdict;
use crate::sets::{self, Found, Level, SetHeader, SetManifest};
use crate::store::ObjectStore;

/// What would become of a collection.
pub(crate) struct Outlook {
    pub collection: String,
    /// Its sets, the oldest first; none where they can't be listed.
    pub sets: Vec<Judged>,
    /// How many orphaned snapshots would be deleted, and their bytes.
    pub orphans: (usize, u64),
    /// Why orphaned snapshots are left.
    pub not_swept: Option<String>,
    /// Why nothing would be pruned: something of it is not known.
    pub unknown: Option<Error>,
}

/// A set, as `list_sets` would show it, and what would become of it.
pub(crate) struct Judged {
    pub found: Found,
    /// Its manifest, where there is one that can be used.
    pub manifest: Option<SetManifest>,
    /// How good it is as far as a list tells, or what is wrong with it.
    pub quality: Result<Level, Error>,
    /// Where it comes from.
    pub header: SetHeader,
    /// `None`: not known.
    pub verdict: Option<Verdict>,
}

/// What a run of `prune_snap` would do to these collections, as far as a look at the bucket's lists tells: it reads no
/// snapshot, and the run itself finds out more about a set in a bucket that was copied.
pub(crate) async fn outlook(
    context: &Context,
    bucket: &dyn ObjectStore,
    scope: &Scope,
    collections: BTreeSet<String>,
) -> Vec<Outlook> {
    let pruning = &Pruning::new(context, bucket, scope, Work::Prune, None).await;
    let mut all = Vec::new();
    let work = collections.into_iter().map(|collection| async move { of_one(pruning, collection).await });
    concurrent::at_most(COLLECTIONS_AT_ONCE, work, |one| all.push(one)).await;
    all.sort_by(|left: &Outlook, right| left.collection.cmp(&right.collection));
    all
}

async fn of_one(pruning: &Pruning<'_>, collection: String) -> Outlook {
    let &Pruning { context, bucket, scope, .. } = pruning;
    let streamed = pruning.begun.as_ref().ok().and_then(|begun| begun.streamed.get(&collection));
    let streamed = streamed.map(Vec::as_slice).unwrap_or_default();
    let mut outlook = Outlook { sets: Vec::new(), orphans: (0, 0), not_swept: None, unknown: None, collection };
    let inventory = Inventory::look(bucket, &outlook.collection, &scope.records, streamed, Depth::Presence).await;
    let inventory = match inventory {
        Ok(inventory) => inventory,
        Err(error) => return Outlook { unknown: Some(error), ..outlook },
    };
    let plan = match (inventory.unknown(), &pruning.begun) {
        (Some(error), _) | (None, Err(error)) => Err(error.clone()),
        (None, Ok(begun)) => {
            let (keep, sweep) = (&context.settings.keep, &context.settings.sweep);
            let now = context.ports.clock.now();
            Ok(plan::plan(&inventory, &Rules { keep, sweep, now, made: None, at_work: &begun.at_work, scope }))
        }
    };
    for set in inventory.sets {
        let verdict = plan.as_ref().ok().and_then(|plan| verdict(plan, &set));
        outlook.sets.push(judged(bucket, &outlook.collection, set, verdict).await);
    }
    match plan {
        Ok(plan) => {
            outlook.orphans = (plan.orphans.len(), total(plan.orphans.iter().map(|orphan| orphan.bytes)));
            outlook.not_swept = plan.not_swept.map(|why| match why {
                NotSwept::Left(why) => why,
                NotSwept::Refused(error) => error.to_string(),
            });
        }
        Err(error) => outlook.unknown = Some(error),
    }
    outlook
}

fn verdict(plan: &Plan, set: &Listed) -> Option<Verdict> {
    let id = set.id().as_str();
    let kept = plan.kept.iter().find(|(kept, _)| kept == id).map(|(_, reason)| (true, reason));
    let removed = || plan.removals.iter().find(|removal| removal.id == id).map(|removal| (false, &removal.reason));
    kept.or_else(removed).map(|(keep, reason)| Verdict { keep, reason: reason.clone() })
}

/// A set whose snapshots lie below another prefix is looked at there: this run does not prune it, and it is listed.
async fn judged(bucket: &dyn ObjectStore, collection: &str, set: Listed, verdict: Option<Verdict>) -> Judged {
    let Listed { found, mut manifest, mut quality, header, .. } = set;
    let elsewhere = quality.as_ref().is_err_and(|error| manifest.is_none() && error.code() == Code::Configuration);
    if elsewhere {
        match sets::read_anywhere(bucket, collection, &found).await.0 {
            Ok(there) => {
                let looked = quality::of_set(bucket, &there, &|_| Depth::Presence).await;
                quality = looked.map_err(|wrong| quality::as_one(&wrong));
                manifest = Some(there);
            }
            Err(error) => quality = Err(error),
        }
    }
    Judged { found, manifest, quality, header, verdict }
}
