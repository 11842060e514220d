//! Two sources in one bucket.

use std::collections::BTreeMap;

use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::clock::another_second;
use qdrant_backup_tests::qdrant::{Options, S3Access};
use qdrant_backup_tests::site::{API_KEY, Run, Servers, Site};
use serde_json::{Value, json};

/// The second source's `QDRANT_S3_KEY_PREFIX`, where it has one of its own.
pub const THEIRS: &str = "theirs/of-qdrant";

/// Two clusters, or servers, with one bucket. The second is backed up later, so that its backups are the newest.
pub struct Two {
    pub site: Site,
    pub other: Servers,
}

impl Two {
    async fn start(options: impl Fn() -> Options) -> Self {
        let site = Site::native(options()).await;
        let other = site.more(options()).await;
        Self { site, other }
    }

    /// Two servers of which the second has a prefix of Qdrant's own.
    pub async fn with_prefixes() -> Self {
        let one = || Options { peers: 1, clustered: false, ..Options::default() };
        let site = Site::native(one()).await;
        let s3 = Some(S3Access { key_prefix: THEIRS.to_owned(), ..site.access() });
        let other = Servers::start(Options { s3, api_key: Some(API_KEY.to_owned()), memory: true, ..one() }).await;
        Self { site, other }
    }

    pub async fn clusters() -> Self {
        Self::start(|| Options { peers: 2, ..Options::default() }).await
    }

    pub async fn servers() -> Self {
        Self::start(|| Options { peers: 1, clustered: false, ..Options::default() }).await
    }

    /// `v1` and `v2` on both: 11 and 22 points on the first, 33 and 44 on the second, and aliases.
    pub async fn fill(&self) {
        for (client, first, prod) in [(self.first(), 11, "v2"), (self.second(), 33, "v1")] {
            for (collection, points) in [("v1", first), ("v2", first + 11)] {
                client.create(collection, json!({"shard_number": 2})).await;
                client.fill(collection, 0, points).await;
            }
            client.alias("prod", prod).await;
        }
        self.second().alias("beta", "v2").await;
    }

    pub fn first(&self) -> Client {
        self.site.source.client()
    }

    pub fn second(&self) -> Client {
        self.other.client()
    }

    /// Runs a task with the second as source and target, in a work directory of its own.
    pub async fn run_second(&self, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let host = self.other.hosts().remove(0);
        self.run_at(&host, arguments, more).await
    }

    /// Runs a task with `host` as source and target, in a work directory of its own.
    pub async fn run_at(&self, host: &str, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let work = tempfile::tempdir().unwrap();
        let mut settings = vec![("QDRANT_SOURCE_HOSTS", host), ("QDRANT_RESTORE_HOSTS", host)];
        settings.extend(more);
        self.site.run_in(work.path(), arguments, &settings).await
    }

    pub async fn run_first(&self, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let host = self.site.source.hosts().remove(0);
        self.run_at(&host, arguments, more).await
    }

    pub async fn back_up_both(&self) {
        for task in ["create_snap", "create_snap_shards"] {
            self.run_first(&[task], &[("QDRANT_SOURCE_NAME", "first")]).await.expect(0);
        }
        another_second().await;
        for task in ["create_snap", "create_snap_shards"] {
            self.run_second(&[task], &[("QDRANT_SOURCE_NAME", "second")]).await.expect(0);
        }
    }

    /// How many sets of a collection the first has, and how many the second: by the peers that made them.
    pub fn sets_of_each(&self, collection: &str) -> [usize; 2] {
        let mut counts = [0, 0];
        let keys = self.site.s3.keys(&format!("backup_manifests/{collection}/"));
        for key in keys.into_iter().filter(|key| !key.ends_with(".partial.json")) {
            let manifest: Value = serde_json::from_slice(&self.site.s3.get(&key).unwrap()).unwrap();
            let host = manifest["source"]["peers"][0]["host"].as_str().unwrap();
            counts[usize::from(self.other.hosts().iter().any(|other| other == host))] += 1;
        }
        counts
    }

    /// The records, by the names of the sources.
    pub fn records(&self) -> BTreeMap<String, Value> {
        let read = |key: &String| serde_json::from_slice::<Value>(&self.site.s3.get(key).unwrap()).unwrap();
        let keys = self.site.s3.keys("sources/");
        keys.iter().map(read).map(|record| (record["name"].as_str().unwrap().to_owned(), record)).collect()
    }
}
