//! What is to be deleted: a pure function of what is there, the rules, and the time.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::inventory::{Inventory, Listed, companion, plain, snapshot_of};
use super::scope::Scope;
use crate::error::{Code, Error};
use crate::sets::retention::{Candidate, judge};
use crate::sets::{SetId, SetManifest};
use crate::settings::{Keep, Sweep};
use crate::store::Object;

/// What is kept, what is deleted, and why.
pub(super) struct Plan {
    /// Set and reason.
    pub kept: Vec<(String, String)>,
    /// The oldest first.
    pub removals: Vec<Removal>,
    /// Orphaned snapshots: they belong to no set, and are old enough to be no running backup's.
    pub orphans: Vec<Object>,
    /// Why there are orphans and none are deleted.
    pub not_swept: Option<NotSwept>,
}

/// Why orphaned snapshots are left where they are.
pub(super) enum NotSwept {
    /// It may be right to leave them.
    Left(String),
    /// Somebody has to look.
    Refused(Error),
}

/// A set to be removed.
pub(super) struct Removal {
    pub id: String,
    pub reason: String,
    /// What goes before it: that it was drilled.
    pub drill: Option<String>,
    /// The key of its manifest.
    pub manifest: String,
    /// What else is deleted with it.
    pub objects: Vec<String>,
}

/// The rules of one run.
pub(super) struct Rules<'a> {
    pub keep: &'a Keep,
    pub sweep: &'a Sweep,
    pub now: OffsetDateTime,
    /// The set that this run has made: it stays, whatever its date.
    pub made: Option<&'a SetId>,
    /// The runs that are at a backup: what they have made stays, whatever its date.
    pub at_work: &'a BTreeSet<String>,
    /// Whose sets are judged, and what becomes of those of a dropped collection.
    pub scope: &'a Scope,
}

pub(super) fn plan(inventory: &Inventory, rules: &Rules<'_>) -> Plan {
    let candidates: Vec<Candidate> = inventory.sets.iter().map(|set| candidate(inventory, set, rules)).collect();
    let verdicts = judge(&candidates, rules.keep, rules.now);
    let judged = || inventory.sets.iter().zip(&verdicts);
    // Two sets may name one snapshot: Qdrant's names have no more than the second in them.
    let of_kept = named(judged().filter(|(_, verdict)| verdict.keep).filter_map(|(set, _)| set.manifest.as_ref()));
    let mut plan = Plan { kept: Vec::new(), removals: Vec::new(), orphans: Vec::new(), not_swept: None };
    for (set, verdict) in judged() {
        let (id, reason) = (set.id().to_string(), verdict.reason.clone());
        if verdict.keep {
            plan.kept.push((id, reason));
        } else {
            let objects = objects_of(inventory, set, &of_kept);
            let drill = set.found.drill.as_ref().map(|(key, _)| key.clone());
            plan.removals.push(Removal { id, reason, drill, manifest: set.found.key.clone(), objects });
        }
    }
    let unreadable = judged().any(|(set, verdict)| verdict.keep && set.is_unreadable(&inventory.key_prefix));
    find_orphans(inventory, rules, &mut plan, unreadable);
    plan
}

fn candidate(inventory: &Inventory, set: &Listed, rules: &Rules<'_>) -> Candidate {
    let other = || rules.scope.leaves(set);
    let pinned = if inventory.pinned.contains(set.id().as_str()) {
        Some("pinned")
    } else if rules.made == Some(set.id()) {
        Some("made by this run")
    } else if set.header.run_id.as_ref().is_some_and(|run| rules.at_work.contains(run)) {
        Some("the backup that made it is at work")
    } else {
        set.not_ours().or_else(other)
    };
    Candidate {
        started: set.id().started(),
        damage: set.quality.as_ref().err().map(ToString::to_string),
        pinned: pinned.map(str::to_owned),
        dropped: set.source.as_ref().and_then(|source| rules.scope.dropped(inventory, source, rules.now)),
        source: set.header.source_id.clone(),
        peers: set.header.peers.iter().copied().collect(),
    }
}

/// The keys of the snapshots that manifests name.
fn named<'a>(manifests: impl Iterator<Item = &'a SetManifest>) -> BTreeSet<String> {
    manifests.flat_map(|manifest| &manifest.shards).map(|shard| plain(&shard.s3_key)).collect()
}

/// What is deleted with a set: its snapshots, but for those that a set that is kept has, too, and what is known of
/// restores of it.
fn objects_of(inventory: &Inventory, set: &Listed, of_kept: &BTreeSet<String>) -> Vec<String> {
    let mut objects = Vec::new();
    for shard in set.manifest.iter().flat_map(|manifest| &manifest.shards) {
        let key = plain(&shard.s3_key);
        if of_kept.contains(&key) {
            continue;
        }
        if inventory.snapshots.contains_key(companion(&key).as_str()) {
            objects.push(companion(&shard.s3_key));
        }
        objects.push(shard.s3_key.clone());
    }
    for state in inventory.places.all(&set.id().state_key(&inventory.collection)) {
        objects.push(state.replace(".json", ".csv"));
        objects.push(state);
    }
    objects
}

fn find_orphans(inventory: &Inventory, rules: &Rules<'_>, plan: &mut Plan, unreadable: bool) {
    let named = named(inventory.sets.iter().filter_map(|set| set.manifest.as_ref()));
    let orphans: Vec<Object> = inventory
        .snapshots
        .iter()
        .filter(|(key, _)| !named.contains(snapshot_of(key)) && inventory.is_ours(key))
        // Without a date it may be of a backup that is running.
        .filter(|(_, object)| object.last_modified.is_some_and(|stored| rules.now - stored > rules.sweep.grace))
        .map(|(_, object)| object.clone())
        .collect();
    if orphans.is_empty() {
        return;
    }
    let total = inventory.snapshots.iter().filter(|(key, _)| inventory.is_ours(key)).count() as u64;
    let count = orphans.len() as u64;
    let cap = rules.sweep.cap_percent;
    plan.not_swept = if inventory.sets.is_empty() {
        Some(NotSwept::Left(format!(
            "{count} snapshots and no set at all: they are left, as manifests may have been lost"
        )))
    } else if !inventory.places.is_whole() {
        Some(NotSwept::Left(format!(
            "{count} snapshots that may be orphaned are left: the keys may not list the manifests at the root of the \
             bucket, which may name them"
        )))
    } else if unreadable {
        Some(NotSwept::Left(format!("{count} snapshots that may be orphaned are left: a manifest can't be read")))
    } else if count * 100 > total * cap {
        let cause = format!(
            "{count} of its {total} snapshots are orphaned, which is more than QDRANT_SWEEP_DELETE_CAP_PCT={cap}; none was deleted"
        );
        let advice = "look at them (`prune_snap --dry-run` with a higher cap lists them), then raise it for one run";
        Some(NotSwept::Refused(Error::new(Code::Incomplete, "", cause).advice(advice)))
    } else {
        plan.orphans = orphans;
        None
    };
}
