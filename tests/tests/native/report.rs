//! What is written of a run, however it ends.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::Value;

use crate::{fault, filled, manifest_keys};

const TO: [(&str, &str); 3] =
    [("QDRANT_REPORT_FILE", "report.json"), ("QDRANT_METRICS_FILE", "metrics.prom"), ("QDRANT_REPORT_ON_S3", "true")];

fn success(site: &Site) -> Vec<String> {
    let lines = site.file("metrics.prom");
    let lines = lines.lines().filter(|line| line.starts_with("qdrant_backup_last_run_success{"));
    lines.filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect()
}

fn status(site: &Site) -> String {
    let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
    report["status"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_leaves_no_word_of_success() {
    let site = filled(1).await;
    site.run_with(&["create_snap_shards"], &TO).await.expect(0);
    assert_eq!((success(&site), status(&site).as_str()), (vec!["1".to_owned()], "done"));
    let never = Wrong::Before(Event::new(std::future::pending));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/shards/0/snapshots", 1, never));
    let killed = tokio::time::timeout(Duration::from_secs(5), site.run_with(&["create_snap_shards"], &TO)).await;
    assert!(killed.is_err());
    assert_eq!((success(&site), status(&site).as_str()), (vec!["0".to_owned()], "running"));
    let stored: Value = serde_json::from_slice(&site.s3.get("run_reports/create_snap_shards.json").unwrap()).unwrap();
    assert_eq!(stored["status"], "running");
    assert!(site.file("metrics.prom").contains("qdrant_backup_last_success_timestamp_seconds{"));
    // The one after it is one again.
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.run_with(&["create_snap_shards"], &TO).await.expect(0);
    assert_eq!((success(&site), status(&site).as_str()), (vec!["1".to_owned()], "done"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_could_not_start_is_reported() {
    let site = filled(1).await;
    site.run_with(&["create_snap_shards"], &TO).await.expect(0);
    let wrong = [TO[0], TO[1], ("QDRANT_S3_BUCKET_NAME", "nobodys")];
    site.run_with(&["create_snap_shards"], &wrong).await.expect(1);
    assert_eq!((success(&site), status(&site).as_str()), (vec!["0".to_owned()], "failed"));
    site.run_with(&["create_snap_shards"], &TO).await.expect(0);
    std::fs::write(site.work.path().join("collections"), "a,b,c,d\n").unwrap();
    site.run_with(&["create_snap_shards"], &TO).await.expect(1);
    assert_eq!((success(&site), status(&site).as_str()), (vec!["0".to_owned()], "failed"));
}

#[tokio::test(start_paused = true)]
async fn a_report_may_be_a_page_for_people() {
    let site = filled(1).await;
    let to = [("QDRANT_REPORT_FILE", "report.md"), ("QDRANT_REPORT_FORMAT", "markdown"), TO[2]];
    site.run_with(&["create_snap_shards"], &to).await.expect(0);
    site.source.client().wipe().await;
    site.run_with(&["recover_snap_shards"], &to).await.expect(0);
    let page = site.file("report.md");
    assert!(page.starts_with("## recover_snap_shards: done\n\n"), "{page}");
    assert!(page.contains("| verified, done | collection | docs |"), "{page}");
    // The one in the bucket is for programs, whatever the other is.
    let stored: Value = serde_json::from_slice(&site.s3.get("run_reports/recover_snap_shards.json").unwrap()).unwrap();
    assert_eq!(stored["status"], "done");
}

fn codes_of_failures(site: &Site) -> Vec<String> {
    let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
    let items = report["items"].as_array().unwrap().iter();
    let failed = items.filter(|item| item["outcome"] == "failed");
    failed.map(|item| item["code"].as_str().unwrap_or("none").to_owned()).collect()
}

/// The code says what is wrong: it is what somebody looks for first.
#[tokio::test(start_paused = true)]
async fn what_failed_has_the_code_of_its_cause() {
    const NOBODY: &str = "http://127.0.0.1:9";
    let mut site = filled(2).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let nobody = [TO[0], ("QDRANT_RESTORE_HOSTS", NOBODY)];
    site.run_with(&["recover_snap_shards"], &nobody).await.expect(1);
    assert_eq!(codes_of_failures(&site), ["no-peer"], "no target");
    let half = [TO[0], ("QDRANT_SOURCE_HOSTS", NOBODY)];
    site.run_with(&["get_colla"], &half).await.expect(1);
    assert_eq!(codes_of_failures(&site), ["no-peer"], "no source");
    site.s3.put(&manifest_keys(&site)[0], b"{}".to_vec());
    site.run_with(&["list_sets"], &TO).await.expect(1);
    assert_eq!(codes_of_failures(&site), ["manifest-unusable"], "an unreadable set");
    site.source.stop_peer(1).await;
    site.run_with(&["recover_snap_shards"], &TO).await.expect(1);
    assert_eq!(codes_of_failures(&site), ["no-peer"], "a target without one of its peers");
}
