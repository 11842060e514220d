//! Real Qdrant servers in place of the stand-in: `QDRANT_BIN=/path/to/qdrant`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http_client;
use crate::qdrant::{Options, PORT};

/// The program, where there is one.
///
/// # Panics
/// The tests were built for the other servers: which tests are for the stand-in alone is settled when they are built.
pub fn program() -> Option<PathBuf> {
    let program = std::env::var_os("QDRANT_BIN").filter(|program| !program.is_empty()).map(PathBuf::from);
    assert_eq!(
        program.is_some(),
        cfg!(real_servers),
        "run these tests by cargo, which builds them for this QDRANT_BIN"
    );
    program
}

/// Running servers; stopped when dropped.
pub struct Real {
    program: PathBuf,
    options: Options,
    ips: Vec<String>,
    /// By place in the list of peers; none for a stopped one.
    processes: Vec<Option<Child>>,
    files: TempDir,
}

impl Real {
    /// Starts servers as `options` say, as far as real ones can.
    pub async fn start(program: &Path, options: &Options) -> Self {
        let files = TempDir::new().expect("a temporary folder");
        let random = uuid::Uuid::new_v4().into_bytes();
        let ips: Vec<String> =
            (1..=options.peers).map(|host| format!("127.{}.{}.{host}", 1 + random[0] % 254, random[1])).collect();
        let mut real =
            Self { program: program.to_path_buf(), options: options.clone(), ips, processes: Vec::new(), files };
        for index in 0..options.peers {
            real.processes.push(None);
            real.start_peer(index).await;
        }
        real
    }

    /// Starts a peer that does not run: with the data it had, where it ran before.
    pub async fn start_peer(&mut self, index: usize) {
        self.processes[index] = Some(self.command(index).spawn().expect("the program starts"));
        self.wait_until_ready(index).await;
    }

    /// Kills a peer, and starts it again with nothing on its disk.
    pub async fn lose_volume(&mut self, index: usize) {
        self.stop_peer(index);
        std::fs::remove_dir_all(self.files.path().join(index.to_string()).join("storage")).expect("its disk");
        self.start_peer(index).await;
    }

    /// Kills a peer. Its data stays.
    pub fn stop_peer(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn command(&self, index: usize) -> Command {
        let options = &self.options;
        let folder = self.files.path().join(index.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a file");
        let ip = &self.ips[index];
        let mut command = Command::new(&self.program);
        command.current_dir(&folder).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let mut set = |name: &str, value: &str| {
            command.env(format!("QDRANT__{name}"), value);
        };
        set("SERVICE__HOST", ip);
        set("SERVICE__HTTP_PORT", &PORT.to_string());
        set("SERVICE__GRPC_PORT", "6334");
        set("TELEMETRY_DISABLED", "true");
        set("LOG_LEVEL", "WARN");
        set("SERVICE__ENABLE_SNAPSHOT_URL_RECOVERY", &options.url_recovery.to_string());
        if let Some(key) = &options.api_key {
            set("SERVICE__API_KEY", key);
        }
        if let Some(key) = &options.read_only_api_key {
            set("SERVICE__READ_ONLY_API_KEY", key);
        }
        if let Some(s3) = options.s3.as_ref().filter(|_| !options.local_snapshots) {
            set("STORAGE__SNAPSHOTS_PATH", &format!("./{}", s3.key_prefix));
            set("STORAGE__SNAPSHOTS_CONFIG__SNAPSHOTS_STORAGE", "s3");
            set("STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__BUCKET", &s3.bucket);
            set("STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__REGION", &s3.region);
            set("STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__ACCESS_KEY", &s3.access_key);
            set("STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__SECRET_KEY", &s3.secret_key);
            set("STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__ENDPOINT_URL", &s3.endpoint);
        }
        if options.clustered {
            set("CLUSTER__ENABLED", "true");
            set("CLUSTER__P2P__PORT", "6335");
            command.args(["--uri", &format!("http://{ip}:6335")]);
            if index > 0 {
                command.args(["--bootstrap", &format!("http://{}:6335", self.ips[0])]);
            }
        }
        command
    }

    async fn wait_until_ready(&self, index: usize) {
        let url = format!("http://{}:{PORT}/readyz", self.ips[index]);
        let started = Instant::now();
        while !matches!(http_client::get(&url).await, Ok((status, _)) if status.is_success()) {
            assert!(started.elapsed() < Duration::from_secs(60), "{url} does not become ready");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The REST addresses.
    pub fn hosts(&self) -> Vec<String> {
        self.ips.iter().map(|ip| format!("http://{ip}:{PORT}")).collect()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        (0..self.processes.len()).for_each(|index| self.stop_peer(index));
    }
}
