//! The environment variables: the one list that the settings, the host's filter, the help and the README share.

/// An environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value when not set, as the documentation puts it; empty for none.
    pub default: &'static str,
    /// The accepted values.
    pub accepts: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// True when its value must never be shown.
    pub secret: bool,
    /// Who reads it.
    pub scope: Scope,
}

/// Who reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The component; the host hands it over.
    Component,
    /// The host program only.
    Host,
    /// Nobody any more; accepted so that old manifests stay as they are.
    Unused,
}

const fn variable(name: &'static str, default: &'static str, accepts: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, accepts, meaning, secret: false, scope: Scope::Component }
}

const fn secret(name: &'static str, meaning: &'static str) -> Variable {
    Variable { secret: true, ..variable(name, "", "text", meaning) }
}

const fn host(name: &'static str, default: &'static str, accepts: &'static str, meaning: &'static str) -> Variable {
    Variable { scope: Scope::Host, ..variable(name, default, accepts, meaning) }
}

const fn unused(name: &'static str, meaning: &'static str) -> Variable {
    Variable { scope: Scope::Unused, ..variable(name, "", "anything", meaning) }
}

/// Every variable of the contract, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    variable(
        "QDRANT_SOURCE_HOSTS",
        "",
        "hosts, by commas",
        "where backups come from; a headless Service or the peers themselves",
    ),
    variable(
        "QDRANT_RESTORE_HOSTS",
        "",
        "hosts, by commas",
        "where restores go; hosts of one cluster are one target, others each get everything",
    ),
    secret("QDRANT_API_KEY", "Qdrant's API key, for both sides"),
    secret("QDRANT_RESTORE_API_KEY", "the API key of the restore side, where it differs"),
    variable(
        "GET_PEERS_FROM_CLUSTER_INFO",
        "true",
        "true, false",
        "find the source's other peers by asking the cluster; false: only the hosts named",
    ),
    variable(
        "QDRANT_HTTP_PORT",
        "6333",
        "1 to 65535",
        "the REST port of peers found that way, and of hosts named without one",
    ),
    variable("QDRANT_S3_ENDPOINT_URL", "", "URL", "the S3 service"),
    variable("QDRANT_S3_BUCKET_NAME", "", "name", "the bucket in which Qdrant stores its snapshots"),
    variable("QDRANT_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "text", "access key"),
    secret("QDRANT_S3_SECRET_ACCESS_KEY", "secret key; else AWS_SECRET_ACCESS_KEY"),
    secret("QDRANT_S3_SESSION_TOKEN", "session token of temporary keys; else AWS_SESSION_TOKEN"),
    variable("QDRANT_S3_REGION", "AWS_REGION, else asked for", "name", "the bucket's region"),
    variable(
        "QDRANT_S3_ADDRESSING_STYLE",
        "path",
        "path, virtual",
        "whether the bucket is in the path or in the host's name",
    ),
    variable("QDRANT_S3_KEY_PREFIX", "snapshots", "path", "Qdrant's snapshots_path without ./"),
    variable(
        "QDRANT_S3_ENDPOINT_URL_FOR_QDRANT",
        "QDRANT_S3_ENDPOINT_URL",
        "URL",
        "the S3 service as Qdrant's pods reach it, for the links they are given",
    ),
    variable("QDRANT_S3_LINK_EXPIRY_DURATION", "3600s", "1s to 7d", "how long a link is valid"),
    variable(
        "QDRANT_SNAPSHOT_DATETIME_FILTER",
        "",
        "glob",
        "which snapshots are meant, by name; plain text matches anywhere in it (2026-01-29)",
    ),
    variable(
        "QDRANT_SNAPSHOTS_FILE",
        "",
        "path",
        "the CSV file of archives to restore, if not `snapshots` in the work directory",
    ),
    variable(
        "BACKUP_COLLECTION_ALIASES_ON_S3",
        "false",
        "true, false",
        "keep the aliases in the bucket, too, and restore them from there",
    ),
    variable(
        "QDRANT_COLLECTION_ALIASES_STABLE_FILE",
        "collection_aliases",
        "object name",
        "the alias object to restore from",
    ),
    variable("CURL_TIMEOUT", "1800s", "1s to 7d", "how long one snapshot or recovery may take"),
    variable(
        "QDRANT_WAIT_ON_TASK",
        "true",
        "true, false",
        "false: snapshots are asked for without waiting, and then looked for; recoveries always wait",
    ),
    variable("QDRANT_SNAPSHOTS_PER_PEER", "1", "1 to 64", "how many snapshots or recoveries one peer does at a time"),
    variable("QDRANT_COLLECTIONS", "", "globs, by commas", "only these collections, for every task but `reset`"),
    variable("QDRANT_COLLECTIONS_EXCLUDE", "", "globs, by commas", "not these collections"),
    variable(
        "QDRANT_RESTORE_RENAME",
        "",
        "old=new, by commas",
        "`recover_snap_shards` restores a collection under another name, beside the old one",
    ),
    variable(
        "QDRANT_RESTORE_REPLICATION_FACTOR",
        "the backup's",
        "1 to 100",
        "how many replicas of each shard `recover_snap_shards` makes",
    ),
    variable(
        "QDRANT_RESTORE_SWITCH_ALIASES",
        "false",
        "true, false",
        "move the aliases of a collection to the one that was restored beside it, once that is proven",
    ),
    variable(
        "QDRANT_RESTORE_DROP_OLD",
        "false",
        "true, false",
        "then delete the old collection, where no alias leads to it any more",
    ),
    variable(
        "QDRANT_RESTORE_BEFORE",
        "",
        "2026-01-29, 2026-01-29T12:00:00Z",
        "`recover_snap_shards` takes the newest set that was begun before this moment (UTC)",
    ),
    variable(
        "QDRANT_VERIFY_TOLERANCE_PCT",
        "1",
        "0 to 100",
        "by how many percent the points may differ from a manifest without exact counts (written to meanwhile, or the script's)",
    ),
    variable(
        "QDRANT_VERIFY_SAMPLE_POINTS",
        "300",
        "0 to 10000",
        "how many points are read back with payload and vectors after a restore",
    ),
    variable(
        "QDRANT_BACKUP_RETENTION_SETS",
        "2",
        "0 to 100000",
        "how many of the newest good sets of a collection are kept; 0: `create_snap_shards` prunes nothing",
    ),
    variable("QDRANT_BACKUP_KEEP_HOURLY", "0", "0 to 100000", "and the newest of each of so many hours that have one"),
    variable("QDRANT_BACKUP_KEEP_DAILY", "0", "0 to 100000", "and of so many days"),
    variable("QDRANT_BACKUP_KEEP_WEEKLY", "0", "0 to 100000", "and of so many weeks"),
    variable("QDRANT_BACKUP_KEEP_MONTHLY", "0", "0 to 100000", "and of so many months"),
    variable("QDRANT_BACKUP_KEEP_YEARLY", "0", "0 to 100000", "and of so many years"),
    variable("QDRANT_BACKUP_KEEP_WITHIN", "0s", "0s to 36500d", "and all that are younger than this"),
    variable(
        "QDRANT_LEGACY_KEEP_RUNS",
        "2",
        "1 to 100000",
        "how many archives of each peer `prune_snap --legacy` keeps of a collection",
    ),
    variable(
        "QDRANT_SWEEP_GRACE_SECONDS",
        "172800s",
        "1s to 3650d",
        "archives that belong to no set are left alone for so long: a backup may be running",
    ),
    variable(
        "QDRANT_SWEEP_DELETE_CAP_PCT",
        "50",
        "0 to 1000",
        "where more of a collection's archives belong to no set, none is deleted and the run fails",
    ),
    variable(
        "QDRANT_REPORT_FILE",
        "",
        "file name",
        "write the report of the run into this file of the work directory, as JSON",
    ),
    variable("QDRANT_REPORT_ON_S3", "false", "true, false", "and into the bucket, as `run_reports/<task>.json`"),
    variable(
        "QDRANT_METRICS_FILE",
        "",
        "file name",
        "write metrics for Prometheus into this file of the work directory",
    ),
    variable(
        "QDRANT_METRICS_PUSH_URL",
        "",
        "http://host:port/metrics/job/<job>",
        "and send them to this group of a push gateway",
    ),
    variable(
        "QDRANT_VERIFY_PERCENT",
        "100",
        "0 to 100",
        "how many percent of the archives `verify` reads whole; with 10, all are within ten runs",
    ),
    variable(
        "QDRANT_DRY_RUN",
        "false",
        "true, false",
        "`--dry-run`: print on standard output what would be created, restored or deleted, and do nothing of it",
    ),
    variable(
        "QDRANT_ARCHIVE_CHECK",
        "full",
        "full, tail, none",
        "how a new shard archive is proven: read whole for its SHA-256, walked to its end, or found with its size",
    ),
    variable("QDRANT_BACKUP_LABEL", "", "text", "a note in the manifests of the sets that are made"),
    variable("HOSTNAME", "a random number", "name", "the pod's name, a part of its sets' ids; Kubernetes sets it"),
    variable(
        "QDRANT_BACKUP_SHARES",
        "",
        "1 to 1000",
        "`create_snap` and `get_snap` take one of so many shares of the collections: that of JOB_COMPLETION_INDEX",
    ),
    variable(
        "JOB_COMPLETION_INDEX",
        "",
        "number, from 0",
        "which share; Kubernetes sets it in the pods of an Indexed Job",
    ),
    variable(
        "QDRANT_RESTORE_FORCE",
        "false",
        "true, false",
        "delete and restore collections that hold points, take over aliases of other collections",
    ),
    variable(
        "QDRANT_SKIP_VERSION_CHECK",
        "false",
        "true, false",
        "restore into a version of Qdrant that may not read the archives",
    ),
    variable(
        "QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS",
        "1800s",
        "1s to 7d",
        "how long a restored cluster may take to settle",
    ),
    variable("QDRANT_VERIFY_POLL_INTERVAL_SECONDS", "5s", "1s to 1h", "the longest pause between two looks at it"),
    variable("LOG_FORMAT", "text", "text, json", "log lines for people, or one JSON object a line"),
    variable("AWS_ACCESS_KEY_ID", "", "text", "taken where QDRANT_S3_ACCESS_KEY_ID is not set"),
    secret("AWS_SECRET_ACCESS_KEY", "taken where QDRANT_S3_SECRET_ACCESS_KEY is not set"),
    secret("AWS_SESSION_TOKEN", "taken with the two above"),
    variable("AWS_REGION", "", "name", "taken where QDRANT_S3_REGION is not set"),
    variable("AWS_DEFAULT_REGION", "", "name", "taken where AWS_REGION is not set"),
    host("QDRANT_WORK_DIR", "current directory", "path", "as --work-dir"),
    host("QDRANT_ALLOW_HOSTS", "", "rules, by commas", "as --allow-host"),
    host("QDRANT_CA_FILE", "the system's", "path", "as --ca-file"),
    host("QDRANT_RUN_DEADLINE", "none", "duration", "as --deadline"),
    host("QDRANT_MEMORY_LIMIT", "256MiB", "size", "as --memory-limit"),
    unused("MC_CONFIG_DIR", "not needed any more: there is no mc"),
    unused("GIT_REF", "not needed any more"),
];

/// The table of the README.
pub fn markdown_table() -> String {
    let mut table = String::from("| Variable | Default | Accepted | Meaning |\n|---|---|---|---|\n");
    for variable in VARIABLES.iter().filter(|variable| variable.scope != Scope::Host) {
        let default = if variable.default.is_empty() { "" } else { variable.default };
        table.push_str(&format!("| `{}` | {default} | {} | {} |\n", variable.name, variable.accepts, variable.meaning));
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

    /// Set `UPDATE_README=1` to write the table.
    #[test]
    fn the_readme_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let begin = readme.find("<!-- settings: begin").unwrap();
        let begin = begin + readme.get(begin..).unwrap().find('\n').unwrap() + 1;
        let end = readme.find("<!-- settings: end -->").unwrap();
        if std::env::var_os("UPDATE_README").is_some() {
            let updated = format!("{}{}{}", readme.get(..begin).unwrap(), markdown_table(), readme.get(end..).unwrap());
            std::fs::write(path, updated).unwrap();
        } else {
            assert_eq!(readme.get(begin..end).unwrap(), markdown_table(), "run this test with UPDATE_README=1");
        }
    }
}
