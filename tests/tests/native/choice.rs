//! Which collections are backed up, and that what is left out is said.

use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

use crate::failed;

const TASKS: [(&str, &str); 2] = [("create_snap", "snapshot_manifests/"), ("create_snap_shards", "backup_manifests/")];

/// Two empty collections, `a` and `b`.
async fn two() -> Site {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    for name in ["a", "b"] {
        site.source.client().create(name, json!({})).await;
    }
    site
}

fn write(site: &Site, text: &str) {
    std::fs::write(site.work.path().join("collections"), text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_that_the_tool_wrote_narrows_no_later_run() {
    for first in ["create_snap", "get_coll"] {
        let site = two().await;
        site.run(&[first]).await.expect(0);
        assert!(site.file("collections").contains(",a\n"), "{}", site.file("collections"));
        site.source.client().create("later", json!({})).await;
        for (task, manifests) in TASKS {
            let run = site.run(&[task]).await.expect(0);
            assert_eq!(site.s3.keys(&format!("{manifests}later/")).len(), 1, "{}", run.stderr);
        }
        // Nor a restore.
        site.source.client().wipe().await;
        site.run(&["recover_snap_shards"]).await.expect(0);
        assert_eq!(site.source.client().collections().await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_somebody_edits_is_a_choice_and_is_said() {
    let site = two().await;
    site.run(&["get_coll"]).await.expect(0);
    let edited: String = site
        .file("collections")
        .lines()
        .filter(|line| !line.ends_with(",b"))
        .fold(String::new(), |text, line| text + line + "\n");
    write(&site, &edited);
    for (task, manifests) in TASKS {
        let run = site.run_with(&[task], &[("QDRANT_REPORT_FILE", "report.json")]).await.expect(0);
        let left_out = "the file `collections`: leaves out 1 collections: `b`";
        assert_eq!(run.stderr.matches(left_out).count(), 2, "when it is chosen, and at the end:\n{}", run.stderr);
        let report: Value = serde_json::from_str(&site.file("report.json")).unwrap();
        let items = report["items"].as_array().unwrap();
        assert!(items.iter().any(|item| item["kind"] == "choice"), "{report:#}");
        assert!(site.s3.keys(&format!("{manifests}b/")).is_empty());
    }
    assert_eq!(site.file("collections"), edited, "it is kept");
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_means_nothing_is_no_success() {
    for (task, _) in TASKS {
        let site = two().await;
        let with = |name, value| [(name, value)];
        for (settings, says) in [
            (with("QDRANT_COLLECTIONS", "typo*"), "selects none of the source's 2 collections"),
            (with("QDRANT_COLLECTIONS", "a,typo"), "the source has no collection `typo`"),
            (with("QDRANT_COLLECTIONS_EXCLUDE", "*"), "selects none of the source's 2 collections"),
        ] {
            failed(site.run_with(&[task], &settings).await).says(&[says]);
        }
        let part = with("QDRANT_COLLECTIONS", "a,t*");
        site.run_with(&[task], &part).await.expect(0).says(&["leaves out 1 collections: `b`"]);
        write(&site, ",a\n,typo\n");
        failed(site.run(&[task]).await).says(&["the source has no collection `typo`"]);
        write(&site, "http://elsewhere:6333,a\n");
        failed(site.run(&[task]).await).says(&["selects none of the source's 2 collections"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_nobody_looked_up_is_no_success() {
    let site = two().await;
    let none = [("QDRANT_S3_ENDPOINT_URL", ""), ("BACKUP_COLLECTION_ALIASES_ON_S3", "false")];
    site.run_with(&["create_snap"], &none).await.expect(3).says(&["are not checked", "QDRANT_BACKUP_UNCHECKED=true"]);
    let wanted = [none[0], none[1], ("QDRANT_BACKUP_UNCHECKED", "true")];
    site.run_with(&["create_snap"], &wanted).await.expect(0).says(&["are not checked"]);
}
