//! Whether what a run says is true, and whether all that it leaves behind is good.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use qdrant_backup_core::manifest::Manifest;
use qdrant_backup_core::naming::SnapshotName;
use qdrant_backup_core::places::Places;
use qdrant_backup_core::sets::{SetId, SetManifest};
use qdrant_backup_core::state_files;
use serde_json::Value;

use super::bench::{Bench, COLLECTIONS, Job, Start};
use crate::native;
use crate::qdrant::{Work, sha256};
use crate::site::Run;

/// Longer than any run with one fault has reason to take.
const TOO_LONG: Duration = Duration::from_secs(100);

/// How a run without any fault went.
#[derive(Clone, Debug, Default)]
pub struct Clean {
    /// What it printed.
    pub stdout: String,
    /// What was in the bucket then.
    pub keys: BTreeSet<String>,
    /// What was in the work directory, by file, its lines in order.
    pub files: BTreeMap<String, Vec<String>>,
}

impl Clean {
    /// What is there now.
    pub fn of(bench: &Bench, run: &Run, work: &Path) -> Self {
        Self { stdout: run.stdout.clone(), keys: keys(bench), files: files(work) }
    }
}

fn keys(bench: &Bench) -> BTreeSet<String> {
    bench.site.s3.keys("").into_iter().collect()
}

fn files(work: &Path) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(work).expect("the work directory").map(|entry| entry.expect("an entry")) {
        let text = std::fs::read_to_string(entry.path()).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        files.insert(entry.file_name().to_string_lossy().into_owned(), lines);
    }
    files
}

/// What holds after every run, however it ended.
///
/// # Errors
/// Says what does not.
pub async fn always(bench: &mut Bench, job: Job, run: &Run, work: &Path, took: Duration) -> Result<(), String> {
    for word in ["panicked", "the component crashed", "wasm trap", "unreachable"] {
        if run.stderr.contains(word) {
            return Err(format!("the log says `{word}`"));
        }
    }
    if took > TOO_LONG || run.code == 124 {
        return Err(format!("it hung: {} s", took.as_secs()));
    }
    readable(work)?;
    for (file, line) in Bench::history() {
        let text = std::fs::read_to_string(work.join(file)).unwrap_or_default();
        if !text.starts_with(line) {
            return Err(format!("`{file}` has lost a line of earlier runs"));
        }
    }
    manifests(bench)?;
    named(bench, work)?;
    if !matches!(job.start, Start::Wiped | Start::Overwritten) && job.task != "drill" {
        let client = bench.site.source.client();
        for (collection, content) in &bench.contents {
            if client.content(collection).await != *content {
                return Err(format!("`{collection}` is not as it was"));
            }
        }
    }
    if job.name == "force beside" {
        let client = bench.site.source.client();
        let there = client.collections().await;
        let points = bench.contents.get("docs").map_or(0, |content| content.points.len() as u64);
        let mut safe = false;
        for name in ["docs", "qdrant-backup-beside-docs"] {
            safe |= there.contains(name) && client.count(0, name).await == points;
        }
        if !safe {
            return Err("neither the old collection is there nor a new one that is whole".to_owned());
        }
    }
    for one in bench.work().iter().filter(|one| one.recovery && one.shard.is_none()) {
        let made_by = SnapshotName::parse(&one.collection, &one.snapshot).map(|name| name.peer);
        if made_by != Some(one.peer) {
            return Err(format!("{one:?}: a snapshot on another peer than its own"));
        }
    }
    Ok(())
}

/// Every state file can be read by the next run.
fn readable(work: &Path) -> Result<(), String> {
    let files = native::files_of(work).map_err(|error| error.to_string())?;
    let files = files.as_ref();
    state_files::read_collections(files).map_err(|error| error.to_string())?;
    state_files::read_snapshots(files).map_err(|error| error.to_string())?;
    state_files::read_recovery_history(files).map_err(|error| error.to_string())?;
    state_files::read_begun(files).map_err(|error| error.to_string())?;
    let aliases = files.read(state_files::ALIASES).map_err(|error| error.to_string())?.unwrap_or_default();
    state_files::parse_aliases(state_files::ALIASES, &aliases).map_err(|error| error.to_string())?;
    Ok(())
}

/// Every manifest lists snapshots that are there, whole, and that hold all of the collection.
fn manifests(bench: &Bench) -> Result<(), String> {
    let s3 = &bench.site.s3;
    for key in s3.keys("snapshot_manifests/") {
        let manifest = Manifest::parse(&s3.get(&key).unwrap_or_default()).map_err(|why| format!("`{key}`: {why}"))?;
        let mut covered = BTreeSet::new();
        for snapshot in &manifest.snapshots {
            let bytes = s3.get(&snapshot.key).map(|bytes| bytes.len() as u64);
            if bytes != Some(snapshot.bytes) {
                return Err(format!(
                    "`{key}` lists `{}` of {} bytes, and there are {bytes:?}",
                    snapshot.key, snapshot.bytes
                ));
            }
            covered.extend(snapshot.shards.keys().copied());
        }
        if covered != manifest.shards.iter().map(|shard| shard.id).collect() {
            return Err(format!("`{key}` does not have all shards"));
        }
    }
    for key in s3.keys("backup_manifests/").into_iter().filter(|key| key.ends_with(".json")) {
        let (collection, id) = SetId::of_key(&key).ok_or_else(|| format!("`{key}` is no set's"))?;
        let manifest =
            SetManifest::parse(&s3.get(&key).unwrap_or_default(), &collection, &id, "snapshots", &Places::default())?;
        for shard in &manifest.shards {
            match s3.get(&shard.s3_key) {
                None => return Err(format!("`{key}` lists `{}`, which is not there", shard.s3_key)),
                Some(bytes) if sha256(&bytes) != shard.checksum => {
                    return Err(format!("`{key}` lists another `{}` than there is", shard.s3_key));
                }
                Some(_) => {}
            }
        }
        let points = bench.contents.get(&collection).map(|content| content.points.len() as u64);
        let new = !bench.stored.contains_key(&key);
        if new && manifest.exact_points().is_some_and(|exact| Some(exact) != points) {
            return Err(format!("`{key}` counts {:?} points, and there are {points:?}", manifest.exact_points()));
        }
    }
    Ok(())
}

/// Every line of `snapshots` names a snapshot that is there.
fn named(bench: &Bench, work: &Path) -> Result<(), String> {
    let text = std::fs::read(work.join(state_files::SNAPSHOTS)).unwrap_or_default();
    for line in state_files::parse_snapshots(state_files::SNAPSHOTS, &text).map_err(|error| error.to_string())? {
        if bench.site.s3.get(&format!("snapshots/{}/{}", line.collection, line.snapshot_name)).is_none() {
            return Err(format!("`snapshots` names `{}`, which is not there", line.snapshot_name));
        }
    }
    Ok(())
}

/// What a run that was cut short by a fault has to say.
///
/// # Errors
/// It does not.
pub fn truthful(bench: &Bench, run: &Run) -> Result<(), String> {
    if !matches!(run.code, 1 | 3) {
        return Err(format!("exit code {}", run.code));
    }
    let mut items = bench.site.source.hosts();
    items.push(bench.site.s3.endpoint());
    items.extend(COLLECTIONS.map(|collection| format!("`{collection}`")));
    // A run that could not begin says so in its last line.
    let last = run.stderr.lines().last().unwrap_or_default();
    let failures = run.stderr.lines().filter(|line| line.contains("FAILED")).chain([last]);
    let told = failures.into_iter().any(|line| items.iter().any(|item| line.contains(item.as_str())));
    if told { Ok(()) } else { Err("no line names what failed".to_owned()) }
}

/// What holds after a run that said that all was done. `again`: after one that said what it could not do, or was killed.
///
/// # Errors
/// Says what does not.
pub async fn complete(
    bench: &mut Bench,
    job: Job,
    run: &Run,
    work: &Path,
    clean: &Clean,
    again: bool,
) -> Result<(), String> {
    if run.stderr.contains("FAILED") {
        return Err("it says that something failed, and exit code 0".to_owned());
    }
    let now = Clean::of(bench, run, work);
    let file = |name: &str| {
        let (there, expected) = (now.files.get(name), clean.files.get(name));
        if there == expected { Ok(()) } else { Err(format!("`{name}` has {there:?} and has to have {expected:?}")) }
    };
    let client = bench.site.source.client();
    match job.task {
        "create_snap" => {
            for collection in COLLECTIONS {
                if bench.site.s3.keys(&Manifest::prefix(collection)).is_empty() {
                    return Err(format!("`{collection}` has no manifest"));
                }
            }
            let aliases = bench.site.s3.get("collection_aliases_store/collection_aliases");
            if aliases.as_deref() != Some(b"docs,live\n") {
                return Err(format!("the aliases in the bucket are {aliases:?}"));
            }
            file(state_files::COLLECTIONS)?;
            file(state_files::ALIASES)
        }
        "create_snap_shards" => {
            let mut named = BTreeSet::new();
            for collection in COLLECTIONS {
                let sets = bench.site.s3.keys(&SetId::folder(collection));
                if sets.is_empty() {
                    return Err(format!("`{collection}` has no set"));
                }
                for key in sets {
                    let set: Value = serde_json::from_slice(&bench.site.s3.get(&key).unwrap_or_default())
                        .map_err(|error| format!("`{key}`: {error}"))?;
                    let shards = set["shards"].as_array().cloned().unwrap_or_default();
                    named.extend(shards.iter().filter_map(|shard| shard["s3_key"].as_str()).map(str::to_owned));
                }
            }
            let uploads = bench.site.s3.uploads();
            if !uploads.is_empty() {
                return Err(format!("uploads are left: {uploads:?}"));
            }
            // What a killed run has stored is a prune's to remove.
            let mut streamed = bench.site.s3.keys("streamed/").into_iter().filter(|key| !again && !named.contains(key));
            streamed.next().map_or(Ok(()), |key| Err(format!("`{key}` belongs to no set")))
        }
        _ if job.name == "side by side" => {
            let content = client.content("docs-2").await;
            if bench.contents.get("docs") != Some(&content) {
                return Err("`docs-2` is not as `docs` was backed up".to_owned());
            }
            if client.aliases().await != BTreeMap::from([("live".to_owned(), "docs-2".to_owned())]) {
                return Err("the alias was not moved".to_owned());
            }
            Ok(())
        }
        "recover_snap" | "recover_snap_shards" => {
            if client.contents().await != bench.contents {
                return Err("the collections are not as they were backed up".to_owned());
            }
            for (collection, placed) in &bench.placed {
                let there = client.placed(collection).await;
                if job.is_free() {
                    if !there.values().map(replicas).eq(placed.values().map(replicas)) {
                        return Err(format!("the shards of `{collection}` have other points"));
                    }
                } else if there != *placed {
                    return Err(format!("the shards of `{collection}` are on other peers"));
                }
            }
            holds(client.aliases().await == bench.aliases, || "the aliases are not as they were".to_owned())
        }
        "recover_colla" => {
            holds(client.aliases().await == bench.aliases, || "the aliases are not as they were".to_owned())
        }
        "list_sets" => {
            holds(now.stdout == clean.stdout, || format!("it lists\n{}and has to list\n{}", now.stdout, clean.stdout))
        }
        "drill" => {
            let same = client.contents().await == bench.contents && client.aliases().await == bench.aliases;
            holds(same, || "the target is not as it was before the drill".to_owned())
        }
        // A snapshot that outlived its manifest belongs to no set any more, and is swept when it is old enough.
        "prune_snap" if again && now.keys.is_superset(&clean.keys) => {
            let mut left = now.keys.difference(&clean.keys).filter(|key| !key.contains("/shards/"));
            left.next().map_or(Ok(()), |key| Err(format!("`{key}` is left in the bucket")))
        }
        "prune_snap" | "pin_set" | "verify" => holds(now.keys == clean.keys, || {
            format!(
                "in the bucket too much: {:?}, missing: {:?}",
                now.keys.difference(&clean.keys).collect::<Vec<_>>(),
                clean.keys.difference(&now.keys).collect::<Vec<_>>()
            )
        }),
        "get_coll" => file(state_files::COLLECTIONS),
        "get_snap" | "get_snap_s3" => file(state_files::SNAPSHOTS),
        "get_colla" => file(state_files::ALIASES),
        other => Err(format!("nobody knows what `{other}` has to do")),
    }
}

/// No snapshot was made, and none was put in place, a second time.
///
/// # Errors
/// Names the ones that were.
pub fn nothing_twice(done: &[Work], recoveries: bool) -> Result<(), String> {
    let mut times: BTreeMap<(u64, &str, Option<u32>, &str), usize> = BTreeMap::new();
    // A replacement beside a collection that fails is dropped, and made anew.
    let lasting = |one: &&Work| !one.collection.starts_with("qdrant-backup-beside-");
    for one in done.iter().filter(|one| one.recovery == recoveries).filter(lasting) {
        let snapshot = if recoveries { one.snapshot.as_str() } else { "" };
        *times.entry((one.peer, &one.collection, one.shard, snapshot)).or_default() += 1;
    }
    let twice: Vec<_> = times.into_iter().filter(|(_, times)| *times > 1).collect();
    let what = if recoveries { "put in place" } else { "made" };
    if twice.is_empty() { Ok(()) } else { Err(format!("{what} more than once: {twice:?}")) }
}

/// An error where something does not hold: `why`.
fn holds(it: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if it { Ok(()) } else { Err(why()) }
}

/// The replicas of a shard, wherever they are.
fn replicas(placed: &BTreeMap<usize, BTreeSet<String>>) -> Vec<&BTreeSet<String>> {
    placed.values().collect()
}
