//! `list_sets`: what sets there are, and how good each is as far as a look at the bucket's list of its snapshots tells.

use std::collections::BTreeSet;

use serde_json::json;
use time::OffsetDateTime;

use crate::concurrent;
use crate::context::Context;
use crate::error::Error;
use crate::printable;
use crate::report::{Item, total};
use crate::reporter::{age, size};
use crate::runs::LastWhole;
use crate::sets::quality::{self, Depth};
use crate::sets::{self, DrillRecord, Found, Level, Meant, SetManifest};
use crate::settings::Output;
use crate::source::catalogue::{Catalogue, Origin};
use crate::source::{self, Source};
use crate::store::ObjectStore;
use crate::table;
use crate::timestamp;

/// How many manifests are read at the same time.
const MANIFESTS_AT_ONCE: usize = 16;

/// A set that was read.
struct Listed {
    collection: String,
    set: String,
    manifest: SetManifest,
    /// How good it is, or what is wrong with it.
    quality: Result<Level, Error>,
    /// The record of its last drill.
    drill: Option<DrillRecord>,
    /// True where its snapshots lie below another prefix of Qdrant's own: another run judges it.
    elsewhere: bool,
}

impl Listed {
    /// The name of its level.
    fn level(&self) -> &'static str {
        match &self.quality {
            Ok(level) => level.name(),
            Err(error) if error.is_unknown() => "unknown",
            Err(_) if !self.manifest.missing.is_empty() => "partial",
            Err(_) => "damaged",
        }
    }

    /// What is to be said of one that is not good.
    fn item(&self) -> Option<Item> {
        let error = self.quality.as_ref().err()?;
        let item = match self.level() {
            "partial" => Item::skipped("set", format!("{}: {error}", self.level())),
            _ if self.elsewhere => Item::skipped("set", format!("below another QDRANT_S3_KEY_PREFIX: {error}")),
            _ => Item::failed("set", error.clone()),
        };
        Some(item.collection(&self.collection).name(&self.set))
    }
}

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let mut all = sets::list(bucket).await?;
    all.retain(|collection, _| context.settings.collections.takes(collection));
    let meant = &Meant::new(&context.settings.snapshot_filter, &all);
    let found = all.iter().flat_map(|(collection, sets)| sets.iter().map(move |set| (collection, set)));
    let read =
        found.map(|(collection, set)| async move { (collection, set, look(bucket, collection, set, meant).await) });
    let mut listed: Vec<Listed> = Vec::new();
    concurrent::at_most(MANIFESTS_AT_ONCE, read, |(collection, set, looked)| match looked {
        Ok(Some(one)) => {
            context.reporter.report_all(one.item());
            listed.push(one);
        }
        Ok(None) => {}
        Err(error) => {
            context.reporter.report(Item::failed("set", error).collection(collection).name(set.id.as_str()));
        }
    })
    .await;
    listed.sort_by(|left, right| (&left.collection, &left.set).cmp(&(&right.collection, &right.set)));
    let whose = Whose::take(context, bucket, &listed).await?;
    let text = if context.settings.output == Output::Json {
        let entries = listed.iter().map(|listed| entry(&whose, listed));
        format!("{}\n", printable::json(&serde_json::Value::Array(entries.collect())))
    } else {
        let now = context.ports.clock.now();
        table::columns(&HEADS, rows(&whose, &listed, now)) + &totals(&listed)
    };
    context.ports.console.data(&text);
    if !listed.is_empty() && !context.reporter.has_reported_nothing() {
        // What could be read is of use: the run is failed in part.
        context.reporter.report(Item::done("task").cause(format!("{} sets listed", listed.len())));
    }
    if listed.is_empty() {
        context.log.info(None, "there are no sets; `create_snap_shards` makes them");
    }
    Ok(())
}

/// Reads a set, and asks how good it is; `None` for one that is not meant. A list reads no snapshot.
async fn look(
    bucket: &dyn ObjectStore,
    collection: &str,
    set: &Found,
    meant: &Meant<'_>,
) -> Result<Option<Listed>, Error> {
    let (manifest, header) = sets::read_anywhere(bucket, collection, set).await;
    if !meant.takes(&set.id, header.as_ref()) {
        return Ok(None);
    }
    let manifest = manifest?;
    let elsewhere = header.and_then(|header| header.key_prefix).is_some_and(|prefix| prefix != bucket.key_prefix());
    let quality = quality::of_set(bucket, &manifest, &|_| Depth::Presence).await;
    let quality = quality.map_err(|wrong| quality::as_one(&wrong));
    let drill = sets::read_drill(bucket, set, &manifest).await?;
    let quality = quality.map(|level| quality::with_drill(level, drill.as_ref()));
    Ok(Some(Listed { collection: collection.to_owned(), set: set.id.to_string(), manifest, quality, drill, elsewhere }))
}

/// What a set's source is, and whether its collection is still there.
struct Whose {
    catalogue: Catalogue,
    runs: LastWhole,
}

impl Whose {
    async fn take(context: &Context, bucket: &dyn ObjectStore, sets: &[Listed]) -> Result<Self, Error> {
        let records = source::list_allowed(context, bucket).await?;
        let origins = sets.iter().map(|Listed { manifest, .. }| Origin {
            id: manifest.source_id.clone(),
            name: manifest.source_name.clone(),
            peers: manifest.peers().into_iter().collect(),
        });
        let catalogue = Catalogue::new(&records, origins);
        let runs = LastWhole::take(bucket, &catalogue).await?;
        Ok(Self { catalogue, runs })
    }

    fn source(&self, manifest: &SetManifest) -> Option<&Source> {
        self.catalogue.whose(manifest.source_id.as_deref(), &manifest.peers().into_iter().collect())
    }

    /// True where the collection was not there any more when its source was last backed up whole; `None`: not known.
    fn is_dropped(&self, manifest: &SetManifest) -> Option<bool> {
        self.runs.has_dropped(&self.source(manifest)?.id, &manifest.collection, manifest.id().started())
    }
}

/// The fields of `--output json`; docs/schemas/list_sets.json.
fn entry(whose: &Whose, listed: &Listed) -> serde_json::Value {
    let Listed { manifest, drill, .. } = listed;
    let source = manifest.source.as_ref();
    let origin = whose.source(manifest);
    json!({
        "version": 1,
        "collection": manifest.collection,
        "set": manifest.backup_set_id,
        "started_at": manifest.id().started().map(|at| timestamp::RFC3339.write(at)),
        "source_id": origin.map(|source| source.id.as_str()),
        "source_name": origin.map(|source| source.name.as_str()),
        "run_id": manifest.run_id,
        "dropped": whose.is_dropped(manifest),
        "shards": manifest.shard_count,
        "points": manifest.points_count,
        "bytes": manifest.bytes(),
        "checksums": manifest.has_checksums(),
        "level": listed.level(),
        "wrong": listed.quality.as_ref().err().map(ToString::to_string),
        "drilled_at": drill.as_ref().and_then(|drill| drill.restored_at()),
        "drill_verified": drill.as_ref().filter(|drill| drill.restored_at().is_some()).map(|drill| drill.verified),
        "content_read_at": drill.as_ref().and_then(|drill| drill.read_at()),
        "qdrant_version": manifest.qdrant_version,
        "aliases": manifest.aliases,
        "label": source.and_then(|source| source.label.as_deref()),
        "created_by": manifest.created_by,
    })
}

const HEADS: [&str; 12] = [
    "COLLECTION",
    "SET",
    "AGE",
    "SHARDS",
    "POINTS",
    "SIZE",
    "SHA-256",
    "LEVEL",
    "DRILLED",
    "SOURCE",
    "DROPPED",
    "LABEL",
];

/// What all of them are together.
fn totals(listed: &[Listed]) -> String {
    let collections: BTreeSet<&String> = listed.iter().map(|one| &one.collection).collect();
    let bytes = total(listed.iter().map(|one| one.manifest.bytes()));
    match listed.len() {
        0 => String::new(),
        sets => format!("\n{sets} sets of {} collections, {}\n", collections.len(), size(bytes)),
    }
}

fn rows(whose: &Whose, listed: &[Listed], now: OffsetDateTime) -> Vec<Vec<String>> {
    let rows = listed.iter().map(|listed| {
        let Listed { collection, set, manifest, drill, .. } = listed;
        let label = manifest.source.as_ref().and_then(|source| source.label.clone()).unwrap_or_default();
        let checksums = if manifest.has_checksums() { "yes" } else { "no" };
        [
            collection.clone(),
            set.clone(),
            manifest.id().started().map(|started| age(now - started)).unwrap_or_default(),
            manifest.shard_count.to_string(),
            manifest.points_count.to_string(),
            size(manifest.bytes()),
            checksums.to_owned(),
            listed.level().to_owned(),
            drill.as_ref().map(|drill| drill.restored_at.clone()).unwrap_or_default(),
            whose.source(manifest).map(|source| source.name.clone()).unwrap_or_default(),
            if whose.is_dropped(manifest) == Some(true) { "yes".to_owned() } else { String::new() },
            label,
        ]
        .to_vec()
    });
    rows.collect()
}
