//! `check` asks what a backup and a restore need, says what is wrong with it, and leaves nothing behind.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Canned, Chosen, Event, Fault, Who, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::dialect::Dialect;
use qdrant_backup_tests::schema::conforms;
use qdrant_backup_tests::site::{Run, Site};
use qdrant_backup_tests::{clock, s3};
use serde_json::{Value, json};

use crate::{fault, filled};

const PROBES: [&str; 3] = ["backup_manifests/write-check-", "snapshot_manifests/write-check-", "streamed/write-check-"];

/// What a check found: status, area and what was looked at, finding and advice.
fn rows(run: &Run) -> Vec<(String, String, String)> {
    let found: Value = serde_json::from_str(&run.stdout).expect("JSON");
    conforms("check", &found);
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let row = |row: &Value| {
        let what = format!("{}: {}", text(row, "area"), text(row, "check"));
        (text(row, "status"), what, format!("{} -> {}", text(row, "finding"), text(row, "advice")))
    };
    found["rows"].as_array().expect("rows").iter().map(row).collect()
}

async fn check(site: &Site, more: &[(&str, &str)]) -> Run {
    site.run_with(&["check", "--output", "json"], more).await
}

/// The rows that are not ok, but for the room that nobody tells.
fn wrong(run: &Run) -> Vec<(String, String, String)> {
    rows(run).into_iter().filter(|(status, what, _)| status != "ok" && !what.contains("free space")).collect()
}

/// Asserts that just one row is not ok, and how.
#[track_caller]
fn only(run: &Run, status: &str, what: &str, says: &[&str]) {
    let [(found, of, text)] =
        wrong(run).try_into().unwrap_or_else(|all| panic!("not one row: {all:#?}\n{}", run.stderr));
    assert!(found == status && of.contains(what), "{found}, {of}: {text}");
    says.iter().for_each(|says| assert!(text.contains(says), "{text} does not say {says}"));
}

fn probes(site: &Site) -> Vec<String> {
    PROBES.iter().flat_map(|prefix| site.s3.keys(prefix)).chain(site.s3.uploads()).collect()
}

fn denied() -> Wrong {
    Wrong::Status(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned())
}

/// Requests of the program to the bucket go wrong.
fn bucket(site: &Site, method: Method, uri: &str, wrong: Wrong) {
    site.s3.heal();
    site.s3.faults().add(Chosen::Program, fault(method, uri, usize::MAX, wrong));
}

#[tokio::test(start_paused = true)]
async fn a_sound_place_has_no_fault_and_nothing_is_left_in_it() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let (objects, collections) = (site.s3.objects(), site.source.client().contents().await);
    let before = site.s3.faults().requests().len();
    let run = check(&site, &[("QDRANT_REPORT_ON_S3", "true"), ("QDRANT_REPORT_FILE", "report.json")]).await.expect(0);
    assert_eq!(wrong(&run), []);
    let looked: BTreeSet<String> = rows(&run).into_iter().map(|(_, what, _)| what).collect();
    for what in [
        "settings: values",
        "work directory: write",
        "bucket: list",
        "bucket: put if absent",
        "bucket: read snapshots",
        "bucket: multipart",
        "bucket: put",
        "bucket: get",
        "bucket: ranged get",
        "bucket: delete",
        "bucket: clock",
        "source: permission: read",
        "source: permission: make snapshots",
        "source: identity",
        "target: versions",
        "target: permission: read",
    ] {
        assert!(looked.contains(what), "{what} is not in {looked:#?}");
    }
    for host in site.source.hosts() {
        assert!(looked.contains(&format!("target: link fetched by {host}")), "{looked:#?}");
        assert!(looked.contains(&format!("target: permission: manage at {host}")), "{looked:#?}");
    }
    assert_eq!((site.s3.objects(), site.s3.uploads().len()), (objects, 0));
    assert_eq!(site.source.client().contents().await, collections);
    assert!(!site.work.path().join("report.json").exists(), "the report of the backup is replaced");
    let locks = site.s3.faults().requests().into_iter().skip(before).filter(|one| one.uri.path().contains("run_locks"));
    assert_eq!(locks.filter(|one| one.who() == Who::Program).count(), 0, "a check holds up nobody");
    // The same for people.
    let table = site.run(&["check"]).await.expect(0);
    assert!(table.stdout.starts_with("STATUS") && table.stdout.contains(" 0 failures,"), "{}", table.stdout);
    assert!(!table.stderr.contains("done: check"), "said twice: {}", table.stderr);
}

#[tokio::test(start_paused = true)]
async fn each_right_that_is_missing_at_the_bucket_is_told() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let objects = site.s3.objects();
    let stream = [("QDRANT_SNAPSHOT_TRANSFER", "stream")];
    bucket(&site, Method::POST, "streamed/", denied());
    only(&check(&site, &[]).await.expect(0), "warning", "multipart", &["s3:PutObject", "QDRANT_SNAPSHOT_TRANSFER"]);
    only(&check(&site, &stream).await.expect(3), "failure", "multipart", &["s3:PutObject"]);
    bucket(&site, Method::PUT, "/snapshot_manifests/", denied());
    only(&check(&site, &[]).await.expect(3), "failure", "put if absent", &["s3:PutObject", "snapshot_manifests"]);
    bucket(&site, Method::GET, "/qdrant-snapshots/snapshots/", denied());
    only(&check(&site, &[]).await.expect(3), "failure", "read snapshots", &["s3:GetObject"]);
    bucket(&site, Method::GET, "/backup_manifests/write-check", denied());
    let run = check(&site, &[]).await.expect(3);
    let what: Vec<String> = wrong(&run).into_iter().map(|(status, what, _)| format!("{status} {what}")).collect();
    assert_eq!(what, ["failure bucket: get", "failure bucket: ranged get", "not known bucket: delete"]);
    site.s3.heal();
    assert_eq!(site.s3.objects(), objects);
    // The keys may not delete: a backup goes on.
    bucket(&site, Method::DELETE, "write-check", denied());
    only(&check(&site, &[]).await.expect(0), "warning", "bucket: delete", &["s3:DeleteObject"]);
    // Nothing is known of a bucket that can't be listed.
    bucket(&site, Method::GET, "list-type", denied());
    let run = check(&site, &[]).await.expect(3);
    let status = |of: &str| rows(&run).into_iter().find(|(_, what, _)| what == of).map(|(status, ..)| status);
    assert_eq!(status("bucket: list").as_deref(), Some("failure"));
    assert_eq!(status("bucket: read and write").as_deref(), Some("not known"));
    assert_eq!(status("target: permission: manage; fetches links").as_deref(), Some("not known"));
}

#[tokio::test(start_paused = true)]
async fn what_is_called_a_success_and_is_none_is_told() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    // Other bytes of the same length.
    let store = site.s3.store();
    let changed = Event::new(move || {
        for key in store.keys("backup_manifests/write-check-") {
            let bytes = store.get(&key).map_or(0, |bytes| bytes.len());
            store.put(&key, vec![b'x'; bytes]);
        }
        async {}
    });
    bucket(&site, Method::GET, "/backup_manifests/write-check", Wrong::Before(changed));
    let run = check(&site, &[]).await.expect(3);
    assert!(wrong(&run).iter().any(|(status, what, _)| status == "failure" && what == "bucket: get"), "{}", run.stdout);
    // Deleted, it says.
    let lie = Wrong::Answer(Canned { status: 204, retry_after: None, content_type: "text/plain", body: Vec::new() });
    bucket(&site, Method::DELETE, "/backup_manifests/write-check", lie);
    let run = check(&site, &[]).await.expect(3);
    only(&run, "failure", "bucket: delete", &["still there"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_conditions_is_a_warning() {
    for name in ["garage", "oss"] {
        let dialect = Some(Dialect::named(name));
        let s3 = s3::S3::with(s3::Options { memory: true, dialect, ..s3::Options::default() }).await;
        let site = Site::with(s3, Options { peers: 1, ..Options::default() }).await;
        let run = check(&site, &[]).await.expect(0);
        let warned = wrong(&run)
            .into_iter()
            .any(|(status, what, _)| (status, what) == ("warning".into(), "bucket: conditions".into()));
        assert!(warned, "{name}: {}", run.stdout);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_may_only_read_are_told_for_both_sides() {
    let reader = Some("a-reader-s-key".to_owned());
    let site = Site::native(Options { peers: 1, read_only_api_key: reader, ..Options::default() }).await;
    site.source.client().create("docs", json!({})).await;
    let run = check(&site, &[("QDRANT_API_KEY", "a-reader-s-key")]).await.expect(3);
    let of = |what: &str| rows(&run).into_iter().find(|(_, of, _)| of.contains(what)).unwrap();
    assert_eq!(of("source: permission: make snapshots").0, "failure");
    assert_eq!(of("target: permission: manage").0, "failure");
    assert_eq!(of("target: link fetched by").0, "not known");
    assert_eq!((of("source: permission: read").0, of("target: permission: read").0), ("ok".into(), "ok".into()));
}

#[tokio::test(start_paused = true)]
async fn peers_that_can_not_be_used_are_told_as_a_run_would() {
    let mut site = filled(1).await;
    site.source.stop_peer(1).await;
    let host = site.source.hosts()[1].clone();
    let begun = tokio::time::Instant::now();
    let run = check(&site, &[("QDRANT_RETRY_MAX_DURATION", "5m")]).await.expect(3);
    assert!(begun.elapsed() < Duration::from_secs(15), "nobody waits so long: {:?}", begun.elapsed());
    let found = wrong(&run);
    let failure = |area: &str| {
        found.iter().any(|(status, what, _)| status == "failure" && what.starts_with(area) && what.contains(&host))
    };
    assert!(failure("source: peer ") && failure("target: peer "), "{found:#?}");
    // The whole place is away.
    site.source.stop_peer(0).await;
    let run = check(&site, &[]).await.expect(3);
    let hosts: Vec<_> =
        wrong(&run).into_iter().filter(|(status, ..)| status == "failure").map(|(_, what, _)| what).collect();
    let first = site.source.hosts()[0].clone();
    assert_eq!(hosts, [format!("source: {first}"), format!("target: {first}")]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_can_not_fetch_links_is_a_warning() {
    let site = filled(1).await;
    let target =
        site.more(Options { peers: 1, url_recovery: false, version: "1.17.0".to_owned(), ..Options::default() }).await;
    let into = target.hosts()[0].clone();
    let settings = [("QDRANT_RESTORE_HOSTS", into.as_str())];
    let run = check(&site, &settings).await.expect(3);
    let of = |what: &str| rows(&run).into_iter().find(|(_, of, _)| of.contains(what)).unwrap();
    let (status, _, text) = of("target: link fetched by");
    assert!(status == "warning" && text.contains("disabled") && text.contains("docs/transfer.md"), "{text}");
    assert_eq!(of("target: permission: manage at").0, "ok");
    let (status, _, text) = of("target: versions");
    assert!(status == "failure" && text.contains("older"), "{text}");
    assert_eq!(target.client().collections().await.len(), 0, "the probe made a collection");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_told() {
    for (ahead, status) in [(30, None), (90, Some("warning"))] {
        let site = Site::native(Options { peers: 1, ahead: Duration::from_secs(ahead), ..Options::default() }).await;
        let run = check(&site, &[]).await;
        let found = rows(&run).into_iter().find(|(_, what, _)| what.starts_with("source: clock of"));
        assert_eq!(found.map(|(status, ..)| status).as_deref(), status, "{ahead} s: {}", run.stdout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_check_claims_nothing() {
    let site = filled(1).await;
    let before = site.s3.objects();
    let run = check(&site, &[("QDRANT_DRY_RUN", "true")]).await.expect(0);
    let unknown: BTreeSet<String> =
        wrong(&run).into_iter().filter(|(status, ..)| status == "not known").map(|(_, what, _)| what).collect();
    for what in [
        "work directory: write",
        "bucket: put if absent",
        "bucket: put",
        "bucket: multipart",
        "source: permission: make snapshots",
    ] {
        assert!(unknown.contains(what), "{what} is not in {unknown:#?}");
    }
    assert_eq!(site.s3.objects(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_configured_is_not_known() {
    let site = filled(1).await;
    let run = check(&site, &[("QDRANT_RESTORE_HOSTS", ""), ("QDRANT_S3_ENDPOINT_URL", "")]).await.expect(0);
    let unknown: Vec<_> = wrong(&run).into_iter().map(|(status, what, _)| format!("{status}: {what}")).collect();
    assert_eq!(unknown, ["not known: bucket: settings", "not known: target: hosts"]);
    // Wrong ones end it before anything is sent.
    check(&site, &[("CURL_TIMEOUT", "abc")]).await.expect(2).says(&["CURL_TIMEOUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_choice_in_the_work_directory_is_told() {
    let site = filled(1).await;
    std::fs::write(site.work.path().join("collections"), ",docs\n").unwrap();
    let found = wrong(&check(&site, &[]).await.expect(0))
        .into_iter()
        .find(|(_, what, _)| what == "work directory: collections");
    let (status, _, text) = found.unwrap();
    assert!(status == "warning" && text.contains("chooses 1") && text.contains("reset"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_probes_of_a_killed_check_go_with_the_next_one() {
    let site = filled(1).await;
    // Killed while Qdrant fetches the link, and while an upload is under way.
    for (method, uri) in [(Method::PUT, "/snapshots/recover"), (Method::PUT, "partNumber")] {
        let forever = Wrong::Before(Event::new(std::future::pending::<()>));
        let fault = Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: 1, wrong: forever };
        site.s3.faults().add(Chosen::Program, fault);
        let killed = tokio::time::timeout(Duration::from_secs(20), check(&site, &[])).await;
        assert!(killed.is_err(), "it was not held: {killed:?}");
        site.s3.heal();
    }
    let left = probes(&site);
    assert!(left.len() >= 2 && !site.s3.uploads().is_empty(), "{left:?}");
    // It may be at work still.
    check(&site, &[]).await.expect(0);
    assert_eq!(probes(&site), left);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    clock::another_second().await;
    let run = check(&site, &[]).await.expect(0);
    assert_eq!(probes(&site), Vec::<String>::new(), "{}", run.stdout);
    assert!(rows(&run).iter().any(|(status, what, _)| status == "ok" && what == "bucket: old probes"));
}
