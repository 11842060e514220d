//! Real Qdrant servers in place of the stand-in: `QDRANT_BIN=/path/to/qdrant`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http_client;
use crate::qdrant::{Options, PORT};

/// The program, where there is one.
pub fn program() -> Option<PathBuf> {
    std::env::var_os("QDRANT_BIN").map(PathBuf::from)
}

/// Running servers; stopped when dropped.
pub struct Real {
    ips: Vec<String>,
    processes: Vec<Child>,
    _files: TempDir,
}

impl Real {
    /// Starts servers as `options` say, as far as real ones can.
    pub async fn start(program: &Path, options: &Options) -> Self {
        let files = TempDir::new().expect("a temporary folder");
        let random = uuid::Uuid::new_v4().into_bytes();
        let ips: Vec<String> =
            (1..=options.peers).map(|host| format!("127.{}.{}.{host}", 1 + random[0] % 254, random[1])).collect();
        let mut real = Self { ips, processes: Vec::new(), _files: files };
        for index in 0..options.peers {
            let process = real.command(program, options, index).spawn().expect("the program starts");
            real.processes.push(process);
            real.wait_until_ready(index).await;
        }
        real
    }

    fn command(&self, program: &Path, options: &Options, index: usize) -> Command {
        let folder = self._files.path().join(index.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        let ip = &self.ips[index];
        let mut command = Command::new(program);
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
        if let Some(s3) = &options.s3 {
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
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
