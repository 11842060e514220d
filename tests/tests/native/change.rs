//! A backup says how it differs from the one before: the last chance to see that something is gone.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::{fault, filled};

const ONE: [(&str, &str); 1] = [("QDRANT_BACKUP_RETENTION_SETS", "1")];

/// A place with a set of 40 points.
async fn backed_up() -> Site {
    let site = filled(1).await;
    let first = site.run_with(&["create_snap_shards"], &ONE).await.expect(0);
    assert!(
        first.stderr.contains("1 collections, 40 points, ") && !first.stderr.contains("before: "),
        "{}",
        first.stderr
    );
    tokio::time::sleep(Duration::from_secs(3600)).await;
    site
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_shrank_is_warned_of() {
    for (left, limit, warned) in
        [(40, "20", false), (32, "20", false), (31, "20", true), (31, "30", false), (0, "100", false)]
    {
        let site = backed_up().await;
        site.source.client().delete_points("docs", left, 40).await;
        let more = [&ONE[..], &[("QDRANT_BACKUP_WARN_SHRINK", limit)]].concat();
        let run = site.run_with(&["create_snap_shards"], &more).await.expect(0);
        let says = format!("`docs` has {left} points, {} % less than the 40 in the set ", (40 - left) * 100 / 40);
        assert_eq!(run.stderr.contains(&says), warned, "{left} of 40, {limit} %: {}", run.stderr);
        assert!(run.stderr.contains("before: 40 points, "), "{}", run.stderr);
        // Said while the older set is there.
        let at = |text: &str| run.stderr.find(text).unwrap_or(usize::MAX);
        assert!(at("before: 40 points") < at("removed: "), "{}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_is_gone_is_warned_of() {
    let site = filled(1).await;
    let client = site.source.client();
    client.create("gone", json!({})).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    client.delete("gone").await;
    // A run of some says nothing of the others.
    let some = site.run_with(&["create_snap_shards"], &[("QDRANT_COLLECTIONS", "docs")]).await.expect(0);
    assert!(!some.stderr.contains("is not there any more"), "{}", some.stderr);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    site.run(&["create_snap_shards"]).await.expect(0).says(&["`gone` is not there any more", "are kept"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let next = site.run(&["create_snap_shards"]).await.expect(0);
    assert!(!next.stderr.contains("is not there any more"), "told once: {}", next.stderr);
}

/// One that can't be used says nothing, and the one before it is looked at.
#[tokio::test(start_paused = true)]
async fn a_damaged_set_hides_no_change() {
    let site = backed_up().await;
    let all = ("QDRANT_BACKUP_RETENTION_SETS", "0");
    site.run_with(&["create_snap_shards"], &[all]).await.expect(0);
    let [_, newer] = crate::manifest_keys(&site).try_into().unwrap();
    site.s3.put(&newer, b"{".to_vec());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    site.source.client().delete_points("docs", 10, 40).await;
    let run = site.run_with(&["create_snap_shards"], &[all]).await.expect(0);
    run.says(&["`docs` has 10 points, 75 % less than the 40 in the set "]);
}

/// Neither does a set of another source, nor a partial one.
#[tokio::test(start_paused = true)]
async fn only_a_whole_set_of_this_source_is_compared_with() {
    for partial in [false, true] {
        let site = backed_up().await;
        let all = ("QDRANT_BACKUP_RETENTION_SETS", "0");
        if partial {
            let full = Wrong::Status(500, r#"{"status":{"error":"no space left on device"}}"#.to_owned());
            site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/shards/0/snapshots", 9, full));
        }
        site.run_with(&["create_snap_shards"], &[all]).await;
        site.s3.heal();
        let newer = site.s3.keys("backup_manifests/docs/").pop().unwrap();
        assert_eq!(newer.ends_with(".partial.json"), partial);
        crate::change(&site, &newer, |set| {
            set["points_count"] = json!(7);
            if !partial {
                set["source_id"] = json!("0123456789abcdef");
            }
        });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        site.run_with(&["create_snap_shards"], &[all]).await.expect(0).says(&["before: 40 points, "]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_can_t_be_read_leaves_the_change_unknown() {
    let site = backed_up().await;
    let [older] = crate::manifest_keys(&site).try_into().unwrap();
    site.s3.fail(fault(Method::GET, &older, 99, Wrong::Status(403, String::new())));
    let run = site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await.expect(0);
    run.says(&["how this set differs from the one before is not known"]);
}
