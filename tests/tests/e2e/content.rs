//! The content of collections of every kind: read from snapshots by the drill, held against restores, compared between
//! clusters.

use http::Method;
use qdrant_backup_tests::client::{Client, path};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::drill::drill;

const FULL: [(&str, &str); 1] = [("QDRANT_VERIFY_CONTENT", "full")];

fn vector(size: u64, seed: u64) -> Value {
    (0..size).map(|place| json!(((seed * 31 + place * 17) % 97) as f64 / 13.0 - 3.0)).collect()
}

/// Of every kind that Qdrant has: named, sparse, multi; every datatype, quantisation and distance.
fn kinds() -> Value {
    json!({
        "shard_number": 2,
        "replication_factor": 2,
        "vectors": {
            "cosine": {"size": 8, "distance": "Cosine", "quantization_config": {"scalar": {"type": "int8"}}},
            "half": {"size": 8, "distance": "Dot", "datatype": "float16", "on_disk": true},
            "bytes": {"size": 8, "distance": "Euclid", "datatype": "uint8"},
            "binary": {"size": 64, "distance": "Cosine", "quantization_config": {"binary": {"always_ram": true}}},
            "product": {"size": 8, "distance": "Manhattan", "quantization_config": {"product": {"compression": "x4"}}},
            "parts": {"size": 4, "distance": "Cosine", "multivector_config": {"comparator": "max_sim"}},
            "half-parts": {"size": 4, "distance": "Dot", "datatype": "float16",
                "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {"words": {}, "half-words": {"index": {"datatype": "float16"}}, "idf": {"modifier": "idf"}},
    })
}

fn point(number: u64) -> Value {
    let id =
        if number.is_multiple_of(3) { json!(format!("5C56C793-69F3-4FBF-87E6-{number:012X}")) } else { json!(number) };
    let mut vectors = json!({
        "cosine": vector(8, number),
        "half": vector(8, number + 1),
        "bytes": (0..8).map(|place| (number * 7 + place) % 256).collect::<Vec<_>>(),
        "binary": vector(64, number),
        "product": vector(8, number + 2),
        "parts": [vector(4, number), vector(4, number + 3), vector(4, number + 5)],
        "half-parts": [vector(4, number + 7)],
        "words": {"indices": [number % 50 + 60, number % 50, 4_000_000_000_u64], "values": [0.1, -0.3, 1e-7]},
        "half-words": {"indices": [7, 3], "values": [0.123_456_789, 1000.5]},
        "idf": {"indices": [number], "values": [1.0]},
    });
    // Not every point has every vector.
    for (name, every) in [("half", 4), ("parts", 5), ("words", 6), ("bytes", 7), ("cosine", 9)] {
        if number.is_multiple_of(every) {
            vectors.as_object_mut().unwrap().remove(name);
        }
    }
    let payload = match number % 4 {
        0 => json!({}),
        1 => {
            json!({"text": format!("Ōsaka \u{0} \"{number}\""), "none": null, "nested": {"z": [1, 1.0, -0.0, {"a": []}], "": {}}})
        }
        2 => {
            json!({"whole": i64::MAX as u64 - number, "negative": -(number as i64), "float": number as f64 / 7.0, "small": 1e-9,
            "large": 1.5e21, "when": "2026-01-29T11:44:22Z", "where": {"lat": 52.52, "lon": 13.405}})
        }
        _ => json!({"list": (0..number % 20).collect::<Vec<_>>(), "yes": true, "f": 0.1 + number as f64}),
    };
    json!({"id": id, "payload": payload, "vector": vectors})
}

async fn write(client: &Client, points: Vec<Value>) {
    for points in points.chunks(100) {
        client.ok(Method::PUT, &format!("{}/points?wait=true", path("kinds")), Some(&json!({"points": points}))).await;
    }
}

/// Points of every kind, some of them deleted and inserted again, some changed.
async fn fill(client: &Client) {
    client.create("kinds", kinds()).await;
    write(client, (0..600).map(point).collect()).await;
    let post = async |what: &str, body: Value| {
        client.ok(Method::POST, &format!("{}/points/{what}?wait=true", path("kinds")), Some(&body)).await;
    };
    let ids = |from: u64, to: u64| (from..to).map(|number| point(number)["id"].clone()).collect::<Vec<_>>();
    post("delete", json!({"points": ids(100, 200)})).await;
    write(
        client,
        (100..150)
            .map(|number| json!({"id": point(number)["id"], "vector": {}, "payload": point(number + 1)["payload"]}))
            .collect(),
    )
    .await;
    write(client, (100..120).map(point).collect()).await;
    post("payload", json!({"points": ids(300, 310), "payload": {"more": [null, 1.25]}})).await;
    post("payload/clear", json!({"points": ids(310, 320)})).await;
    post("vectors/delete", json!({"points": ids(320, 330), "vector": ["cosine", "idf"]})).await;
    // One without names, and one with no vectors at all.
    client.create("plain", json!({"shard_number": 1})).await;
    client.fill("plain", 0, 300).await;
    client.ok(Method::PUT, "/collections/none?timeout=60", Some(&json!({"vectors": {}}))).await;
    let points: Vec<Value> = (0..20).map(|id| json!({"id": id, "vector": {}, "payload": {"n": id}})).collect();
    client.ok(Method::PUT, "/collections/none/points?wait=true", Some(&json!({"points": points}))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(real_servers), ignore = "for real servers: the stand-in knows neither quantisation nor partial vectors")]
async fn content_of_every_kind_is_verified_without_a_false_alarm() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    fill(&client).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!(code, 0, "{report:#}");
    let other = site.more(Options { peers: 1, ..Options::default() }).await;
    let other_host = other.hosts()[0].clone();
    let target = [("QDRANT_RESTORE_HOSTS", other_host.as_str())];
    for check in ["sample", "full"] {
        other.client().wipe().await;
        let settings = [target[0], ("QDRANT_VERIFY_CONTENT", check)];
        let run = site.run_with(&["recover_snap_shards"], &settings).await.expect(0);
        assert_eq!(run.stderr.matches("content verified against the backup").count(), 3, "{}", run.stderr);
    }
    let with = ["--with", other_host.as_str()];
    let (code, report) = drill(&site, &with, &[]).await;
    let equal = report["items"].as_array().unwrap().iter().filter(|item| item["content"] == "equal").count();
    assert_eq!((code, equal), (0, 3), "{report:#}");
    // Fewer peers, and replicas; the source is still there.
    site.run_with(&["compare"], &target).await.expect(0).says(&["550 points are equal on every replica"]);
    let (id, other_id) = (point(301)["id"].clone(), point(402)["id"].clone());
    let body = json!({"points": [id], "payload": {"more": [null, 1.5]}});
    other.client().ok(Method::POST, &format!("{}/points/payload?wait=true", path("kinds")), Some(&body)).await;
    let body = json!({"points": [other_id]});
    other.client().ok(Method::POST, &format!("{}/points/delete?wait=true", path("kinds")), Some(&body)).await;
    let other_id = json!(other_id.as_str().map_or(other_id.to_string(), str::to_lowercase));
    let run = site.run_with(&["compare"], &target).await.expect(3);
    let named = [format!("point {id} in payload.more[1]"), format!("point {other_id} is not on the target")];
    run.says(&[&named[0], &named[1]]);
    let (code, report) = drill(&site, &with, &[]).await;
    let different = report["items"].as_array().unwrap().iter().find(|item| item["content"] == "different").unwrap();
    let cause = different["cause"].as_str().unwrap();
    assert!(code == 3 && named.iter().all(|named| cause.contains(named.as_str())), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_held_against_the_drill_of_its_snapshots() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.fill("docs", 0, 500).await;
    let named = json!({
        "vectors": {"text": {"size": 4, "distance": "Cosine"}, "parts": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
        "sparse_vectors": {"words": {}},
    });
    client.ok(Method::PUT, "/collections/named?timeout=60", Some(&named)).await;
    let points: Vec<Value> = (0..50)
        .map(|id| {
            let vectors = json!({"text": vector(4, id), "parts": [vector(2, id), vector(2, id + 1)], "words": {"indices": [9, id % 9], "values": [0.5, 0.25]}});
            json!({"id": id, "vector": vectors, "payload": {"f": id as f64 / 3.0, "none": null}})
        })
        .collect();
    client.ok(Method::PUT, "/collections/named/points?wait=true", Some(&json!({"points": points}))).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    let run = site.run_with(&["recover_snap_shards"], &FULL).await.expect(0);
    assert_eq!(run.stderr.matches("replicas equal, not compared with the backup").count(), 2, "{}", run.stderr);
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!(code, 0, "{report:#}");
    site.run(&["verify"]).await.expect(0).says(&["its points read by Qdrant's engine at"]);
    client.wipe().await;
    let run = site.run_with(&["recover_snap_shards"], &FULL).await.expect(0);
    assert_eq!(run.stderr.matches("content verified against the backup").count(), 2, "{}", run.stderr);
    // A restore drill says more of the set, and takes nothing back.
    site.run(&["drill"]).await.expect(0);
    client.wipe().await;
    site.run_with(&["recover_snap_shards"], &FULL).await.expect(0).says(&["content verified against the backup"]);
}
