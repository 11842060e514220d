//! From environment variables to settings: all checked together, every mistake reported at once.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::host::{DefaultPort, injected};
use super::variables::{Scope, VARIABLES};
use super::{
    Addressing, ArchiveCheck, Choice, Host, Keep, LogFormat, Needs, Problem, ReportTo, S3Settings, Secret, Settings,
    Share, Sweep,
};
use crate::timestamp;

const DAY: u64 = 86_400;
/// The longest validity that S3 accepts for a presigned URL (AWS, "Authenticating Requests: Using Query
/// Parameters"), and longer than any request should take.
const WEEK: u64 = 7 * DAY;

/// Reads the settings. `needs` says what the task can't do without. Also returns notes for the log.
///
/// # Errors
/// Every setting that can't be used, with what is accepted.
pub fn from_variables(variables: &[(String, String)], needs: Needs) -> Result<(Settings, Vec<String>), Vec<Problem>> {
    let mut reader = Reader::new(variables);
    let http_port = reader.number("QDRANT_HTTP_PORT", 6333, 1, 65_535);
    let http_port = u16::try_from(http_port).unwrap_or(6333);
    let source_hosts = reader.hosts("QDRANT_SOURCE_HOSTS", http_port);
    let restore_hosts = reader.hosts("QDRANT_RESTORE_HOSTS", http_port);
    if needs.source && source_hosts.is_empty() {
        reader.missing("QDRANT_SOURCE_HOSTS", "the address of Qdrant, such as http://qdrant-headless:6333");
    }
    if needs.restore && restore_hosts.is_empty() {
        reader.missing(
            "QDRANT_RESTORE_HOSTS",
            "the address of the Qdrant to restore into, such as http://qdrant-headless:6333",
        );
    }
    let source_api_key = reader.secret("QDRANT_API_KEY");
    let restore_api_key = reader.secret("QDRANT_RESTORE_API_KEY").or_else(|| source_api_key.clone());
    let aliases_on_s3 = reader.flag("BACKUP_COLLECTION_ALIASES_ON_S3", false);
    let wants_s3 = needs.s3 || (aliases_on_s3 && (needs.source || needs.restore));
    let request_timeout = reader.duration("CURL_TIMEOUT", 1800, 1, WEEK);
    let settings = Settings {
        s3: reader.s3(wants_s3, request_timeout),
        source_hosts,
        restore_hosts,
        source_api_key,
        restore_api_key,
        discover_peers: reader.flag("GET_PEERS_FROM_CLUSTER_INFO", true),
        http_port,
        request_timeout,
        wait: reader.flag("QDRANT_WAIT_ON_TASK", true),
        link_expiry: reader.duration("QDRANT_S3_LINK_EXPIRY_DURATION", 3600, 1, WEEK),
        snapshot_filter: reader.text("QDRANT_SNAPSHOT_DATETIME_FILTER").unwrap_or_default(),
        aliases_on_s3,
        aliases_object: reader.object_name("QDRANT_COLLECTION_ALIASES_STABLE_FILE", "collection_aliases"),
        restore_force: reader.flag("QDRANT_RESTORE_FORCE", false),
        skip_version_check: reader.flag("QDRANT_SKIP_VERSION_CHECK", false),
        settle_timeout: reader.duration("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", 1800, 1, WEEK),
        poll_interval: reader.duration("QDRANT_VERIFY_POLL_INTERVAL_SECONDS", 5, 1, 3600),
        snapshots_per_peer: usize::try_from(reader.number("QDRANT_SNAPSHOTS_PER_PEER", 1, 1, 64)).unwrap_or(1),
        collections: Choice {
            include: reader.list("QDRANT_COLLECTIONS"),
            exclude: reader.list("QDRANT_COLLECTIONS_EXCLUDE"),
        },
        rename: reader.rename(),
        replication_factor: match reader.number("QDRANT_RESTORE_REPLICATION_FACTOR", 0, 1, 100) {
            0 => None,
            factor => Some(factor),
        },
        switch_aliases: reader.flag("QDRANT_RESTORE_SWITCH_ALIASES", false),
        drop_old: reader.drop_old(),
        tolerance_percent: reader.number("QDRANT_VERIFY_TOLERANCE_PCT", 1, 0, 100),
        sample_points: reader.number("QDRANT_VERIFY_SAMPLE_POINTS", 300, 0, 10_000),
        report: ReportTo {
            file: reader.file_name("QDRANT_REPORT_FILE"),
            s3: reader.flag("QDRANT_REPORT_ON_S3", false),
            metrics_file: reader.file_name("QDRANT_METRICS_FILE"),
            push_url: reader.push_url(),
        },
        verify_percent: reader.number("QDRANT_VERIFY_PERCENT", 100, 0, 100),
        dry_run: reader.flag("QDRANT_DRY_RUN", false),
        keep: reader.keep(),
        sweep: Sweep {
            grace: reader.duration("QDRANT_SWEEP_GRACE_SECONDS", 2 * DAY, 1, 3650 * DAY),
            cap_percent: reader.number("QDRANT_SWEEP_DELETE_CAP_PCT", 50, 0, 1000),
            legacy_runs: reader.number("QDRANT_LEGACY_KEEP_RUNS", 2, 1, 100_000),
        },
        restore_before: reader.moment("QDRANT_RESTORE_BEFORE"),
        archive_check: match reader.choice("QDRANT_ARCHIVE_CHECK", &["full", "tail", "none"]) {
            1 => ArchiveCheck::Tail,
            2 => ArchiveCheck::None,
            _ => ArchiveCheck::Full,
        },
        label: reader.text("QDRANT_BACKUP_LABEL"),
        pod: reader.text("HOSTNAME"),
        share: reader.share(),
        snapshots_file: reader.text("QDRANT_SNAPSHOTS_FILE"),
        log_format: match reader.choice("LOG_FORMAT", &["text", "json"]) {
            1 => LogFormat::Json,
            _ => LogFormat::Text,
        },
    };
    if reader.text("MC_CONFIG_DIR").is_some() {
        reader.notes.push("MC_CONFIG_DIR is not needed any more and ignored: there is no mc".to_owned());
    }
    if reader.problems.is_empty() { Ok((settings, reader.notes)) } else { Err(reader.problems) }
}

/// A warning for each of `names` that looks like one of ours and isn't, with the nearest one that is.
pub fn unknown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known = || VARIABLES.iter().map(|variable| variable.name);
    let mut warnings = Vec::new();
    for name in names {
        if known().any(|known| known == name) || made_by_kubernetes(name) || name.starts_with("QDRANT__") {
            continue;
        }
        // Foreign names are none of our business unless they are a slip of the pen away from ours. A pod has hundreds of
        // them, which are not worth the start's time.
        const SLIP: usize = 2;
        let length = name.chars().count();
        let may_be = |known: &&str| name.starts_with("QDRANT_") || known.len().abs_diff(length) <= SLIP;
        let nearest = known().filter(may_be).map(|known| (strsim::levenshtein(name, known), known)).min();
        let Some((distance, nearest)) = nearest else { continue };
        if distance <= SLIP && name.len() > 6 && !name.starts_with("AWS_") {
            warnings.push(format!("the variable {name} is not known and ignored; did you mean {nearest}?"));
        } else if name.starts_with("QDRANT_") {
            warnings.push(format!("the variable {name} is not known and ignored (the nearest known one is {nearest})"));
        }
    }
    warnings
}

/// `QDRANT_SERVICE_HOST`, `QDRANT_PORT_6333_TCP_ADDR` and their kind: Kubernetes sets them for a Service named
/// qdrant, or qdrant-something.
fn made_by_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_TCP") && name.contains("_PORT_")
        || name.contains("_UDP") && name.contains("_PORT_")
}

/// Reads a duration: `3600`, `3600s`, `60m`, `1h`, `7d`; seconds.
///
/// # Errors
/// Anything else, in words.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "seconds" => 1,
        "m" | "min" | "minutes" => 60,
        "h" | "hours" => 3600,
        "d" | "days" => DAY,
        other => return Err(format!("`{other}` is not a unit of time (s, m, h, d)")),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` is not a duration such as 3600, 3600s, 60m or 1h"));
    }
    let number: u64 = digits.parse().map_err(|_| format!("`{digits}` is too large"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too long"))
}

struct Reader {
    values: BTreeMap<&'static str, String>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Reader {
    fn new(variables: &[(String, String)]) -> Self {
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for variable in VARIABLES.iter().filter(|variable| variable.scope != Scope::Host) {
            let value = variables.iter().rev().find(|(name, _)| name == variable.name).map(|(_, value)| value.trim());
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if value.starts_with("tcp://") || value.starts_with("udp://") {
                problems.push(Problem { variable: variable.name, problem: injected(value) });
            } else {
                values.insert(variable.name, value.to_owned());
            }
        }
        Self { values, problems, notes: Vec::new() }
    }

    fn problem(&mut self, variable: &'static str, problem: String) {
        self.problems.push(Problem { variable, problem });
    }

    fn missing(&mut self, variable: &'static str, what: &str) {
        if !self.problems.iter().any(|problem| problem.variable == variable) {
            self.problem(variable, format!("is not set; it has to be {what}"));
        }
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.values.get(name).cloned()
    }

    fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let value = self.text(name)?;
        if value.chars().any(char::is_control) {
            self.problem(
                name,
                "has a control character inside, such as a line break (its value is not shown)".to_owned(),
            );
            return None;
        }
        Some(Secret::new(value))
    }

    fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.text(name) else { return default };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problem(name, format!("`{value}` is neither true nor false"));
                default
            }
        }
    }

    fn choice(&mut self, name: &'static str, choices: &[&str]) -> usize {
        let Some(value) = self.text(name) else { return 0 };
        let found = choices.iter().position(|choice| choice.eq_ignore_ascii_case(&value));
        if found.is_none() {
            self.problem(name, format!("`{value}` is not one of {}", choices.join(", ")));
        }
        found.unwrap_or_default()
    }

    fn number(&mut self, name: &'static str, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = self.text(name) else { return default };
        match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.problem(name, format!("`{value}` is not a number from {least} to {most}"));
                default
            }
        }
    }

    fn duration(&mut self, name: &'static str, default: u64, least: u64, most: u64) -> Duration {
        let read = self.text(name).map_or(Ok(default), |value| parse_duration(&value));
        match read {
            Ok(seconds) if (least..=most).contains(&seconds) => Duration::from_secs(seconds),
            Ok(seconds) => {
                self.problem(name, format!("{seconds} s is not between {least} s and {most} s"));
                Duration::from_secs(default)
            }
            Err(problem) => {
                self.problem(name, problem);
                Duration::from_secs(default)
            }
        }
    }

    fn hosts(&mut self, name: &'static str, port: u16) -> Vec<Host> {
        let mut hosts = Vec::new();
        for item in self.text(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match Host::parse(item, DefaultPort::Always(port)) {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err(problem) => self.problem(name, format!("`{}`: {problem}", without_password(item))),
            }
        }
        hosts
    }

    fn endpoint(&mut self, name: &'static str) -> Option<Host> {
        let value = self.text(name)?;
        match Host::parse(&value, DefaultPort::OfScheme) {
            Ok(host) => Some(host),
            Err(problem) => {
                let hint = if value.contains("://") { "" } else { " (write http:// or https:// in front)" };
                self.problem(
                    name,
                    format!(
                        "`{}`: {problem}; the bucket goes into QDRANT_S3_BUCKET_NAME{hint}",
                        without_password(&value)
                    ),
                );
                None
            }
        }
    }

    /// Texts between commas.
    fn list(&self, name: &'static str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// `old=new`, several by commas.
    fn rename(&mut self) -> Vec<(String, String)> {
        const NAME: &str = "QDRANT_RESTORE_RENAME";
        let mut renamed: Vec<(String, String)> = Vec::new();
        for pair in self.list(NAME) {
            match pair.split_once('=').map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned())) {
                Some((old, new)) if !old.is_empty() && !new.is_empty() => {
                    if renamed.iter().any(|(other, to)| *other == old || *to == new) {
                        self.problem(NAME, format!("`{pair}` names a collection that stands there already"));
                    }
                    renamed.push((old, new));
                }
                _ => self.problem(NAME, format!("`{pair}` is not of the form old=new")),
            }
        }
        renamed
    }

    fn keep(&mut self) -> Keep {
        let mut number = |name, default| self.number(name, default, 0, 100_000);
        Keep {
            last: number("QDRANT_BACKUP_RETENTION_SETS", 2),
            hourly: number("QDRANT_BACKUP_KEEP_HOURLY", 0),
            daily: number("QDRANT_BACKUP_KEEP_DAILY", 0),
            weekly: number("QDRANT_BACKUP_KEEP_WEEKLY", 0),
            monthly: number("QDRANT_BACKUP_KEEP_MONTHLY", 0),
            yearly: number("QDRANT_BACKUP_KEEP_YEARLY", 0),
            within: self.duration("QDRANT_BACKUP_KEEP_WITHIN", 0, 0, 36_500 * DAY),
        }
    }

    /// Only after the aliases were moved: what they lead to is in use.
    fn drop_old(&mut self) -> bool {
        const NAME: &str = "QDRANT_RESTORE_DROP_OLD";
        let wanted = self.flag(NAME, false);
        if wanted && !self.flag("QDRANT_RESTORE_SWITCH_ALIASES", false) {
            self.problem(
                NAME,
                "needs QDRANT_RESTORE_SWITCH_ALIASES=true, as aliases lead to the old collection".to_owned(),
            );
        }
        wanted
    }

    fn moment(&mut self, name: &'static str) -> Option<OffsetDateTime> {
        let text = self.text(name)?;
        let whole = if text.len() == timestamp::DATE.length() { format!("{text}T00:00:00Z") } else { text.clone() };
        let moment = timestamp::RFC3339.read(&whole);
        if moment.is_none() {
            self.problem(name, format!("`{text}` is not a moment in UTC such as 2026-01-29 or 2026-01-29T12:00:00Z"));
        }
        moment
    }

    /// Both variables, or neither: pods that don't know their number would each back up everything, or the same.
    fn share(&mut self) -> Option<Share> {
        const OF: &str = "QDRANT_BACKUP_SHARES";
        const INDEX: &str = "JOB_COMPLETION_INDEX";
        match (self.text(OF).is_some(), self.text(INDEX).is_some()) {
            (false, false) => return None,
            (true, false) => self.missing(
                INDEX,
                "the number of this share, which Kubernetes sets where the Job has `completionMode: Indexed`",
            ),
            (false, true) => self.missing(OF, "the `completions` of the Job, as JOB_COMPLETION_INDEX is set"),
            (true, true) => {
                let of = self.number(OF, 1, 1, 1000);
                return Some(Share { index: self.number(INDEX, 0, 0, of.saturating_sub(1)), of });
            }
        }
        None
    }

    /// The name of a file in the work directory.
    fn file_name(&mut self, name: &'static str) -> Option<String> {
        self.text(name).map(|_| self.object_name(name, ""))
    }

    fn push_url(&mut self) -> Option<String> {
        const NAME: &str = "QDRANT_METRICS_PUSH_URL";
        let text = self.text(NAME)?;
        let base = text.split('/').take(3).collect::<Vec<_>>().join("/");
        match Host::parse(&base, DefaultPort::OfScheme) {
            Ok(_) if text.contains("://") && text.contains("/metrics/job/") => return Some(text),
            Ok(_) => self.problem(NAME, "it has to be of the form http://host:port/metrics/job/<job>".to_owned()),
            Err(problem) => self.problem(NAME, format!("`{}`: {problem}", without_password(&base))),
        }
        None
    }

    /// The name of an object in the alias store: one segment.
    fn object_name(&mut self, name: &'static str, default: &str) -> String {
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        if value.contains('/') || value == ".." || value == "." {
            self.problem(name, format!("`{value}` is not the name of an object or file (no `/`)"));
        }
        value
    }

    /// The bucket; `None` where nothing of it is set and it isn't needed. The keys alone (which a Secret shared
    /// with Qdrant may bring along) do not ask for one.
    fn s3(&mut self, needed: bool, timeout: Duration) -> Option<S3Settings> {
        let endpoint = self.endpoint("QDRANT_S3_ENDPOINT_URL");
        let bucket = self.text("QDRANT_S3_BUCKET_NAME");
        let access_key = self.text("QDRANT_S3_ACCESS_KEY_ID").or_else(|| self.text("AWS_ACCESS_KEY_ID"));
        let secret_key = self.secret("QDRANT_S3_SECRET_ACCESS_KEY").or_else(|| self.secret("AWS_SECRET_ACCESS_KEY"));
        let own_keys = self.text("QDRANT_S3_ACCESS_KEY_ID").is_some();
        let session_token = self
            .secret("QDRANT_S3_SESSION_TOKEN")
            .or_else(|| if own_keys { None } else { self.secret("AWS_SESSION_TOKEN") });
        let wanted = needed || self.text("QDRANT_S3_ENDPOINT_URL").is_some();
        if !wanted {
            return None;
        }
        for (set, name, what) in [
            (
                self.text("QDRANT_S3_ENDPOINT_URL").is_some(),
                "QDRANT_S3_ENDPOINT_URL",
                "the address of the S3 service, such as http://minio:9000",
            ),
            (bucket.is_some(), "QDRANT_S3_BUCKET_NAME", "the bucket in which Qdrant stores its snapshots"),
            (access_key.is_some(), "QDRANT_S3_ACCESS_KEY_ID", "the S3 access key (AWS_ACCESS_KEY_ID does as well)"),
            (
                secret_key.is_some(),
                "QDRANT_S3_SECRET_ACCESS_KEY",
                "the S3 secret key (AWS_SECRET_ACCESS_KEY does as well)",
            ),
        ] {
            if !set {
                self.missing(name, what);
            }
        }
        if let Some(bucket) = &bucket {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if !bucket.chars().all(good) || bucket.len() > 255 || bucket.starts_with('.') {
                self.problem(
                    "QDRANT_S3_BUCKET_NAME",
                    format!("`{bucket}` is not a bucket's name (letters, digits, `-`, `.`)"),
                );
            }
        }
        let region =
            ["QDRANT_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| self.text(name));
        if let Some(region) = region.as_ref().filter(|region| region.contains(|c: char| c.is_whitespace() || c == '/'))
        {
            self.problem("QDRANT_S3_REGION", format!("`{region}` is not a region's name"));
        }
        let addressing = match self.choice("QDRANT_S3_ADDRESSING_STYLE", &["path", "virtual"]) {
            1 => Addressing::Virtual,
            _ => Addressing::Path,
        };
        let prefix = self.text("QDRANT_S3_KEY_PREFIX").unwrap_or_else(|| "snapshots".to_owned());
        let key_prefix = prefix.trim_start_matches("./").trim_matches('/').to_owned();
        if key_prefix.split('/').any(|part| part == ".." || part == ".") {
            self.problem("QDRANT_S3_KEY_PREFIX", format!("`{prefix}` has a `.` or `..` in it"));
        }
        let for_qdrant = self.endpoint("QDRANT_S3_ENDPOINT_URL_FOR_QDRANT");
        let endpoint = endpoint?;
        Some(S3Settings {
            endpoint_for_qdrant: for_qdrant.unwrap_or_else(|| endpoint.clone()),
            endpoint,
            bucket: bucket?,
            access_key: access_key?,
            secret_key: secret_key?,
            session_token,
            region,
            addressing,
            key_prefix,
            timeout,
        })
    }
}

/// `text` without what stands before an `@`, which may be a password.
fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALL: Needs = Needs { source: true, restore: true, s3: true };

    fn read(variables: &[(&str, &str)], needs: Needs) -> Result<(Settings, Vec<String>), Vec<Problem>> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        from_variables(&variables, needs)
    }

    fn names(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.variable).collect()
    }

    /// The environment of the guide's restore job.
    const GUIDE: &[(&str, &str)] = &[
        ("QDRANT_SOURCE_HOSTS", ""),
        ("QDRANT_RESTORE_HOSTS", "http://qdrant-headless:6333"),
        ("GET_PEERS_FROM_CLUSTER_INFO", "false"),
        ("QDRANT_API_KEY", ""),
        ("QDRANT_S3_ENDPOINT_URL", "http://minio.default.svc.cluster.local:9000"),
        ("QDRANT_S3_ACCESS_KEY_ID", "key"),
        ("QDRANT_S3_SECRET_ACCESS_KEY", "secret"),
        ("QDRANT_S3_BUCKET_NAME", "qdrant-snapshots"),
        ("CURL_TIMEOUT", "3000"),
        ("QDRANT_S3_LINK_EXPIRY_DURATION", "3600s"),
        ("QDRANT_WAIT_ON_TASK", "true"),
        ("QDRANT_SNAPSHOT_DATETIME_FILTER", ""),
        ("MC_CONFIG_DIR", "mc"),
    ];

    #[test]
    fn the_guides_settings_are_taken_as_they_are() {
        let (settings, notes) = read(GUIDE, Needs { source: false, ..ALL }).unwrap();
        assert_eq!(settings.request_timeout, Duration::from_secs(3000));
        assert_eq!(settings.restore_hosts.first().unwrap().to_string(), "http://qdrant-headless:6333");
        assert!(!settings.discover_peers && settings.source_hosts.is_empty() && settings.source_api_key.is_none());
        let s3 = settings.s3.unwrap();
        assert_eq!((s3.key_prefix.as_str(), s3.region, s3.endpoint.port), ("snapshots", None, 9000));
        assert!(notes.iter().any(|note| note.contains("MC_CONFIG_DIR")));
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_no_secret_is_shown() {
        let problems = read(
            &[
                ("QDRANT_SOURCE_HOSTS", "ftp://a, http://user:hunter2@b"),
                ("QDRANT_HTTP_PORT", "tcp://10.0.0.1:6333"),
                ("CURL_TIMEOUT", "soon"),
                ("QDRANT_S3_LINK_EXPIRY_DURATION", "8d"),
                ("QDRANT_S3_ENDPOINT_URL", "http://minio:9000/bucket"),
                ("QDRANT_S3_SECRET_ACCESS_KEY", "hunter2\nhunter2"),
                ("QDRANT_WAIT_ON_TASK", "maybe"),
            ],
            ALL,
        )
        .unwrap_err();
        for name in [
            "QDRANT_SOURCE_HOSTS",
            "QDRANT_HTTP_PORT",
            "CURL_TIMEOUT",
            "QDRANT_S3_LINK_EXPIRY_DURATION",
            "QDRANT_S3_ENDPOINT_URL",
            "QDRANT_S3_SECRET_ACCESS_KEY",
            "QDRANT_WAIT_ON_TASK",
            "QDRANT_RESTORE_HOSTS",
            "QDRANT_S3_BUCKET_NAME",
            "QDRANT_S3_ACCESS_KEY_ID",
        ] {
            assert!(names(&problems).contains(&name), "{name} in {problems:?}");
        }
        assert!(!format!("{problems:?}").contains("hunter2"));
        assert!(format!("{problems:?}").contains("enableServiceLinks"));
    }

    #[test]
    fn empty_and_unset_are_the_same_and_aws_variables_help_out() {
        let mut variables: Vec<(&str, &str)> =
            GUIDE.iter().copied().filter(|(name, _)| !name.contains("_KEY")).collect();
        variables.extend([
            ("QDRANT_S3_ACCESS_KEY_ID", "  "),
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "B"),
            ("AWS_SESSION_TOKEN", "T"),
            ("AWS_DEFAULT_REGION", "eu01"),
        ]);
        let s3 = read(&variables, Needs { source: false, ..ALL }).unwrap().0.s3.unwrap();
        assert_eq!((s3.access_key.as_str(), s3.secret_key.reveal(), s3.region.as_deref()), ("A", "B", Some("eu01")));
        assert_eq!(s3.session_token.unwrap().reveal(), "T");
    }

    #[test]
    fn what_the_task_does_not_need_is_not_asked_for() {
        assert!(read(&[], Needs::default()).unwrap().0.s3.is_none());
        assert!(
            read(&[("QDRANT_S3_ACCESS_KEY_ID", "k"), ("QDRANT_S3_BUCKET_NAME", "b")], Needs::default())
                .unwrap()
                .0
                .s3
                .is_none()
        );
        let problems = read(
            &[("BACKUP_COLLECTION_ALIASES_ON_S3", "true"), ("QDRANT_SOURCE_HOSTS", "q")],
            Needs { source: true, ..Needs::default() },
        );
        assert!(names(&problems.unwrap_err()).contains(&"QDRANT_S3_ENDPOINT_URL"));
    }

    #[test]
    fn a_share_needs_its_number_and_their_number() {
        let share = |variables: &[(&str, &str)]| read(variables, Needs::default()).map(|(settings, _)| settings.share);
        assert_eq!(share(&[]).unwrap(), None);
        let both = [("QDRANT_BACKUP_SHARES", "3"), ("JOB_COMPLETION_INDEX", "2")];
        assert_eq!(share(&both).unwrap(), Some(Share { index: 2, of: 3 }));
        for wrong in [
            &both[..1],
            &both[1..],
            &[("QDRANT_BACKUP_SHARES", "3"), ("JOB_COMPLETION_INDEX", "3")],
            &[("QDRANT_BACKUP_SHARES", "0"), ("JOB_COMPLETION_INDEX", "0")],
        ] {
            assert_eq!(share(wrong).unwrap_err().len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn durations_have_units_and_no_overflow() {
        for (text, seconds) in
            [("3600", 3600), ("3600s", 3600), ("60m", 3600), ("1h", 3600), ("7d", WEEK), (" 90 ", 90)]
        {
            assert_eq!(parse_duration(text).unwrap(), seconds, "{text}");
        }
        for text in ["", "s", "1w", "-1", "1.5h", "99999999999999999999", "9999999999999999d", "1h30m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn typing_errors_are_named_and_kubernetes_is_left_alone() {
        let warn = |name| unknown_names(std::iter::once(name));
        assert!(warn("QDRANT_SOURCE_HOST").first().unwrap().contains("QDRANT_SOURCE_HOSTS"));
        assert!(warn("CURL_TIMOUT").first().unwrap().contains("CURL_TIMEOUT"));
        assert!(warn("QDRANT_S3_BUCKET").first().unwrap().contains("QDRANT_S3_BUCKET_NAME"));
        for name in [
            "QDRANT_SERVICE_HOST",
            "QDRANT_PORT",
            "QDRANT_PORT_6333_TCP_ADDR",
            "QDRANT__SERVICE__API_KEY",
            "PATH",
            "HOME",
            "AWS_PROFILE",
            "QDRANT_HTTP_PORT",
            "QDRANT_BACKUP_RETENTION_SETS",
        ] {
            assert!(warn(name).is_empty(), "{name}: {:?}", warn(name));
        }
    }
}
