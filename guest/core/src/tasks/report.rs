//! `report`: a page about all backups in the bucket.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::concurrent;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::overview::{self, CollectionRow, Overview, SetRow, SourceRow, Standing, WholeSnapshots};
use crate::places;
use crate::printable;
use crate::prune::{self, Judged, Outlook, Scope};
use crate::report::Item;
use crate::restore::{self, OfSource, Survey};
use crate::runs::LastWhole;
use crate::sets::quality;
use crate::sets::{self, DrillRecord, SetHeader, SetManifest};
use crate::settings::Output;
use crate::source::Source;
use crate::store::ObjectStore;

/// The largest report of a `verify`: 100,000 sets.
const LIMIT: usize = 64 << 20;

/// How many records of drills are read at the same time.
const DRILLS_AT_ONCE: usize = 16;

/// What a collection is known by here: its name, and its source.
type Key = (String, Option<(String, String)>);

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let all = take(context, bucket).await?;
    let to = &context.settings.report;
    if to.html_file.is_none() || context.settings.output == Output::Json {
        let text = match context.settings.output {
            Output::Json => format!("{}\n", printable::json(&overview::as_json(&all))),
            Output::Table => overview::table(&all),
        };
        context.ports.console.data(&text);
    }
    if to.html_file.is_none() && !to.html_s3 {
        return Ok(());
    }
    let page = overview::page(&all);
    let bytes = page.len() as u64;
    if let Some(name) = &to.html_file {
        let item = match context.ports.files.replace(name, page.as_bytes()) {
            Ok(()) => Item::done("file").bytes(bytes),
            Err(error) => Item::failed("file", error),
        };
        context.reporter.report(item.name(name));
    }
    if to.html_s3 {
        let key = bucket.places().ours(&format!("{}/report.html", places::REPORTS));
        let item = match bucket.put(&key, "text/html; charset=utf-8", page.into_bytes()).await {
            Ok(()) => Item::done("object").bytes(bytes),
            Err(error) => Item::failed("object", error),
        };
        context.reporter.report(item.name(&key));
    }
    Ok(())
}

/// What could not be read, which is said in the page and makes the run fail.
struct Missing<'a> {
    context: &'a Context,
    texts: Vec<String>,
}

impl Missing<'_> {
    fn note(&mut self, item: Item, what: &str) {
        self.texts.push(format!("{what}: {}", self.context.log.clean(item.cause.as_deref().unwrap_or_default())));
        self.context.reporter.report(item);
    }
}

/// Reads all of the bucket that the page shows.
///
/// # Errors
/// The bucket can't be listed, or whose the backups are can't be read: there is nothing to show then.
async fn take(context: &Context, bucket: &dyn ObjectStore) -> Result<Overview, Error> {
    let mut missing = Missing { context, texts: Vec::new() };
    let chosen = |collection: &str| context.settings.collections.takes(collection);
    let survey = restore::all_sources(context, bucket).await?;
    let last = match LastWhole::take(bucket, &survey.catalogue).await {
        Ok(last) => Some(last),
        Err(error) => {
            missing.note(Item::failed("manifest", error), "which collections are dropped");
            None
        }
    };
    let (scope, left) = Scope::of_all(context, bucket).await?;
    let notes = left.iter().filter_map(|item| item.cause.clone()).map(|cause| context.log.clean(&cause)).collect();
    context.reporter.report_all(left);
    let mut names = prune::collections(bucket).await?;
    names.retain(|name| chosen(name));
    let outlooks = prune::outlook(context, bucket, &scope, names).await;
    let (verified_at, verified) = match last_verify(bucket).await {
        Ok(last) => last,
        Err(error) => {
            missing.note(Item::failed("task", error), "what the last `verify` has found");
            Default::default()
        }
    };
    let mut drills = drills(bucket, &outlooks).await;
    let mut rows: BTreeMap<Key, CollectionRow> = BTreeMap::new();
    for Outlook { collection, sets, orphans, not_swept, unknown } in outlooks {
        let own = (collection.clone(), None);
        let told = sets.iter().any(|set| set.quality.as_ref().is_err_and(Error::is_unknown));
        if let Some(error) = unknown.as_ref().filter(|_| !told) {
            missing.note(Item::failed("collection", error.clone()).collection(&collection), &collection);
        }
        let unknown = unknown.map(|error| context.log.clean(&error.to_string()));
        let mut first: Option<Key> = None;
        for judged in sets {
            let source = whose(&survey, &judged);
            let key = (collection.clone(), source.map(|source| (source.id.to_string(), source.name.clone())));
            let id = judged.found.id.clone();
            let drill = drills.remove(&(collection.clone(), id.to_string()));
            let of_verify = verified.get(&(collection.clone(), id.to_string()));
            let unknown_drill = drill.as_ref().and_then(|drill| drill.as_ref().err());
            let unknown_set = judged.quality.as_ref().err().filter(|error| error.is_unknown());
            if let Some(error) = unknown_set.or(unknown_drill) {
                let item = Item::failed("set", error.clone()).collection(&collection).name(id.as_str());
                missing.note(item, &format!("{collection}, set {id}"));
            }
            let set = set_row(context, &judged, drill, of_verify);
            let row = rows.entry(key.clone()).or_insert_with(|| new_row(&key));
            // Of the newest of its sets.
            row.dropped = source
                .zip(last.as_ref())
                .and_then(|(source, last)| last.has_dropped(&source.id, &collection, id.started()));
            row.unknown = unknown.clone();
            row.sets.push(set);
            first.get_or_insert(key);
        }
        // What belongs to no set is of the collection's name, and stands once.
        let row = first.unwrap_or(own);
        let row = rows.entry(row.clone()).or_insert_with(|| new_row(&row));
        (row.orphans, row.not_swept, row.unknown) = (orphans, not_swept, unknown);
    }
    for (peer, collection, of) in survey.snapshots.collections().filter(|(_, name, _)| chosen(name)) {
        let source = survey.catalogue.whose(None, &BTreeSet::from([peer]));
        let key = (collection.to_owned(), source.map(|source| (source.id.to_string(), source.name.clone())));
        let row = rows.entry(key.clone()).or_insert_with(|| new_row(&key));
        let whole = row.whole.get_or_insert_with(WholeSnapshots::default);
        (whole.count, whole.bytes) = (whole.count + of.count, whole.bytes.saturating_add(of.bytes));
        whole.newest = whole.newest.max(of.newest);
    }
    let (settings, prefix) = (&context.settings, bucket.places().prefix());
    let name = settings.s3.as_ref().map(|s3| s3.bucket.as_str()).unwrap_or_default();
    Ok(Overview {
        made_at: context.ports.clock.now(),
        bucket: if prefix.is_empty() { name.to_owned() } else { format!("{name}/{prefix}") },
        max_age: time::Duration::try_from(settings.max_age).unwrap_or(time::Duration::MAX),
        keep: settings.keep,
        sources: survey.sources().map(source_row).collect(),
        collections: rows.into_values().collect(),
        verified_at,
        not_known: missing.texts,
        notes,
    })
}

fn new_row((name, source): &Key) -> CollectionRow {
    CollectionRow {
        source: source.clone(),
        name: name.clone(),
        sets: Vec::new(),
        dropped: None,
        whole: None,
        orphans: (0, 0),
        not_swept: None,
        unknown: None,
    }
}

fn source_row(of: OfSource<'_>) -> SourceRow {
    SourceRow {
        id: of.entry.source.id.to_string(),
        name: of.entry.source.name.clone(),
        peers: of.entry.peers.len(),
        collections: of.collections.len(),
        sets: of.sets,
        snapshots: of.snapshots,
        newest: of.newest,
        seen_at: of.seen_at.map(str::to_owned),
    }
}

fn whose<'a>(survey: &'a Survey, set: &Judged) -> Option<&'a Source> {
    let SetHeader { source_id, peers, .. } = &set.header;
    survey.catalogue.whose(source_id.as_deref(), peers)
}

fn set_row(
    context: &Context,
    set: &Judged,
    drill: Option<Result<DrillRecord, Error>>,
    verified: Option<&Result<(), String>>,
) -> SetRow {
    let manifest = set.manifest.as_ref();
    let clean = |text: &str| context.log.clean(text);
    let read = drill.as_ref().and_then(|drill| drill.as_ref().ok());
    let standing = match (&set.quality, &drill, verified) {
        (Err(error), ..) if error.is_unknown() => Standing::Unknown(clean(&error.to_string())),
        (Err(error), ..) if manifest.is_some_and(|manifest| !manifest.missing.is_empty()) => {
            Standing::Partial(clean(&error.to_string()))
        }
        (Err(error), ..) => Standing::Failed(clean(&error.to_string())),
        (Ok(_), _, Some(Err(why))) => Standing::Failed(format!("`verify` has found: {}", clean(why))),
        (Ok(_), Some(Err(error)), _) => Standing::Unknown(clean(&error.to_string())),
        (Ok(level), _, verified) => {
            let level = quality::with_drill(*level, read);
            if verified.is_some() { Standing::Verified(level) } else { Standing::Good(level) }
        }
    };
    SetRow {
        id: set.found.id.to_string(),
        started: set.found.id.started(),
        bytes: manifest.map(SetManifest::bytes),
        points: manifest.map(|manifest| manifest.points_count),
        replicas: manifest.and_then(replicas),
        standing,
        verdict: set.verdict.as_ref().map(|verdict| (verdict.keep, clean(&verdict.reason))),
        drilled_at: read.filter(|drill| drill.verified).and_then(DrillRecord::restored_at).map(str::to_owned),
        label: manifest.and_then(|manifest| manifest.source.as_ref()).and_then(|source| source.label.clone()),
    }
}

/// The smallest number of active replicas of a shard; `None` where the manifest does not say it.
fn replicas(manifest: &SetManifest) -> Option<usize> {
    let active = |states: &BTreeMap<String, String>| states.values().filter(|state| *state == "Active").count();
    let known = |shard: &sets::SetShard| (!shard.replicas.is_empty()).then(|| active(&shard.replicas));
    manifest.shards.iter().map(known).collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// The records of the last drills of these sets, by collection and set.
async fn drills(
    bucket: &dyn ObjectStore,
    outlooks: &[Outlook],
) -> BTreeMap<(String, String), Result<DrillRecord, Error>> {
    let mut drills = BTreeMap::new();
    let sets = outlooks.iter().flat_map(|one| one.sets.iter().map(|set| (&one.collection, set)));
    let read = sets.filter(|(_, set)| set.found.drill.is_some()).filter_map(|(collection, set)| {
        let manifest = set.manifest.as_ref()?;
        let key = (collection.clone(), set.found.id.to_string());
        Some(async move { (key, sets::read_drill(bucket, &set.found, manifest).await) })
    });
    let note = |(key, read): ((String, String), Result<Option<DrillRecord>, Error>)| {
        if let Some(read) = read.transpose() {
            drills.insert(key, read);
        }
    };
    concurrent::at_most(DRILLS_AT_ONCE, read, note).await;
    drills
}

/// What a `verify` has found of each set, by collection and set.
type Verified = BTreeMap<(String, String), Result<(), String>>;

/// What the last `verify` has found whose report is in the bucket, and when it ended.
///
/// # Errors
/// The report is there and can't be read.
async fn last_verify(bucket: &dyn ObjectStore) -> Result<(Option<String>, Verified), Error> {
    let bare = format!("{}/verify.json", places::REPORTS);
    let Some(json) = bucket.get_own(&bare, LIMIT).await? else { return Ok(Default::default()) };
    let report: Value = crate::decode::json(&json)
        .map_err(|error| Error::new(Code::ManifestUnusable, format!("the report `{bare}`"), error.to_string()))?;
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut found = Verified::new();
    for item in report.get("items").and_then(Value::as_array).into_iter().flatten() {
        let (Some(collection), Some(set)) = (text(item, "collection"), text(item, "name")) else { continue };
        let cause = text(item, "cause").unwrap_or_default();
        let is_unknown = |name: String| {
            let code = Code::ALL.into_iter().find(|code| code.name() == name);
            code.is_none_or(|code| Error::new(code, "", "").is_unknown())
        };
        match text(item, "outcome").as_deref() {
            Some("done") => found.insert((collection, set), Ok(())),
            // What it could not ask says nothing of the set.
            Some("failed") if !text(item, "code").is_none_or(is_unknown) => found.insert((collection, set), Err(cause)),
            _ => None,
        };
    }
    Ok((text(&report, "ended_at"), found))
}
