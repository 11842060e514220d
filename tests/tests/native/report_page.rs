//! `report`: the page about all backups, the table and the JSON.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::Wrong;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::schema::conforms;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::two::Two;
use crate::{change, failed, fault, filled, manifest_keys, manifests};

const DAY: Duration = Duration::from_secs(86_400);
const KEEP_ALL: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "9");
const BACKUP: [&str; 1] = ["create_snap_shards"];
const PAGE: [&str; 3] = ["report", "--html", "page.html"];

/// What `report --output json` says.
async fn told(site: &Site, settings: &[(&str, &str)]) -> Value {
    let run = site.run_with(&["report", "--output", "json"], settings).await;
    let told =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", run.stdout, run.stderr));
    conforms("report", &told);
    told
}

/// The kinds of what is at risk of a collection.
fn risks(told: &Value, collection: &str) -> Vec<String> {
    let all = told["collections"].as_array().unwrap();
    let one =
        all.iter().find(|one| one["collection"] == collection).unwrap_or_else(|| panic!("{collection}: {told:#}"));
    one["risks"].as_array().unwrap().iter().map(|risk| risk["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_is_one_file_and_nothing_else_is_written() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    let (objects, before) = (site.s3.objects(), site.s3.requests().len());
    let files = || std::fs::read_dir(site.work.path()).unwrap().count();
    let there = files();
    let run = site.run(&PAGE).await.expect(0).says(&["done: file page.html"]);
    assert_eq!(run.stdout, "");
    assert_eq!(files(), there + 1);
    assert!(site.s3.objects() == objects);
    let requests = site.s3.requests().split_off(before);
    assert!(requests.iter().all(|request| matches!(request.method.as_str(), "GET" | "HEAD")));
    let page = site.file("page.html");
    for part in ["<!doctype html>", "prefers-color-scheme:dark", "@media print", ">docs<", "Never drilled", "</html>"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    for part in ["<script", "src=", "url(", "@import"] {
        assert!(!page.contains(part), "{part} is in the page");
    }
    // In a dry run not even the file.
    std::fs::remove_file(site.work.path().join("page.html")).unwrap();
    site.run_with(&PAGE, &[("QDRANT_DRY_RUN", "true"), ("QDRANT_REPORT_HTML_ON_S3", "true")]).await.expect(0);
    assert_eq!(files(), there);
    assert!(site.s3.objects() == objects);
    // And into the bucket where that is wished.
    let run = site.run_with(&["report"], &[("QDRANT_REPORT_HTML_ON_S3", "true")]).await.expect(0);
    assert!(run.stdout.contains("never-drilled"), "{}", run.stdout);
    let put = site.s3.get("run_reports/report.html").unwrap();
    assert!(String::from_utf8(put).unwrap().contains(">docs<"));
    assert_eq!(files(), there);
}

#[tokio::test(start_paused = true)]
async fn what_is_well_is_not_at_risk() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    assert_eq!(risks(&told(&site, &[]).await, "docs"), ["never-drilled"]);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    site.run(&["drill", "--into", &target.hosts()[0]]).await.expect(0);
    let all = told(&site, &[]).await;
    assert_eq!(risks(&all, "docs"), [""; 0]);
    assert!(all["collections"][0]["drilled_at"].is_string());
    site.run(&PAGE).await.expect(0);
    assert!(site.file("page.html").contains("Every collection has a good backup younger than 2d"));
}

#[tokio::test(start_paused = true)]
async fn an_old_backup_and_one_replica_are_at_risk() {
    let site = filled(1).await;
    site.run(&BACKUP).await.expect(0);
    tokio::time::sleep(2 * DAY + Duration::from_secs(60)).await;
    assert_eq!(risks(&told(&site, &[]).await, "docs"), ["too-old", "never-drilled", "one-replica"]);
    let lenient = [("QDRANT_BACKUP_MAX_AGE", "3d")];
    assert_eq!(risks(&told(&site, &lenient).await, "docs"), ["never-drilled", "one-replica"]);
    let [manifest] = manifest_keys(&site).try_into().unwrap();
    change(&site, &manifest, |manifest| {
        for shard in manifest["shards"].as_array_mut().unwrap() {
            shard["replicas"] = json!({"1": "Active", "2": "Dead"});
        }
    });
    assert!(risks(&told(&site, &lenient).await, "docs").contains(&"one-replica".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn damaged_sets_are_at_risk_and_count_for_nothing() {
    let site = filled(2).await;
    site.run_with(&BACKUP, &[KEEP_ALL]).await.expect(0);
    tokio::time::sleep(3 * DAY).await;
    site.run_with(&BACKUP, &[KEEP_ALL]).await.expect(0);
    assert_eq!(risks(&told(&site, &[]).await, "docs"), ["never-drilled"]);
    let [_, newest] = manifests(&site).try_into().unwrap();
    site.s3.delete(&newest.shards[0].s3_key);
    let all = told(&site, &[]).await;
    assert_eq!(risks(&all, "docs"), ["too-old", "failed-sets", "never-drilled"]);
    site.run(&PAGE).await.expect(0);
    assert!(site.file("page.html").contains("the object is missing"));
    // A manifest that is none.
    let [first, _] = manifest_keys(&site).try_into().unwrap();
    site.s3.put(&first, b"{".to_vec());
    let lost = ["no-good-backup", "failed-sets", "never-drilled", "not-swept"];
    assert_eq!(risks(&told(&site, &[]).await, "docs"), lost);
}

/// A list can't know what `verify` has read.
#[tokio::test(start_paused = true)]
async fn what_verify_has_found_is_in_the_page() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    site.run_with(&["verify"], &[("QDRANT_REPORT_ON_S3", "true")]).await.expect(0);
    site.run(&PAGE).await.expect(0);
    let page = site.file("page.html");
    assert!(page.contains("</b> verified</td>") && page.contains("The last <code>verify</code>"), "{page}");
    // Other bytes of the same size under the same ETag.
    let [manifest] = manifests(&site).try_into().unwrap();
    let key = &manifest.shards[0].s3_key;
    let mut bytes = site.s3.get(key).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    site.s3.put_with_etag(key, bytes, &manifest.shards[0].etag);
    failed(site.run_with(&["verify"], &[("QDRANT_REPORT_ON_S3", "true")]).await);
    assert_eq!(risks(&told(&site, &[]).await, "docs"), ["no-good-backup", "failed-sets", "never-drilled"]);
    // What can't be read says nothing, and that is said.
    site.s3.put("run_reports/verify.json", b"{".to_vec());
    failed(site.run(&PAGE).await).says(&["run_reports/verify.json"]);
    assert!(site.file("page.html").contains("Not known:</b> what the last"));
}

#[tokio::test(start_paused = true)]
async fn a_partial_set_and_a_dropped_collection_are_told() {
    let site = filled(2).await;
    site.source.client().create("old", json!({"replication_factor": 2})).await;
    site.run_with(&BACKUP, &[KEEP_ALL]).await.expect(0);
    site.source.client().delete("old").await;
    tokio::time::sleep(3 * DAY).await;
    site.run_with(&BACKUP, &[KEEP_ALL]).await.expect(0);
    let [_, key] = manifest_keys(&site).try_into().unwrap();
    change(&site, &key, |manifest| {
        let shards = manifest["shards"].as_array_mut().unwrap();
        let lost = shards.remove(0);
        manifest["missing"] = json!([lost["id"]]);
    });
    let all = told(&site, &[]).await;
    assert_eq!(risks(&all, "docs"), ["too-old", "partial-newest", "never-drilled"]);
    // Nobody waits for a backup of it.
    assert_eq!(risks(&all, "old"), ["dropped"]);
}

#[tokio::test(start_paused = true)]
async fn retention_is_that_of_prune() {
    let site = filled(2).await;
    for _ in 0..3 {
        site.run_with(&BACKUP, &[KEEP_ALL]).await.expect(0);
        tokio::time::sleep(DAY).await;
    }
    // Each with its own reason.
    site.s3.delete(&manifests(&site)[1].shards[0].s3_key);
    let one = [("QDRANT_BACKUP_RETENTION_SETS", "1")];
    let all = told(&site, &one).await;
    assert_eq!((&all["collections"][0]["keeps"], &all["collections"][0]["removes"]), (&json!(1), &json!(2)));
    site.run_with(&PAGE, &one).await.expect(0);
    let page = site.file("page.html");
    let plan = site.run_with(&["prune_snap", "--dry-run"], &one).await.expect(0).stdout;
    let steps: Vec<Vec<&str>> = plan.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(steps.len(), 3, "{plan}");
    for step in steps {
        let row = page
            .lines()
            .flat_map(|line| line.split("<tr>"))
            .find(|row| row.contains(&format!("<code>{}</code>", step[2])));
        let row = row.unwrap_or_else(|| panic!("{step:?} is not in {page}"));
        let verdict = if step[0] == "keep" { "<td>keeps</td>" } else { "<b>removes</b>" };
        assert!(row.contains(verdict) && row.contains(&step[3].replace('`', "&#96;")), "{step:?}: {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_sources_are_told_apart() {
    let two = Two::servers().await;
    two.fill().await;
    two.run_first(&BACKUP, &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
    tokio::time::sleep(DAY).await;
    two.run_second(&BACKUP, &[("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
    two.run_second(&["create_snap"], &[("QDRANT_COLLECTIONS", "v1")]).await.expect(0);
    tokio::time::sleep(DAY + Duration::from_secs(60)).await;
    let all = told(&two.site, &[]).await;
    let rows: Vec<_> = all["collections"].as_array().unwrap().iter().collect();
    let of = |name: &str, source: &str| {
        *rows.iter().find(|row| row["collection"] == name && row["source_name"] == source).unwrap()
    };
    assert_eq!(rows.len(), 4);
    assert_eq!(of("v1", "first")["risks"][0]["kind"], "too-old");
    assert_ne!(of("v1", "second")["risks"][0]["kind"], "too-old");
    assert_eq!((&of("v1", "second")["snapshots"], &of("v1", "first")["snapshots"]), (&json!(1), &json!(0)));
    assert_eq!(all["sources"].as_array().unwrap().len(), 2);
    two.site.run(&PAGE).await.expect(0);
    let page = two.site.file("page.html");
    assert!(page.contains("<th scope=\"rowgroup\">first</th>") && page.contains("<th scope=\"rowgroup\">second</th>"));
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_read_is_said_and_no_success() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    site.run(&PAGE).await.expect(0);
    let good = site.file("page.html");
    let denied = || Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    let [manifest] = manifests(&site).try_into().unwrap();
    let no_waiting = [("QDRANT_RETRY_MAX_DURATION", "0")];
    // One snapshot that can't be looked at.
    for method in [Method::HEAD, Method::GET] {
        site.s3.fail(fault(method, &manifest.shards[0].s3_key, 99, denied()));
    }
    let run = site.run_with(&PAGE, &no_waiting).await;
    assert_eq!(failed(run).code, 3);
    let page = site.file("page.html");
    assert!(page.contains("This page is not complete") && page.contains("</b> not known</td>"), "{page}");
    let all = told(&site, &no_waiting).await;
    assert_eq!(risks(&all, "docs"), ["no-good-backup", "not-known", "never-drilled"]);
    assert!(all["collections"][0]["keeps"].is_null());
    assert_eq!(all["not_known"].as_array().unwrap().len(), 1);
    site.s3.heal();
    // The sets of one collection can't be listed.
    site.s3.fail(fault(Method::GET, "backup_manifests%2Fdocs", 99, denied()));
    let run = failed(site.run_with(&PAGE, &no_waiting).await);
    let page = site.file("page.html");
    assert!(page.contains("This page is not complete"), "{}\n{page}", run.stderr);
    site.s3.heal();
    // Nothing can be listed: the page of before stays, with its date.
    std::fs::write(site.work.path().join("page.html"), &good).unwrap();
    site.s3.fail(fault(Method::GET, "list-type=2", 999, denied()));
    failed(site.run_with(&PAGE, &no_waiting).await);
    assert_eq!(site.file("page.html"), good);
}

#[tokio::test(start_paused = true)]
async fn names_and_labels_are_no_markup() {
    let site = filled(2).await;
    let name = "a<script>alert(1)</script>\"'&";
    site.source.client().create(name, json!({})).await;
    let label = [("QDRANT_BACKUP_LABEL", "<img src=x onerror=\"alert(2)\">"), ("QDRANT_SOURCE_NAME", "<b>'\"><i>")];
    site.run_with(&BACKUP, &label).await.expect(0);
    site.run(&PAGE).await.expect(0);
    let page = site.file("page.html");
    assert!(page.contains("a&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"), "{page}");
    assert!(page.contains("&lt;img src=x onerror=&quot;alert(2)&quot;&gt;"), "{page}");
    assert!(page.contains("&lt;b&gt;&#39;&quot;&gt;&lt;i&gt;"), "{page}");
    for markup in ["<script", "<img", "<i>'", "title=\"a<"] {
        assert!(!page.contains(markup), "{markup} is in the page");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drill_counts_where_it_verified_and_can_be_read() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    let target = site.more(Options { peers: 1, ..Options::default() }).await;
    site.run(&["drill", "--into", &target.hosts()[0]]).await.expect(0);
    let keys = site.s3.keys("backup_manifests/");
    let record = keys.iter().find(|key| key.ends_with(".drill")).unwrap();
    site.s3.fail(fault(
        Method::GET,
        record.rsplit('/').next().unwrap(),
        99,
        Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    ));
    let run = failed(site.run(&["report", "--output", "json"]).await);
    let told_unread: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(risks(&told_unread, "docs").contains(&"not-known".to_owned()), "{told_unread:#}");
    site.s3.heal();
    assert_eq!(risks(&told(&site, &[]).await, "docs"), [""; 0]);
    change(&site, record, |record| record["verified"] = json!(false));
    assert_eq!(risks(&told(&site, &[]).await, "docs"), ["never-drilled"]);
}

#[tokio::test(start_paused = true)]
async fn what_verify_could_not_ask_says_nothing_of_a_set() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    let [manifest] = manifests(&site).try_into().unwrap();
    for (code, bad) in [("store-unreachable", false), ("a-later-one", false), ("snapshot-damaged", true)] {
        let item = json!({"outcome": "failed", "kind": "set", "collection": "docs", "name": manifest.backup_set_id,
            "cause": "x", "code": code});
        site.s3.put("run_reports/verify.json", json!({"items": [item]}).to_string().into_bytes());
        let risks = risks(&told(&site, &[]).await, "docs");
        assert_eq!(risks.contains(&"failed-sets".to_owned()), bad, "{code}: {risks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_of_collections_chooses_rows() {
    let site = filled(2).await;
    site.source.client().create("other", json!({"replication_factor": 2})).await;
    site.run(&BACKUP).await.expect(0);
    site.run(&["create_snap"]).await.expect(0);
    let of = |all: &Value| all["collections"].as_array().unwrap().len();
    assert_eq!(of(&told(&site, &[]).await), 2);
    assert_eq!(of(&told(&site, &[("QDRANT_COLLECTIONS", "docs")]).await), 1);
}

#[tokio::test(start_paused = true)]
async fn sets_under_another_prefix_are_looked_at_there() {
    let two = Two::with_prefixes().await;
    two.fill().await;
    two.run_first(&BACKUP, &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
    let theirs = ("QDRANT_S3_KEY_PREFIX", crate::two::THEIRS);
    two.run_second(&BACKUP, &[theirs, ("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
    let all = told(&two.site, &[]).await;
    let rows = all["collections"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert!(row["newest_good"].is_string(), "{row:#}");
        assert_eq!((&row["keeps"], &row["removes"]), (&json!(1), &json!(0)), "{row:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_was_backed_up_since_is_not_dropped() {
    let site = filled(2).await;
    site.run(&BACKUP).await.expect(0);
    site.source.client().create("new", json!({"replication_factor": 2})).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.run_with(&BACKUP, &[("QDRANT_COLLECTIONS", "new")]).await.expect(0);
    assert_eq!(risks(&told(&site, &[]).await, "new"), ["never-drilled"]);
}
