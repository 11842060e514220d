//! What is written of a run, however it ends.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::Value;

use crate::{fault, filled};

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
