//! Two sources whose Qdrants store snapshots of shards under the same keys.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use tokio::sync::Notify;

use crate::fault;
use crate::two::Two;

const SETS: [&str; 1] = ["create_snap_shards"];
const ALL: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "0");

/// Two CronJobs of one minute.
#[tokio::test(start_paused = true)]
async fn sources_that_begin_together_both_have_sets() {
    let two = Two::servers().await;
    two.fill().await;
    // From now on each knows the other.
    two.run_first(&SETS, &[]).await.expect(0);
    two.run_second(&SETS, &[]).await.expect(0).says(&["S3_CONFIG__PREFIX"]);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(86_400_300)).await;
        let (first, second) = tokio::join!(two.run_first(&SETS, &[ALL]), two.run_second(&SETS, &[ALL]));
        first.expect(0).says(&["the snapshots of other sources lie below the same prefix `snapshots`"]);
        second.expect(0);
    }
    two.run_first(&["verify"], &[]).await.expect(0);
    assert_eq!(two.sets_of_each("v1"), [6, 6]);
    // A source that is there no more is waited for no longer.
    tokio::time::sleep(Duration::from_secs(40 * 86_400)).await;
    let run = two.run_first(&SETS, &[]).await.expect(0);
    assert!(!run.stderr.contains("the snapshots of other sources"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn sources_with_prefixes_of_their_own_are_not_warned() {
    let two = Two::with_prefixes().await;
    two.fill().await;
    for _ in 0..2 {
        let run = two.run_first(&SETS, &[]).await.expect(0);
        let theirs = two.run_second(&SETS, &[("QDRANT_S3_KEY_PREFIX", crate::two::THEIRS)]).await.expect(0);
        assert!(!run.stderr.contains("the snapshots of other") && !theirs.stderr.contains("the snapshots of other"));
        clock::another_second().await;
    }
}

/// The clocks of the Qdrants differ, so that turns do not help: the one that took the other's place says so, and so does
/// every later look.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_took_another_source_s_place_is_told() {
    let one =
        |ahead: u64| Options { peers: 1, clustered: false, ahead: Duration::from_secs(ahead), ..Options::default() };
    let site = Site::native(one(20)).await;
    let other = site.more(one(0)).await;
    let mut two = Two { site, other };
    two.fill().await;
    two.run_first(&SETS, &[("QDRANT_COLLECTIONS", "v1")]).await.expect(0);
    two.run_second(&SETS, &[("QDRANT_COLLECTIONS", "v1")]).await.expect(0);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let event = {
        let (reached, go_on) = (Arc::clone(&reached), Arc::clone(&go_on));
        Event::new(move || {
            let go_on = Arc::clone(&go_on);
            reached.notify_one();
            async move { go_on.notified().await }
        })
    };
    two.other.stand_in().fail(fault(Method::POST, "/collections/v1/shards/0/snapshots", 1, Wrong::Before(event)));
    let before = two.site.s3.keys("snapshots/v1/shards/0/");
    let first = async {
        reached.notified().await;
        two.run_first(&SETS, &[ALL, ("QDRANT_COLLECTIONS", "v1")]).await.expect(0);
        let name = two.site.s3.keys("snapshots/v1/shards/0/").into_iter().find(|key| !before.contains(key)).unwrap();
        let name = name.rsplit('/').next().unwrap().to_owned();
        let named = qdrant_backup_core::naming::ShardSnapshotName::parse("v1", &name).unwrap();
        // Until the second server's clock is where the first one's was.
        let ahead = named.started - clock::now();
        tokio::time::sleep(Duration::try_from(ahead).unwrap() + Duration::from_millis(100)).await;
        go_on.notify_one();
    };
    let second = two.run_second(&SETS, &[ALL, ("QDRANT_COLLECTIONS", "v1")]);
    let (second, ()) = tokio::join!(second, first);
    second.expect(3).says(&["has lost it", "run that one's backup again", "S3_CONFIG__PREFIX"]);
    let verified = two.run_first(&["verify"], &[]).await.expect(3);
    assert_eq!(verified.stderr.matches("FAILED: set of `v1`").count(), 1, "{}", verified.stderr);
    verified.says(&["it was made by peer", "a bucket, or Qdrant a prefix"]);
    two.first().delete("v1").await;
    let chosen = [("QDRANT_COLLECTIONS", "v1")];
    two.run_first(&["recover_snap_shards"], &chosen).await.expect(0).says(&["it was made by peer"]);
    assert_eq!(two.first().count(0, "v1").await, 11, "from the set before");
}

/// Nothing is known of each other: what took the place is found before the manifest is written.
#[tokio::test(start_paused = true)]
async fn of_two_snapshots_of_one_key_one_is_no_backup() {
    let two = Two::servers().await;
    two.fill().await;
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    two.site.s3.fail(fault(Method::PUT, "sources/", 999, denied));
    let settings = [ALL, ("QDRANT_COLLECTIONS", "v1")];
    let (first, second) = tokio::join!(two.run_first(&SETS, &settings), two.run_second(&SETS, &settings));
    assert!(first.code != 0 || second.code != 0, "{}\n{}", first.stderr, second.stderr);
    two.run_first(&["verify"], &[]).await;
    let sets = two.sets_of_each("v1");
    assert_eq!(sets[0] + sets[1], usize::from(first.code == 0) + usize::from(second.code == 0));
}
