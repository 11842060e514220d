//! How to begin: decided from what was found on the target, before anything is changed. Names and equal counts decide
//! nothing: that a collection is this tool's own half-done work it says itself, by the mark of the restore.

use super::body::shape;
use super::inspect::{Found, There};
use super::plan::{Plan, Role};
use super::record::{Record, State};
use crate::error::{Code, Error};

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// Restore it.
    Begin(Start),
    /// It is left alone.
    Leave {
        /// For this reason.
        why: String,
        /// Whether it was verified when it was restored.
        verified: bool,
    },
    /// This backup was restored into it before, and it holds points: left alone where it has not visibly changed since.
    Look(Box<Record>),
}

/// How to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// There is no such collection.
    Create,
    /// It is there and empty, and nobody's half-done work.
    Fill,
    /// It bears the mark of a restore of this very backup: what is in it is that restore's own.
    Continue,
    /// It may be overwritten: delete it, create it anew.
    Replace,
}

/// What a person asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The id of this restore.
    pub restore: &'a str,
    /// `QDRANT_RESTORE_FORCE`.
    pub force: bool,
}

/// Decides.
///
/// # Errors
/// The collection may not be touched: says why and what to do.
pub(super) fn decide(found: &Found, plan: &Plan, asked: Asked<'_>) -> Result<Decision, Error> {
    let Some(there) = &found.there else { return Ok(Decision::Begin(Start::Create)) };
    let occupied = |cause: String| Error::new(Code::TargetOccupied, format!("`{}`", plan.collection), cause);
    if plan.role == Role::Drill {
        // Under its name a user may have one, which a drill would drop in the end.
        return Err(occupied("there is a collection of this name, and a drill did not make it".to_owned())
            .advice("rename it, or drill into another cluster"));
    }
    if let Some(marker) = there.marker() {
        let own = marker.restore == asked.restore;
        if marker.backup == plan.backup && !marker.is_passing() && (own || !asked.force) {
            return Ok(Decision::Begin(Start::Continue));
        }
        if asked.force {
            return Ok(Decision::Begin(Start::Replace));
        }
        return Err(occupied(format!(
            "the restore {} has begun to restore another backup into it ({})",
            marker.restore, marker.backup
        ))
        .advice("finish that restore, delete the collection, or set QDRANT_RESTORE_FORCE=true to replace it"));
    }
    let ended = found.records.iter().rev().filter(|record| record.state == State::Ended && is_same(record, there));
    let mut ended = ended.filter(|record| record.backup == plan.backup);
    let same_shape = there.info.config.get("params").map(shape) == Some(shape(&plan.create));
    if (there.points > 0 || plan.is_known_to_be_empty())
        && let Some(record) = ended.clone().find(|record| record.restore == asked.restore)
    {
        let why = format!(
            "this restore ({}) has ended for it at {}; a restore with another id restores it again",
            record.restore,
            record.ended_at.as_deref().unwrap_or_default()
        );
        return Ok(Decision::Leave { why, verified: record.verified });
    }
    if asked.force {
        return Ok(Decision::Begin(Start::Replace));
    }
    if there.points == 0 {
        if same_shape {
            return Ok(Decision::Begin(Start::Fill));
        }
        return Err(occupied(format!(
            "there is an empty collection whose parameters ({}) differ from the backup's ({})",
            there.info.config.get("params").map(shape).unwrap_or_default(),
            shape(&plan.create),
        ))
        .advice("delete it, or set QDRANT_RESTORE_FORCE=true to replace it"));
    }
    match ended.next() {
        Some(record) => Ok(Decision::Look(Box::new(record.clone()))),
        None => Err(occupies(plan, there.points, "")),
    }
}

/// That a collection with points is not overwritten; `because` may say more.
pub(super) fn occupies(plan: &Plan, points: u64, because: &str) -> Error {
    let cause = format!("the collection on the target holds {points} points and is not overwritten{because}");
    Error::new(Code::TargetOccupied, format!("`{}`", plan.collection), cause)
        .advice("restore elsewhere, delete it, or set QDRANT_RESTORE_FORCE=true to delete and restore it")
}

/// False where the collection is known to be another one than that which was restored.
fn is_same(record: &Record, there: &There) -> bool {
    match (&record.created_at, &there.info.created_at()) {
        (Some(was), Some(is)) => was == is,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use crate::marker::Marker;
    use crate::restore::expected::{Bounds, Kind};
    use crate::restore::layout::Placement;

    fn plan() -> Plan {
        Plan {
            collection: "docs".to_owned(),
            create: json!({"vectors": {}, "shard_number": 1}),
            finish: None,
            indexes: BTreeMap::new(),
            shard_keys: Vec::new(),
            recoveries: vec![super::super::plan::Recovery {
                peer: 1,
                name: "s".to_owned(),
                key: "s".to_owned(),
                bytes: 1,
                shards: [(0, None)].into(),
                shard: None,
            }],
            placement: Placement::new(),
            stale: Placement::new(),
            wanted: Placement::new(),
            total: None,
            config: Value::Null,
            version: None,
            free: false,
            content: crate::sets::RecordedContent::default(),
            backup: "this".to_owned(),
            role: Role::Lasting,
        }
    }

    fn record(restore: &str, backup: &str, state: State, created_at: Option<&str>) -> Record {
        crate::decode::from_value(json!({"version": 1, "restore": restore, "backup": backup, "collection": "docs",
            "host": "h", "peers": [], "state": state, "begun_at": "", "created_at": created_at}))
        .unwrap()
    }

    /// A collection with `points`, and the mark of a restore of a backup.
    fn found(points: u64, marker: Option<(&str, &str)>, records: Vec<Record>) -> Found {
        let marker = marker.map(|(restore, backup)| Marker {
            restore: restore.to_owned(),
            backup: backup.to_owned(),
            drill: false,
            beside: None,
        });
        let metadata = marker.map(|marker| marker.entry());
        let told = json!({"config": {"params": {"vectors": {}, "shard_number": 1}, "metadata": metadata}, "created_at": "now"});
        let info = crate::decode::from_value(told).unwrap();
        let there = Some(There { info, points, aliases: BTreeSet::new() });
        Found { there, records, own_aliases: BTreeSet::new(), beside: false, peers: BTreeSet::new() }
    }

    fn decided(found: &Found, force: bool) -> Result<Decision, Error> {
        decide(found, &plan(), Asked { restore: "me", force })
    }

    fn begins(found: &Found, force: bool) -> Start {
        match decided(found, force).unwrap() {
            Decision::Begin(start) => start,
            other => unreachable!("{other:?}"),
        }
    }

    fn is_occupied(found: &Found) -> bool {
        decided(found, false).is_err_and(|error| error.code() == Code::TargetOccupied)
    }

    #[test]
    fn force_replaces_whatever_is_there() {
        let ended = || vec![record("other", "this", State::Ended, None)];
        for found in [
            found(9, None, vec![]),
            found(9, None, ended()),
            found(0, None, ended()),
            found(9, Some(("x", "y")), vec![]),
        ] {
            assert_eq!(begins(&found, true), Start::Replace);
        }
        // And what another run has left half-done.
        assert_eq!(begins(&found(9, Some(("other", "this")), vec![]), true), Start::Replace);
    }

    #[test]
    fn the_same_restore_goes_on_and_does_nothing_once_it_has_ended() {
        assert_eq!(begins(&found(9, Some(("me", "this")), vec![]), true), Start::Continue);
        let ended = found(9, None, vec![record("me", "this", State::Ended, None)]);
        assert!(matches!(decided(&ended, true).unwrap(), Decision::Leave { .. }));
        // Of another backup, or one that has only begun: it is not this.
        for record in [record("me", "that", State::Ended, None), record("me", "this", State::Begun, None)] {
            assert_eq!(begins(&found(9, None, vec![record]), true), Start::Replace);
        }
        // It was emptied since, unless it was empty when it was backed up.
        let emptied = found(0, None, vec![record("me", "this", State::Ended, None)]);
        assert_eq!(begins(&emptied, true), Start::Replace);
        for (points, left) in [(0, true), (1, false)] {
            let mut plan = plan();
            plan.recoveries[0].shards = [(0, Some(Bounds { least: points, most: points, kind: Kind::Equal }))].into();
            let decided = decide(&emptied, &plan, Asked { restore: "me", force: true }).unwrap();
            assert_eq!(matches!(decided, Decision::Leave { .. }), left, "{points}");
        }
    }

    #[test]
    fn only_the_mark_makes_points_a_half_done_work() {
        assert_eq!(begins(&found(9, Some(("other", "this")), vec![]), false), Start::Continue);
        assert!(is_occupied(&found(9, Some(("other", "that")), vec![])));
        assert!(is_occupied(&found(9, None, vec![record("other", "this", State::Begun, None)])));
        assert!(is_occupied(&found(9, None, vec![])));
    }

    #[test]
    fn what_was_restored_before_is_compared_where_it_may_be_same() {
        let looked = |created: Option<&str>, backup: &str| {
            decided(&found(9, None, vec![record("other", backup, State::Ended, created)]), false)
        };
        assert!(matches!(looked(Some("now"), "this"), Ok(Decision::Look(_))));
        assert!(matches!(looked(None, "this"), Ok(Decision::Look(_))));
        assert!(looked(Some("then"), "this").is_err(), "another collection of that name");
        assert!(looked(None, "that").is_err());
        assert_eq!(begins(&found(0, None, vec![]), false), Start::Fill);
    }

    #[test]
    fn a_drill_never_takes_what_is_there() {
        let plan = Plan { role: Role::Drill, ..plan() };
        for found in [found(0, None, vec![]), found(9, Some(("me", "this")), vec![])] {
            assert!(decide(&found, &plan, Asked { restore: "me", force: true }).is_err());
        }
    }
}
