//! A run that is cancelled lets go of what is in the way of others, or is paid for, and says that it was no success.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tokio::sync::Notify;

use crate::{fault, manifests};

const BY_STREAM: (&str, &str) = ("QDRANT_SNAPSHOT_TRANSFER", "stream");

/// A request that is never answered, and when it has come.
fn hangs() -> (Wrong, Arc<Notify>) {
    let come = Arc::new(Notify::new());
    let told = Arc::clone(&come);
    let event = Event::new(move || {
        told.notify_one();
        pending()
    });
    (Wrong::After(event), come)
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_backup_leaves_no_lock_and_no_upload() {
    let options =
        Options { peers: 1, clustered: false, ballast: 17 << 20, local_snapshots: true, ..Options::default() };
    let site = Site::native(options).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 20).await;
    // While a part is stored, and while the answer that tells the upload's id has not come.
    for call in [(Method::PUT, "partNumber=2&"), (Method::POST, "uploads=")] {
        let (wrong, come) = hangs();
        site.s3.faults().add(Chosen::S3, fault(call.0, call.1, 1, wrong));
        let run = site.run_until(&["create_snap_shards"], &[BY_STREAM], come.notified()).await;
        run.expect(1).says(&["the run was cancelled; run the task again to go on"]);
        assert!(site.s3.uploads().is_empty(), "{:?}", site.s3.uploads());
        assert_eq!(site.s3.keys("run_locks/"), [""; 0]);
        assert_eq!(manifests(&site).len(), 0);
    }
    site.run_with(&["create_snap_shards"], &[BY_STREAM]).await.expect(0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_restore_is_gone_on_with() {
    let site = crate::filled(2).await;
    let client = site.source.client();
    let before = client.contents().await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let (wrong, come) = hangs();
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 1, wrong));
    site.run_until(&["recover_snap_shards"], &[], come.notified()).await.expect(1).says(&["the run was cancelled"]);
    assert_eq!(site.s3.keys("run_locks/"), [""; 0]);
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["all done"]);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(start_paused = true)]
async fn who_cancels_before_the_end_of_the_wait_is_heard() {
    let site = crate::filled(1).await;
    let (wrong, _) = hangs();
    site.s3.faults().add(Chosen::S3, fault(Method::GET, "list-type=2", usize::MAX, wrong));
    let soon = tokio::time::sleep(Duration::from_secs(3));
    let run = site.run_until(&["verify"], &[], soon).await;
    run.expect(1).says(&["the run was cancelled"]);
}
