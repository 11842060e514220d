//! A place in which a task is run again and again, each time from the same beginning.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{Content, Placed};
use crate::clock::another_second;
use crate::qdrant::{Options, Work};
use crate::s3::S3;
use crate::site::{Run, Site};

/// What is there when a task begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Collections, an empty bucket.
    Filled,
    /// Collections, and backups of both kinds.
    Stored,
    /// Collections without their aliases, and backups of both kinds.
    Unaliased,
    /// No collections, and backups of both kinds.
    Wiped,
    /// Collections whose points were overwritten, just as many, and backups of both kinds.
    Overwritten,
}

/// A task, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What it is called here.
    pub name: &'static str,
    /// The task's name.
    pub task: &'static str,
    /// Its options; `SET` stands for the newest set.
    pub options: &'static [&'static str],
    /// Settings that it has besides.
    pub settings: &'static [(&'static str, &'static str)],
    /// What is there.
    pub start: Start,
}

impl Job {
    /// True where Qdrant chooses the peers of what is restored.
    pub fn is_free(&self) -> bool {
        self.task == "recover_snap_shards" && !self.settings.contains(&AS_BACKED_UP[0])
    }
}

const AS_BACKED_UP: [(&str, &str); 1] = [("QDRANT_RESTORE_PLACEMENT", "as-backed-up")];
/// The runs of one restore know of each other, and replace nothing twice.
const FORCE: [(&str, &str); 2] = [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_ID", "again")];
const FORCE_BESIDE: [(&str, &str); 3] =
    [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_BESIDE", "true"), ("QDRANT_RESTORE_ID", "again")];
const SIDE_BY_SIDE: [(&str, &str); 3] = [
    ("QDRANT_COLLECTIONS", "docs"),
    ("QDRANT_RESTORE_RENAME", "docs=docs-2"),
    ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
];

const STREAM: [(&str, &str); 1] = [("QDRANT_SNAPSHOT_TRANSFER", "stream")];
const AUTO: [(&str, &str); 1] = [("QDRANT_SNAPSHOT_TRANSFER", "auto")];

/// Every task that sends requests.
pub const JOBS: [Job; 22] = [
    Job { name: "create_snap", task: "create_snap", options: &[], settings: &[], start: Start::Filled },
    Job { name: "recover_snap", task: "recover_snap", options: &[], settings: &[], start: Start::Wiped },
    Job { name: "create_snap_shards", task: "create_snap_shards", options: &[], settings: &[], start: Start::Filled },
    Job { name: "recover_snap_shards", task: "recover_snap_shards", options: &[], settings: &[], start: Start::Wiped },
    Job {
        name: "as backed up",
        task: "recover_snap_shards",
        options: &[],
        settings: &AS_BACKED_UP,
        start: Start::Wiped,
    },
    Job { name: "list_sets", task: "list_sets", options: &["--output", "json"], settings: &[], start: Start::Stored },
    Job { name: "verify", task: "verify", options: &[], settings: &[], start: Start::Stored },
    Job { name: "drill", task: "drill", options: &[], settings: &[], start: Start::Stored },
    Job { name: "prune_snap", task: "prune_snap", options: &["--legacy"], settings: &[], start: Start::Stored },
    Job { name: "pin_set", task: "pin_set", options: &["SET"], settings: &[], start: Start::Stored },
    Job { name: "get_coll", task: "get_coll", options: &[], settings: &[], start: Start::Filled },
    Job { name: "get_snap", task: "get_snap", options: &[], settings: &[], start: Start::Stored },
    Job { name: "get_snap_s3", task: "get_snap_s3", options: &[], settings: &[], start: Start::Stored },
    Job { name: "get_colla", task: "get_colla", options: &[], settings: &[], start: Start::Filled },
    Job { name: "recover_colla", task: "recover_colla", options: &[], settings: &[], start: Start::Unaliased },
    Job { name: "stream", task: "create_snap_shards", options: &[], settings: &STREAM, start: Start::Filled },
    Job { name: "auto", task: "create_snap_shards", options: &[], settings: &AUTO, start: Start::Filled },
    Job { name: "prune sets", task: "prune_snap", options: &[], settings: &[], start: Start::Stored },
    Job { name: "force", task: "recover_snap_shards", options: &[], settings: &FORCE, start: Start::Overwritten },
    Job { name: "force generation", task: "recover_snap", options: &[], settings: &FORCE, start: Start::Overwritten },
    Job {
        name: "force beside",
        task: "recover_snap_shards",
        options: &[],
        settings: &FORCE_BESIDE,
        start: Start::Overwritten,
    },
    Job {
        name: "side by side",
        task: "recover_snap_shards",
        options: &[],
        settings: &SIDE_BY_SIDE,
        start: Start::Stored,
    },
];

/// The collections of a bench.
pub const COLLECTIONS: [&str; 2] = ["docs", "tenants"];

/// How many points `docs` has.
const DOCS: u64 = 24;

/// Lines that earlier runs left; none of them may be lost.
const HISTORY: [(&str, &str); 3] = [
    ("snapshot_recovery_history", "http://elsewhere:6333,docs-1-2026-01-01-00-00-00.snapshot,ok\n"),
    ("failed_snapshot_recovery", "http://elsewhere:6333,docs-2-2026-01-01-00-00-00.snapshot,why\n"),
    ("alias_recovery_history", "elsewhere,an-alias,ok\n"),
];

/// How long an answer may take where none is withheld: a busy machine is no fault.
pub const PATIENT: &str = "60";

/// How long an answer is waited for that will not come in time.
pub const IMPATIENT: &str = "3";

/// The place.
pub struct Bench {
    /// The servers; the source is the target, too.
    pub site: Site,
    /// What the collections hold.
    pub contents: BTreeMap<String, Content>,
    /// Where it is.
    pub placed: BTreeMap<String, Placed>,
    /// Alias to collection.
    pub aliases: BTreeMap<String, String>,
    /// The bucket with backups of both kinds.
    pub stored: BTreeMap<String, Vec<u8>>,
    newest: String,
    is_spoilt: bool,
}

impl Bench {
    /// A cluster of three peers with a collection of every kind that makes a difference, backed up.
    pub async fn new() -> Self {
        Self::at(Site::with(S3::start().await, Options { peers: 3, ..Options::default() }).await).await
    }

    /// The same in memory, where tasks run natively in this process: for tests on a paused clock.
    pub async fn native() -> Self {
        Self::at(Site::native(Options { peers: 3, ..Options::default() }).await).await
    }

    async fn at(site: Site) -> Self {
        let mut bench = Self {
            site,
            contents: BTreeMap::new(),
            placed: BTreeMap::new(),
            aliases: BTreeMap::new(),
            stored: BTreeMap::new(),
            newest: String::new(),
            is_spoilt: false,
        };
        let client = bench.site.source.client();
        bench.fill().await;
        bench.contents = client.contents().await;
        bench.aliases = client.aliases().await;
        for collection in COLLECTIONS {
            bench.placed.insert(collection.to_owned(), client.placed(collection).await);
        }
        // The older backup has less, so that a restore from it is seen.
        client.delete_points("docs", 20, DOCS).await;
        for round in 0..2 {
            if round == 1 {
                client.fill("docs", 20, DOCS).await;
            }
            another_second().await;
            let work = TempDir::new().expect("a folder");
            for task in ["create_snap", "create_snap_shards"] {
                bench.site.run_in(work.path(), &[task], &[]).await.expect(0);
            }
        }
        bench.stored = bench.site.s3.objects();
        let newest = bench.site.s3.keys("backup_manifests/docs/").pop().expect("a set");
        bench.newest = newest.rsplit('/').next().expect("a name").trim_end_matches(".json").to_owned();
        bench
    }

    async fn fill(&self) {
        let client = self.site.source.client();
        client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
        client.index("docs").await;
        client.fill("docs", 0, DOCS).await;
        let late = json!({"params": {"read_fan_out_factor": 1}});
        client.ok(http::Method::PATCH, "/collections/docs?timeout=60", Some(&late)).await;
        client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
        let key = json!("acme");
        client.ok(http::Method::PUT, "/collections/tenants/shards?timeout=60", Some(&json!({"shard_key": key}))).await;
        client.fill_key("tenants", 0, 8, Some(&key)).await;
        self.alias().await;
    }

    async fn alias(&self) {
        self.site.source.client().alias("live", "docs").await;
    }

    /// Brings all to where `start` says, and gives a new work directory.
    pub async fn reset(&mut self, start: Start) -> TempDir {
        self.site.s3.faults().clear();
        self.settled().await;
        let client = self.site.source.client();
        let there = client.collections().await;
        let scratch = there.iter().filter(|name| !COLLECTIONS.contains(&name.as_str()));
        for name in scratch {
            client.delete(name).await;
        }
        let is_whole = COLLECTIONS.iter().all(|name| there.contains(*name));
        match start {
            Start::Wiped => client.wipe().await,
            // What a forced restore has left is anything.
            _ if !is_whole || self.is_spoilt || client.contents().await != self.contents => {
                client.wipe().await;
                self.fill().await;
            }
            _ => self.alias().await,
        }
        self.is_spoilt = start == Start::Overwritten;
        if self.is_spoilt {
            client.overwrite("docs", DOCS).await;
        }
        if start == Start::Unaliased {
            let body = json!({"actions": [{"delete_alias": {"alias_name": "live"}}]});
            client.ok(http::Method::POST, "/collections/aliases?timeout=60", Some(&body)).await;
        }
        match start {
            Start::Filled => self.site.s3.replace_all(&BTreeMap::new()),
            _ => self.site.s3.replace_all(&self.stored),
        }
        self.site.source.stand_in().forget_work();
        self.site.s3.faults().clear();
        let work = TempDir::new().expect("a folder");
        for (file, line) in HISTORY {
            std::fs::write(work.path().join(file), line).expect("a file");
        }
        work
    }

    /// Waits until no server does anything any more.
    pub async fn settled(&mut self) {
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.site.source.stand_in().is_busy() {
            assert!(tokio::time::Instant::now() < limit, "the stand-in does not settle");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the peers did since the reset.
    pub fn work(&mut self) -> Vec<Work> {
        self.site.source.stand_in().work()
    }

    /// The command line of a job.
    pub fn arguments(&self, job: Job) -> Vec<&str> {
        let options = job.options.iter().map(|option| if *option == "SET" { self.newest.as_str() } else { option });
        std::iter::once(job.task).chain(options).collect()
    }

    /// The settings with which a task is run; `seconds` is how long it waits for an answer.
    pub fn settings(seconds: &'static str) -> [(&'static str, &'static str); 7] {
        [
            ("CURL_TIMEOUT", seconds),
            ("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", "20"),
            ("QDRANT_VERIFY_SAMPLE_POINTS", "10"),
            ("QDRANT_BACKUP_RETENTION_SETS", "1"),
            ("QDRANT_LEGACY_KEEP_RUNS", "1"),
            ("QDRANT_RUN_DEADLINE", "120s"),
            ("HOSTNAME", "backup-1-abcde"),
        ]
    }

    /// Runs a job, with all the time it may need.
    pub async fn run(&self, job: Job, work: &Path) -> Run {
        self.run_within(PATIENT, job, work).await
    }

    /// Runs a job that waits for an answer for so many seconds.
    pub async fn run_within(&self, seconds: &'static str, job: Job, work: &Path) -> Run {
        let settings = [&Self::settings(seconds)[..], job.settings].concat();
        self.site.run_in(work, &self.arguments(job), &settings).await
    }

    /// The file and the lines that earlier runs left there.
    pub fn history() -> &'static [(&'static str, &'static str)] {
        &HISTORY
    }
}
