//! Which peers the shards of a restored set are on, and changes of the cluster that are never agreed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::{Placed, path};
use qdrant_backup_tests::faults::{Canned, Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::{fault, filled};

const AS_BACKED_UP: (&str, &str) = ("QDRANT_RESTORE_PLACEMENT", "as-backed-up");

/// A cluster whose set waits to be restored; both shards of `docs` were on one peer, where no creation puts them.
async fn wiped() -> (Site, Placed) {
    let mut site = filled(1).await;
    let client = site.source.client();
    let ids: Vec<u64> = site.source.stand_in().peers().iter().map(|peer| peer.id).collect();
    let from = client.placed("docs").await[&1].keys().next().copied().unwrap();
    let step = json!({"shard_id": 1, "from_peer_id": ids[from], "to_peer_id": ids[1 - from]});
    client.ok(Method::POST, &format!("{}/cluster", path("docs")), Some(&json!({ "move_shard": step }))).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let placed = client.placed("docs").await;
    assert_eq!(placed[&0].keys().collect::<Vec<_>>(), placed[&1].keys().collect::<Vec<_>>());
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    (site, placed)
}

/// What Qdrant answers when a change was not agreed on in time.
fn not_agreed() -> String {
    "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds".to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_set_is_restored_without_moving_a_shard() {
    let (site, before) = wiped().await;
    let refused = Wrong::Status(400, "no moves".to_owned());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/cluster", 99, refused));
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["40 points, verified on every replica"]);
    let after = site.source.client().placed("docs").await;
    for (shard, replicas) in &after {
        assert!(replicas.values().eq(before[shard].values()), "shard {shard} has other points");
    }
    assert!(after[&0].keys().ne(after[&1].keys()), "where Qdrant puts them: one on each peer");
    // It is as it was restored: nothing is to be done.
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["restored before"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_is_restored_as_backed_up_where_it_is_asked_for() {
    let (site, before) = wiped().await;
    site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await.expect(0);
    assert_eq!(site.source.client().placed("docs").await, before);
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_who_chooses_the_peers() {
    let (site, _) = wiped().await;
    let plan = site.run(&["recover_snap_shards", "--dry-run"]).await.expect(0);
    assert!(plan.stdout.contains("as Qdrant chooses"), "{}", plan.stdout);
    let plan = site.run_with(&["recover_snap_shards", "--dry-run"], &[AS_BACKED_UP]).await.expect(0);
    assert!(!plan.stdout.contains("as Qdrant chooses"), "{}", plan.stdout);
}

/// Never agreed on and not done, or done all the same: asked for again, and right in the end.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_agreed_on_is_asked_for_again() {
    for (method, uri, times) in [(Method::PUT, "/collections/docs?", 3), (Method::POST, "/docs/cluster", 1)] {
        for done in [false, true] {
            let (site, before) = wiped().await;
            let body = json!({"status": {"error": not_agreed()}, "time": 10.0}).to_string().into_bytes();
            let answer = Canned { status: 500, retry_after: None, content_type: "application/json", body };
            let wrong = if done { Wrong::DoneBut(answer) } else { Wrong::Answer(answer) };
            site.s3.faults().add(Chosen::Qdrant, fault(method.clone(), uri, times, wrong));
            let run = site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await.expect(0);
            assert!(run.stderr.contains("Waiting for consensus"), "{uri}, done: {done}\n{}", run.stderr);
            assert_eq!(site.source.client().placed("docs").await, before, "{uri}, done: {done}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_moved_since_is_told() {
    let (mut site, before) = wiped().await;
    site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await.expect(0);
    site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await.expect(0).says(&["restored before"]);
    let ids: Vec<u64> = site.source.stand_in().peers().iter().map(|peer| peer.id).collect();
    let from = before[&1].keys().next().copied().unwrap();
    let step = json!({"shard_id": 1, "from_peer_id": ids[from], "to_peer_id": ids[1 - from]});
    let client = site.source.client();
    client.ok(Method::POST, &format!("{}/cluster", path("docs")), Some(&json!({ "move_shard": step }))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let run = site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await;
    crate::failed(run).says(&["it was restored before and has changed since (its replicas are on"]);
}

/// 40 collections of two shards that wait to be restored; `indexed`: with payload indexes.
async fn forty(options: Options, indexed: bool) -> Site {
    let settled = options.settle;
    let site = Site::native(Options { peers: 3, ..options }).await;
    let client = site.source.client();
    for number in 0..40 {
        let name = format!("c{number}");
        client.create(&name, json!({"shard_number": 2})).await;
        if indexed {
            client.index(&name).await;
        }
    }
    tokio::time::sleep(settled).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    site
}

/// How many such requests are under way at the same time at most, each for a second, where they are restored as they were
/// backed up.
async fn most_at_once(method: Method, uri: &str) -> usize {
    let site = forty(Options::default(), uri.contains("/index")).await;
    let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = {
        let most = Arc::clone(&most);
        Wrong::Before(Event::new(move || {
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let at_work = Arc::clone(&at_work);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                at_work.fetch_sub(1, Ordering::SeqCst);
            }
        }))
    };
    site.s3.faults().add(Chosen::Qdrant, fault(method, uri, 999, counted));
    site.run_with(&["restore"], &[AS_BACKED_UP]).await.expect(0);
    assert_eq!(site.source.client().collections().await.len(), 40);
    assert!(site.s3.faults().hits() > 20, "{}", site.s3.faults().hits());
    most.load(Ordering::SeqCst)
}

/// Consensus does one thing after another: who asks for all at once is refused some.
#[tokio::test(start_paused = true)]
async fn few_collections_are_created_at_the_same_time() {
    assert_eq!(most_at_once(Method::PUT, "/collections/c*?timeout").await, 12);
}

#[tokio::test(start_paused = true)]
async fn few_collections_are_laid_out_at_the_same_time() {
    assert_eq!(most_at_once(Method::POST, "/cluster?timeout").await, 12);
}

/// A step that Qdrant refuses is told at once; one that it refuses as it was done meanwhile is done.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_refused_is_told_or_was_done_meanwhile() {
    let refused = || Wrong::Status(400, json!({"status": {"error": "Wrong input: no"}}).to_string());
    let (site, _) = wiped().await;
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/cluster", 99, refused()));
    let run = site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await;
    crate::failed(run).says(&["Wrong input: no"]);
    assert_eq!(site.s3.faults().hits(), 1);
    // Agreed on late: the answer is lost, and the step is done before it is asked for again.
    let (site, before) = wiped().await;
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/cluster", 1, Wrong::Reset));
    site.s3.faults().add(
        Chosen::Qdrant,
        fault(
            Method::POST,
            "/docs/cluster",
            1,
            Wrong::DoneBut(Canned {
                status: 400,
                retry_after: None,
                content_type: "application/json",
                body: json!({"status": {"error": "Wrong input: it is replicated already"}}).to_string().into_bytes(),
            }),
        ),
    );
    site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await.expect(0);
    assert_eq!(site.s3.faults().hits(), 2);
    assert_eq!(site.source.client().placed("docs").await, before);
    // Unless it is another refusal than of what was asked for in vain.
    let (site, _) = wiped().await;
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/cluster", 1, Wrong::Reset));
    let forbidden = Wrong::Status(403, json!({"status": {"error": "Forbidden: no"}}).to_string());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/docs/cluster", 1, forbidden));
    crate::failed(site.run_with(&["recover_snap_shards"], &[AS_BACKED_UP]).await).says(&["Forbidden: no"]);
}

#[tokio::test(start_paused = true)]
async fn few_payload_indexes_are_made_at_the_same_time() {
    assert_eq!(most_at_once(Method::PUT, "/index?").await, 12);
}

/// Where nothing more is to be agreed on.
#[tokio::test(start_paused = true)]
async fn others_are_created_while_one_settles() {
    let site = forty(Options { settle: Duration::from_secs(60), ..Options::default() }, false).await;
    let began = tokio::time::Instant::now();
    site.run(&["recover_snap_shards"]).await.expect(0);
    assert!(began.elapsed() < Duration::from_secs(200), "{:?}", began.elapsed());
}
