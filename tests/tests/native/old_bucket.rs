//! A bucket that version 0.1.0 has written (`tests/data/bucket-0.1.0`): nothing that worked on it stops working.

use std::path::{Path, PathBuf};

use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A new cluster of one peer, and the old bucket: two sets and two snapshots of `docs` (40 points) and of `tags` (7), the
/// alias `prod`, the state of a restore, a lock that was left.
async fn site() -> Site {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bucket-0.1.0");
    for file in files(&folder) {
        let key = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        site.s3.put(&key, std::fs::read(&file).unwrap());
    }
    // ETags are the stand-in's, which makes them of the bytes. The bucket was written on a clock that ran ahead.
    tokio::time::sleep(std::time::Duration::from_secs(3 * 86_400)).await;
    site
}

/// Below a prefix, what lies at the root is read as well.
const PLACES: [(&str, &str); 2] = [("QDRANT_BACKUP_PREFIX", ""), ("QDRANT_BACKUP_PREFIX", "team/a")];

#[tokio::test(start_paused = true)]
async fn an_old_bucket_is_listed_and_verified() {
    for place in PLACES {
        let site = site().await;
        let list = site.run_with(&["list_sets", "--output", "json"], &[place]).await.expect(0);
        let sets: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
        assert_eq!(sets.len(), 4);
        assert!(
            sets.iter().all(|set| set["source_id"] == sets[0]["source_id"] && set["dropped"].is_null()),
            "{sets:?}"
        );
        let list = site.run_with(&["list_sources", "--output", "json"], &[place]).await.expect(0);
        let sources: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
        assert_eq!(sources.len(), 1, "{sources:?}");
        let source = &sources[0];
        assert_eq!((&source["sets"], &source["snapshots"], &source["recorded"]), (&4.into(), &6.into(), &false.into()));
        assert_eq!(source["source_id"], sets[0]["source_id"]);
        site.run_with(&["verify"], &[place]).await.expect(0).says(&["4 done"]);
        site.run_with(&["get_snap_s3"], &[place]).await.expect(0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_bucket_is_restored() {
    for place in PLACES {
        for task in ["recover_snap", "recover_snap_shards"] {
            let site = site().await;
            let client = site.source.client();
            site.run_with(&[task], &[place]).await.expect(0).says(&["it is the only source in the bucket"]);
            assert_eq!((client.count(0, "docs").await, client.count(0, "tags").await), (40, 7), "{task}");
            assert_eq!(client.aliases().await["prod"], "docs", "{task}");
            client.drop_aliases(&["prod"]).await;
            site.run_with(&["recover_colla"], &[place]).await.expect(0);
            assert_eq!(client.aliases().await["prod"], "docs", "{task}");
        }
        let site = site().await;
        site.run_with(&["drill"], &[place]).await.expect(0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_bucket_is_pruned_and_goes_on() {
    for place in PLACES {
        let site = site().await;
        let keep = [place, ("QDRANT_BACKUP_RETENTION_SETS", "1"), ("QDRANT_LEGACY_KEEP_RUNS", "1")];
        site.run_with(&["prune_snap", "--legacy"], &keep).await.expect(0);
        assert_eq!(site.s3.keys("backup_manifests/").len(), 2);
        assert_eq!(site.s3.keys("snapshots/docs/shards/").len(), 2);
        site.run_with(&["verify"], &[place]).await.expect(0).says(&["2 done"]);
        // The new cluster is a source of its own, and its sets push out none of the old one's.
        site.run_with(&["recover_snap_shards"], &[place]).await.expect(0);
        for _ in 0..2 {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            site.run_with(&["create_snap_shards"], &keep).await.expect(0);
        }
        let list = site.run_with(&["list_sets", "--output", "json"], &[place]).await.expect(0);
        let sets: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
        let ids: std::collections::BTreeSet<String> = sets.iter().map(|set| set["source_id"].to_string()).collect();
        assert_eq!((sets.len(), ids.len()), (4, 2), "{sets:?}");
    }
}

/// Of a bucket with nothing but snapshots and aliases, the snapshots themselves say which peers were one cluster.
#[tokio::test(start_paused = true)]
async fn snapshots_alone_tell_which_peers_were_one_cluster() {
    let site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.fill("docs", 0, 30).await;
    let before = client.content("docs").await;
    site.run(&["create_snap"]).await.expect(0);
    let kept = |key: &String| key.ends_with(".snapshot") || key.starts_with("collection_aliases_store/collection");
    site.s3.keys("").iter().filter(|key| !kept(key)).for_each(|key| site.s3.delete(key));
    let target = site.more(Options { peers: 2, ..Options::default() }).await;
    let host = target.hosts()[0].clone();
    let folder = tempfile::TempDir::new().unwrap();
    site.run_in(folder.path(), &["recover_snap"], &[("QDRANT_RESTORE_HOSTS", host.as_str())]).await.expect(0);
    assert_eq!(target.client().content("docs").await, before);
}
