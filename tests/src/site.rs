//! A place to back up and restore: S3, Qdrant, a work directory, and the program's settings for them.

use std::path::Path;

#[cfg(feature = "program")]
use qdrant_backup::{Environment, Io, command_line};
use tempfile::TempDir;

use crate::canary::Canaries;
use crate::client::Client;
use crate::qdrant::{Options, Qdrant, S3Access};
use crate::real::{self, Real};
use crate::s3::{self, S3};
use crate::{native, network, scratch};

/// The API key of every server.
pub const API_KEY: &str = "canary-api-key/+=(\"&%41";

/// The session token of the keys: the S3 server takes it with them and looks no further.
pub const SESSION_TOKEN: &str = "canary-session-token/+=&%41";

/// Servers that are down in a test stay so.
const RETRIES: (&str, &str) = ("QDRANT_RETRY_MAX_DURATION", "8s");

/// S3, a source and a work directory.
pub struct Site {
    /// The bucket.
    pub s3: S3,
    /// The source's servers.
    pub source: Servers,
    /// The work directory.
    pub work: TempDir,
}

/// Servers of one cluster, or one server.
#[allow(clippy::large_enum_variant)]
pub enum Servers {
    /// The stand-in.
    StandIn(Qdrant),
    /// Real Qdrant.
    Real(Real),
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: u8,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Servers {
    /// Starts servers: real ones where `QDRANT_BIN` names the program.
    pub async fn start(options: Options) -> Self {
        match real::program().filter(|_| !options.memory) {
            Some(program) => Self::Real(Real::start(&program, &options).await),
            None => Self::StandIn(Qdrant::start(options).await),
        }
    }

    /// The REST addresses.
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::StandIn(qdrant) => qdrant.hosts(),
            Self::Real(real) => real.hosts(),
        }
    }

    /// A client for all peers.
    pub fn client(&self) -> Client {
        Client::new(self.hosts(), Some(API_KEY.to_owned()))
    }

    /// Stops a peer: nobody listens there any more. Its data stays.
    pub async fn stop_peer(&mut self, index: usize) {
        match self {
            Self::StandIn(qdrant) => qdrant.stop_peer(index).await,
            Self::Real(real) => real.stop_peer(index),
        }
    }

    /// A peer that holds no shard comes back with a new volume: it is another peer, and the cluster names both at one
    /// address.
    pub async fn lose_volume(&mut self, index: usize) {
        match self {
            Self::StandIn(qdrant) => qdrant.add_ghost(index),
            Self::Real(real) => real.lose_volume(index).await,
        }
    }

    /// Starts a stopped peer again.
    pub async fn start_peer(&mut self, index: usize) {
        match self {
            Self::StandIn(qdrant) => qdrant.start_peer(index).await,
            Self::Real(real) => real.start_peer(index).await,
        }
    }

    /// The stand-in, for tests that need one.
    ///
    /// # Panics
    /// These are real servers: such a test is to be marked by `#[cfg_attr(real_servers, ignore = "why")]`.
    pub fn stand_in(&mut self) -> &mut Qdrant {
        match self {
            Self::StandIn(qdrant) => qdrant,
            Self::Real(_) => panic!("this test is for the stand-in; run it without QDRANT_BIN"),
        }
    }
}

impl Site {
    /// A cluster of `peers` with a bucket.
    pub async fn cluster(peers: usize) -> Self {
        Self::start(Options { peers, ..Options::default() }).await
    }

    /// Servers as `options` say, with a bucket, all of it in memory: tasks run natively in this process. For tests on a
    /// paused clock, `#[tokio::test(start_paused = true)]`.
    pub async fn native(options: Options) -> Self {
        let s3 = S3::with(s3::Options { memory: true, ..s3::Options::default() }).await;
        Self::with(s3, options).await
    }

    /// A server without clustering, with a bucket.
    pub async fn standalone() -> Self {
        Self::start(Options { peers: 1, clustered: false, ..Options::default() }).await
    }

    /// Servers as `options` say, with a bucket and the key that all servers have.
    pub async fn start(options: Options) -> Self {
        Self::with(S3::start().await, options).await
    }

    /// Servers as `options` say, with this S3 server.
    pub async fn with(s3: S3, options: Options) -> Self {
        let (access, faults) = (Some(access(&s3)), s3.faults().clone());
        let memory = network::has(&s3.endpoint());
        let options = Options { s3: access, api_key: Some(API_KEY.to_owned()), faults, memory, ..options };
        Self { s3, source: Servers::start(options).await, work: scratch::folder(memory) }
    }

    /// More servers at the same bucket.
    pub async fn more(&self, options: Options) -> Servers {
        let (s3, memory) = (Some(access(&self.s3)), self.is_native());
        Servers::start(Options { s3, api_key: Some(API_KEY.to_owned()), memory, ..options }).await
    }

    /// True where tasks run natively in this process.
    pub fn is_native(&self) -> bool {
        network::has(&self.s3.endpoint())
    }

    /// Access to the bucket, as Qdrant has it.
    pub fn access(&self) -> S3Access {
        access(&self.s3)
    }

    /// The settings of the guide for this place; the source is the target, too.
    pub fn settings(&self) -> Vec<(String, String)> {
        let hosts = self.source.hosts();
        [
            ("QDRANT_SOURCE_HOSTS", hosts[0].as_str()),
            ("QDRANT_RESTORE_HOSTS", hosts[0].as_str()),
            // The addresses of a cluster on one machine have no common name.
            ("QDRANT_ALLOW_HOSTS", "127.0.0.0/8"),
            ("QDRANT_API_KEY", API_KEY),
            ("QDRANT_S3_ENDPOINT_URL", &self.s3.endpoint()),
            ("QDRANT_S3_BUCKET_NAME", crate::s3::BUCKET),
            ("QDRANT_S3_ACCESS_KEY_ID", crate::s3::ACCESS_KEY),
            ("QDRANT_S3_SECRET_ACCESS_KEY", crate::s3::SECRET_KEY),
            ("QDRANT_S3_SESSION_TOKEN", SESSION_TOKEN),
            ("BACKUP_COLLECTION_ALIASES_ON_S3", "true"),
            // To find it out one snapshot more is made.
            ("QDRANT_SNAPSHOT_TRANSFER", "storage"),
            ("QDRANT_VERIFY_POLL_INTERVAL_SECONDS", "1"),
            ("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", "60"),
            ("CURL_TIMEOUT", "60"),
            RETRIES,
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Runs the program here.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &[]).await
    }

    /// Runs the program here with other settings besides.
    pub async fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        self.run_in(self.work.path(), arguments, more).await
    }

    /// Runs the program in another work directory.
    pub async fn run_in(&self, work: &Path, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let mut settings = self.settings();
        settings.push(("QDRANT_WORK_DIR".to_owned(), work.display().to_string()));
        settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if self.is_native() {
            let (code, stdout, stderr) = native::task(arguments, settings.clone(), work).await;
            let run = Run { code, stdout, stderr };
            canaries(&settings).are_not_in_what_was_left(&run.stdout, &run.stderr, Some(work));
            return run;
        }
        let run = run(arguments, settings.clone()).await;
        let canaries = canaries(&settings).and_signatures(&self.s3);
        canaries.are_not_in_what_was_left(&run.stdout, &run.stderr, Some(work));
        canaries.are_not_in_bucket(&self.s3);
        run
    }

    /// Runs the program here, natively, until `cancelled` ends.
    pub async fn run_until(
        &self,
        arguments: &[&str],
        more: &[(&str, &str)],
        cancelled: impl Future<Output = ()> + Send,
    ) -> Run {
        let mut settings = self.settings();
        settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (code, stdout, stderr) = native::task_until(arguments, settings, self.work.path(), cancelled).await;
        Run { code, stdout, stderr }
    }

    /// Removes the lists that a backup leaves in the work directory for the next run there.
    pub fn forget_lists(&self) {
        for name in ["snapshots", "collections"] {
            let _ = std::fs::remove_file(self.work.path().join(name));
        }
    }

    /// A state file, empty where there is none.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.work.path().join(name)).unwrap_or_default()
    }
}

fn canaries(settings: &[(String, String)]) -> Canaries {
    Canaries::among(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Runs the program with just these settings; the last of a name counts. None of the secrets among them may be in what it
/// prints or in its work directory.
#[cfg(feature = "program")]
pub async fn run(arguments: &[&str], settings: Vec<(String, String)>) -> Run {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let (io, captured) = Io::capture();
    let canaries = canaries(&settings);
    let mut settings: std::collections::BTreeMap<String, String> = settings.into_iter().collect();
    settings.entry(RETRIES.0.to_owned()).or_insert_with(|| RETRIES.1.to_owned());
    let work = settings.get("QDRANT_WORK_DIR").cloned();
    let code = tokio::task::spawn_blocking(move || {
        let environment = Environment::from_pairs(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command_line(&arguments, &environment, &io)
    });
    let code = code.await.unwrap();
    canaries.are_not_in_what_was_left(&captured.stdout(), &captured.stderr(), work.as_deref().map(Path::new));
    Run { code, stdout: captured.stdout(), stderr: captured.stderr() }
}

/// Without the program tasks run natively, without a sandbox.
#[cfg(not(feature = "program"))]
async fn run(arguments: &[&str], settings: Vec<(String, String)>) -> Run {
    let work = settings.iter().rev().find(|(name, _)| name == "QDRANT_WORK_DIR");
    let work = work.map(|(_, work)| work.into()).unwrap_or_default();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let (code, stdout, stderr) = native::task_by_sockets(arguments, settings, work).await;
    Run { code, stdout, stderr }
}

impl Run {
    /// Asserts the exit code; shows the log where it is another.
    #[track_caller]
    pub fn expect(self, code: u8) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the log says all of this.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "the log does not say `{text}`:\n{}", self.stderr);
        }
        self
    }
}

fn access(s3: &S3) -> S3Access {
    S3Access {
        endpoint: s3.endpoint(),
        bucket: crate::s3::BUCKET.to_owned(),
        access_key: crate::s3::ACCESS_KEY.to_owned(),
        secret_key: crate::s3::SECRET_KEY.to_owned(),
        region: s3.region().to_owned(),
        key_prefix: "snapshots".to_owned(),
    }
}
