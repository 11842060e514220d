//! What is to be deleted: a pure function of what is there, the rules, and the time.

use std::collections::BTreeSet;
use time::OffsetDateTime;

use super::inventory::{Inventory, archive_of, companion, plain};
use crate::report::Outcome;
use crate::sets::retention::{Candidate, judge};
use crate::settings::{Keep, Sweep};
use crate::store::Object;

/// What is kept, what is deleted, and why.
pub(super) struct Plan {
    /// Set and reason.
    pub kept: Vec<(String, String)>,
    /// The oldest first.
    pub removals: Vec<Removal>,
    /// Archives that belong to no set, old enough to be no running backup's.
    pub orphans: Vec<Object>,
    /// Why there are orphans and none are deleted.
    pub not_swept: Option<(Outcome, String)>,
}

/// A set to be removed.
pub(super) struct Removal {
    pub id: String,
    pub reason: String,
    /// The key of its manifest.
    pub manifest: String,
    /// What else is deleted with it.
    pub objects: Vec<String>,
}

pub(super) fn plan(inventory: &Inventory, keep: &Keep, sweep: &Sweep, now: OffsetDateTime) -> Plan {
    let candidates: Vec<Candidate> = inventory
        .sets
        .iter()
        .map(|set| Candidate {
            id: set.id().clone(),
            damage: inventory.damage(set),
            pinned: inventory.pinned.contains(set.id().as_str()) || set.is_newer(),
            peers: set.manifest.as_ref().map(|manifest| manifest.peers()).unwrap_or_default(),
        })
        .collect();
    let verdicts = judge(&candidates, keep, now);
    let judged = || inventory.sets.iter().zip(&verdicts);
    // Two sets may name one archive: Qdrant's names have no more than the second in them.
    let of_kept: BTreeSet<String> = judged()
        .filter(|(_, verdict)| verdict.keep)
        .filter_map(|(set, _)| set.manifest.as_ref().ok())
        .flat_map(|manifest| &manifest.shards)
        .map(|shard| plain(&shard.s3_key))
        .collect();
    let mut plan = Plan { kept: Vec::new(), removals: Vec::new(), orphans: Vec::new(), not_swept: None };
    for (set, verdict) in judged() {
        let id = set.id().to_string();
        if verdict.keep {
            plan.kept.push((id, verdict.reason.clone()));
            continue;
        }
        let mut objects = Vec::new();
        for shard in set.manifest.iter().flat_map(|manifest| &manifest.shards) {
            let key = plain(&shard.s3_key);
            if of_kept.contains(&key) {
                continue;
            }
            if inventory.archives.contains_key(companion(&key).as_str()) {
                objects.push(companion(&shard.s3_key));
            }
            objects.push(shard.s3_key.clone());
        }
        for state in inventory.places.all(&set.id().state_key(&inventory.collection)) {
            objects.push(state.replace(".json", ".csv"));
            objects.push(state);
        }
        plan.removals.push(Removal { id, reason: verdict.reason.clone(), manifest: set.found.key.clone(), objects });
    }
    find_orphans(
        inventory,
        sweep,
        now,
        &mut plan,
        judged().any(|(set, verdict)| verdict.keep && set.manifest.is_err()),
    );
    plan
}

fn find_orphans(inventory: &Inventory, sweep: &Sweep, now: OffsetDateTime, plan: &mut Plan, unreadable: bool) {
    let named: BTreeSet<String> = inventory
        .sets
        .iter()
        .filter_map(|set| set.manifest.as_ref().ok())
        .flat_map(|manifest| &manifest.shards)
        .map(|shard| plain(&shard.s3_key))
        .collect();
    let orphans: Vec<Object> = inventory
        .archives
        .iter()
        .filter(|(key, _)| !named.contains(archive_of(key)) && inventory.is_ours(key))
        // Without a date it may be of a backup that is running.
        .filter(|(_, object)| object.last_modified.is_some_and(|stored| now - stored > sweep.grace))
        .map(|(_, object)| object.clone())
        .collect();
    if orphans.is_empty() {
        return;
    }
    let total = inventory.archives.iter().filter(|(key, _)| inventory.is_ours(key)).count() as u64;
    let count = orphans.len() as u64;
    plan.not_swept = if inventory.sets.is_empty() {
        Some((
            Outcome::Skipped,
            format!(
                "{count} archives and no set at all: they are left where they are, as manifests may have been lost"
            ),
        ))
    } else if !inventory.places.is_whole() {
        Some((
            Outcome::Skipped,
            format!(
                "{count} archives that may belong to no set are left: the keys may not list the manifests at the root of the \
                 bucket, which may name them"
            ),
        ))
    } else if unreadable {
        Some((
            Outcome::Skipped,
            format!("{count} archives that may belong to no set are left: a manifest can't be read"),
        ))
    } else if count * 100 > total * sweep.cap_percent {
        Some((
            Outcome::Failed,
            format!(
                "{count} of its {total} archives belong to no set, which is more than QDRANT_SWEEP_DELETE_CAP_PCT={}; none was \
                 deleted. Look at them (`prune_snap --dry-run` with a higher cap lists them), then raise it for one run",
                sweep.cap_percent
            ),
        ))
    } else {
        plan.orphans = orphans;
        None
    };
}
