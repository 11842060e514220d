//! The harness itself: natively a task does what it does in the component.

use std::time::{Duration, Instant};

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_set_is_made_and_restored() {
    for (backup, restore) in [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")] {
        let site = Site::native(Options::default()).await;
        let client = site.source.client();
        client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
        client.index("docs").await;
        client.fill("docs", 0, 60).await;
        client.alias("live", "docs").await;
        let before = client.contents().await;
        site.run(&[backup]).await.expect(0).says(&["all done"]);
        client.wipe().await;
        site.run(&[restore]).await.expect(0).says(&["all done"]);
        assert_same(&client.contents().await, &before);
        assert_eq!(client.aliases().await["live"], "docs");
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_waiting_takes_no_time() {
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}
