//! What collections a source had when it was backed up whole: by that, a restore of everything knows what was deleted on
//! purpose. A run that was told to back up some collections leaves no such record, and changes nothing about the last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clusters::state::ClusterState;
use crate::context::Context;
use crate::encode;
use crate::error::{Code, Error};
use crate::places;
use crate::qdrant::Cluster;
use crate::source::catalogue::Catalogue;
use crate::source::{Source, SourceId};
use crate::state_files;
use crate::store::{Object, ObjectStore};
use crate::timestamp;

/// The version of the record's form; fields may be added to it.
const VERSION: u32 = 1;

/// The largest record: 100,000 collections with names of 255 bytes.
const LIMIT: usize = 32 << 20;

/// What kind of backup a run made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sets.
    Sets,
    /// Snapshots of whole collections.
    Snapshots,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Sets => "sets",
            Self::Snapshots => "snapshots",
        }
    }
}

/// `runs/<source>/<kind>/<time>-<run>.json`: a run that was meant to back up every collection of its source. The pods of
/// an Indexed Job write one each, with the same run and the same list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// 1.
    pub version: u32,
    /// The run.
    pub run_id: String,
    /// The source.
    pub source_id: SourceId,
    /// When it looked which collections there are, RFC 3339 in UTC.
    pub started_at: String,
    /// All collections that the source had then.
    pub collections: Vec<String>,
    /// What the cluster had agreed on besides; absent in the records of versions that did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterState>,
}

impl RunRecord {
    /// When it looked which collections there are.
    pub fn started(&self) -> Option<OffsetDateTime> {
        timestamp::RFC3339.read(&self.started_at)
    }
}

fn folder(source: &SourceId, kind: Kind) -> String {
    format!("{}/{source}/{}/", places::RUNS, kind.folder())
}

/// Notes what collections there are where the run is to back up all of them, or its share of all. Where that can't be
/// written, a restore goes by an older list and by what was backed up since: told, and no failure.
pub(crate) async fn note(context: &Context, cluster: &Cluster, kind: Kind) {
    let source = context.source_of(&cluster.host);
    let (Some(store), Some(Source { id, .. })) = (context.notes(), source) else { return };
    let choice = &context.settings.collections;
    let chosen = state_files::chosen_collections(context.ports.files.as_ref());
    let is_chosen = !choice.include.is_empty() || !choice.exclude.is_empty() || !chosen.is_ok_and(|all| all.is_empty());
    if is_chosen {
        return;
    }
    // Without the list the backup itself will fail, and say so.
    let Ok(mut collections) = crate::clusters::source::collections(cluster).await else { return };
    for scratch in crate::clusters::source::scratch(cluster, &collections).await {
        collections.retain(|name| *name != scratch);
    }
    let state = ClusterState::read(cluster).await;
    for unknown in &state.unknown {
        let text = format!("not recorded, so a restore can't compare it: {unknown}");
        context.log.warn(Some(&cluster.host.to_string()), &text);
    }
    let now = context.ports.clock.now();
    let record = RunRecord {
        version: VERSION,
        run_id: context.run.to_string(),
        started_at: timestamp::RFC3339.write(now),
        collections,
        source_id: id,
        cluster: Some(state),
    };
    let share = context.settings.share.map(|share| format!("-{}", share.index)).unwrap_or_default();
    let bare = format!("{}{}-{}{share}.json", folder(&record.source_id, kind), timestamp::KEY.write(now), context.run);
    let written = match encode::json(&format!("the record `{bare}`"), &record) {
        Ok(json) => store.put(&store.places().ours(&bare), "application/json", json).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        let why = format!("the list of collections is not recorded: {error}");
        context.log.warn(Some(&cluster.host.to_string()), &why);
    }
}

/// A record as it was listed.
pub(crate) struct Listed {
    /// The object.
    pub object: Object,
    /// When the run looked which collections there are.
    pub started: OffsetDateTime,
    /// The run's id; with shares the number of the share behind it.
    pub run: String,
}

/// The records of the whole runs of `source`, the newest first.
///
/// # Errors
/// The bucket can't be listed.
pub(crate) async fn list(store: &dyn ObjectStore, source: &SourceId, kind: Kind) -> Result<Vec<Listed>, Error> {
    let folder = folder(source, kind);
    let mut found: Vec<Listed> = Vec::new();
    let mut note = |object: Object| {
        let Some(name) = store.places().bare(&object.key).strip_prefix(folder.as_str()) else { return };
        let Some((time, run)) = name.split_at_checked(timestamp::KEY.length()) else { return };
        let Some((started, run)) = timestamp::KEY.read(time).zip(run.strip_prefix('-')) else { return };
        let run = run.strip_suffix(".json").unwrap_or(run).to_owned();
        found.push(Listed { object, started, run });
    };
    store.list_own(&folder, &mut note).await?;
    found.sort_by(|left, right| (right.started, &right.run).cmp(&(left.started, &left.run)));
    Ok(found)
}

/// Reads a record; `None` where it has gone since it was listed.
///
/// # Errors
/// It can't be read, is none, or is a later version's.
async fn read(store: &dyn ObjectStore, listed: &Listed) -> Result<Option<RunRecord>, Error> {
    let Object { key, bytes, .. } = &listed.object;
    let Some(json) = store.get_listed(key, *bytes, LIMIT).await? else { return Ok(None) };
    let unusable = |cause: String| Error::new(Code::ManifestUnusable, format!("the record `{key}`"), cause);
    let record: RunRecord = crate::decode::json(&json).map_err(|error| {
        unusable(error.to_string()).advice("delete it: then the list before it counts, or all collections do")
    })?;
    if record.version > VERSION {
        return Err(unusable(format!("version {} is newer than this program ({VERSION})", record.version)));
    }
    Ok(Some(record))
}

/// The newest run of these kinds that backed up everything of `source`, of those whose beginning and id pass `takes`.
///
/// # Errors
/// The bucket can't be read.
pub(crate) async fn newest(
    store: &dyn ObjectStore,
    source: &SourceId,
    kinds: &[Kind],
    takes: &dyn Fn(OffsetDateTime, &str) -> bool,
) -> Result<Option<RunRecord>, Error> {
    let mut newest: Option<RunRecord> = None;
    for kind in kinds {
        for listed in list(store, source, *kind).await?.iter().filter(|listed| takes(listed.started, &listed.run)) {
            if let Some(record) = read(store, listed).await? {
                newest = newest.filter(|newest| newest.started() >= record.started()).or(Some(record));
                break;
            }
        }
    }
    Ok(newest)
}

/// All runs that backed up everything of `source`, the newest first.
///
/// # Errors
/// The bucket can't be read.
pub(crate) async fn all(store: &dyn ObjectStore, source: &SourceId, kind: Kind) -> Result<Vec<RunRecord>, Error> {
    let mut records = Vec::new();
    for listed in list(store, source, kind).await? {
        records.extend(read(store, &listed).await?);
    }
    Ok(records)
}

/// What each source had when it was last backed up whole as sets.
pub(crate) struct LastWhole(BTreeMap<SourceId, RunRecord>);

impl LastWhole {
    /// Of every source of `catalogue`.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub(crate) async fn take(store: &dyn ObjectStore, catalogue: &Catalogue) -> Result<Self, Error> {
        let mut runs = BTreeMap::new();
        for entry in catalogue.entries() {
            let run = newest(store, &entry.source.id, &[Kind::Sets], &|_, _| true).await?;
            runs.extend(run.map(|run| (entry.source.id.clone(), run)));
        }
        Ok(Self(runs))
    }

    /// True where `collection`, whose backup was begun at `started`, was not there any more when `source` was last backed
    /// up whole; `None`: not known.
    pub(crate) fn has_dropped(
        &self,
        source: &SourceId,
        collection: &str,
        started: Option<OffsetDateTime>,
    ) -> Option<bool> {
        let run = self.0.get(source)?;
        let since = started.is_none_or(|started| run.started().is_none_or(|run| started > run));
        Some(!since && !run.collections.iter().any(|listed| listed == collection))
    }
}
