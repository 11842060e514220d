//! Two runs at the same time.

use http::Method;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::faults::Chosen;
use qdrant_backup_tests::fixtures::{Hold, filled};
use qdrant_backup_tests::s3::{Fault, Request, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tempfile::TempDir;

/// The lock of a run that says it is `pod`.
fn lock(pod: &str, beat: u64, at: &str) -> Vec<u8> {
    let lock = json!({"holder": pod, "token": pod, "since": "2026-01-29T11:00:00Z", "beat": beat, "beat_at": at});
    lock.to_string().into_bytes()
}

/// Now, and a day that is long over.
fn now() -> String {
    let now = time::OffsetDateTime::now_utc().to_string();
    format!("{}T{}Z", &now[..10], &now[11..19])
}
const LONG_AGO: &str = "2026-01-20T11:00:00Z";

/// The lock that a run of `task` leaves out of its name: found by running it once.
async fn lock_of(site: &Site, task: &str) -> String {
    let put = |request: &Request| {
        let path = request.uri.path().trim_start_matches('/');
        let key = path.split_once('/')?.1;
        (request.method == Method::PUT && key.starts_with("run_locks/")).then(|| key.to_owned())
    };
    let before = site.s3.requests().len();
    site.run(&[task]).await.expect(0);
    site.s3.requests().iter().skip(before).find_map(put).expect("a lock")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_gone_when_the_run_has_ended() {
    let site = filled().await;
    for task in ["create_snap", "create_snap_shards", "recover_snap", "recover_snap_shards"] {
        if task.starts_with("recover") {
            site.source.client().wipe().await;
        }
        lock_of(&site, task).await;
        assert!(site.s3.keys("run_locks/").is_empty(), "{task}");
    }
}

/// Two real runs; by the first one's next heartbeat the second one sees that it is at work.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_says_who_is_at_work_and_changes_nothing() {
    let site = filled().await;
    let task = ["create_snap_shards"];
    let hold = Hold::before(&site.s3, Chosen::Program, Method::PUT, "/backup_manifests/docs/");
    let first = site.run_with(&task, &[("HOSTNAME", "pod-1")]);
    let second = async {
        hold.reached().await;
        let before = site.s3.keys("");
        let work = TempDir::new().unwrap();
        let run = site.run_in(work.path(), &task, &[("HOSTNAME", "pod-2")]).await.expect(1).says(&[
            "another run holds the lock",
            "pod pod-1, since 20",
            "run this one again when that has ended",
        ]);
        assert_eq!(site.s3.keys(""), before, "{}", run.stderr);
        assert_eq!(site.s3.keys("run_locks/").len(), 1, "somebody else's lock");
        hold.release();
    };
    let (first, ()) = tokio::join!(first, second);
    first.expect(0);
    assert_eq!((site.s3.keys("backup_manifests/").len(), site.s3.keys("run_locks/").len()), (1, 0));
    site.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_may_need_is_not_pruned() {
    let site = filled().await;
    lock_of(&site, "create_snap_shards").await;
    another_second().await;
    site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "0")]).await.expect(0);
    let sets = site.s3.keys("backup_manifests/");
    let key = "run_locks/restore-1.json";
    site.s3.put(key, lock("restoring", 1, &now()));
    // The restore's heartbeat comes when the lock was looked at for the first time.
    let look = Hold::after(&site.s3, Chosen::Program, Method::GET, key);
    let beating = async {
        look.reached().await;
        site.s3.put(key, lock("restoring", 2, &now()));
        look.release();
    };
    let one = [("QDRANT_BACKUP_RETENTION_SETS", "1")];
    let (run, ()) = tokio::join!(site.run_with(&["prune_snap"], &one), beating);
    run.expect(1).says(&["pod restoring", "prune when it has ended"]);
    assert_eq!(site.s3.keys("backup_manifests/"), sets);
}

/// Silence is waited for in real time here, a good minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_left_heals_itself() {
    let site = filled().await;
    let key = lock_of(&site, "create_snap").await;
    let source = key.trim_start_matches("run_locks/create_snap-").split('-').next().unwrap();
    let lock = |pod, at: &str| {
        let mut lock: serde_json::Value = serde_json::from_slice(&lock(pod, 1, at)).unwrap();
        (lock["work"], lock["source_id"]) = (json!("create_snap"), json!(source));
        lock.to_string().into_bytes()
    };
    // So old that no clock is that wrong: at once.
    site.s3.put(&key, lock("other", LONG_AGO));
    let run = site.run(&["create_snap"]).await.expect(0);
    assert!(!run.stderr.contains("waiting for its heartbeat") && site.s3.get(&key).is_none(), "{}", run.stderr);
    // Else once it has been silent for long enough.
    // The name of the pod is no proof that it is this one.
    site.s3.put(&key, lock("pod-1", &now()));
    let run = site.run_with(&["create_snap"], &[("HOSTNAME", "pod-1")]).await.expect(0);
    run.says(&["pod pod-1", "waiting for its heartbeat"]);
    assert!(site.s3.get(&key).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_lock_is_taken_over_stops() {
    let site = filled().await;
    // It would wait there until it is stopped.
    let hold = Hold::before(&site.s3, Chosen::Program, Method::PUT, "/snapshot_manifests/docs/");
    let taken = async {
        hold.reached().await;
        let [key] = site.s3.keys("run_locks/").try_into().unwrap();
        site.s3.put(&key, lock("thief", 7, &now()));
        key
    };
    let arguments = ["create_snap"];
    let (run, key) = tokio::join!(site.run(&arguments), taken);
    // The aliases need no lock, and were saved.
    run.expect(3).says(&["this run was stopped, as its lock was taken over", "pod thief"]);
    assert!(site.s3.get(&key).is_some(), "somebody else's lock");
    assert!(site.s3.keys("snapshot_manifests/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_locks_hinders_nothing() {
    let site = filled().await;
    site.s3.fail(Fault {
        method: Some(Method::PUT),
        uri: "run_locks/".to_owned(),
        skip: 0,
        times: 99,
        wrong: Wrong::Status(403, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    });
    site.run(&["create_snap"]).await.expect(0).says(&["no lock could be taken"]);
    assert_eq!(site.s3.keys("snapshots/docs/").len(), 2);
}
