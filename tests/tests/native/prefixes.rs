//! Two sources in one bucket whose Qdrants have a prefix each: what lies under another prefix is another source's only
//! where its source says so.

use std::time::Duration;

use qdrant_backup_tests::site::Run;
use serde_json::json;

use crate::change;
use crate::two::{THEIRS, Two};

const WITH_THEIRS: (&str, &str) = ("QDRANT_S3_KEY_PREFIX", THEIRS);

/// One set of `v1` of each: 11 points of the first, 33 of the second.
async fn backed_up() -> Two {
    let two = Two::with_prefixes().await;
    two.fill().await;
    two.run_first(&["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
    let second = [("QDRANT_SOURCE_NAME", "second"), WITH_THEIRS];
    two.run_second(&["create_snap_shards"], &second).await.expect(0);
    two
}

fn sets(run: &Run) -> usize {
    run.stdout.lines().filter(|line| line.starts_with("v1 ") || line.starts_with("v2 ")).count()
}

#[tokio::test(start_paused = true)]
async fn each_source_is_verified_with_its_own_prefix() {
    let two = backed_up().await;
    let run = two.run_first(&["verify"], &[]).await.expect(0).says(&["another source's, `second` ("]);
    assert_eq!(run.stderr.matches("done: set of").count(), 2, "{}", run.stderr);
    let run = two.run_second(&["verify"], &[WITH_THEIRS]).await.expect(0).says(&["another source's, `first` ("]);
    assert_eq!(run.stderr.matches("done: set of").count(), 2, "{}", run.stderr);
    for second in [false, true] {
        let run = if second {
            two.run_second(&["list_sets"], &[WITH_THEIRS]).await
        } else {
            two.run_first(&["list_sets"], &[]).await
        };
        assert_eq!(sets(&run.expect(0)), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_verify_that_looked_at_nothing_is_no_success() {
    let two = backed_up().await;
    let mistyped = [("QDRANT_S3_KEY_PREFIX", "snapshot")];
    two.run_first(&["verify"], &mistyped).await.expect(1).says(&["none of 4 sets could be verified"]);
    // One that is chosen, and is another source's.
    let key = manifest_keys_of(&two, "second").remove(0);
    let (_, id) = qdrant_backup_core::sets::SetId::of_key(&key).unwrap();
    let chosen = [("QDRANT_SNAPSHOT_DATETIME_FILTER", id.as_str())];
    two.run_first(&["verify"], &chosen).await.expect(1).says(&["none of 2 sets could be verified"]);
}

/// As after a prefix was given to Qdrant: its sets from before lie elsewhere, and are its own.
#[tokio::test(start_paused = true)]
async fn an_own_set_under_another_prefix_is_looked_at() {
    let two = backed_up().await;
    let own = two.records()["first"]["id"].clone();
    let keys = manifest_keys_of(&two, "second");
    keys.iter().for_each(|key| change(&two.site, key, |manifest| manifest["source_id"] = own.clone()));
    let run = two.run_first(&["verify"], &[]).await.expect(0).says(&[&format!("needs QDRANT_S3_KEY_PREFIX={THEIRS}")]);
    assert_eq!(run.stderr.matches("done: set of").count(), 4, "{}", run.stderr);
    // A choice of collections changes nothing about whose they are.
    let snapshot = two.site.s3.keys(&format!("{THEIRS}/v2/shards/0/")).remove(0);
    two.site.s3.delete(&snapshot);
    two.run_first(&["verify"], &[]).await.expect(3).says(&["the object is missing"]);
    two.run_first(&["verify"], &[("QDRANT_COLLECTIONS", "v2")]).await.expect(3).says(&["the object is missing"]);
    // Of version 0.1.0: its peers say whose it is.
    keys.iter().for_each(|key| {
        change(&two.site, key, |manifest| {
            manifest["source_id"] = json!(null);
        });
    });
    two.run_first(&["verify"], &[]).await.expect(0).says(&["another source's, `second`"]);
    two.site.s3.delete(&format!("sources/{}.json", two.records()["second"]["id"].as_str().unwrap()));
    two.run_first(&["verify"], &[]).await.expect(0).says(&["another source's, `peers "]);
}

#[tokio::test(start_paused = true)]
async fn a_set_under_another_prefix_stays_and_holds_up_no_sweep() {
    let two = backed_up().await;
    let theirs = manifest_keys_of(&two, "second");
    let orphan = two.site.s3.keys("snapshots/v1/shards/0/").remove(0);
    let left_over = orphan.replace("-shard-0-2", "-shard-0-1");
    two.site.s3.put(&left_over, two.site.s3.get(&orphan).unwrap());
    tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
    let one = [("QDRANT_BACKUP_RETENTION_SETS", "1"), ("QDRANT_SWEEP_DELETE_CAP_PCT", "100")];
    let run = two.run_first(&["prune_snap"], &one).await.expect(0);
    run.says(&["only a run with that prefix prunes it", "1 orphaned snapshots deleted"]);
    assert_eq!(manifest_keys_of(&two, "second"), theirs);
    assert!(two.site.s3.get(&left_over).is_none() && two.site.s3.get(&orphan).is_some());
}

/// The keys of the manifests of a source.
fn manifest_keys_of(two: &Two, source: &str) -> Vec<String> {
    let id = two.records()[source]["id"].clone();
    let mut keys = two.site.s3.keys("backup_manifests/");
    keys.retain(|key| {
        let manifest: serde_json::Value = serde_json::from_slice(&two.site.s3.get(key).unwrap()).unwrap();
        manifest["source_id"] == id
    });
    keys
}
