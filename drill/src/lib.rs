//! Proves that the snapshots of backup sets can be opened: each is fetched, its SHA-256 held against the manifest, opened
//! in Qdrant's own storage engine, counted, and every point read with payload and vectors. The digest of the points is
//! written beside the manifest, for restores to be held against. No cluster is needed.
//!
//! A program of its own, since the engine is large and the program that backs up is small.
#![forbid(unsafe_code)]

mod compare;
mod engine;
mod fetch;
mod native;

use std::path::Path;
use std::rc::Rc;

use qdrant_backup_contract::exit::{EXIT_USAGE, Status};
use qdrant_backup_contract::settings::{BucketUse, Needs, from_variables};
use qdrant_backup_contract::timestamp;
use qdrant_backup_core::clusters::target;
use qdrant_backup_core::content::Digest;
use qdrant_backup_core::context::Context;
use qdrant_backup_core::error::{Code, Error};
use qdrant_backup_core::ports::Ports;
use qdrant_backup_core::publish::publish;
use qdrant_backup_core::report::{Item, Report};
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::sets::quality::{self, Depth};
use qdrant_backup_core::sets::{self, DrillRecord, Found, RecordedContent, SetManifest};
use qdrant_backup_core::store::ObjectStore;

pub use native::ports;

const HELP: &str =
    "Opens every snapshot of backup sets in Qdrant's own engine, without any cluster: fetches it, compares its SHA-256,
counts its points and reads each of them. What it has read is noted beside the set (`<set>.drill`), so that a restore with
QDRANT_VERIFY_CONTENT can be compared with the backup; QDRANT_VERIFY_SAMPLE_POINTS has to be the same then.

Usage: qdrant-backup-drill [--all] [--with URL]

  --all        every set; else the newest of each collection
  --with URL   compare the points of each set with those that this Qdrant has now, on every replica, and name the
               first that differ; the snapshots of a set that differs have to fit into QDRANT_WORK_DIR together

The settings are environment variables, as for qdrant-backup: QDRANT_S3_... for the bucket, QDRANT_COLLECTIONS,
QDRANT_SNAPSHOT_DATETIME_FILTER and QDRANT_RESTORE_BEFORE to choose, QDRANT_REPORT_... and QDRANT_METRICS_... for other
programs, QDRANT_CA_FILE, QDRANT_ALLOW_HOSTS, and QDRANT_WORK_DIR, which needs room for the largest snapshot twice; with
--with QDRANT_RESTORE_API_KEY and QDRANT_RESTORE_RENAME, too.

Exit codes: 0 all is readable, and equal, 1 nothing is, 2 wrong command line or settings, 3 some of it is not.";

/// The whole program. Returns the exit code.
pub fn command_line(arguments: &[String], variables: Vec<(String, String)>) -> u8 {
    let (mut all, mut with, mut variables) = (false, false, variables);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        let with_value = argument.strip_prefix("--with=");
        match (argument, with_value.or_else(|| if argument == "--with" { arguments.next() } else { None })) {
            ("--all", _) => all = true,
            ("--help" | "-h", _) => {
                println!("{HELP}");
                return 0;
            }
            (_, Some(url)) => {
                with = true;
                variables.push(("QDRANT_RESTORE_HOSTS".to_owned(), url.to_owned()));
            }
            ("--with", None) => {
                eprintln!("--with needs the URL of a Qdrant\n\n{HELP}");
                return EXIT_USAGE;
            }
            _ => {
                eprintln!("there is no option `{argument}`\n\n{HELP}");
                return EXIT_USAGE;
            }
        }
    }
    if !with {
        // It goes to no cluster that it was not told to compare with.
        variables.retain(|(name, _)| !matches!(name.as_str(), "QDRANT_SOURCE_HOSTS" | "QDRANT_RESTORE_HOSTS"));
    }
    let value = |name: &str| variables.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let value = |name| value(name).filter(|value| !value.is_empty());
    let work = Path::new(value("QDRANT_WORK_DIR").unwrap_or("."));
    let ports = match native::ports(work, value("QDRANT_CA_FILE").map(Path::new), &variables) {
        Ok(ports) => ports,
        Err(why) => {
            eprintln!("{why}");
            return EXIT_USAGE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("the system gives no I/O: {why}");
            return Status::Failed.exit_code();
        }
    };
    runtime.block_on(run(ports, work, &variables, Asked { all, with }))
}

/// What the arguments ask for.
#[derive(Clone, Copy)]
struct Asked {
    /// Every set, not just the newest of each collection.
    all: bool,
    /// The sets are compared with what a cluster holds.
    with: bool,
}

async fn run(ports: Ports, work: &Path, variables: &[(String, String)], asked: Asked) -> u8 {
    let needs = Needs { bucket: BucketUse::Always, restore: asked.with, ..Needs::NOTHING };
    let (settings, notes) = match from_variables(variables, needs) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}: {}", problem.variable, problem.problem);
            }
            return EXIT_USAGE;
        }
    };
    let mut context = Context::new(ports, settings);
    notes.iter().for_each(|note| context.log.warn(None, note));
    let drilled = async {
        if let Some(s3) = &context.settings.s3 {
            context.store = Some(Rc::new(Bucket::open(&context.ports, s3).await?));
        }
        drill(&context, context.store()?, work, asked).await
    };
    if let Err(error) = drilled.await {
        context.reporter.report(Item::failed("task", error));
    }
    let report: Report = context.reporter.finish();
    publish(&context, "drill_engine", &report).await;
    report.status().exit_code()
}

async fn drill(context: &Context, bucket: &dyn ObjectStore, work: &Path, asked: Asked) -> Result<(), Error> {
    let settings = &context.settings;
    let clusters = if asked.with { target::found(context).await? } else { Vec::new() };
    let mut any = false;
    for (collection, mut found) in sets::list(bucket).await? {
        found.retain(|set| {
            let before = settings.restore_before;
            set.id.as_str().starts_with(settings.snapshot_filter.as_str())
                && before.is_none_or(|before| set.id.started().is_some_and(|started| started < before))
        });
        if !settings.collections.takes(&collection) || found.is_empty() {
            continue;
        }
        any = true;
        let newest = found.len() - 1;
        for set in found.iter().skip(if asked.all { 0 } else { newest }) {
            let (items, read) = set_of(context, bucket, work, &collection, set).await;
            context.reporter.report_all(items);
            for (cluster, read) in clusters.iter().flat_map(|cluster| read.iter().map(move |read| (cluster, read))) {
                context.reporter.report(compare::item(context, (bucket, work), cluster, read).await);
            }
        }
    }
    if any {
        return Ok(());
    }
    // A proof of nothing is none.
    Err(Error::new(Code::NothingSelected, "", "there is no set to open")
        .advice("look at QDRANT_S3_BUCKET_NAME, QDRANT_COLLECTIONS and QDRANT_SNAPSHOT_DATETIME_FILTER"))
}

/// A set all of whose snapshots can be read.
struct Read {
    manifest: SetManifest,
    /// What is in it, for people.
    cause: String,
    /// The digest of its points; `None` where not all of them are read.
    content: Option<Digest>,
}

/// Opens the snapshots of one set: an item for each, one for the set.
async fn set_of(
    context: &Context,
    bucket: &dyn ObjectStore,
    work: &Path,
    collection: &str,
    set: &Found,
) -> (Vec<Item>, Option<Read>) {
    let started = context.reporter.elapsed();
    let elapsed = || context.reporter.elapsed().saturating_sub(started);
    let mut items = Vec::new();
    let mut each = |item: Item| items.push(item.collection(collection).elapsed(elapsed()));
    let (item, read) = match open_all(context, bucket, work, collection, set, &mut each).await {
        Ok(read) => (Item::done("set").cause(&read.cause), Some(read)),
        Err(error) => (Item::failed("set", error), None),
    };
    items.push(item.collection(collection).name(set.id.as_str()).elapsed(elapsed()));
    (items, read)
}

/// Opens the snapshots of one set; `each` gets an item for every one.
///
/// # Errors
/// The set can't be used, or one of its snapshots.
async fn open_all(
    context: &Context,
    bucket: &dyn ObjectStore,
    work: &Path,
    collection: &str,
    set: &Found,
    each: &mut dyn FnMut(Item),
) -> Result<Read, Error> {
    let manifest = sets::read(bucket, collection, set).await?;
    // All of it is read below, and compared with its SHA-256.
    quality::of_set(bucket, &manifest, &|_| Depth::Walk).await.map_err(|wrong| quality::as_one(&wrong))?;
    let (mut total, mut failed, mut unread) = (0, Vec::new(), Vec::new());
    let mut whole = Digest::default();
    let sample_points = context.settings.sample_points;
    let mut content = RecordedContent {
        read_at: timestamp::RFC3339.write(context.ports.clock.now()),
        read_by: engine::ENGINE.to_owned(),
        sample_points,
        ..RecordedContent::default()
    };
    for shard in &manifest.shards {
        let item = match open(bucket, work, &manifest, shard, sample_points).await {
            Ok(found) => {
                let points = found.points;
                total += points;
                match found.content {
                    Some((all, sample)) => {
                        whole.merge(&all);
                        content.all.insert(shard.id, all.to_string());
                        content.sample.insert(shard.id, sample.to_string());
                    }
                    None => unread.push(shard.id.to_string()),
                }
                let done = Item::done("snapshot").cause(format!("{points} points read"));
                Item { bytes: shard.size, ..done }
            }
            Err(error) => {
                failed.push(error.clone());
                Item::failed("snapshot", error)
            }
        };
        each(item.name(&shard.snapshot_name));
    }
    let shards = manifest.shards.len();
    if let Some(error) = quality::any(&failed) {
        let cause = format!("{} of its {shards} snapshots can't be used", failed.len());
        return Err(Error::new(error.code(), "", cause));
    }
    match manifest.exact_points() {
        Some(points) if points != total => {
            let cause = format!("its snapshots hold {total} points and its manifest says {points}");
            Err(Error::new(Code::SnapshotDamaged, "", cause))
        }
        _ => {
            let is_whole = unread.is_empty();
            let noted = if is_whole {
                note(context, bucket, set, &manifest, total, content).await
            } else {
                let shards = unread.join(", ");
                format!("not noted: shard {shards} has writes in its log, which the engine does not read")
            };
            let cause = format!("{total} points in {shards} shards; their content is {noted}");
            Ok(Read { manifest, cause, content: is_whole.then_some(whole) })
        }
    }
}

/// Notes beside the set what its points are; says whether that could be done.
async fn note(
    context: &Context,
    bucket: &dyn ObjectStore,
    set: &Found,
    manifest: &SetManifest,
    points: u64,
    content: RecordedContent,
) -> String {
    let noted = async {
        let record = sets::read_drill(bucket, set, manifest).await?;
        let record = record.unwrap_or_else(|| DrillRecord::read_only(manifest, points, &context.run));
        DrillRecord { content, ..record }.write(bucket).await
    };
    match noted.await {
        Ok(()) => "noted beside the set".to_owned(),
        Err(error) => format!("not noted, so that no restore can be compared with it: {error}"),
    }
}

async fn open(
    bucket: &dyn ObjectStore,
    work: &Path,
    manifest: &SetManifest,
    shard: &sets::SetShard,
    sample: u64,
) -> Result<engine::Found, Error> {
    let damaged = |cause: String| Error::new(Code::SnapshotDamaged, "", cause);
    let folder = fetch::folder(work)?;
    let snapshot = folder.path().join("snapshot.tar");
    fetch::fetch(bucket, shard, &snapshot).await?;
    let found = engine::read(&snapshot, &folder.path().join("shard"), sample).map_err(damaged)?;
    if let Some(expected) = shard.points.exact().filter(|expected| *expected != found.points) {
        return Err(damaged(format!("it holds {} points and its manifest says {expected}", found.points)));
    }
    let schema = manifest.collection_config.get("payload_schema").and_then(serde_json::Value::as_object);
    for field in schema.into_iter().flatten().map(|(field, _)| field) {
        if found.points > 0 && !found.indexes.contains(field) {
            return Err(damaged(format!("it has no payload index on `{field}`, and its manifest has one")));
        }
    }
    Ok(found)
}
