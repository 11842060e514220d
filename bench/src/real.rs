//! Real Qdrant servers, where `QDRANT_BIN` names the program: what servers that do no work can't show.

mod content;
mod restore;
mod transfer;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::qdrant::{Options, S3Access};
use qdrant_backup_tests::real::Real;
use qdrant_backup_tests::s3::{ACCESS_KEY, BUCKET, REGION, S3, SECRET_KEY};
use tempfile::TempDir;

use crate::measure::{self, Run};
use crate::points::{Bench, Who};
use crate::table::Table;

/// The API key of the servers.
const API_KEY: &str = "bench";

/// Servers with a bucket, and a work directory for the program.
struct Place {
    s3: S3,
    servers: Real,
    work: TempDir,
}

impl Bench {
    /// Servers of `peers`, a cluster or one server without clustering, where there is a program to start.
    fn place(&self, table: &mut Table, part: &str, peers: usize, clustered: bool) -> Option<Place> {
        let program = std::env::var_os("QDRANT_BIN").filter(|program| !program.is_empty()).map(PathBuf::from);
        let Some(program) = program.and_then(|program| std::fs::canonicalize(program).ok()) else {
            table.note(part, "not measured: QDRANT_BIN names no Qdrant".to_owned());
            return None;
        };
        Some(self.runtime.block_on(async {
            let s3 = S3::start().await;
            let access = S3Access {
                endpoint: s3.endpoint(),
                bucket: BUCKET.to_owned(),
                region: REGION.to_owned(),
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.to_owned(),
                key_prefix: "snapshots".to_owned(),
            };
            let options =
                Options { peers, clustered, s3: Some(access), api_key: Some(API_KEY.to_owned()), ..Options::default() };
            Place { s3, servers: Real::start(&program, &options).await, work: TempDir::new().unwrap() }
        }))
    }
}

impl Place {
    fn client(&self) -> Client {
        Client::new(self.servers.hosts(), Some(API_KEY.to_owned()))
    }

    fn settings(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let host = self.servers.hosts()[0].clone();
        let mut settings = vec![
            ("QDRANT_SOURCE_HOSTS", host.clone()),
            ("QDRANT_RESTORE_HOSTS", host),
            ("QDRANT_HTTP_PORT", qdrant_backup_tests::qdrant::PORT.to_string()),
            ("QDRANT_API_KEY", API_KEY.to_owned()),
            ("QDRANT_ALLOW_HOSTS", "127.0.0.0/8".to_owned()),
            ("QDRANT_S3_ENDPOINT_URL", self.s3.endpoint()),
            ("QDRANT_S3_BUCKET_NAME", BUCKET.to_owned()),
            ("QDRANT_S3_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("QDRANT_S3_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("QDRANT_S3_REGION", REGION.to_owned()),
            ("QDRANT_SNAPSHOTS_PER_PEER", "1".to_owned()),
            ("QDRANT_WORK_DIR", self.work.path().display().to_string()),
        ];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings
    }

    /// Runs the program, or the plain client, which has to succeed.
    fn run(&self, bench: &Bench, who: Who, task: &str, more: &[(&'static str, &str)]) -> Run {
        // The lists of an earlier run would be a choice.
        for list in ["snapshots", "collections"] {
            let _ = std::fs::remove_file(self.work.path().join(list));
        }
        measure::run(&bench.command(who, task), &self.settings(more), self.work.path())
    }

    /// Runs the program; how it ended, and how long it took.
    fn output(&self, bench: &Bench, task: &str, more: &[(&'static str, &str)]) -> (Output, Duration) {
        let command = bench.command(Who::Program, task);
        let started = Instant::now();
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).env_clear().envs(self.settings(more)).current_dir(self.work.path());
        let output = process.stdin(Stdio::null()).output().unwrap();
        (output, started.elapsed())
    }
}
