//! What is printed for programs is as its schema says, and what is printed for people can be read.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::schema::conforms;
use qdrant_backup_tests::site::{Run, Site};
use serde_json::Value;

use crate::{fault, filled, manifests};

/// Runs a task with `--output json`, and holds what it prints against the schema.
async fn printed(site: &Site, schema: &str, arguments: &[&str]) -> Value {
    let run = site.run_with(&[arguments, &["--output", "json"]].concat(), &[("QDRANT_RESTORE_FORCE", "true")]).await;
    let found = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout));
    conforms(schema, &found);
    found
}

#[tokio::test(start_paused = true)]
async fn what_is_printed_for_programs_is_as_its_schema_says() {
    let site = filled(1).await;
    site.run(&["create_snap"]).await.expect(0);
    site.run(&["create_snap_shards"]).await.expect(0);
    assert_eq!(printed(&site, "list_sets", &["list"]).await[0]["collection"], "docs");
    assert_eq!(printed(&site, "list_sources", &["list_sources"]).await[0]["sets"], 1);
    let verified = printed(&site, "verify", &["verify"]).await;
    assert_eq!(verified["sets"][0]["outcome"], "verified");
    for task in ["create_snap", "create_snap_shards", "prune", "restore", "recover_snap", "recover_snap_shards"] {
        let plan = printed(&site, "plan", &[task, "--dry-run"]).await;
        assert!(!plan["steps"].as_array().unwrap().is_empty(), "{task}: {plan}");
    }
    let key = manifests(&site)[0].shards[0].s3_key.clone();
    site.s3.delete(&key);
    let failed = printed(&site, "verify", &["verify"]).await;
    assert_eq!(
        (&failed["sets"][0]["outcome"], &failed["sets"][0]["code"]),
        (&"failed".into(), &"snapshot-missing".into())
    );
    assert_eq!(printed(&site, "list_sets", &["list"]).await[0]["level"], "damaged");
}

#[tokio::test(start_paused = true)]
async fn what_fills_a_file_is_printed_for_programs_as_well() {
    let site = filled(2).await;
    // Without the files, as each is kept while it is there.
    let fresh = async |schema: &str, task: &str| {
        site.run(&["reset"]).await.expect(0);
        let printed = printed(&site, schema, &[task]).await;
        let again = self::printed(&site, schema, &[task]).await;
        assert_eq!(printed, again, "{task}: of the file that is there");
        printed
    };
    assert_eq!(fresh("get_coll", "get_coll").await[0]["collection"], "docs");
    assert_eq!(fresh("get_snap", "get_snap_s3").await, Value::Array(Vec::new()));
    site.run(&["create_snap"]).await.expect(0);
    let of_qdrant = fresh("get_snap", "get_snap").await;
    let of_bucket = fresh("get_snap", "get_snap_s3").await;
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["snapshot"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&of_bucket).len(), 2, "one of each peer: {of_bucket}");
    assert_eq!(names(&of_qdrant), names(&of_bucket));
    let client = site.source.client();
    client.alias("live", "docs").await;
    let aliases = fresh("get_colla", "get_colla").await;
    assert_eq!((&aliases[0]["alias"], &aliases[0]["collection"]), (&"live".into(), &"docs".into()));
}

#[tokio::test(start_paused = true)]
async fn collections_that_can_not_be_listed_are_not_said_to_be_none() {
    let site = filled(1).await;
    let denied = Wrong::Status(403, r#"{"status":{"error":"forbidden"}}"#.to_owned());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/collections", usize::MAX, denied));
    let run = site.run(&["get_coll"]).await.expect(1).says(&["the list is incomplete"]);
    assert!(!run.stderr.contains("has no collections"), "{}", run.stderr);
}

/// The file of an earlier run says nothing of what is there now.
#[tokio::test(start_paused = true)]
async fn aliases_that_can_not_be_asked_are_not_told_from_a_file() {
    let site = filled(1).await;
    site.source.client().alias("live", "docs").await;
    assert!(site.run(&["get_colla"]).await.expect(0).stdout.contains("live"));
    let denied = Wrong::Status(403, r#"{"status":{"error":"forbidden"}}"#.to_owned());
    site.s3.faults().add(Chosen::Qdrant, fault(Method::GET, "/aliases", usize::MAX, denied));
    let run = site.run(&["get_colla"]).await.expect(1).says(&["the list is incomplete"]);
    assert!(!run.stdout.contains("live"), "{}", run.stdout);
    assert!(site.file("collection_aliases").contains("live"), "the file is kept");
}

#[tokio::test(start_paused = true)]
async fn verify_prints_a_table_with_the_failed_and_a_total() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site.run(&["create_snap_shards"]).await.expect(0);
    let key = manifests(&site)[0].shards[0].s3_key.clone();
    site.s3.delete(&key);
    let table = site.run(&["verify"]).await.expect(3).stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("COLLECTION  SET "), "{table}");
    assert!(rows[1..3].iter().any(|row| row.contains("  failed  ")), "{table}");
    assert!(
        rows[4].starts_with("2 sets: 1 verified (") && rows[4].ends_with("), 1 failed, 0 not looked at"),
        "{table}"
    );
}

fn lines<'a>(run: &'a Run, with: &str) -> Vec<&'a str> {
    run.stdout.lines().chain(run.stderr.lines()).filter(|line| line.contains(with)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_each_step_once_and_how_much_it_is() {
    let site = filled(1).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let plan = site.run_with(&["restore", "--dry-run"], &[("QDRANT_RESTORE_FORCE", "true")]).await.expect(0);
    let [step] = lines(&plan, "deleted, created and restored").try_into().unwrap_or_else(|all| panic!("{all:#?}"));
    assert!(step.starts_with("restore\tdocs\t") && step.contains("\t40 points there now\t2 snapshots, "), "{step}");
}

#[tokio::test(start_paused = true)]
async fn a_list_has_ages_sizes_and_a_total() {
    let site = filled(1).await;
    for _ in 0..2 {
        site.run_with(&["create_snap_shards"], &[("QDRANT_BACKUP_RETENTION_SETS", "9")]).await.expect(0);
        tokio::time::sleep(Duration::from_secs(3 * 86_400)).await;
    }
    let table = site.run(&["list"]).await.expect(0).stdout;
    for says in [" 6d ", " 3d ", " KiB", "\n2 sets of 1 collections, "] {
        assert!(table.contains(says), "{says} is not in {table}");
    }
}
