//! S3 that is away for seconds or minutes, from any request on: nothing is lost by it, and nothing is called what it is not.

use std::time::Duration;

use qdrant_backup_tests::client::Content;
use qdrant_backup_tests::faults::{Chosen, Fault, Wrong};
use qdrant_backup_tests::s3::dialect::Dialect;
use qdrant_backup_tests::site::{Run, Site};

use crate::{filled, manifest_keys, manifests};

/// The program's calls to the bucket, of which it says which go wrong.
const BUCKET: &str = "/qdrant-snapshots";

const PATIENT: [(&str, &str); 2] = [("QDRANT_RETRY_MAX_DURATION", "5m"), ("QDRANT_BACKUP_RETENTION_SETS", "1")];

/// Runs `task` with S3 asking to slow down from its call number `call` on, for `time`; `None` where there are not so
/// many.
async fn with_outage(site: &Site, task: &str, call: usize, time: Duration) -> Option<Run> {
    let faults = site.s3.faults().clone();
    let before = faults.hits();
    let slow_down = Wrong::Status(503, "<Error><Code>SlowDown</Code></Error>".to_owned());
    let fault = Fault { method: None, uri: BUCKET.to_owned(), skip: call, times: usize::MAX, wrong: slow_down };
    faults.add(Chosen::Program, fault);
    let healing = async {
        while faults.hits() == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(time).await;
        faults.heal();
        std::future::pending::<Run>().await
    };
    let task = [task];
    let run = tokio::select! {
        run = site.run_with(&task, &PATIENT) => run,
        run = healing => run,
    };
    faults.heal();
    (faults.hits() > before).then_some(run)
}

/// A place with a backup set, and what is in it.
async fn backed_up() -> (Site, Content) {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    qdrant_backup_tests::clock::another_second().await;
    let content = site.source.client().content("docs").await;
    (site, content)
}

/// Every set in the bucket has its snapshots.
#[track_caller]
fn sets_are_whole(site: &Site, what: &str) {
    for manifest in manifests(site) {
        for shard in &manifest.shards {
            assert!(site.s3.get(&shard.s3_key).is_some(), "{what}: `{}` is gone", shard.s3_key);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_any_call_of_a_backup_costs_nothing() {
    let mut told = 0;
    // Where the store asks for less besides, the last try before the limit may be such a one.
    let long = if Dialect::of_environment().is_some_and(|dialect| dialect.is_busy()) { 200 } else { 280 };
    for (seconds, first) in [(12, 1), (60, 2), (long, 3)] {
        for call in (first..).step_by(3) {
            let (site, _) = backed_up().await;
            let Some(run) = with_outage(&site, "create_snap_shards", call, Duration::from_secs(seconds)).await else {
                assert!(call > 10, "{call}");
                break;
            };
            // Qdrant's own calls are among them, of which the program knows nothing.
            told += usize::from(run.stderr.contains("retrying"));
            run.expect(0);
            sets_are_whole(&site, &format!("{seconds} s from call {call} on"));
            assert_eq!(manifest_keys(&site).len(), 1, "the older one is pruned");
        }
    }
    assert!(told > 10, "{told}");
}

/// Five minutes are just as long as they are waited for: either way the account is true.
#[tokio::test(start_paused = true)]
async fn an_outage_as_long_as_the_limit_is_told_truly() {
    for call in (1..).step_by(2) {
        let (site, content) = backed_up().await;
        let old = manifest_keys(&site);
        let Some(run) = with_outage(&site, "create_snap_shards", call, Duration::from_secs(300)).await else {
            assert!(call > 10, "{call}");
            break;
        };
        let what = format!("from call {call} on");
        sets_are_whole(&site, &what);
        let newer = manifest_keys(&site).iter().any(|key| !old.contains(key));
        let kept = old.iter().all(|key| site.s3.get(key).is_some());
        assert!(if run.code == 0 { newer } else { newer || kept }, "{what}:\n{}", run.stderr);
        let client = site.source.client();
        client.wipe().await;
        let Some(run) = with_outage(&site, "recover_snap_shards", call, Duration::from_secs(300)).await else {
            continue;
        };
        if run.code == 0 {
            assert_eq!(client.content("docs").await.points, content.points, "{what}");
        } else {
            // What has failed can be done again, once the store is there.
            assert!(run.stderr.contains("FAILED") || run.stderr.contains("S3 at"), "{what}:\n{}", run.stderr);
            client.wipe().await;
            site.run(&["recover_snap_shards"]).await.expect(0);
            assert_eq!(client.content("docs").await.points, content.points, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_any_call_of_a_restore_costs_nothing() {
    for (seconds, first) in [(12, 1), (60, 2)] {
        for call in (first..).step_by(2) {
            let (site, content) = backed_up().await;
            let client = site.source.client();
            client.wipe().await;
            let time = Duration::from_secs(seconds);
            let Some(run) = with_outage(&site, "recover_snap_shards", call, time).await else {
                assert!(call > 5, "{call}");
                break;
            };
            run.expect(0);
            assert_eq!(client.content("docs").await.points, content.points);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_any_call_of_prune_deletes_nothing_good() {
    for seconds in [12, 60, 300, 3600] {
        for call in (1..).step_by(if seconds == 60 { 1 } else { 3 }) {
            let (site, _) = backed_up().await;
            site.run(&["create_snap_shards"]).await.expect(0);
            let Some(run) = with_outage(&site, "prune_snap", call, Duration::from_secs(seconds)).await else {
                assert!(call > 5, "{call}");
                break;
            };
            let what = format!("{seconds} s from call {call} on");
            sets_are_whole(&site, &what);
            assert!(!manifest_keys(&site).is_empty(), "{what}");
            if seconds <= 60 {
                run.expect(0);
            } else {
                // The lock may be left when all else is done.
                assert!(run.code != 0 || manifest_keys(&site).len() == 1, "{what}:\n{}", run.stderr);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_beyond_the_limit_is_told_and_what_is_good_stays() {
    for call in (0..).step_by(3) {
        let (site, content) = backed_up().await;
        let old = manifest_keys(&site);
        let Some(run) = with_outage(&site, "create_snap_shards", call, Duration::from_secs(3600)).await else {
            break;
        };
        // Without a new set it is a failure. What comes after it may be left out, and that is said.
        sets_are_whole(&site, &format!("from call {call} on"));
        let kept = old.iter().all(|key| site.s3.get(key).is_some());
        let newer = manifest_keys(&site).iter().any(|key| !old.contains(key));
        assert!(newer || (kept && run.code != 0), "from call {call} on:\n{}", run.stderr);
        // The next run finds nothing in its way.
        site.run(&["create_snap_shards"]).await.expect(0);
        let client = site.source.client();
        client.wipe().await;
        site.run(&["recover_snap_shards"]).await.expect(0);
        assert_eq!(client.content("docs").await.points, content.points);
    }
}
