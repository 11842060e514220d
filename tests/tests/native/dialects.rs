//! Every row of docs/stores.md: a store that differs from AWS gets its backups, and gives them back.

use std::time::Duration;

use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::dialect::{DIALECTS, Dialect};
use qdrant_backup_tests::s3::{self, S3};
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::manifest_keys;

/// A place at a store that speaks `dialect`, with few keys on a page.
async fn at(dialect: Dialect) -> Site {
    let options = s3::Options { memory: true, dialect: Some(dialect), page: Some(3), ..s3::Options::default() };
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

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_conditions_is_found_out() {
    let site = at(Dialect::named("seaweedfs")).await;
    clock::another_second().await;
    let key = SetId::new(clock::now(), "backup-1").key("docs");
    site.s3.put(&key, b"of another run".to_vec());
    let run = site.run_with(&["create_snap_shards"], &[("HOSTNAME", "backup-1")]).await;
    assert_ne!(run.code, 0, "{}", run.stderr);
    assert_eq!(site.s3.get(&key).unwrap(), b"of another run");
}

/// It has answered by that: an outage that begins then is one of a store that is there.
#[tokio::test(start_paused = true)]
async fn a_store_that_named_its_region_is_waited_for() {
    let site = at(Dialect::named("r2")).await;
    let away = Wrong::Status(503, String::new());
    let faults = site.s3.faults().clone();
    let uri = "/qdrant-snapshots".to_owned();
    faults.add(Chosen::Program, Fault { method: None, uri, skip: 1, times: usize::MAX, wrong: away });
    let healing = async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        faults.heal();
        std::future::pending().await
    };
    let settings = [("QDRANT_RETRY_MAX_DURATION", "5m")];
    let run = tokio::select! {
        run = site.run_with(&["list_sets"], &settings) => run,
        run = healing => run,
    };
    run.expect(0).says(&["answers again"]);
}

#[test]
fn the_table_of_stores_names_every_dialect() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/stores.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut rows = page.lines().skip_while(|line| !line.contains("| Tried as |")).skip(2);
    let tried: Vec<&str> = rows
        .by_ref()
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap())
        .collect();
    for dialect in DIALECTS {
        let named = format!("`{}`", dialect.name);
        assert!(tried.iter().any(|row| row.contains(&named)), "no store is tried as {named}");
    }
    for row in tried {
        assert!(DIALECTS.iter().any(|dialect| row.contains(&format!("`{}`", dialect.name))), "{row}");
    }
}
