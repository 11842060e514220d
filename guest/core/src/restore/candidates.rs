//! Which collections are to be restored from sets into one target, and which of their sets may be taken.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::whose::{KnownSets, Whose, of_target};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::runs::{self, Kind, RunRecord};
use crate::sets::{self, Found, Headed};
use crate::settings::Settings;
use crate::state_files;
use crate::store::ObjectStore;
use crate::timestamp;

/// One collection that is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its sets that may be taken, the oldest first.
    pub sets: Vec<Found>,
    /// True where it has to be there: a person named it, or it was there when its source was last backed up whole.
    pub required: bool,
}

/// What is meant for `cluster`: of its own source, or of the one that is chosen. `kinds`: whose newest run of everything says
/// what there was.
///
/// # Errors
/// The bucket can't be read, nothing is meant, or it can't be told whose backups are.
pub(crate) async fn wanted(
    context: &Context,
    bucket: &dyn ObjectStore,
    cluster: &Cluster,
    kinds: &[Kind],
) -> Result<(Whose, BTreeMap<String, Wanted>), Error> {
    let all = sets::list(bucket).await?;
    if all.is_empty() {
        return Err(Error::new(Code::NothingSelected, "", "the bucket holds no sets; check QDRANT_S3_BUCKET_NAME")
            .advice("`create_snap_shards` makes them, and `recover_snap` restores snapshots of whole collections"));
    }
    let settings = &context.settings;
    let lines = state_files::chosen_collections(context.ports.files.as_ref())?;
    let only: BTreeSet<String> = lines.into_iter().map(|line| line.collection).collect();
    let means =
        |collection: &String| (only.is_empty() || only.contains(collection)) && settings.collections.takes(collection);
    // A bucket has many sets, and of those that are not meant nothing is to be known.
    let mut meant = all.clone();
    meant.retain(|collection, _| means(collection));
    let headed = sets::headers(bucket, &meant).await;
    let known = KnownSets { sets: &headed, all: meant.len() == all.len() };
    let whose = of_target(context, bucket, cluster, known, None).await?;
    let mut named = only.clone();
    let everything = named.is_empty() && settings.collections.include.is_empty();
    named.extend(settings.rename.iter().map(|(old, _)| old.clone()));
    named.extend(settings.collections.names().filter(|name| settings.collections.takes(name)).map(str::to_owned));
    let mut wanted = of_source(&headed, &whose, settings);
    if wanted.is_empty() && named.is_empty() && known.all {
        return Err(Error::new(Code::NothingSelected, whose.name(), "the bucket holds no sets of it")
            .advice("`list_sources` lists the sources, QDRANT_RESTORE_SOURCE selects one"));
    }
    if everything && let Some(source) = &whose.source {
        let takes = |started, run: &str| passes(settings, started, run);
        if let Some(run) = runs::newest(bucket, &source.id, kinds, &takes).await? {
            context.reporter.report_all(keep_listed(&mut wanted, &run, settings));
        }
    }
    for name in named {
        wanted.entry(name).or_default().required = true;
    }
    wanted.retain(|collection, _| means(collection));
    if wanted.is_empty() {
        return Err(Error::new(
            Code::NothingSelected,
            whose.name(),
            "no collection with a set is selected (QDRANT_COLLECTIONS, the file `collections`)",
        ));
    }
    Ok((whose, wanted))
}

/// The sets of the source that pass the choice of a moment. A collection of which none does is there with none.
fn of_source(headed: &[Headed], whose: &Whose, settings: &Settings) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for set in headed.iter().filter(|set| whose.is_of_set(set)) {
        let entry = wanted.entry(set.collection.clone()).or_default();
        if set.passes(settings) {
            entry.sets.push(set.found.clone());
        }
    }
    wanted
}

/// True for a run that passes the choice of a moment, or of a run.
pub(super) fn passes(settings: &Settings, started: OffsetDateTime, run: &str) -> bool {
    let filter = settings.snapshot_filter.as_str();
    (timestamp::KEY.write(started).starts_with(filter) || run.starts_with(filter))
        && settings.restore_before.is_none_or(|before| started < before)
}

/// Keeps what was there at the run, and what was backed up since; the rest was deleted on purpose. Items say so.
fn keep_listed(wanted: &mut BTreeMap<String, Wanted>, run: &RunRecord, settings: &Settings) -> Vec<Item> {
    let listed: BTreeSet<&String> = run.collections.iter().collect();
    let since = |set: &Found| {
        let started = set.id.started();
        started.is_none() || run.started().is_none_or(|run| started > Some(run))
    };
    let mut gone = Vec::new();
    wanted.retain(|collection, found| {
        let there = listed.contains(collection) || found.sets.iter().any(since);
        if !there && !found.sets.is_empty() && settings.collections.takes(collection) {
            let why = format!(
                "it no longer existed when the run {} backed up everything; QDRANT_COLLECTIONS={collection} restores it anyway",
                run.run_id
            );
            gone.push(Item::skipped("collection", why).collection(collection.clone()));
        }
        there
    });
    for collection in &run.collections {
        wanted.entry(collection.clone()).or_default().required = true;
    }
    gone
}

/// Why a collection is not restored of which no set may be taken: a failure where it had to be there.
pub(crate) fn no_set(context: &Context, whose: &Whose, collection: &str, wanted: &Wanted) -> Item {
    let settings = &context.settings;
    let mut cause = match (settings.snapshot_filter.is_empty(), settings.restore_before.is_none()) {
        (true, true) => "there is no set of it".to_owned(),
        (false, _) => format!("no set of it begins with QDRANT_SNAPSHOT_DATETIME_FILTER={}", settings.snapshot_filter),
        (true, false) => "no set of it was begun before QDRANT_RESTORE_BEFORE".to_owned(),
    };
    if whose.others_have_backups() {
        cause = format!("{cause} in the backups of {}", whose.name());
    }
    if wanted.required {
        let error = Error::new(Code::NothingSelected, "", cause).advice("`list_sets` lists what there is");
        Item::failed("collection", error).collection(collection)
    } else {
        Item::skipped("collection", cause).collection(collection)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sets::SetId;
    use crate::settings::{Needs, from_variables};
    use crate::source::SourceId;

    fn found(id: &str) -> Found {
        Found { id: SetId::from_text(id), key: String::new(), bytes: 0, drill: None }
    }

    fn wanted(all: &[(&str, &[&str])]) -> BTreeMap<String, Wanted> {
        let one = |sets: &[&str]| Wanted { sets: sets.iter().map(|id| found(id)).collect(), required: false };
        all.iter().map(|(name, sets)| ((*name).to_owned(), one(sets))).collect()
    }

    /// What was deleted before the last whole run stays deleted; what came after it, and what it names, is meant.
    #[test]
    fn everything_is_what_the_last_whole_run_had() {
        let run = RunRecord {
            version: 1,
            run_id: "r".to_owned(),
            source_id: SourceId::from_text("a"),
            started_at: "2026-01-29T00:00:00Z".to_owned(),
            collections: vec!["docs".to_owned(), "lost".to_owned()],
            cluster: None,
        };
        let (settings, _) = from_variables(&[], Needs::NOTHING).unwrap();
        let mut all = wanted(&[
            ("docs", &["2026-01-28T00-00-00Z-p"]),
            ("dropped", &["2026-01-28T00-00-00Z-p"]),
            ("new", &["2026-01-28T00-00-00Z-p", "2026-01-30T00-00-00Z-p"]),
            ("of-then", &["2026-01-29T00-00-00Z-p"]),
            ("undated", &["copied-by-hand"]),
        ]);
        let told = keep_listed(&mut all, &run, &settings);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["docs", "lost", "new", "undated"]);
        let required = |name: &str| all.get(name).is_some_and(|wanted| wanted.required);
        assert!(required("docs") && required("lost") && !required("new"));
        assert_eq!(
            told.iter().filter_map(|item| item.collection.as_deref()).collect::<Vec<_>>(),
            ["dropped", "of-then"]
        );
    }
}
