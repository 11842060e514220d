//! What happens to each task when an identity changes: the table of outcomes in docs/identity.md, cell by cell.

use std::collections::BTreeMap;

use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Run, Servers, Site};
use serde_json::{Value, json};

const A: u64 = (1 << 53) + 101;
const B: u64 = (1 << 53) + 102;
const C: u64 = (1 << 53) + 103;
const D: u64 = (1 << 53) + 104;
const KEEP_ONE: (&str, &str) = ("QDRANT_BACKUP_RETENTION_SETS", "1");
const REFUSED: [&str; 3] = ["the target is not one of the sources", "`prod`", "QDRANT_RESTORE_SOURCE"];

/// The source `prod` with 11 points in `docs`, and `other` with 33, both backed up in both ways; what `prod` is now.
struct Changed {
    site: Site,
    other: Servers,
    now: Servers,
}

fn cluster(ids: &[u64]) -> Options {
    Options { peers: ids.len(), ids: ids.to_vec(), ..Options::default() }
}

fn server(id: u64) -> Options {
    Options { clustered: false, ..cluster(&[id]) }
}

impl Changed {
    async fn new(before: Options, now: Options) -> Self {
        let site = Site::native(before).await;
        let other = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
        let now = site.more(now).await;
        let changed = Self { site, other, now };
        for (servers, name, points) in [(&changed.site.source, "prod", 11), (&changed.other, "other", 33)] {
            let client = servers.client();
            client.create("docs", json!({"shard_number": 2})).await;
            client.fill("docs", 0, points).await;
            client.alias("live", "docs").await;
            for task in ["create_snap", "create_snap_shards"] {
                changed.run_at(servers, &[task], &[("QDRANT_SOURCE_NAME", name)]).await.expect(0);
            }
            another_second().await;
        }
        changed
    }

    async fn run_at(&self, servers: &Servers, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let work = tempfile::tempdir().unwrap();
        let host = servers.hosts().remove(0);
        let mut settings = vec![("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_RESTORE_HOSTS", host.as_str())];
        settings.extend(more);
        self.site.run_in(work.path(), arguments, &settings).await
    }

    async fn run(&self, task: &str) -> Run {
        self.run_at(&self.now, &[task], &[]).await
    }

    fn client(&self) -> Client {
        self.now.client()
    }

    /// How many sets of `docs` each source has, by its name.
    fn sets(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for key in self.site.s3.keys("backup_manifests/docs/") {
            let manifest: Value = serde_json::from_slice(&self.site.s3.get(&key).unwrap()).unwrap();
            // Beside them lie the records of drills.
            if manifest.get("shards").is_none() {
                continue;
            }
            *counts.entry(manifest["source_name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Restores into what is there now, by both ways and the aliases alone, and drills: it is `prod`, which has so many
    /// points.
    async fn is_prod(&self, points: u64) {
        let live = BTreeMap::from([("live".to_owned(), "docs".to_owned())]);
        for task in ["recover_snap", "recover_snap_shards"] {
            self.client().delete("docs").await;
            self.run(task).await.expect(0).says(&["the source `prod`", "the target is this source"]);
            assert_eq!((self.client().count(0, "docs").await, self.client().aliases().await), (points, live.clone()));
        }
        self.client().drop_aliases(&["live"]).await;
        self.run("recover_colla").await.expect(0).says(&["the source `prod`"]);
        assert_eq!(self.client().aliases().await, live);
        self.run("drill").await.expect(0).says(&["the source `prod`"]);
    }

    /// Backs up, prunes, lists and verifies: it is `prod` as before, with one more set.
    async fn goes_on_as_prod(&self) {
        another_second().await;
        for task in ["create_snap", "create_snap_shards"] {
            self.run_at(&self.now, &[task], &[("QDRANT_BACKUP_RETENTION_SETS", "0")])
                .await
                .expect(0)
                .says(&["source `prod`"]);
        }
        assert_eq!(self.sets(), BTreeMap::from([("other".to_owned(), 1), ("prod".to_owned(), 2)]));
        let sources = self.run("list_sources").await.expect(0).stdout;
        assert_eq!(sources.lines().count(), 3, "{sources}");
        self.run("list_sets").await.expect(0);
        self.run("verify").await.expect(0);
        self.run_at(&self.now, &["prune_snap"], &[KEEP_ONE]).await.expect(0);
        assert_eq!(self.sets(), BTreeMap::from([("other".to_owned(), 1), ("prod".to_owned(), 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_was_replaced_or_added() {
    for ids in [&[A, C][..], &[A, B, C]] {
        let changed = Changed::new(cluster(&[A, B]), cluster(ids)).await;
        changed.is_prod(11).await;
        changed.client().fill("docs", 100, 111).await;
        changed.goes_on_as_prod().await;
        changed.is_prod(22).await;
        // The new one is known from now on, and the old ones need not be there.
        let later = changed.site.more(cluster(&[C, D])).await;
        changed.run_at(&later, &["recover_snap_shards"], &[]).await.expect(0).says(&["the source `prod`"]);
        assert_eq!(later.client().count(0, "docs").await, 22);
    }
}

#[tokio::test(start_paused = true)]
async fn all_peers_were_replaced() {
    let changed = Changed::new(cluster(&[A, B]), cluster(&[C, D])).await;
    for task in ["recover_snap", "recover_snap_shards", "recover_colla", "drill"] {
        changed.run(task).await.expect(1).says(&REFUSED);
        assert!(changed.client().collections().await.is_empty(), "{task}");
    }
    for task in ["recover_snap", "recover_snap_shards"] {
        changed.client().wipe().await;
        changed.run_at(&changed.now, &[task], &[("QDRANT_RESTORE_SOURCE", "prod")]).await.expect(0);
        assert_eq!(changed.client().count(0, "docs").await, 11);
    }
    // Backed up, it is a source of its own, whose sets push out none of the old one's.
    another_second().await;
    for task in ["create_snap", "create_snap_shards"] {
        changed.run_at(&changed.now, &[task], &[("QDRANT_SOURCE_NAME", "new"), KEEP_ONE]).await.expect(0);
    }
    changed.run_at(&changed.now, &["prune_snap"], &[KEEP_ONE]).await.expect(0);
    let names = ["new", "other", "prod"].map(|name| (name.to_owned(), 1));
    assert_eq!(changed.sets(), BTreeMap::from(names));
    changed.run("verify").await.expect(0);
    let sources = changed.run("list_sources").await.expect(0).stdout;
    assert_eq!(sources.lines().count(), 4, "{sources}");
    changed.client().delete("docs").await;
    changed.run("recover_snap_shards").await.expect(0).says(&["the source `new`"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_clustering_moved() {
    let changed = Changed::new(server(A), server(A)).await;
    // While it is empty it tells no id.
    for task in ["recover_snap", "recover_snap_shards", "recover_colla", "drill"] {
        changed.run(task).await.expect(1).says(&REFUSED);
    }
    changed.client().create("small", json!({})).await;
    changed.is_prod(11).await;
    changed.client().fill("docs", 100, 111).await;
    changed.client().delete("small").await;
    changed.goes_on_as_prod().await;
    changed.client().create("small", json!({})).await;
    changed.is_prod(22).await;
}

/// Both are one source: what is documented, with what to do.
#[tokio::test(start_paused = true)]
async fn the_cluster_was_cloned() {
    let changed = Changed::new(cluster(&[A, B]), cluster(&[A, B])).await;
    changed.is_prod(11).await;
    changed.client().fill("docs", 100, 111).await;
    changed.client().create("clone", json!({})).await;
    changed.client().drop_aliases(&["live"]).await;
    changed.client().alias("live", "clone").await;
    changed.goes_on_as_prod().await;
    // The original gets what the clone has saved.
    changed.site.source.client().wipe().await;
    changed.run_at(&changed.site.source, &["recover_snap_shards"], &[]).await.expect(0);
    let original = changed.site.source.client();
    assert_eq!(original.count(0, "docs").await, 22);
    assert_eq!(original.aliases().await, BTreeMap::from([("live".to_owned(), "clone".to_owned())]));
    // With a place of its own it is one of its own.
    let own = [("QDRANT_BACKUP_PREFIX", "clone"), ("QDRANT_SOURCE_NAME", "clone")];
    another_second().await;
    changed.run_at(&changed.now, &["create_snap_shards"], &own).await.expect(0);
    let keys = changed.site.s3.keys("clone/sources/");
    assert!(keys.is_empty() || keys.len() == 1, "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_collection_was_made_anew() {
    let changed = Changed::new(cluster(&[A, B]), cluster(&[A, B])).await;
    changed.client().create("docs", json!({"shard_number": 1})).await;
    changed.client().fill("docs", 1000, 1005).await;
    changed.client().alias("live", "docs").await;
    changed.goes_on_as_prod().await;
    changed.is_prod(5).await;
}

#[tokio::test(start_paused = true)]
async fn two_clusters_were_joined() {
    let changed = Changed::new(cluster(&[A, B]), cluster(&[B, C])).await;
    // C was a source of its own.
    let single = changed.site.more(server(C)).await;
    single.client().create("docs", json!({})).await;
    changed.run_at(&single, &["create_snap_shards"], &[("QDRANT_SOURCE_NAME", "single")]).await.expect(0);
    let sets = changed.sets();
    changed.client().create("small", json!({})).await;
    for task in ["create_snap", "create_snap_shards", "recover_snap", "recover_snap_shards", "recover_colla", "drill"] {
        changed.run(task).await.expect(1).says(&["peers of several sources", "`prod`", "`single`"]);
    }
    assert_eq!(changed.client().collections().await.len(), 1);
    changed.run("verify").await.expect(0);
    changed.run("list_sets").await.expect(0);
    changed.run_at(&changed.now, &["prune_snap"], &[KEEP_ONE]).await.expect(0);
    assert_eq!(changed.sets(), sets);
}
