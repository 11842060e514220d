//! `list_sets`: what sets there are.

use crate::error::Error;
use serde_json::json;

use crate::concurrent;
use crate::context::Context;
use crate::report::{Item, Outcome};
use crate::sets::{self, SetManifest};

/// How many manifests are read at the same time.
const MANIFESTS_AT_ONCE: usize = 16;

pub(super) async fn run(context: &Context, json: bool) -> Result<(), Error> {
    let bucket = context.store()?;
    let mut all = sets::list(bucket).await?;
    all.retain(|collection, _| context.settings.collections.takes(collection));
    let filter = context.settings.snapshot_filter.as_str();
    let found = all.iter().flat_map(|(collection, sets)| sets.iter().map(move |set| (collection, set)));
    let found = found.filter(|(_, set)| set.id.as_str().starts_with(filter));
    let read =
        found.map(|(collection, set)| async move { (collection, set, sets::read(bucket, collection, set).await) });
    let mut listed: Vec<(String, String, SetManifest)> = Vec::new();
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
    let text = if json {
        format!("{}\n", serde_json::Value::Array(listed.iter().map(|(.., manifest)| entry(manifest)).collect()))
    } else {
        table(&listed)
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

/// The fields of `--output json`; documented in the README.
fn entry(manifest: &SetManifest) -> serde_json::Value {
    let source = manifest.source.as_ref();
    json!({
        "collection": manifest.collection,
        "set": manifest.backup_set_id,
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

fn table(listed: &[(String, String, SetManifest)]) -> String {
    let mut rows = vec![["COLLECTION", "SET", "SHARDS", "POINTS", "BYTES", "SHA-256", "LABEL"].map(str::to_owned)];
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
            label,
        ]
    }));
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
