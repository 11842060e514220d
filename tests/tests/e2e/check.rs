//! `check` in the sandbox: what it may not reach, names that are none, and real servers.

use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

/// The rows with this status, each as one text.
fn rows(stdout: &str, status: &str) -> Vec<String> {
    let found: Value = serde_json::from_str(stdout).expect("JSON");
    let rows = found["rows"].as_array().expect("rows").iter().filter(|row| row["status"] == status);
    rows.map(|row| {
        format!("{}: {}: {} -> {}", row["area"], row["check"], row["finding"], row["advice"]).replace('"', "")
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_cluster_finds_what_the_sandbox_denies() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let objects = site.s3.objects();
    let run = site.run(&["check", "--output", "json"]).await.expect(0);
    assert_eq!(rows(&run.stdout, "failure"), Vec::<String>::new());
    assert_eq!(rows(&run.stdout, "warning"), Vec::<String>::new());
    let ok = rows(&run.stdout, "ok");
    for host in site.source.hosts() {
        assert!(ok.iter().any(|row| row.starts_with(&format!("target: link fetched by {host}"))), "{ok:#?}");
    }
    assert!(site.s3.objects() == objects && client.collections().await.len() == 1);
    // The other peer has an address of its own, which nobody has allowed.
    let run = site.run_with(&["check", "--output", "json"], &[("QDRANT_ALLOW_HOSTS", "")]).await.expect(3);
    let failures = rows(&run.stdout, "failure");
    let other = site.source.hosts()[1].replace("http://", "");
    for side in ["source", "target"] {
        let denied = |row: &&String| row.starts_with(side) && row.contains(&format!("--allow-host '{other}'"));
        assert_eq!(failures.iter().filter(denied).count(), 1, "{failures:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_names_that_are_none_ends_soon() {
    let site = Site::standalone().await;
    let begun = std::time::Instant::now();
    let more = [
        ("QDRANT_SOURCE_HOSTS", "http://no-such-host.invalid:6333"),
        ("QDRANT_S3_ENDPOINT_URL", "http://no-such-store.invalid"),
        ("QDRANT_RETRY_MAX_DURATION", "5m"),
    ];
    let run = site.run_with(&["check", "--output", "json"], &more).await.expect(3);
    // As long as one server is waited for by a run; there are three.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    let failures = rows(&run.stdout, "failure");
    assert!(failures.iter().any(|row| row.starts_with("source: http://no-such-host.invalid")), "{failures:#?}");
    assert!(
        failures.iter().any(|row| row.starts_with("bucket: list: S3 at http://no-such-store.invalid")),
        "{failures:#?}"
    );
}
