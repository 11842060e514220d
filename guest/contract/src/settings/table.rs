//! The table of the settings: one row each. The reader, the host's filter, the help and docs/settings.md take it from here.
//!
//! A new setting is a row here, and a field in `settings.rs`, which `read.rs` fills by the row.

use std::time::Duration;

use time::OffsetDateTime;

use super::duration::{HOUR, days, minutes};
use super::endpoint::Endpoint;
use super::peer_hosts::PeerHosts;
use super::secret::Secret;
use super::setting::{Scope, Setting, Variable};
use super::values::{
    Addresses, absolute_path, bucket, endpoint, file_name, key_prefix, own_prefix, push_url, region, rename,
    restore_id, server, session_name, utc, word,
};
use super::words::{
    Addressing, Algorithm, ContentCheck, CredentialChoice, LogFormat, Output, ReportFormat, RestorePlacement,
    SnapshotCheck, Transfer,
};

/// The longest validity that S3 accepts for a presigned URL (AWS, "Authenticating Requests: Using Query
/// Parameters"), and longer than any request should take.
const WEEK: Duration = days(7);
const SECOND: Duration = Duration::from_secs(1);
/// More sets than anybody keeps.
const MANY: u64 = 100_000;

/// `NAME: type = kind(default, accepted values, meaning);`, where the kinds are the constructors of [`Setting`].
macro_rules! settings {
    ($($name:ident: $type:ty = $kind:ident($($argument:expr),* $(,)?);)*) => {
        $(
            #[doc = concat!("The setting `", stringify!($name), "`.")]
            pub const $name: Setting<$type> = Setting::<$type>::$kind(stringify!($name), $($argument),*);
        )*

        /// Every variable of the contract, in the order of the documentation.
        pub const VARIABLES: &[Variable] = &[$($name.variable),*];
    };
}

settings! {
    QDRANT_SOURCE_HOSTS: Addresses = parsed("", "hosts, by commas", Addresses::read,
        "where backups come from; a headless Service or the peers themselves");
    QDRANT_RESTORE_HOSTS: Addresses = parsed("", "hosts, by commas", Addresses::read,
        "where restores go; hosts of one cluster are one target, others each get everything");
    QDRANT_API_KEY: Option<Secret> = secret("", "Qdrant's API key, for both sides");
    QDRANT_RESTORE_API_KEY: Option<Secret> = secret("QDRANT_API_KEY",
        "the API key of the restore side, where it differs");
    GET_PEERS_FROM_CLUSTER_INFO: bool = flag(true,
        "find the source's other peers by asking the cluster; false: only the hosts named");
    QDRANT_HTTP_PORT: u16 = number(6333, 1..=65_535,
        "the REST port of peers found that way, and of hosts named without one");
    QDRANT_PEER_HOSTS: PeerHosts = parsed("", "peer=URL, by commas", PeerHosts::read,
        "where peers are reached whose own addresses can't be, by peer id or by the name in their address: \
         qdrant-*.inner=https://node-*.x.example.com");
    QDRANT_S3_ENDPOINT_URL: Option<Endpoint> = parsed("", "URL", endpoint, "the S3 service");
    QDRANT_S3_BUCKET_NAME: Option<String> = parsed("", "name", bucket,
        "the bucket in which Qdrant stores its snapshots");
    QDRANT_S3_ACCESS_KEY_ID: Option<String> = text("AWS_ACCESS_KEY_ID", "text", "access key");
    QDRANT_S3_SECRET_ACCESS_KEY: Option<Secret> = secret("AWS_SECRET_ACCESS_KEY", "secret key");
    QDRANT_S3_SESSION_TOKEN: Option<Secret> = secret("AWS_SESSION_TOKEN", "session token of temporary keys");
    QDRANT_S3_CREDENTIALS: CredentialChoice = choice(
        "where keys come from if none are set; auto takes the first that is configured");
    QDRANT_S3_REGION: Option<String> = parsed("AWS_REGION, else asked for", "name", region, "the bucket's region");
    QDRANT_S3_ADDRESSING_STYLE: Addressing = choice("whether the bucket is in the path or in the host's name");
    QDRANT_S3_KEY_PREFIX: Option<String> = parsed("snapshots", "path", key_prefix,
        "Qdrant's snapshots_path without ./");
    QDRANT_BACKUP_PREFIX: Option<String> = parsed("", "path", own_prefix,
        "the prefix of everything that this tool itself writes into the bucket; what is at the root is still read");
    QDRANT_SOURCE_NAME: Option<String> = text("the first host", "text",
        "the name of the source in manifests, lists and reports; its peers identify it, not its name");
    QDRANT_RESTORE_SOURCE: Option<String> = text("the target's own", "id or name",
        "which source's backups are restored; needed if the bucket has several sources and the target is none of them");
    QDRANT_BACKUP_RUN: Option<String> = text("the Job's name", "text",
        "what all pods of an Indexed Job have in common and no other run has, such as the Job's uid");
    QDRANT_S3_ENDPOINT_URL_FOR_QDRANT: Option<Endpoint> = parsed("QDRANT_S3_ENDPOINT_URL", "URL", endpoint,
        "the S3 service as Qdrant's pods reach it, for the links they are given");
    QDRANT_S3_SSE: Algorithm = choice(
        "how the store encrypts the program's own objects, for buckets whose policy asks for the header");
    QDRANT_S3_SSE_KMS_KEY_ID: Option<String> = parsed("the bucket's", "id, alias or ARN", word,
        "by which key of the KMS");
    QDRANT_S3_LINK_EXPIRY_DURATION: Duration = duration(HOUR, SECOND..=WEEK, "how long a link is valid");
    QDRANT_SNAPSHOT_DATETIME_FILTER: Option<String> = text("", "glob",
        "which snapshots are selected, by name; plain text matches anywhere in it (2026-01-29). Of sets: those whose id, or that of their run, begins with it");
    QDRANT_SNAPSHOTS_FILE: Option<String> = text("", "path",
        "the CSV file of the snapshots to restore, if not `snapshots` in the work directory");
    BACKUP_COLLECTION_ALIASES_ON_S3: bool = flag(false,
        "save the aliases in the bucket as well, and restore them from there");
    QDRANT_COLLECTION_ALIASES_STABLE_FILE: Option<String> = parsed("collection_aliases", "object name", file_name,
        "the alias object to restore from");
    CURL_TIMEOUT: Duration = duration(minutes(30), SECOND..=WEEK, "how long one snapshot or recovery may take");
    QDRANT_RETRY_MAX_DURATION: Duration = duration(minutes(5), Duration::ZERO..=days(1),
        "how long requests are retried while a server is down or limits them; at most a minute for a server that has not answered yet");
    QDRANT_WAIT_ON_TASK: bool = flag(true,
        "false: snapshots are requested without waiting, and then polled for; recoveries always wait");
    QDRANT_SNAPSHOTS_PER_PEER: usize = number(1, 1..=64, "how many snapshots or recoveries one peer does at a time");
    QDRANT_COLLECTIONS: Vec<String> = list("globs, by commas", "only these collections, for every task but `reset`");
    QDRANT_COLLECTIONS_EXCLUDE: Vec<String> = list("globs, by commas", "not these collections");
    QDRANT_RESTORE_RENAME: Vec<(String, String)> = parsed("", "old=new, by commas", rename,
        "`recover_snap_shards` restores a collection under another name, beside the old one");
    QDRANT_RESTORE_REPLICATION_FACTOR: Option<u64> = optional_number("the backup's", 1..=100,
        "how many replicas of each shard `recover_snap_shards` makes");
    QDRANT_RESTORE_SWITCH_ALIASES: bool = flag(false,
        "move the aliases of a collection to the one that was restored beside it, once that is verified");
    QDRANT_RESTORE_DROP_OLD: bool = flag(false, "then delete the old collection, where no alias leads to it any more");
    QDRANT_RESTORE_BEFORE: Option<OffsetDateTime> = parsed("", "2026-01-29, 2026-01-29T12:00:00Z", utc,
        "`recover_snap_shards` and `restore` take the newest backup that was begun before this timestamp (UTC)");
    QDRANT_VERIFY_TOLERANCE_PCT: Option<u64> = optional_number("1; 0 where the counts before and after are equal", 0..=100,
        "by how many percent a shard's points may differ from its counts around the backup; a difference is reported and not called verified");
    QDRANT_REQUIRE_VERIFIED: bool = flag(false,
        "a collection that was restored but could not be verified is a failure");
    QDRANT_VERIFY_CONTENT: ContentCheck = choice(
        "after a restore, compare the content of every replica: of a sample, or of all points; with the backup's where `qdrant-backup-drill` has read it");
    QDRANT_VERIFY_SAMPLE_POINTS: u64 = number(300, 0..=10_000,
        "how many points are read back after a restore; with QDRANT_VERIFY_CONTENT=sample: of each shard, on each replica");
    QDRANT_BACKUP_RETENTION_SETS: u64 = number(2, 0..=MANY,
        "keep-last N: the newest N good sets of each collection; without any rule nothing is removed");
    QDRANT_BACKUP_KEEP_HOURLY: u64 = number(0, 0..=MANY,
        "keep-hourly N: the newest set of each of the last N hours that have one");
    QDRANT_BACKUP_KEEP_DAILY: u64 = number(0, 0..=MANY, "keep-daily N");
    QDRANT_BACKUP_KEEP_WEEKLY: u64 = number(0, 0..=MANY, "keep-weekly N");
    QDRANT_BACKUP_KEEP_MONTHLY: u64 = number(0, 0..=MANY, "keep-monthly N");
    QDRANT_BACKUP_KEEP_YEARLY: u64 = number(0, 0..=MANY, "keep-yearly N");
    QDRANT_BACKUP_KEEP_WITHIN: Duration = duration(Duration::ZERO, Duration::ZERO..=days(36_500),
        "keep-within: all sets that are younger than this");
    QDRANT_BACKUP_DROPPED_KEEP: Duration = duration(Duration::ZERO, Duration::ZERO..=days(36_500),
        "remove all sets of a collection, the newest good one too, once it has been missing from every whole backup of its source for this long; 0s: never");
    QDRANT_LEGACY_KEEP_RUNS: u64 = number(2, 1..=MANY,
        "how many of the newest good generations of a collection `prune_snap --legacy` keeps");
    QDRANT_SWEEP_GRACE_SECONDS: Duration = duration(days(2), SECOND..=days(3650),
        "orphaned snapshots that are younger are left alone: a backup may be running");
    QDRANT_SWEEP_DELETE_CAP_PCT: u64 = number(50, 0..=1000,
        "where more of a collection's snapshots are orphaned, none is deleted and the run fails");
    QDRANT_REPORT_FILE: Option<String> = parsed("", "file name", file_name,
        "write the report of the run into this file of the work directory");
    QDRANT_REPORT_FORMAT: ReportFormat = choice("what is in that file: an object for programs, or a summary for people");
    QDRANT_REPORT_ON_S3: bool = flag(false, "and into the bucket, as `run_reports/<task>.json`");
    QDRANT_REPORT_HTML_FILE: Option<String> = parsed("", "file name", file_name,
        "`report --html`: write a page about all backups into this file of the work directory");
    QDRANT_REPORT_HTML_ON_S3: bool = flag(false,
        "`report` puts that page into the bucket, too, as `run_reports/report.html`; no other task does");
    QDRANT_BACKUP_MAX_AGE: Duration = duration(days(2), SECOND..=days(36_500),
        "`report` says that a collection is at risk whose newest good backup is older than this");
    QDRANT_METRICS_FILE: Option<String> = parsed("", "file name", file_name,
        "write metrics for Prometheus into this file of the work directory");
    QDRANT_METRICS_PUSH_URL: Option<String> = parsed("", "http://host:port/metrics/job/NAME", push_url,
        "and send them to this group of a push gateway");
    QDRANT_VERIFY_PERCENT: u64 = number(100, 0..=100,
        "how many percent of the snapshots each `verify` reads for their SHA-256; with 10, ten runs read all");
    QDRANT_DRY_RUN: bool = flag(false,
        "`--dry-run`: print on standard output what would be created, restored or deleted, and change nothing, whatever the task");
    QDRANT_ARCHIVE_CHECK: SnapshotCheck = choice(
        "how a new snapshot is checked: full: read whole for its SHA-256; tail: walked to its end; none: found with its size");
    QDRANT_SNAPSHOT_TRANSFER: Transfer = choice(
        "how `create_snap_shards` gets snapshots into the bucket: Qdrant stores them there, or sends them to this program; auto finds out");
    QDRANT_BACKUP_UNCHECKED: bool = flag(false,
        "`create_snap` without QDRANT_S3_... is a success, although it is not checked whether the snapshots are in the bucket");
    QDRANT_BACKUP_WARN_SHRINK: u64 = number(20, 0..=100,
        "a set in which a collection has lost more than this percentage of the points of its last set is warned of; 100: never");
    QDRANT_BACKUP_LABEL: Option<String> = text("", "text", "a note that is stored in the manifests");
    HOSTNAME: Option<String> = text("a random number", "name",
        "the pod's name, a part of its sets' ids; Kubernetes sets it");
    QDRANT_BACKUP_SHARES: Option<u64> = optional_number("", 1..=1000,
        "`create_snap` and `get_snap` split the collections into this many shares, and take the one of JOB_COMPLETION_INDEX");
    JOB_COMPLETION_INDEX: Option<u64> = optional_number("", 0..=999,
        "which share, less than QDRANT_BACKUP_SHARES; Kubernetes sets it in the pods of an Indexed Job");
    QDRANT_RESTORE_FORCE: bool = flag(false,
        "delete and restore existing collections, take over aliases of other collections");
    QDRANT_RESTORE_BESIDE: bool = flag(false,
        "with QDRANT_RESTORE_FORCE, where the target has room for both: first restore the replacement beside the collection and verify it");
    QDRANT_RESTORE_PLACEMENT: RestorePlacement = choice(
        "where `recover_snap_shards` restores each shard: on the peers that Qdrant gives it, or on those that it was on");
    QDRANT_RESTORE_ID: Option<String> = parsed("the run's own", "letters, digits, `-_.`", restore_id,
        "the name of a restore of several runs: each goes on where the last one ended, and does nothing once the restore has ended; in Kubernetes the Job's uid");
    QDRANT_RESTORE_ACCEPT_CONFIG: bool = flag(false,
        "accept a restored collection whose configuration differs from the backup's in fields that Qdrant does not let be set");
    QDRANT_RESTORE_CLUSTER_STATE: bool = flag(false,
        "after a restore, set the cluster's quotas and metadata, which are in no snapshot, as they were at the last backup of everything");
    QDRANT_SKIP_VERSION_CHECK: bool = flag(false, "restore into a version of Qdrant that may not read the snapshots");
    QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS: Duration = duration(minutes(30), SECOND..=WEEK,
        "how long a restored cluster may take to settle");
    QDRANT_VERIFY_POLL_INTERVAL_SECONDS: Duration = duration(Duration::from_secs(5), SECOND..=HOUR,
        "the longest pause between two looks at it");
    QDRANT_OUTPUT: Output = choice(
        "`--output`: lists on standard output as tables for people, or as JSON by the schemas in docs/schemas");
    LOG_FORMAT: LogFormat = choice("log lines for people, or one JSON object a line");
    AWS_ACCESS_KEY_ID: Option<String> = text("", "text", "taken where QDRANT_S3_ACCESS_KEY_ID is not set");
    AWS_SECRET_ACCESS_KEY: Option<Secret> = secret("", "taken where QDRANT_S3_SECRET_ACCESS_KEY is not set");
    AWS_SESSION_TOKEN: Option<Secret> = secret("", "taken with the two above");
    AWS_REGION: Option<String> = parsed("", "name", region, "taken where QDRANT_S3_REGION is not set");
    AWS_DEFAULT_REGION: Option<String> = parsed("", "name", region, "taken where AWS_REGION is not set");
    AWS_ROLE_ARN: Option<String> = parsed("", "ARN", word,
        "the role that is assumed with the token in AWS_WEB_IDENTITY_TOKEN_FILE");
    AWS_WEB_IDENTITY_TOKEN_FILE: Option<String> = parsed("", "absolute path", absolute_path,
        "the token's file, read each time; EKS sets it for a service account with a role");
    AWS_ROLE_SESSION_NAME: Option<String> = parsed("qdrant-backup", "name", session_name,
        "what the session is called in AWS's logs");
    AWS_ENDPOINT_URL_STS: Option<Endpoint> = parsed("AWS's, of AWS_REGION", "URL", server,
        "the Security Token Service");
    AWS_CONTAINER_CREDENTIALS_FULL_URI: Option<String> = text("", "URL",
        "the service that lends keys to the container; EKS Pod Identity sets it");
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: Option<String> = text("", "path", "the same on ECS, which sets it");
    AWS_CONTAINER_AUTHORIZATION_TOKEN: Option<Secret> = secret("", "what that service asks for");
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: Option<String> = parsed("", "absolute path", absolute_path,
        "or its file, read each time");
    AWS_EC2_METADATA_DISABLED: bool = flag(false, "never ask the machine's metadata service for its role's keys");
    AWS_EC2_METADATA_SERVICE_ENDPOINT: Option<Endpoint> = parsed("http://169.254.169.254", "URL", server,
        "the machine's metadata service");
    QDRANT_WORK_DIR: Option<String> = of_host("current directory", "path", "as --work-dir");
    QDRANT_ALLOW_HOSTS: Option<String> = of_host("", "rules, by commas", "as --allow-host");
    QDRANT_CA_FILE: Option<String> = of_host("the system's", "path", "as --ca-file");
    QDRANT_EXTRA_CA_FILE: Option<String> = of_host("", "path", "as --extra-ca-file");
    QDRANT_CLIENT_CERT: Option<String> = of_host("", "path", "as --client-cert");
    QDRANT_CLIENT_KEY: Option<String> = of_host("", "path", "as --client-key");
    QDRANT_RUN_DEADLINE: Option<String> = of_host("none", "duration", "as --deadline");
    QDRANT_MEMORY_LIMIT: Option<String> = of_host("256MiB", "size", "as --memory-limit");
    MC_CONFIG_DIR: () = unused("ignored: mc is no longer used");
    GIT_REF: () = unused("ignored");
}

/// The table of docs/settings.md.
pub fn markdown_table() -> String {
    let mut table = String::from("| Variable | Default | Accepted | Meaning |\n|---|---|---|---|\n");
    for variable in VARIABLES.iter().filter(|variable| variable.scope != Scope::Host) {
        let (default, accepts) = (variable.default(), variable.accepts());
        table.push_str(&format!("| `{}` | {default} | {accepts} | {} |\n", variable.name, variable.meaning));
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }

    #[test]
    fn the_page_has_the_settings() {
        crate::page::check("settings", &markdown_table()).unwrap();
    }
}
