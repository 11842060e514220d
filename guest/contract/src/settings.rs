//! The settings: every environment variable, checked together before anything is sent.

use std::time::Duration;

use time::OffsetDateTime;

mod choice;
mod credentials;
mod duration;
mod endpoint;
mod help;
mod host;
mod in_files;
mod needs;
mod peer_hosts;
mod read;
mod retention;
mod secret;
mod setting;
mod share;
pub mod table;
mod unknown;
mod values;
mod words;

pub use choice::Choice;
pub use credentials::{Authorization, ContainerService, CredentialSource, Keys, WebIdentity};
pub use duration::parse as parse_duration;
pub use endpoint::Endpoint;
pub use help::help;
pub use host::{DefaultPort, Host};
pub use in_files::secrets_in_files;
pub use needs::{BucketUse, Needs};
pub use peer_hosts::PeerHosts;
pub use read::{Problem, credential_source, from_variables};
pub use retention::{Keep, Sweep};
pub use secret::Secret;
pub use setting::{Accepted, Scope, Setting, Variable, Word};
pub use share::Share;
pub use share::hash;
pub use table::VARIABLES;
pub use unknown::unknown_names;
pub use values::Addresses;
pub use words::{
    Addressing, Algorithm, ContentCheck, CredentialChoice, LogFormat, Output, ReportFormat, RestorePlacement,
    SnapshotCheck, Transfer,
};

/// All settings of a run, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `QDRANT_SOURCE_HOSTS`: where backups come from.
    pub source_hosts: Vec<Host>,
    /// `QDRANT_RESTORE_HOSTS`: where restores go.
    pub restore_hosts: Vec<Host>,
    /// `QDRANT_API_KEY`, for both sides.
    pub source_api_key: Option<Secret>,
    /// `QDRANT_RESTORE_API_KEY`, else `QDRANT_API_KEY`.
    pub restore_api_key: Option<Secret>,
    /// `GET_PEERS_FROM_CLUSTER_INFO`: find the source's other peers by `GET /cluster`.
    pub discover_peers: bool,
    /// `QDRANT_PEER_HOSTS`: where peers are reached whose own addresses can't be.
    pub peer_hosts: PeerHosts,
    /// `QDRANT_HTTP_PORT`: the REST port of discovered peers.
    pub http_port: u16,
    /// `CURL_TIMEOUT`: how long one request to Qdrant may work before its answer.
    pub request_timeout: Duration,
    /// `QDRANT_RETRY_MAX_DURATION`: how long faults that pass are waited out; zero: not at all.
    pub retry_limit: Duration,
    /// `QDRANT_WAIT_ON_TASK`: ask Qdrant to answer when the work is done rather than at once.
    pub wait: bool,
    /// `QDRANT_S3_LINK_EXPIRY_DURATION`: validity of presigned URLs, 1 s to 7 days.
    pub link_expiry: Duration,
    /// `QDRANT_SNAPSHOT_DATETIME_FILTER`, as given; empty means all. See `naming::SnapshotFilter`.
    pub snapshot_filter: String,
    /// `BACKUP_COLLECTION_ALIASES_ON_S3`: keep the aliases in the bucket, too.
    pub aliases_on_s3: bool,
    /// `QDRANT_COLLECTION_ALIASES_STABLE_FILE`: the alias object to read at a restore.
    pub aliases_object: String,
    /// The bucket, where one is configured.
    pub s3: Option<S3Settings>,
    /// `QDRANT_RESTORE_FORCE`: overwrite a collection that holds points.
    pub restore_force: bool,
    /// `QDRANT_SKIP_VERSION_CHECK`: restore into another version of Qdrant all the same.
    pub skip_version_check: bool,
    /// `QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS`: how long a restored cluster may take to settle.
    pub settle_timeout: Duration,
    /// `QDRANT_VERIFY_POLL_INTERVAL_SECONDS`: the longest pause between two looks at a cluster.
    pub poll_interval: Duration,
    /// `QDRANT_SNAPSHOTS_PER_PEER`: how many snapshots one peer makes or restores at a time.
    pub snapshots_per_peer: usize,
    /// `QDRANT_COLLECTIONS` and `QDRANT_COLLECTIONS_EXCLUDE`: which collections are meant.
    pub collections: Choice,
    /// `QDRANT_RESTORE_RENAME`: names in a set, and their names on the target.
    pub rename: Vec<(String, String)>,
    /// `QDRANT_RESTORE_REPLICATION_FACTOR`: the number of replicas that a restored set gets, if not its own.
    pub replication_factor: Option<u64>,
    /// `QDRANT_VERIFY_TOLERANCE_PCT`: by how many percent a shard's number of points may differ from its counts around the
    /// backup; where it is not set, by 1 where these are not exact, and by none where they are equal.
    pub tolerance_percent: Option<u64>,
    /// `QDRANT_RESTORE_ID`: names a restore, so that the runs of it know of each other.
    pub restore_id: Option<String>,
    /// `QDRANT_REQUIRE_VERIFIED`: a collection that was restored and could not be verified is a failure.
    pub require_verified: bool,
    /// `QDRANT_RESTORE_ACCEPT_CONFIG`: take a configuration that can't be made as it was.
    pub accept_config: bool,
    /// How much of a restored collection's content is compared.
    pub verify_content: ContentCheck,
    /// How many points are read back after a restore.
    pub sample_points: u64,
    /// Where the report of the run goes, besides the log.
    pub report: ReportTo,
    /// How many percent of the snapshots `verify` reads whole.
    pub verify_percent: u64,
    /// Say what would be done, and do nothing of it.
    pub dry_run: bool,
    /// Which sets `prune_snap` keeps.
    pub keep: Keep,
    /// How much it deletes at most.
    pub sweep: Sweep,
    /// Move aliases to the collection that was restored beside theirs.
    pub switch_aliases: bool,
    /// Restore the replacement of a collection beside it, and verify it, before that is deleted.
    pub restore_beside: bool,
    /// `QDRANT_RESTORE_PLACEMENT`: which peers the shards of a restored set are on.
    pub placement: RestorePlacement,
    /// Set the state of the cluster that is in no snapshot as it was at the backup.
    pub restore_cluster_state: bool,
    /// Delete the collection that another one was restored beside.
    pub drop_old: bool,
    /// `QDRANT_RESTORE_BEFORE`: only sets that were begun before this moment.
    pub restore_before: Option<OffsetDateTime>,
    /// `QDRANT_ARCHIVE_CHECK`: how much of each shard snapshot is read before it counts.
    pub snapshot_check: SnapshotCheck,
    /// `QDRANT_SNAPSHOT_TRANSFER`: how the snapshots of shards get into the bucket.
    pub transfer: Transfer,
    /// `QDRANT_MEMORY_LIMIT`: how much memory the host lets this component have, in bytes.
    pub memory_limit: u64,
    /// `QDRANT_BACKUP_LABEL`: a text that goes into the manifests of sets.
    pub label: Option<String>,
    /// `QDRANT_SOURCE_NAME`: what people call the source.
    pub source_name: Option<String>,
    /// `QDRANT_RESTORE_SOURCE`: whose backups are restored, by id or name.
    pub restore_source: Option<String>,
    /// `QDRANT_BACKUP_RUN`: what the pods of one run have in common, where the Job's name does not say it.
    pub backup_run: Option<String>,
    /// `QDRANT_BACKUP_UNCHECKED`: `create_snap` without a bucket is a success.
    pub unchecked: bool,
    /// `HOSTNAME`: the pod's name, which tells the sets of runs within one second apart.
    pub pod: Option<String>,
    /// `QDRANT_BACKUP_SHARES` and `JOB_COMPLETION_INDEX`: back up a share of the collections; `None`: all.
    pub share: Option<Share>,
    /// `QDRANT_SNAPSHOTS_FILE`: the CSV file to restore from, if it isn't `snapshots` in the work directory.
    pub snapshots_file: Option<String>,
    /// `QDRANT_BACKUP_MAX_AGE`: how old the newest good backup of a collection may become.
    pub max_age: Duration,
    /// `QDRANT_BACKUP_WARN_SHRINK`: from how many percent of lost points on a collection is warned of.
    pub warn_shrink: u64,
    /// `QDRANT_OUTPUT`: how lists are printed on standard output.
    pub output: Output,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
}

impl Settings {
    /// Every secret among them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let s3 = self.s3.iter().flat_map(|s3| s3.credentials.secrets());
        self.source_api_key.iter().chain(&self.restore_api_key).chain(s3)
    }

    /// What a collection is called on the target (`QDRANT_RESTORE_RENAME`).
    pub fn renamed<'a>(&'a self, name: &'a str) -> &'a str {
        self.rename.iter().find(|(old, _)| old == name).map_or(name, |(_, new)| new)
    }
}

/// How to reach the bucket.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// `QDRANT_S3_ENDPOINT_URL`: scheme, host and port, and a path where the service has one.
    pub endpoint: Endpoint,
    /// `QDRANT_S3_ENDPOINT_URL_FOR_QDRANT`: the same service as Qdrant reaches it, for presigned URLs.
    pub endpoint_for_qdrant: Endpoint,
    /// `QDRANT_S3_BUCKET_NAME`.
    pub bucket: String,
    /// The keys, or who lends them.
    pub credentials: CredentialSource,
    /// `QDRANT_S3_REGION`, else `AWS_REGION`, `AWS_DEFAULT_REGION`; found by asking when not set.
    pub region: Option<String>,
    /// `QDRANT_S3_ADDRESSING_STYLE`.
    pub addressing: Addressing,
    /// `QDRANT_BACKUP_PREFIX`: below which the tool puts its own objects, no slash at either end; the root by default.
    pub backup_prefix: String,
    /// `QDRANT_S3_KEY_PREFIX`: Qdrant's `snapshots_path` without `./`, no slash at either end; `snapshots`.
    pub key_prefix: String,
    /// `CURL_TIMEOUT`: how long an answer may take at most, where a minute is not less.
    pub timeout: Duration,
    /// `QDRANT_S3_SSE`: how the store is asked to encrypt the program's own objects.
    pub encryption: Option<Encryption>,
}

impl S3Settings {
    /// A bucket that is reached by a path at `endpoint`, the rest by default.
    pub fn new(endpoint: Endpoint, bucket: &str, access_key: &str, secret_key: Secret) -> Self {
        Self {
            endpoint_for_qdrant: endpoint.clone(),
            endpoint,
            bucket: bucket.to_owned(),
            credentials: CredentialSource::Keys(Keys {
                access_key: access_key.to_owned(),
                secret_key,
                session_token: None,
            }),
            region: None,
            addressing: Addressing::Path,
            backup_prefix: String::new(),
            key_prefix: "snapshots".to_owned(),
            timeout: Duration::from_secs(1800),
            encryption: None,
        }
    }
}

/// Encryption by the store (SSE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// How.
    pub algorithm: Algorithm,
    /// `QDRANT_S3_SSE_KMS_KEY_ID`: which key of the KMS; else the bucket's.
    pub kms_key: Option<String>,
}

/// Where the report of a run goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportTo {
    /// A file in the work directory.
    pub file: Option<String>,
    /// What is in it.
    pub format: ReportFormat,
    /// The object `run_reports/<task>.json`.
    pub s3: bool,
    /// The page of `report`: a file in the work directory.
    pub html_file: Option<String>,
    /// The same as the object `run_reports/report.html`.
    pub html_s3: bool,
    /// A file in the work directory, for Prometheus.
    pub metrics_file: Option<String>,
    /// The group of a push gateway: `http://host:port/metrics/job/<job>`.
    pub push_url: Option<String>,
}
