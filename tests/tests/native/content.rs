//! What is compared of a collection's content.

use http::Method;
use qdrant_backup_core::content::{Digest, Sample, hash};
use qdrant_backup_tests::client::{Client, path, point};
use qdrant_backup_tests::faults::{Canned, Chosen, Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::{after, edited, failed, fault, manifests};

const FULL: [(&str, &str); 1] = [("QDRANT_VERIFY_CONTENT", "full")];
const SAMPLE: [(&str, &str); 2] = [("QDRANT_VERIFY_CONTENT", "sample"), ("QDRANT_VERIFY_SAMPLE_POINTS", "50")];

/// `docs` with two shards of two replicas each, backed up as a set and gone.
async fn backed_up(points: u64) -> (Site, Client) {
    let site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.fill("docs", 0, points).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    (site, client)
}

/// The points of a shard.
async fn points(client: &Client, shard: u32) -> Vec<Value> {
    let path = format!("{}/shards/{shard}/points/scroll", path("docs"));
    let body = json!({"limit": 100_000, "with_payload": true, "with_vector": true});
    let mut page = client.ok(Method::POST, &path, Some(&body)).await;
    page["points"].as_array_mut().unwrap().drain(..).collect()
}

fn digest<'a>(points: impl IntoIterator<Item = &'a Value>) -> String {
    let mut digest = Digest::default();
    points.into_iter().for_each(|point| digest.add(&hash(point).unwrap()));
    digest.to_string()
}

/// Has a drill on record that has read the snapshots; `edit` changes what it has found.
async fn record(site: &Site, client: &Client, edit: impl FnOnce(&mut Value)) {
    let (mut all, mut sampled) = (json!({}), json!({}));
    for shard in [0, 1] {
        let points = points(client, shard).await;
        let mut sample = Sample::default();
        points.iter().for_each(|point| sample.add(point, 50, point).unwrap());
        all[shard.to_string()] = json!(digest(&points));
        sampled[shard.to_string()] = json!(digest(sample.into_chosen()));
    }
    let manifest = manifests(site).remove(0);
    let mut content = json!({"read_at": "2026-01-01T00:00:00Z", "all": all, "sample": sampled, "sample_points": 50});
    edit(&mut content);
    let record = json!({
        "version": 1, "collection": "docs", "backup_set_id": manifest.backup_set_id, "snapshots": manifest.fingerprint(),
        "restored_at": "", "points": 0, "verified": false, "compared": "", "host": "", "run_id": "", "content": content,
    });
    site.s3.put(&manifest.id().drill_key("docs"), record.to_string().into_bytes());
}

#[tokio::test(start_paused = true)]
async fn one_changed_byte_among_thousands_is_found_and_named() {
    for (id, change) in [(1234, "payload.city"), (4321, "vector[2]"), (77_777, "is not on peer")] {
        let (mut site, client) = backed_up(5000).await;
        site.run(&["recover_snap_shards"]).await.expect(0);
        let shard = u32::from(!points(&client, 0).await.iter().any(|point| point["id"] == id));
        client.wipe().await;
        let mut changed = point(id);
        match change {
            "payload.city" => {
                changed["payload"]["city"] = json!(changed["payload"]["city"].as_str().unwrap().replace('i', "j"))
            }
            "vector[2]" => {
                changed["vector"][2] = json!(f64::from(changed["vector"][2].as_f64().unwrap() as f32 + 1e-7))
            }
            _ => {}
        }
        // On one replica, after it was restored and counted.
        let write = site.source.stand_in().writer();
        let happens = move || write("docs", shard, 1, std::slice::from_ref(&changed));
        let first_page = fault(Method::POST, &format!("/shards/{shard}/points/scroll"), 1, after(happens));
        site.s3.faults().add(Chosen::Qdrant, first_page);
        let run = failed(site.run_with(&["recover_snap_shards"], &FULL).await);
        run.says(&[&format!("the replicas of shard {shard} on peers"), &format!("differ: point {id} ")])
            .says(&[change]);
    }
}

#[tokio::test(start_paused = true)]
async fn equal_replicas_are_no_proof_of_the_backup() {
    let (site, client) = backed_up(300).await;
    let run = site.run(&["recover_snap_shards"]).await.expect(0).says(&["300 points read back"]);
    assert!(!run.stderr.contains("compared with the backup"), "{}", run.stderr);
    for (settings, what) in [(&FULL[..], "every point"), (&SAMPLE[..], "a sample of points")] {
        client.wipe().await;
        let says = format!("{what}: replicas equal, not compared with the backup");
        let run = site.run_with(&["recover_snap_shards"], settings).await.expect(0);
        let run = run.says(&[&says, "verified on every replica"]);
        assert!(!run.stderr.contains(" points of shard "), "how far it is is told where it takes long: {}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_held_against_what_a_drill_has_read() {
    let (site, client) = backed_up(300).await;
    site.run(&["recover_snap_shards"]).await.expect(0);
    let settings = [&FULL[..], &SAMPLE[..]];
    record(&site, &client, |_| {}).await;
    for settings in settings {
        client.wipe().await;
        let run = site.run_with(&["recover_snap_shards"], settings).await.expect(0);
        run.says(&["content verified against the backup"]);
    }
    // A sample of other points says nothing of these.
    client.wipe().await;
    let other = [("QDRANT_VERIFY_CONTENT", "sample"), ("QDRANT_VERIFY_SAMPLE_POINTS", "51")];
    site.run_with(&["recover_snap_shards"], &other).await.expect(0).says(&["not compared with the backup"]);
    // Nor does a digest of a later version, or one of a shard alone.
    for edit in [
        |all: &mut Value| all["0"] = json!("v2:1:00"),
        |all: &mut Value| drop(all.as_object_mut().unwrap().remove("0")),
    ] {
        record(&site, &client, |content| edit(&mut content["all"])).await;
        client.wipe().await;
        site.run_with(&["recover_snap_shards"], &FULL).await.expect(0).says(&["not compared with the backup"]);
    }
    let others = digest(&[point(1)]);
    record(&site, &client, |content| (content["all"]["1"], content["sample"]["1"]) = (json!(others), json!(others)))
        .await;
    for settings in settings {
        client.wipe().await;
        let run = failed(site.run_with(&["recover_snap_shards"], settings).await);
        run.says(&["the content of shard 1 is not that of its snapshot", &others]);
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_cannot_be_read_is_not_called_verified() {
    // The keys may not, and no page is small enough.
    for (status, says, asked) in [(403, "Forbidden: no", 2), (400, "Limit exceeded", 4)] {
        let (site, _) = backed_up(300).await;
        let body = json!({"status": {"error": says}, "time": 0.1}).to_string().into_bytes();
        let refused = Canned { status, retry_after: None, content_type: "application/json", body };
        let refused = fault(Method::POST, "/shards/1/points/scroll", usize::MAX, Wrong::Answer(refused));
        site.s3.faults().add(Chosen::Qdrant, refused);
        let run = site.run_with(&["recover_snap_shards"], &FULL).await.expect(0);
        run.says(&["restored and not verified: its content can't be compared", says]);
        let scrolls = site.s3.faults().requests();
        let scrolls = scrolls.iter().filter(|request| request.uri.path().ends_with("/shards/1/points/scroll")).count();
        // By each replica: of two points, and where it is the size that may be refused, of one. There is no smaller page.
        assert_eq!(scrolls, asked, "{status}");
    }
}

/// Nobody tells how much the server lets be read at a time.
#[tokio::test(start_paused = true)]
async fn pages_get_smaller_until_they_are_let_through() {
    let (site, _) = backed_up(300).await;
    let refused = Canned {
        status: 400,
        retry_after: None,
        content_type: "application/json",
        body: br#"{"status":{"error":"Limit exceeded"},"time":0.1}"#.to_vec(),
    };
    let refused = fault(Method::POST, "/shards/1/points/scroll", 1, Wrong::Answer(refused));
    site.s3.faults().add(Chosen::Qdrant, refused);
    site.run_with(&["recover_snap_shards"], &FULL).await.expect(0).says(&["every point: replicas equal"]);
    let scrolls = site.s3.faults().requests();
    let scrolls = scrolls.iter().filter(|request| request.uri.path().ends_with("/shards/1/points/scroll")).count();
    assert!((100..1000).contains(&scrolls), "{scrolls} pages of few points");
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_nothing_is_refused() {
    let (site, _) = backed_up(3).await;
    let settings = [("QDRANT_VERIFY_CONTENT", "sample"), ("QDRANT_VERIFY_SAMPLE_POINTS", "0")];
    site.run_with(&["recover_snap_shards"], &settings).await.expect(2).says(&["QDRANT_VERIFY_SAMPLE_POINTS"]);
}

#[tokio::test(start_paused = true)]
async fn two_clusters_are_compared_whatever_their_layout_is() {
    let mut site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.fill("docs", 0, 700).await;
    let other = site.more(Options { peers: 1, memory: true, ..Options::default() }).await;
    let there = other.client();
    there
        .create("papers", json!({"shard_number": 3, "strict_mode_config": {"enabled": true, "max_query_limit": 5}}))
        .await;
    let host = other.hosts()[0].clone();
    let all = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("QDRANT_RESTORE_RENAME", "docs=papers")];
    let sample = [all[0], all[1], SAMPLE[0], SAMPLE[1]];
    failed(site.run_with(&["compare"], &all[..1]).await).says(&["it is not there"]);
    failed(site.run(&["compare"]).await).says(&["it is source and target"]);
    // Without one point, and then with all of them.
    there.fill("papers", 0, 699).await;
    let run = failed(site.run_with(&["compare"], &all).await).says(&["point 699 is not on the target"]);
    assert!(!run.stderr.contains(" more"), "{}", run.stderr);
    there.fill("papers", 699, 700).await;
    site.run_with(&["compare"], &all).await.expect(0).says(&["700 points are equal on every replica"]);
    site.run_with(&["compare"], &sample).await.expect(0).says(&["points of a sample are equal"]);
    // A dozen points that differ: ten are named, and the others counted.
    let changed: Vec<Value> =
        (100..112).map(|id| json!({"id": id, "vector": point(id)["vector"], "payload": {"city": "x"}})).collect();
    let path = format!("{}/points?wait=true", path("papers"));
    there.ok(Method::PUT, &path, Some(&json!({"points": changed}))).await;
    let run = failed(site.run_with(&["compare", "--with", &host], &all[1..]).await);
    run.says(&["point 100 in payload.city, point 101 in payload.city", "point 109 in payload.city, and 2 more"]);
    there.fill("papers", 100, 112).await;
    // A replica that can't be read is not said to be equal.
    site.source.stand_in().set_replica_state("docs", 0, 1, "Dead");
    failed(site.run_with(&["compare"], &all).await).says(&["shard 0 is Dead on peer", "wait until every replica"]);
    site.source.stand_in().set_replica_state("docs", 0, 1, "Active");
    site.run_with(&["compare"], &all).await.expect(0);
    // Replicas that differ from one another are not equal to anything.
    let extra = json!({"id": 5000, "vector": point(1)["vector"], "payload": {}});
    site.source.stand_in().write_to_one_replica("docs", 0, 1, &[extra]);
    failed(site.run_with(&["compare"], &all).await)
        .says(&["the replicas of shard 0 on peers", "point 5000 is not on peer"]);
    let none = [all[0], ("QDRANT_COLLECTIONS", "x*")];
    failed(site.run_with(&["compare"], &none).await);
}

/// A page that begins with a point of the page before, and a sample that lacks a point that is there.
#[tokio::test(start_paused = true)]
async fn points_that_come_twice_or_not_at_all_are_refused() {
    let (site, client) = backed_up(300).await;
    let twice = edited(|page| {
        let points = page["result"]["points"].as_array_mut().unwrap();
        let first = points[0].clone();
        points.insert(0, first);
    });
    site.s3.faults().add(Chosen::Qdrant, Fault { skip: 1, ..fault(Method::POST, "/shards/1/points/scroll", 1, twice) });
    failed(site.run_with(&["recover_snap_shards"], &FULL).await).says(&["not in the order of their ids"]);
    client.wipe().await;
    let fewer = edited(|answer| drop(answer["result"].as_array_mut().map(|points| points.remove(0))));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/shards/1/points", 99, fewer));
    let run = failed(site.run_with(&["recover_snap_shards"], &SAMPLE).await);
    run.says(&["3 points came of 4 that were asked for by their ids"]);
}

/// What was not read is not equal.
#[tokio::test(start_paused = true)]
async fn an_empty_page_is_not_the_last_one() {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 300).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let empty = edited(|page| page["result"]["points"] = json!([]));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::POST, "/shards/0/points/scroll", 1, empty));
    let run = site.run_with(&["recover_snap_shards"], &FULL).await;
    failed(run).says(&["a page without points that is not the last one"]);
}
