//! Whole runs of the core in this process, in memory and on a clock that does not wait: see `Site::native`.
//!
//! Each test of a check sets up just what the check is for, so that it fails where the check is switched off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod backup;
mod beside;
mod cancel;
mod change;
mod check;
mod choice;
mod cluster_state;
mod content;
mod creation;
mod credentials;
mod dead_peer;
mod dialects;
mod dropped;
mod dry_run;
mod evidence;
mod faults;
mod harness;
mod identity;
mod identity_changes;
mod levels;
mod locks;
mod looks;
mod marked;
mod newest;
mod old_bucket;
mod one_key_space;
mod outages;
mod output;
mod partial;
mod parts;
mod placement;
mod prefixes;
mod prune;
mod prune_beside;
mod readme;
mod records;
mod report;
mod report_page;
mod restore;
mod retention;
mod sources;
mod stream;
mod two;
mod uploads;
mod versions;

use http::Method;
use qdrant_backup_core::places::Places;
use qdrant_backup_core::sets::{SetId, SetManifest};
use qdrant_backup_tests::faults::{Canned, Edit, Event, Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

/// A cluster of two peers whose collection `docs` has two shards, with `copies` replicas of each.
async fn filled(copies: usize) -> Site {
    let site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": copies})).await;
    client.index("docs").await;
    client.fill("docs", 0, 40).await;
    site
}

/// The next `times` such requests go wrong.
fn fault(method: Method, uri: &str, times: usize, wrong: Wrong) -> Fault {
    Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times, wrong }
}

/// Something that is over at once happens when such a request is done, before it is answered.
fn after(happens: impl Fn() + Send + Sync + 'static) -> Wrong {
    Wrong::After(Event::new(move || {
        happens();
        async {}
    }))
}

/// The answer is changed.
fn edited(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Wrong {
    Wrong::Edited(Edit::new(change))
}

/// `true` in Qdrant's envelope, and nothing was done.
fn said_and_not_done() -> Wrong {
    let body = json!({"result": true, "status": "ok", "time": 0.001}).to_string().into_bytes();
    Wrong::Answer(Canned { status: 200, retry_after: None, content_type: "application/json", body })
}

/// The keys of the manifests of the sets of `docs`, the oldest first.
fn manifest_keys(site: &Site) -> Vec<String> {
    let keys = site.s3.keys(&SetId::folder("docs"));
    keys.into_iter().filter(|key| SetId::of_key(key).is_some() && !key.ends_with(".partial.json")).collect()
}

/// The manifests of the sets of `docs`, the oldest first.
fn manifests(site: &Site) -> Vec<SetManifest> {
    let read = |key: String| {
        let (collection, id) = SetId::of_key(&key).unwrap();
        SetManifest::parse(&site.s3.get(&key).unwrap(), &collection, &id, "snapshots", &Places::default()).unwrap()
    };
    manifest_keys(site).into_iter().map(read).collect()
}

/// Changes the JSON of an object.
fn change(site: &Site, key: &str, change: impl FnOnce(&mut Value)) {
    let mut object: Value = serde_json::from_slice(&site.s3.get(key).unwrap()).unwrap();
    change(&mut object);
    site.s3.put(key, serde_json::to_vec_pretty(&object).unwrap());
}

/// Asserts that a run did not end well.
#[track_caller]
fn failed(run: qdrant_backup_tests::site::Run) -> qdrant_backup_tests::site::Run {
    assert!(matches!(run.code, 1 | 3), "exit code {}\n{}\n{}", run.code, run.stdout, run.stderr);
    run
}
