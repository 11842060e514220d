//! What is at risk: a pure function of what is known.

use time::OffsetDateTime;

use super::{CollectionRow, Overview, Standing, span};
use crate::reporter::{age, size};

/// What may cost somebody data. The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    NoGoodBackup,
    TooOld,
    Failed,
    NotKnown,
    Ahead,
    Partial,
    NeverDrilled,
    OneReplica,
    Dropped,
    NotSwept,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::NoGoodBackup,
        Self::TooOld,
        Self::Failed,
        Self::NotKnown,
        Self::Ahead,
        Self::Partial,
        Self::NeverDrilled,
        Self::OneReplica,
        Self::Dropped,
        Self::NotSwept,
    ];

    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        self.words().0
    }

    /// Its name for programs, its title, and what to do.
    pub(crate) fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NoGoodBackup => ("no-good-backup", "No good backup", "Back it up: `create_snap_shards`."),
            Self::TooOld => (
                "too-old",
                "Newest good backup is too old",
                "See why the last backups failed; QDRANT_BACKUP_MAX_AGE is the limit.",
            ),
            Self::Failed => (
                "failed-sets",
                "Sets that failed",
                "They can't be restored. `verify` says what is wrong; a good backup replaces them.",
            ),
            Self::NotKnown => ("not-known", "Could not be looked at", "The bucket did not tell; run `report` again."),
            Self::Ahead => ("ahead", "Dated in the future", "A clock was wrong; retention leaves such sets alone."),
            Self::Partial => (
                "partial-newest",
                "Newest backup is partial",
                "A shard could not be backed up; see the report of that run.",
            ),
            Self::NeverDrilled => (
                "never-drilled",
                "Never drilled",
                "No set was ever restored as a test: `drill --into URL` does that and cleans up.",
            ),
            Self::OneReplica => (
                "one-replica",
                "Only one replica",
                "A shard had one active replica when it was last backed up: if its disk is lost, the backup is all there is.",
            ),
            Self::Dropped => (
                "dropped",
                "No longer at its source",
                "If it was dropped on purpose, QDRANT_BACKUP_DROPPED_KEEP removes its sets in time.",
            ),
            Self::NotSwept => ("not-swept", "Orphaned snapshots are left", "`prune_snap --dry-run` lists them."),
        }
    }

    /// True where it is worth nobody's night.
    pub(crate) fn is_minor(self) -> bool {
        self >= Self::NeverDrilled
    }

    /// True where it is only to be known.
    pub(crate) fn is_note(self) -> bool {
        self >= Self::Dropped
    }
}

/// What is at risk of a collection, and what was found where there is more to say.
pub(crate) fn of_collection(collection: &CollectionRow, all: &Overview) -> Vec<(Kind, String)> {
    let now = all.made_at;
    let gone = collection.dropped == Some(true);
    let mut risks = Vec::new();
    let mut add = |kind: Kind, found: String| risks.push((kind, found));
    match collection.newest_at(now) {
        _ if collection.sets.is_empty() && collection.whole.is_none() => {
            // Where the sets can't be listed, that is said below.
            if collection.unknown.is_none() {
                add(Kind::NoGoodBackup, "snapshots, and no set".to_owned());
            }
        }
        None => add(Kind::NoGoodBackup, format!("none of {} sets is known to be good", collection.sets.len())),
        Some(at) if now - at > all.max_age && !gone => add(Kind::TooOld, format!("{} old", age(now - at))),
        Some(_) => {}
    }
    let count = |is: &dyn Fn(&Standing) -> bool| collection.sets.iter().filter(|set| is(&set.standing)).count();
    let of_all = |number: usize| format!("{number} of {} sets", collection.sets.len());
    let failed = count(&|standing| matches!(standing, Standing::Failed(_)));
    if failed > 0 {
        add(Kind::Failed, of_all(failed));
    }
    let unknown = count(&|standing| matches!(standing, Standing::Unknown(_)));
    match &collection.unknown {
        Some(why) if unknown == 0 => add(Kind::NotKnown, why.clone()),
        _ if unknown > 0 => add(Kind::NotKnown, of_all(unknown)),
        _ => {}
    }
    let ahead = collection.sets.iter().filter(|set| set.is_ahead(now)).count();
    if ahead > 0 {
        add(Kind::Ahead, of_all(ahead));
    }
    if let Some(Standing::Partial(why)) = collection.sets.last().map(|set| &set.standing) {
        add(Kind::Partial, why.clone());
    }
    if !gone {
        if collection.drilled_at().is_none() && !collection.sets.is_empty() {
            add(Kind::NeverDrilled, String::new());
        }
        let replicas = collection.newest_good(now).and_then(|set| set.replicas);
        if replicas.is_some_and(|replicas| replicas <= 1) {
            add(Kind::OneReplica, String::new());
        }
    }
    if gone {
        let (sets, bytes) = (collection.sets.len(), collection.bytes());
        add(Kind::Dropped, format!("{sets} sets, {}", size(bytes)));
    }
    if let Some(why) = &collection.not_swept {
        add(Kind::NotSwept, why.clone());
    }
    risks
}

/// All that is at risk, by kind: the worst first, each with the collections.
pub(crate) fn of_all(all: &Overview) -> Vec<(Kind, Vec<(&CollectionRow, String)>)> {
    let found: Vec<_> = all.collections.iter().map(|one| (one, of_collection(one, all))).collect();
    let of_kind = |kind: Kind| {
        let mut of = Vec::new();
        for (one, risks) in &found {
            of.extend(risks.iter().filter(|(found, _)| *found == kind).map(|(_, text)| (*one, text.clone())));
        }
        (kind, of)
    };
    Kind::ALL.into_iter().map(of_kind).filter(|(_, of)| !of.is_empty()).collect()
}

/// True where the newest good backup is younger than the limit.
pub(crate) fn is_recent(collection: &CollectionRow, all: &Overview, now: OffsetDateTime) -> bool {
    collection.newest_at(now).is_some_and(|at| now - at <= all.max_age)
}

/// The limit, for people.
pub(crate) fn limit(all: &Overview) -> String {
    span(all.max_age.unsigned_abs())
}
