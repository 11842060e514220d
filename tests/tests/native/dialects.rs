//! Every row of docs/stores.md: a store that differs from AWS gets its backups, and gives them back.

use qdrant_backup_tests::clock;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::dialect::{DIALECTS, Dialect};
use qdrant_backup_tests::s3::{self, S3};
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::manifest_keys;

/// A place at a store that speaks `dialect`, with few keys on a page.
async fn at(dialect: Dialect) -> Site {
    let options = s3::Options { memory: true, dialect: Some(dialect), page: Some(3), region: None };
    let site = Site::with(S3::with(options).await, Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    client.alias("live", "docs").await;
    site
}

const SETTINGS: [(&str, &str); 2] = [("QDRANT_S3_SSE", "AES256"), ("QDRANT_RETRY_MAX_DURATION", "60s")];

#[tokio::test(start_paused = true)]
async fn every_store_keeps_backups_and_gives_them_back() {
    for dialect in DIALECTS {
        let site = at(*dialect).await;
        let client = site.source.client();
        let before = client.contents().await;
        let run = async |task: &str| {
            let run = site.run_with(&[task], &SETTINGS).await;
            assert_eq!(run.code, 0, "{task} at {}:\n{}", dialect.name, run.stderr);
            run
        };
        for (backup, restore) in [("create_snap_shards", "recover_snap_shards"), ("create_snap", "recover_snap")] {
            // Twice, so that keys are met that were deleted before.
            run(backup).await;
            clock::another_second().await;
            run(backup).await;
            client.wipe().await;
            run("reset").await;
            run(restore).await;
            assert_eq!(client.contents().await, before, "{restore} at {}", dialect.name);
        }
        run("verify").await;
        assert!(run("list_sets").await.stdout.contains("docs"), "{}", dialect.name);
        run("prune_snap").await;
        assert!(!manifest_keys(&site).is_empty(), "{}", dialect.name);
        assert!(site.s3.keys("").iter().all(|key| !key.contains("write-check")), "{:?}", site.s3.keys(""));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_asks_for_is_known_before_anything_is_made() {
    let site = at(Dialect::named("aws-encrypted")).await;
    for task in ["create_snap", "create_snap_shards"] {
        site.run(&[task]).await.expect(1).says(&["AccessDenied", "QDRANT_S3_SSE"]);
        assert!(site.s3.keys("").is_empty(), "{:?}", site.s3.keys(""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_refused_is_tried_once() {
    let site = at(Dialect::named("google")).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let conditional = site.s3.requests().into_iter().filter(|request| request.headers.contains_key("if-none-match"));
    let keys: Vec<String> = conditional.map(|request| request.uri.path().to_owned()).collect();
    assert!(keys.len() == 1 && keys[0].contains("write-check"), "{keys:?}");
}
