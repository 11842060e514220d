//! `get_coll`, `get_snap`, `get_snap_s3`, `reset`: what prints or removes and changes no server.

use qdrant_backup_tests::faults::{Fault, Wrong};
use qdrant_backup_tests::site::{Site, run};
use serde_json::{Value, json};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_listed_printed_and_kept() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("b", json!({})).await;
    client.create("a,c", json!({})).await;
    let host = site.source.hosts()[0].clone();
    let expected = format!("{host},\"a,c\"\n{host},b\n");
    assert_eq!(site.run(&["get_coll"]).await.expect(0).stdout, expected);
    let file = site.file("collections");
    let (marker, lines) = file.split_once('\n').unwrap();
    assert!(marker.starts_with("# ") && lines == expected, "{file}");
    client.delete("b").await;
    let run = site.run(&["get_collection"]).await.expect(0).says(&["exists and is kept"]);
    assert_eq!(run.stdout, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_listed_from_qdrant_and_from_the_bucket() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    for collection in ["docs", "docs-2"] {
        client.create(collection, json!({"shard_number": 2})).await;
    }
    site.run(&["create_snap"]).await.expect(0);
    // Qdrant lists the snapshots of shards among those of the collection.
    let local =
        client.ok(http::Method::GET, "/collections/docs/cluster", None).await["local_shards"][0]["shard_id"].clone();
    client.ok(http::Method::POST, &format!("/collections/docs/shards/{local}/snapshots?wait=true"), None).await;
    let made = site.file("snapshots");
    let names = |csv: &str| {
        let mut names: Vec<String> = csv.lines().map(|line| line.rsplit(',').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    for task in ["get_snap", "get_snap_s3"] {
        site.run(&["reset"]).await.expect(0);
        let run = site.run(&[task]).await.expect(0);
        assert_eq!(names(&run.stdout), names(&made), "{task}");
        assert_eq!(site.file("snapshots"), run.stdout);
        assert_eq!(site.run(&[task]).await.expect(0).says(&["is kept"]).stdout, run.stdout);
        site.run(&["reset"]).await.expect(0);
        let run = site.run_with(&[task], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", "docs-2-*")]).await.expect(0);
        assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
        site.run(&["reset"]).await.expect(0);
        let run = site.run_with(&[task], &[("QDRANT_SNAPSHOT_DATETIME_FILTER", "1999-01-01")]).await.expect(0);
        assert_eq!(run.stdout, "");
    }
    // From the bucket without any host, as people list what a lost cluster left.
    let run = site.run_with(&["get_snapshot_s3"], &[("QDRANT_SOURCE_HOSTS", ""), ("QDRANT_RESTORE_HOSTS", "")]).await;
    assert_eq!(names(&run.expect(0).stdout), names(&made));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_many_objects_has_pages() {
    let site = Site::standalone().await;
    for number in 0..1500 {
        let time = format!("2026-01-{:02}-{:02}-{:02}-00", 1 + number / 60 / 24, number / 60 % 24, number % 60);
        site.s3.put(&format!("snapshots/many/many-1-{time}.snapshot"), vec![b'x']);
    }
    let run = site.run(&["get_snap_s3"]).await.expect(0);
    assert_eq!(run.stdout.lines().count(), 1500);
    assert!(run.stdout.starts_with(",many,many-1-2026-01-01-00-00-00.snapshot\n"), "{}", &run.stdout[..200]);
    assert_eq!(site.file("snapshots"), run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_breaks_off_leaves_no_file() {
    let site = Site::standalone().await;
    for number in 0..1500 {
        let (name, second) = (format!("c{:03}", number / 10), number % 10);
        site.s3.put(&format!("snapshots/{name}/{name}-1-2026-01-01-00-00-0{second}.snapshot"), vec![b'x']);
    }
    // What a run left that was killed.
    let work = TempDir::new().unwrap();
    std::fs::write(work.path().join(".snapshots.new"), "half a li").unwrap();
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned());
    let uri = "continuation-token".to_owned();
    site.s3.fail(Fault { method: None, uri, skip: 0, times: 1, wrong: denied });
    site.run_in(work.path(), &["get_snap_s3"], &[]).await.expect(1).says(&["AccessDenied"]);
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0);
    let run = site.run_in(work.path(), &["get_snap_s3"], &[]).await.expect(0);
    assert_eq!(run.stdout.lines().count(), 1500);
    assert_eq!(std::fs::read_to_string(work.path().join("snapshots")).unwrap(), run.stdout);
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_needs_no_server_and_can_keep_the_files() {
    let work = TempDir::new().unwrap();
    let files = [
        "collections",
        "snapshots",
        "collection_aliases",
        "snapshot_recovery_history",
        "failed_snapshot_recovery",
        "alias_recovery_history",
        "collection_restore_begun",
    ];
    let fill = || files.iter().for_each(|file| std::fs::write(work.path().join(file), "x\n").unwrap());
    let there = || {
        std::fs::read_dir(work.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };
    let settings = || vec![("QDRANT_WORK_DIR".to_owned(), work.path().display().to_string())];
    std::fs::write(work.path().join("mine"), "x").unwrap();
    fill();
    run(&["reset", "--bkp", "true"], settings()).await.expect(0).says(&["renamed to collections-"]);
    let kept = there();
    assert_eq!(kept.len(), files.len() + 1);
    assert!(kept.iter().all(|file| file == "mine" || file.ends_with(".bkp")), "{kept:?}");
    fill();
    run(&["reset"], settings()).await.expect(0).says(&["7 done"]);
    assert_eq!(there().len(), files.len() + 1);
    run(&["reset"], settings()).await.expect(0).says(&["0 done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_log_lines_are_objects_with_fixed_fields() {
    let site = Site::cluster(1).await;
    site.source.client().create("docs", json!({})).await;
    let run = site.run_with(&["create_snap"], &[("LOG_FORMAT", "json")]).await.expect(0);
    assert!(run.stderr.lines().count() > 3);
    for line in run.stderr.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(
            object["time"].as_str().unwrap().ends_with('Z')
                && object["level"] == "info"
                && object["message"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_together_before_anything_is_sent() {
    let site = Site::cluster(1).await;
    let before = site.s3.requests().len();
    let wrong = [
        ("CURL_TIMEOUT", "soon"),
        ("QDRANT_S3_LINK_EXPIRY_DURATION", "8d"),
        ("QDRANT_S3_BUCKET_NAME", ""),
        ("QDRANT_SOURCE_HOSTS", "http://user:hunter2@q"),
    ];
    let run = site.run_with(&["create_snap"], &wrong).await.expect(2).says(&[
        "CURL_TIMEOUT",
        "QDRANT_S3_LINK_EXPIRY_DURATION",
        "QDRANT_S3_BUCKET_NAME",
        "QDRANT_SOURCE_HOSTS",
    ]);
    assert!(!run.stderr.contains("hunter2"));
    assert_eq!(site.s3.requests().len(), before);
}
