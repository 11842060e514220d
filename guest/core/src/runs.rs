//! What collections a source had when it was backed up whole: by that, a restore of everything knows what was deleted on
//! purpose. A run that was told to back up some collections leaves no such record, and changes nothing about the last.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::context::Context;
use crate::encode;
use crate::error::{Code, Error};
use crate::places;
use crate::qdrant::Cluster;
use crate::source::{Source, SourceId};
use crate::state_files;
use crate::store::ObjectStore;
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
    /// Archives of whole collections.
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
    let (Some(store), Some(Source { id, .. })) = (context.store.as_deref(), source) else { return };
    let choice = &context.settings.collections;
    let chosen = state_files::read_collections(context.ports.files.as_ref());
    let is_chosen = !choice.include.is_empty() || !choice.exclude.is_empty() || !chosen.is_ok_and(|all| all.is_empty());
    if is_chosen || context.settings.dry_run {
        return;
    }
    // Without the list the backup itself will fail, and say so.
    let Ok(collections) = crate::clusters::source::collections(cluster).await else { return };
    let now = context.ports.clock.now();
    let record = RunRecord {
        version: VERSION,
        run_id: context.run.to_string(),
        started_at: timestamp::RFC3339.write(now),
        collections,
        source_id: id,
    };
    let share = context.settings.share.map(|share| format!("-{}", share.index)).unwrap_or_default();
    let bare = format!("{}{}-{}{share}.json", folder(&record.source_id, kind), timestamp::KEY.write(now), context.run);
    let written = match encode::json(&format!("the record `{bare}`"), &record) {
        Ok(json) => store.put(&store.places().ours(&bare), "application/json", json).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        let why = format!("which collections there are is not noted: {error}");
        context.log.warn(Some(&cluster.host.to_string()), &why);
    }
}

/// The newest run that backed up everything of `source`, of those whose beginning and id pass `takes`.
///
/// # Errors
/// The bucket can't be read.
pub(crate) async fn newest(
    store: &dyn ObjectStore,
    source: &SourceId,
    kind: Kind,
    takes: &dyn Fn(OffsetDateTime, &str) -> bool,
) -> Result<Option<RunRecord>, Error> {
    let folder = folder(source, kind);
    let mut found = Vec::new();
    store.list_own(&folder, &mut |object| found.push(object)).await?;
    let name = |key: &str| store.places().bare(key).strip_prefix(folder.as_str()).map(str::to_owned);
    let mut named: Vec<(String, crate::store::Object)> =
        found.into_iter().filter_map(|object| Some((name(&object.key)?, object))).collect();
    named.sort_by(|left, right| right.0.cmp(&left.0));
    for (name, object) in named {
        let parts = name.split_at_checked(timestamp::KEY.length());
        let parts = parts.and_then(|(time, run)| Some((timestamp::KEY.read(time)?, run.strip_prefix('-')?)));
        if !parts.is_some_and(|(started, run)| takes(started, run)) {
            continue;
        }
        let Some(json) = store.get_listed(&object.key, object.bytes, LIMIT).await? else { continue };
        let unusable =
            |cause: String| Error::new(Code::ManifestUnusable, format!("the record `{}`", object.key), cause);
        let record: RunRecord = crate::decode::json(&json).map_err(|error| {
            unusable(error.to_string()).advice("delete it: the one before it is taken then, or all collections are")
        })?;
        if record.version > VERSION {
            return Err(unusable(format!("version {} is newer than this program ({VERSION})", record.version)));
        }
        return Ok(Some(record));
    }
    Ok(None)
}
