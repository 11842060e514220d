//! A backup says how it differs from the one before: the last chance to see that something is gone.

use std::time::Duration;

use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::filled;

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
