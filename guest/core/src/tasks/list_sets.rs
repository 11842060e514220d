//! `list_sets`: what sets there are.

use std::collections::BTreeMap;

use serde_json::json;

use super::table;
use crate::error::Error;

use crate::concurrent;
use crate::context::Context;
use crate::printable;
use crate::report::{Item, Outcome};
use crate::runs::{self, Kind, RunRecord};
use crate::sets::{self, SetManifest};
use crate::source::catalogue::{Catalogue, Origin};
use crate::source::{self, Source, SourceId};
use crate::store::ObjectStore;

/// How many manifests are read at the same time.
const MANIFESTS_AT_ONCE: usize = 16;

/// Collection, set and manifest.
type Listed = (String, String, SetManifest);

pub(super) async fn run(context: &Context, json: bool) -> Result<(), Error> {
    let bucket = context.store()?;
    let mut all = sets::list(bucket).await?;
    all.retain(|collection, _| context.settings.collections.takes(collection));
    let filter = context.settings.snapshot_filter.as_str();
    let found = all.iter().flat_map(|(collection, sets)| sets.iter().map(move |set| (collection, set)));
    let found = found.filter(|(_, set)| set.id.as_str().starts_with(filter));
    let read =
        found.map(|(collection, set)| async move { (collection, set, sets::read(bucket, collection, set).await) });
    let mut listed: Vec<Listed> = Vec::new();
    concurrent::at_most(MANIFESTS_AT_ONCE, read, |(collection, set, manifest)| match manifest {
        Ok(manifest) => listed.push((collection.clone(), set.id.to_string(), manifest)),
        Err(cause) => context.reporter.report(Item {
            collection: Some(collection.clone()),
            name: Some(set.id.to_string()),
            cause: Some(cause.to_string()),
            ..Item::new("set", Outcome::Failed)
        }),
    })
    .await;
    listed.sort_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
    let whose = Whose::take(context, bucket, &listed).await?;
    let text = if json {
        let entries = listed.iter().map(|(.., manifest)| entry(&whose, manifest));
        format!("{}\n", printable::json(&serde_json::Value::Array(entries.collect())))
    } else {
        table::columns(&rows(&whose, &listed))
    };
    context.ports.console.data(&text);
    if !listed.is_empty() && !context.reporter.has_reported_nothing() {
        // What could be read is of use: the run is failed in part.
        context
            .reporter
            .report(Item { cause: Some(format!("{} sets listed", listed.len())), ..Item::new("task", Outcome::Done) });
    }
    if listed.is_empty() {
        context.log.info(None, "there are no sets; `create_snap_shards` makes them");
    }
    Ok(())
}

/// What a set's source is, and whether its collection is still there.
struct Whose {
    catalogue: Catalogue,
    runs: BTreeMap<SourceId, RunRecord>,
}

impl Whose {
    async fn take(context: &Context, bucket: &dyn ObjectStore, sets: &[Listed]) -> Result<Self, Error> {
        let records = source::list_allowed(context, bucket).await?;
        let origins = sets.iter().map(|(.., manifest)| Origin {
            id: manifest.source_id.clone(),
            name: manifest.source_name.clone(),
            peers: manifest.peers().into_iter().collect(),
        });
        let catalogue = Catalogue::new(&records, origins);
        let mut runs = BTreeMap::new();
        for entry in catalogue.entries() {
            let run = runs::newest(bucket, &entry.source.id, Kind::Sets, &|_, _| true).await?;
            runs.extend(run.map(|run| (entry.source.id.clone(), run)));
        }
        Ok(Self { catalogue, runs })
    }

    fn source(&self, manifest: &SetManifest) -> Option<&Source> {
        self.catalogue.whose(manifest.source_id.as_deref(), &manifest.peers().into_iter().collect())
    }

    /// True where the collection was not there any more when its source was last backed up whole; `None`: not known.
    fn is_dropped(&self, manifest: &SetManifest) -> Option<bool> {
        let run = self.runs.get(&self.source(manifest)?.id)?;
        let since = manifest.id().started().is_none_or(|started| run.started().is_none_or(|run| started > run));
        Some(!since && !run.collections.contains(&manifest.collection))
    }
}

/// The fields of `--output json`; documented in the README.
fn entry(whose: &Whose, manifest: &SetManifest) -> serde_json::Value {
    let source = manifest.source.as_ref();
    let origin = whose.source(manifest);
    json!({
        "collection": manifest.collection,
        "set": manifest.backup_set_id,
        "source_id": origin.map(|source| source.id.as_str()),
        "source_name": origin.map(|source| source.name.as_str()),
        "run_id": manifest.run_id,
        "dropped": whose.is_dropped(manifest),
        "shards": manifest.shard_count,
        "points": manifest.points_count,
        "bytes": manifest.bytes(),
        "checksums": manifest.has_checksums(),
        "qdrant_version": manifest.qdrant_version,
        "aliases": manifest.aliases,
        "label": source.and_then(|source| source.label.as_deref()),
        "created_by": manifest.created_by,
    })
}

fn rows(whose: &Whose, listed: &[Listed]) -> Vec<[String; 9]> {
    let heads = ["COLLECTION", "SET", "SHARDS", "POINTS", "BYTES", "SHA-256", "SOURCE", "DROPPED", "LABEL"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(listed.iter().map(|(collection, set, manifest)| {
        let label = manifest.source.as_ref().and_then(|source| source.label.clone()).unwrap_or_default();
        let checksums = if manifest.has_checksums() { "yes" } else { "no" };
        [
            collection.clone(),
            set.clone(),
            manifest.shard_count.to_string(),
            manifest.points_count.to_string(),
            manifest.bytes().to_string(),
            checksums.to_owned(),
            whose.source(manifest).map(|source| source.name.clone()).unwrap_or_default(),
            if whose.is_dropped(manifest) == Some(true) { "yes".to_owned() } else { String::new() },
            label,
        ]
    }));
    rows
}
