//! From environment variables to settings: all checked together, every mistake reported at once.

use std::collections::{BTreeMap, BTreeSet};

use super::choice::Choice;
use super::credentials::{self, Authorization, ContainerService, CredentialSource, Keys, WebIdentity};
use super::endpoint::Endpoint;
use super::host::injected;
use super::needs::Needs;
use super::retention::{Keep, Sweep};
use super::secret::Secret;
use super::setting::{Scope, Setting};
use super::share::Share;
use super::table::*;
use super::unknown::unknown;
use super::values::shown;
use super::words::{Addressing, Algorithm, ContentCheck, CredentialChoice};
use super::{Encryption, ReportTo, S3Settings, Settings};
use crate::printable::visible;

const QDRANT: &str = "such as http://qdrant-headless:6333";

/// One setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, as it was given.
    pub variable: String,
    /// What is wrong with its value and what is accepted; never a secret.
    pub problem: String,
}

/// The host's limit where it does not say another one, and what is counted with in a runtime that says none: 256 MiB.
const USUAL_MEMORY_LIMIT: u64 = 256 << 20;

/// Reads the settings. What is no setting is a mistake, as its meaning would be lost: who takes variables from a whole
/// environment picks those of the table first. `needs` says what the task can't do without. Also returns notes for the log.
///
/// # Errors
/// Every setting that can't be used, with what is accepted.
pub fn from_variables(variables: &[(String, String)], needs: Needs) -> Result<(Settings, Vec<String>), Vec<Problem>> {
    let mut reader = Reader::new(variables);
    let settings = settings(&mut reader, needs);
    if reader.problems.is_empty() { Ok((settings, reader.notes)) } else { Err(reader.problems) }
}

/// A line a field.
fn settings(reader: &mut Reader, needs: Needs) -> Settings {
    if needs.source {
        reader.require(&QDRANT_SOURCE_HOSTS, &format!("the address of Qdrant, {QDRANT}"));
    }
    if needs.restore {
        reader.require(&QDRANT_RESTORE_HOSTS, &format!("the address of the Qdrant to restore into, {QDRANT}"));
    }
    let http_port = reader.get(&QDRANT_HTTP_PORT);
    let source_api_key = reader.get(&QDRANT_API_KEY);
    let aliases_on_s3 = reader.get(&BACKUP_COLLECTION_ALIASES_ON_S3);
    Settings {
        source_hosts: reader.get(&QDRANT_SOURCE_HOSTS).with_port(http_port),
        restore_hosts: reader.get(&QDRANT_RESTORE_HOSTS).with_port(http_port),
        restore_api_key: reader.get(&QDRANT_RESTORE_API_KEY).or_else(|| source_api_key.clone()),
        source_api_key,
        discover_peers: reader.get(&GET_PEERS_FROM_CLUSTER_INFO),
        peer_hosts: reader.get(&QDRANT_PEER_HOSTS),
        http_port,
        request_timeout: reader.get(&CURL_TIMEOUT),
        retry_limit: reader.get(&QDRANT_RETRY_MAX_DURATION),
        wait: reader.get(&QDRANT_WAIT_ON_TASK),
        link_expiry: reader.get(&QDRANT_S3_LINK_EXPIRY_DURATION),
        snapshot_filter: reader.get(&QDRANT_SNAPSHOT_DATETIME_FILTER).unwrap_or_default(),
        aliases_on_s3,
        aliases_object: reader
            .get(&QDRANT_COLLECTION_ALIASES_STABLE_FILE)
            .unwrap_or_else(|| QDRANT_COLLECTION_ALIASES_STABLE_FILE.variable.default()),
        s3: s3(reader, needs.bucket_is_needed(aliases_on_s3)),
        restore_force: reader.get(&QDRANT_RESTORE_FORCE),
        skip_version_check: reader.get(&QDRANT_SKIP_VERSION_CHECK),
        settle_timeout: reader.get(&QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS),
        poll_interval: reader.get(&QDRANT_VERIFY_POLL_INTERVAL_SECONDS),
        snapshots_per_peer: reader.get(&QDRANT_SNAPSHOTS_PER_PEER),
        collections: Choice {
            include: reader.get(&QDRANT_COLLECTIONS),
            exclude: reader.get(&QDRANT_COLLECTIONS_EXCLUDE),
        },
        rename: reader.get(&QDRANT_RESTORE_RENAME),
        replication_factor: reader.get(&QDRANT_RESTORE_REPLICATION_FACTOR),
        switch_aliases: reader.get(&QDRANT_RESTORE_SWITCH_ALIASES),
        drop_old: drop_old(reader),
        tolerance_percent: reader.get(&QDRANT_VERIFY_TOLERANCE_PCT),
        restore_id: reader.get(&QDRANT_RESTORE_ID),
        require_verified: reader.get(&QDRANT_REQUIRE_VERIFIED),
        accept_config: reader.get(&QDRANT_RESTORE_ACCEPT_CONFIG),
        restore_beside: reader.get(&QDRANT_RESTORE_BESIDE),
        placement: reader.get(&QDRANT_RESTORE_PLACEMENT),
        restore_cluster_state: reader.get(&QDRANT_RESTORE_CLUSTER_STATE),
        verify_content: verify_content(reader),
        sample_points: reader.get(&QDRANT_VERIFY_SAMPLE_POINTS),
        report: ReportTo {
            file: reader.get(&QDRANT_REPORT_FILE),
            format: reader.get(&QDRANT_REPORT_FORMAT),
            s3: reader.get(&QDRANT_REPORT_ON_S3),
            html_file: reader.get(&QDRANT_REPORT_HTML_FILE),
            html_s3: reader.get(&QDRANT_REPORT_HTML_ON_S3),
            metrics_file: reader.get(&QDRANT_METRICS_FILE),
            push_url: reader.get(&QDRANT_METRICS_PUSH_URL),
        },
        verify_percent: reader.get(&QDRANT_VERIFY_PERCENT),
        dry_run: reader.get(&QDRANT_DRY_RUN),
        keep: keep(reader),
        sweep: Sweep {
            grace: reader.get(&QDRANT_SWEEP_GRACE_SECONDS),
            cap_percent: reader.get(&QDRANT_SWEEP_DELETE_CAP_PCT),
            legacy_runs: reader.get(&QDRANT_LEGACY_KEEP_RUNS),
        },
        restore_before: reader.get(&QDRANT_RESTORE_BEFORE),
        snapshot_check: reader.get(&QDRANT_ARCHIVE_CHECK),
        transfer: reader.get(&QDRANT_SNAPSHOT_TRANSFER),
        memory_limit: reader.memory_limit,
        label: reader.get(&QDRANT_BACKUP_LABEL),
        source_name: reader.get(&QDRANT_SOURCE_NAME),
        restore_source: reader.get(&QDRANT_RESTORE_SOURCE),
        backup_run: reader.get(&QDRANT_BACKUP_RUN),
        unchecked: reader.get(&QDRANT_BACKUP_UNCHECKED),
        pod: reader.get(&HOSTNAME),
        share: share(reader),
        snapshots_file: reader.get(&QDRANT_SNAPSHOTS_FILE),
        max_age: reader.get(&QDRANT_BACKUP_MAX_AGE),
        warn_shrink: reader.get(&QDRANT_BACKUP_WARN_SHRINK),
        output: reader.get(&QDRANT_OUTPUT),
        log_format: reader.get(&LOG_FORMAT),
    }
}

fn keep(reader: &mut Reader) -> Keep {
    Keep {
        last: reader.get(&QDRANT_BACKUP_RETENTION_SETS),
        hourly: reader.get(&QDRANT_BACKUP_KEEP_HOURLY),
        daily: reader.get(&QDRANT_BACKUP_KEEP_DAILY),
        weekly: reader.get(&QDRANT_BACKUP_KEEP_WEEKLY),
        monthly: reader.get(&QDRANT_BACKUP_KEEP_MONTHLY),
        yearly: reader.get(&QDRANT_BACKUP_KEEP_YEARLY),
        within: reader.get(&QDRANT_BACKUP_KEEP_WITHIN),
        dropped: reader.get(&QDRANT_BACKUP_DROPPED_KEEP),
    }
}

/// Only after the aliases were moved: what they lead to is in use.
fn drop_old(reader: &mut Reader) -> bool {
    let wanted = reader.get(&QDRANT_RESTORE_DROP_OLD);
    if wanted && !reader.get(&QDRANT_RESTORE_SWITCH_ALIASES) {
        let why = "needs QDRANT_RESTORE_SWITCH_ALIASES=true, as aliases lead to the old collection";
        reader.problem(&QDRANT_RESTORE_DROP_OLD, why.to_owned());
    }
    wanted
}

/// A sample of nothing is never different.
fn verify_content(reader: &mut Reader) -> ContentCheck {
    let check = reader.get(&QDRANT_VERIFY_CONTENT);
    if check == ContentCheck::Sample && reader.get(&QDRANT_VERIFY_SAMPLE_POINTS) == 0 {
        let why = "has to be more than 0 with QDRANT_VERIFY_CONTENT=sample".to_owned();
        reader.problem(&QDRANT_VERIFY_SAMPLE_POINTS, why);
    }
    check
}

/// Both variables, or neither: pods that don't know their number would each back up everything, or the same.
fn share(reader: &mut Reader) -> Option<Share> {
    let (of, index) = (reader.get(&QDRANT_BACKUP_SHARES), reader.get(&JOB_COMPLETION_INDEX));
    if reader.is_set(&QDRANT_BACKUP_SHARES) {
        let what = "the number of this share, which Kubernetes sets where the Job has `completionMode: Indexed`";
        reader.require(&JOB_COMPLETION_INDEX, what);
    }
    if reader.is_set(&JOB_COMPLETION_INDEX) {
        reader.require(&QDRANT_BACKUP_SHARES, "the `completions` of the Job, as JOB_COMPLETION_INDEX is set");
    }
    let share = Share { index: index?, of: of? };
    if share.index >= share.of {
        reader.problem(
            &JOB_COMPLETION_INDEX,
            format!("`{}` is not a number from 0 to {}, as QDRANT_BACKUP_SHARES says", share.index, share.of - 1),
        );
    }
    Some(share)
}

/// The bucket; `None` where nothing of it is set and it isn't needed. The keys alone (which a Secret shared with Qdrant
/// may bring along) do not ask for one.
fn s3(reader: &mut Reader, needed: bool) -> Option<S3Settings> {
    if !needed && !reader.is_set(&QDRANT_S3_ENDPOINT_URL) {
        return None;
    }
    reader.require(&QDRANT_S3_ENDPOINT_URL, "the address of the S3 service, such as http://minio:9000");
    reader.require(&QDRANT_S3_BUCKET_NAME, "the bucket in which Qdrant stores its snapshots");
    let endpoint = reader.get(&QDRANT_S3_ENDPOINT_URL);
    let credentials = credentials(reader, endpoint.as_ref());
    let endpoint_for_qdrant = reader.get(&QDRANT_S3_ENDPOINT_URL_FOR_QDRANT);
    let bucket = reader.get(&QDRANT_S3_BUCKET_NAME);
    let region = reader.first(&[&QDRANT_S3_REGION, &AWS_REGION, &AWS_DEFAULT_REGION]);
    let addressing = reader.get(&QDRANT_S3_ADDRESSING_STYLE);
    let key_prefix = reader.get(&QDRANT_S3_KEY_PREFIX);
    let backup_prefix = reader.get(&QDRANT_BACKUP_PREFIX).unwrap_or_default();
    let timeout = reader.get(&CURL_TIMEOUT);
    let encryption = encryption(reader);
    let ends_with_bucket = |endpoint: &Endpoint| {
        let last = endpoint.path.rsplit('/').next().filter(|last| !last.is_empty());
        last.is_some() && last == bucket.as_deref()
    };
    for (setting, endpoint) in
        [(&QDRANT_S3_ENDPOINT_URL, &endpoint), (&QDRANT_S3_ENDPOINT_URL_FOR_QDRANT, &endpoint_for_qdrant)]
    {
        if endpoint.as_ref().is_some_and(ends_with_bucket) {
            let why = "ends with the bucket's name, which goes into QDRANT_S3_BUCKET_NAME alone";
            reader.problem(setting, why.to_owned());
        }
    }
    if addressing == Addressing::Virtual && bucket.as_ref().is_some_and(|bucket| bucket.contains(':')) {
        let why = "has to be `path`: a bucket with a tenant (tenant:bucket) can't be in a host's name";
        reader.problem(&QDRANT_S3_ADDRESSING_STYLE, why.to_owned());
    }
    Some(S3Settings {
        endpoint_for_qdrant: endpoint_for_qdrant.or_else(|| endpoint.clone())?,
        endpoint: endpoint?,
        bucket: bucket?,
        credentials: credentials?,
        region,
        addressing,
        backup_prefix,
        key_prefix: key_prefix.unwrap_or_else(|| QDRANT_S3_KEY_PREFIX.variable.default()),
        timeout,
        encryption,
    })
}

/// Where the bucket's keys come from, by the same reading as in [`from_variables`]: for the host, which allows what is needed
/// for it. `None` where there is no bucket, or something is wrong, which [`from_variables`] says.
pub fn credential_source(variables: &[(String, String)]) -> Option<CredentialSource> {
    let mut reader = Reader::new(variables);
    let endpoint = reader.get(&QDRANT_S3_ENDPOINT_URL)?;
    credentials(&mut reader, Some(&endpoint))
}

/// The source that is chosen, else the first that is configured.
fn credentials(reader: &mut Reader, s3: Option<&Endpoint>) -> Option<CredentialSource> {
    let chosen = reader.get(&QDRANT_S3_CREDENTIALS);
    let disabled = reader.get(&AWS_EC2_METADATA_DISABLED);
    let metadata = reader.get(&AWS_EC2_METADATA_SERVICE_ENDPOINT);
    // All are read whichever is taken: what is wrong with one is better known.
    let (keys, identity, container) = (keys(reader), web_identity(reader), container(reader));
    let has_keys = [&QDRANT_S3_ACCESS_KEY_ID, &AWS_ACCESS_KEY_ID].iter().any(|name| reader.is_set(name))
        || [&QDRANT_S3_SECRET_ACCESS_KEY, &AWS_SECRET_ACCESS_KEY].iter().any(|name| reader.is_set(name));
    let has_service =
        reader.is_set(&AWS_CONTAINER_CREDENTIALS_FULL_URI) || reader.is_set(&AWS_CONTAINER_CREDENTIALS_RELATIVE_URI);
    let may_ask_machine = !disabled && (metadata.is_some() || s3.is_some_and(credentials::is_aws));
    let source = match chosen {
        CredentialChoice::Auto if has_keys => CredentialChoice::Keys,
        CredentialChoice::Auto if reader.is_set(&AWS_WEB_IDENTITY_TOKEN_FILE) => CredentialChoice::WebIdentity,
        CredentialChoice::Auto if has_service => CredentialChoice::Container,
        CredentialChoice::Auto if may_ask_machine => CredentialChoice::Instance,
        CredentialChoice::Auto => CredentialChoice::Keys,
        chosen => chosen,
    };
    match source {
        CredentialChoice::Keys | CredentialChoice::Auto => {
            let (access_key, secret_key, session_token) = keys;
            if access_key.is_none() {
                let what = "the S3 access key (AWS_ACCESS_KEY_ID does as well), or another source of keys \
                            (QDRANT_S3_CREDENTIALS)";
                reader.require(&QDRANT_S3_ACCESS_KEY_ID, what);
            }
            if secret_key.is_none() {
                let what = "the S3 secret key (AWS_SECRET_ACCESS_KEY does as well)";
                reader.require(&QDRANT_S3_SECRET_ACCESS_KEY, what);
            }
            Some(CredentialSource::Keys(Keys { access_key: access_key?, secret_key: secret_key?, session_token }))
        }
        CredentialChoice::WebIdentity => {
            reader.require(&AWS_ROLE_ARN, "the role to assume, as a web identity is to be used");
            reader.require(&AWS_WEB_IDENTITY_TOKEN_FILE, "the token's file, as a web identity is to be used");
            identity.map(CredentialSource::WebIdentity)
        }
        CredentialChoice::Container => {
            if !has_service {
                reader.require(&AWS_CONTAINER_CREDENTIALS_FULL_URI, "the address of the service that lends keys");
            }
            container.map(CredentialSource::Container)
        }
        CredentialChoice::Instance if disabled => {
            let why = "forbids what QDRANT_S3_CREDENTIALS=instance asks for; set one of them otherwise";
            reader.problem(&AWS_EC2_METADATA_DISABLED, why.to_owned());
            None
        }
        CredentialChoice::Instance => {
            metadata.or_else(|| Endpoint::parse(credentials::METADATA).ok()).map(CredentialSource::Instance)
        }
    }
}

/// Access key, secret key and session token.
fn keys(reader: &mut Reader) -> (Option<String>, Option<Secret>, Option<Secret>) {
    // A session belongs to the keys beside it.
    let session_token = if reader.is_set(&QDRANT_S3_ACCESS_KEY_ID) {
        reader.get(&QDRANT_S3_SESSION_TOKEN)
    } else {
        reader.first(&[&QDRANT_S3_SESSION_TOKEN, &AWS_SESSION_TOKEN])
    };
    let access_key = reader.first(&[&QDRANT_S3_ACCESS_KEY_ID, &AWS_ACCESS_KEY_ID]);
    let secret_key = reader.first(&[&QDRANT_S3_SECRET_ACCESS_KEY, &AWS_SECRET_ACCESS_KEY]);
    (access_key, secret_key, session_token)
}

fn web_identity(reader: &mut Reader) -> Option<WebIdentity> {
    let role = reader.get(&AWS_ROLE_ARN);
    let token_file = reader.get(&AWS_WEB_IDENTITY_TOKEN_FILE);
    let session = reader.get(&AWS_ROLE_SESSION_NAME);
    let region = reader.first(&[&AWS_REGION, &AWS_DEFAULT_REGION]);
    let sts = match reader.get(&AWS_ENDPOINT_URL_STS) {
        Some(sts) => sts,
        None => credentials::sts_of(region.as_deref()).ok()?,
    };
    let session = session.unwrap_or_else(|| AWS_ROLE_SESSION_NAME.variable.default());
    Some(WebIdentity { role: role?, token_file: token_file?, session, sts })
}

fn container(reader: &mut Reader) -> Option<ContainerService> {
    let full = reader.get(&AWS_CONTAINER_CREDENTIALS_FULL_URI);
    let relative = reader.get(&AWS_CONTAINER_CREDENTIALS_RELATIVE_URI);
    let token = reader.get(&AWS_CONTAINER_AUTHORIZATION_TOKEN);
    let authorization = match (reader.get(&AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE), token) {
        (Some(file), _) => Authorization::File(file),
        (None, Some(token)) => Authorization::Token(token),
        (None, None) => Authorization::None,
    };
    if full.is_none() && relative.is_none() {
        return None;
    }
    let setting =
        if relative.is_some() { &AWS_CONTAINER_CREDENTIALS_RELATIVE_URI } else { &AWS_CONTAINER_CREDENTIALS_FULL_URI };
    match credentials::container_server(full.as_deref(), relative.as_deref()) {
        Ok(server) => Some(ContainerService { server, authorization }),
        Err(why) => {
            reader.problem(setting, why);
            None
        }
    }
}

fn encryption(reader: &mut Reader) -> Option<Encryption> {
    let (algorithm, kms_key) = (reader.get(&QDRANT_S3_SSE), reader.get(&QDRANT_S3_SSE_KMS_KEY_ID));
    if kms_key.is_some() && !matches!(algorithm, Algorithm::Kms | Algorithm::KmsTwice) {
        reader.problem(&QDRANT_S3_SSE_KMS_KEY_ID, "is for QDRANT_S3_SSE=aws:kms only".to_owned());
    }
    algorithm.header().map(|_| Encryption { algorithm, kms_key })
}

/// The values that are set, and what is wrong with them.
struct Reader {
    values: BTreeMap<&'static str, String>,
    problems: Vec<Problem>,
    notes: Vec<String>,
    /// The names of the settings that were asked for: every row of the table has to be.
    asked: BTreeSet<&'static str>,
    /// What the host says of memory: the one thing that it tells of its own options.
    memory_limit: u64,
}

impl Reader {
    fn new(variables: &[(String, String)]) -> Self {
        let (values, problems, notes, asked) = Default::default();
        let memory_limit = variables.iter().rev().find(|(name, _)| name == QDRANT_MEMORY_LIMIT.variable.name);
        let memory_limit = memory_limit.and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(USUAL_MEMORY_LIMIT);
        let mut reader = Self { values, problems, notes, asked, memory_limit };
        let unknown = |name: &String| Some(Problem { problem: unknown(name)?, variable: visible(name).into_owned() });
        reader.problems.extend(variables.iter().filter_map(|(name, _)| unknown(name)));
        for variable in VARIABLES.iter().filter(|variable| variable.scope != Scope::Host) {
            let value = variables.iter().rev().find(|(name, _)| name == variable.name).map(|(_, value)| value.trim());
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if variable.scope == Scope::Unused {
                reader.notes.push(format!("{} is ignored: {}", variable.name, variable.meaning));
            } else if value.starts_with("tcp://") || value.starts_with("udp://") {
                let problem = visible(&injected(&shown(value))).into_owned();
                reader.problems.push(Problem { variable: variable.name.to_owned(), problem });
            } else {
                reader.values.insert(variable.name, value.to_owned());
            }
        }
        reader
    }

    fn is_set<T>(&self, setting: &Setting<T>) -> bool {
        self.values.contains_key(setting.variable.name)
    }

    /// The value; what the setting is when not set where it can't be read.
    fn get<T>(&mut self, setting: &Setting<T>) -> T {
        self.asked.insert(setting.variable.name);
        match self.values.get(setting.variable.name).map(|text| setting.read(text)) {
            None => setting.default(),
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.problem(setting, problem);
                setting.default()
            }
        }
    }

    /// The first that is set.
    fn first<T>(&mut self, settings: &[&Setting<Option<T>>]) -> Option<T> {
        settings.iter().find_map(|setting| self.get(setting))
    }

    /// Says what is wrong with a setting, once.
    fn problem<T>(&mut self, setting: &Setting<T>, problem: String) {
        let variable = setting.variable.name.to_owned();
        let problem = Problem { variable, problem: visible(&problem).into_owned() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The task can't do without it.
    fn require<T>(&mut self, setting: &Setting<T>, what: &str) {
        let name = setting.variable.name;
        if !self.is_set(setting) && !self.problems.iter().any(|problem| problem.variable == name) {
            self.problem(setting, format!("is not set; it has to be {what}"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::needs::BucketUse;
    use super::*;

    const ALL: Needs = Needs { source: true, restore: true, bucket: BucketUse::Always };

    fn read(variables: &[(&str, &str)], needs: Needs) -> Result<(Settings, Vec<String>), Vec<Problem>> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        from_variables(&variables, needs)
    }

    fn names(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.variable.as_str()).collect()
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
        assert_eq!((s3.key_prefix.as_str(), s3.region, s3.endpoint.host.port), ("snapshots", None, 9000));
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
                ("QDRANT_S3_ENDPOINT_URL", "http://minio:9000/?X-Amz-Signature=hunter2"),
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
        let (secret, token) = (Secret::new("B"), Some(Secret::new("T")));
        let keys = Keys { access_key: "A".to_owned(), secret_key: secret, session_token: token };
        assert_eq!((s3.credentials, s3.region.as_deref()), (CredentialSource::Keys(keys), Some("eu01")));
    }

    /// What is read with these settings in place of keys.
    fn source(more: &[(&str, &str)]) -> Result<CredentialSource, Vec<Problem>> {
        let without_keys = GUIDE.iter().copied().filter(|(name, _)| !name.contains("_KEY"));
        let variables: Vec<_> = without_keys.chain(more.iter().copied()).collect();
        let (settings, _) = read(&variables, Needs { source: false, ..ALL })?;
        let read = settings.s3.unwrap().credentials;
        let owned: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(credential_source(&owned).as_ref(), Some(&read), "the host sees the same");
        Ok(read)
    }

    const AWS: (&str, &str) = ("QDRANT_S3_ENDPOINT_URL", "https://s3.eu-central-1.amazonaws.com");
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "B")];
    const IRSA: [(&str, &str); 3] = [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
        ("AWS_REGION", "eu-central-1"),
    ];
    const POD_IDENTITY: [(&str, &str); 2] = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/token"),
    ];

    #[test]
    fn the_first_source_of_keys_that_is_configured_is_taken() {
        let all = [&KEYS[..], &IRSA, &POD_IDENTITY, &[AWS]].concat();
        for (from, server, file) in [
            (0, None, None),
            (2, Some("https://sts.eu-central-1.amazonaws.com"), Some("eks.amazonaws.com/serviceaccount/token")),
            (5, Some("http://169.254.170.23/v1/credentials"), Some("pods.eks.amazonaws.com/serviceaccount/token")),
            (7, Some("http://169.254.169.254"), None),
        ] {
            let source = source(all.get(from..).unwrap()).unwrap();
            assert_eq!(source.server().map(ToString::to_string).as_deref(), server, "{source:?}");
            let read = source.token_file().is_some_and(|path| file.is_some_and(|file| path.ends_with(file)));
            assert_eq!(read, file.is_some(), "{source:?}");
        }
        // One that is asked for is taken before others.
        let asked = [&all[..], &[("QDRANT_S3_CREDENTIALS", "container")]].concat();
        assert!(matches!(source(&asked), Ok(CredentialSource::Container(_))));
        let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338");
        assert_eq!(source(&[metadata]).unwrap().server().unwrap().to_string(), "http://127.0.0.1:1338");
    }

    #[test]
    fn a_source_of_keys_that_lacks_something_is_told() {
        let instance = ("QDRANT_S3_CREDENTIALS", "instance");
        let disabled = ("AWS_EC2_METADATA_DISABLED", "true");
        let missing = ["QDRANT_S3_ACCESS_KEY_ID", "QDRANT_S3_SECRET_ACCESS_KEY"];
        for (given, expected) in [
            // The machine is asked where that is meant, and nowhere else.
            (&[][..], &missing[..]),
            (&[AWS, disabled], &missing),
            (&[instance, disabled], &["AWS_EC2_METADATA_DISABLED"]),
            (&KEYS[..1], &missing[1..]),
            (&IRSA[1..], &["AWS_ROLE_ARN"]),
            (&[("AWS_ROLE_ARN", "arn")], &missing),
            (&[("QDRANT_S3_CREDENTIALS", "web-identity")], &["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]),
            (&[("QDRANT_S3_CREDENTIALS", "container")], &["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
            (&[IRSA[0], ("AWS_WEB_IDENTITY_TOKEN_FILE", "token")], &["AWS_WEB_IDENTITY_TOKEN_FILE"]),
            (
                &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/keys")],
                &["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
            ),
        ] {
            assert_eq!(names(&source(given).unwrap_err()), expected, "{given:?}");
        }
        assert!(source(&[instance]).is_ok());
    }

    #[test]
    fn endpoints_have_paths_and_buckets_tenants() {
        let with = |more: &[(&'static str, &'static str)]| {
            read(&[GUIDE, more].concat(), Needs { source: false, ..ALL }).map(|(settings, _)| settings.s3.unwrap())
        };
        let s3 = with(&[
            ("QDRANT_S3_ENDPOINT_URL", "https://p.example.co/storage/v1/s3"),
            ("QDRANT_S3_BUCKET_NAME", "team:backups"),
            ("QDRANT_S3_SSE", "aws:kms"),
            ("QDRANT_S3_SSE_KMS_KEY_ID", "alias/backups"),
        ])
        .unwrap();
        assert_eq!((s3.endpoint.path.as_str(), s3.bucket.as_str()), ("/storage/v1/s3", "team:backups"));
        let kms_key = Some("alias/backups".to_owned());
        assert_eq!(s3.encryption, Some(Encryption { algorithm: Algorithm::Kms, kms_key }));
        for (wrong, name) in [
            (&[("QDRANT_S3_ENDPOINT_URL", "http://minio:9000/qdrant-snapshots")][..], "QDRANT_S3_ENDPOINT_URL"),
            (
                &[("QDRANT_S3_BUCKET_NAME", "a:b"), ("QDRANT_S3_ADDRESSING_STYLE", "virtual")],
                "QDRANT_S3_ADDRESSING_STYLE",
            ),
            (&[("QDRANT_S3_BUCKET_NAME", "a:b:c")], "QDRANT_S3_BUCKET_NAME"),
            (&[("QDRANT_S3_SSE", "rot13")], "QDRANT_S3_SSE"),
            (&[("QDRANT_S3_SSE_KMS_KEY_ID", "key")], "QDRANT_S3_SSE_KMS_KEY_ID"),
            (&[("QDRANT_S3_SSE", "AES256"), ("QDRANT_S3_SSE_KMS_KEY_ID", "key")], "QDRANT_S3_SSE_KMS_KEY_ID"),
        ] {
            assert_eq!(names(&with(wrong).unwrap_err()), [name], "{wrong:?}");
        }
    }

    #[test]
    fn what_the_task_does_not_need_is_not_asked_for() {
        assert!(read(&[], Needs::NOTHING).unwrap().0.s3.is_none());
        assert!(
            read(&[("QDRANT_S3_ACCESS_KEY_ID", "k"), ("QDRANT_S3_BUCKET_NAME", "b")], Needs::NOTHING)
                .unwrap()
                .0
                .s3
                .is_none()
        );
        let problems = read(
            &[("BACKUP_COLLECTION_ALIASES_ON_S3", "true"), ("QDRANT_SOURCE_HOSTS", "q")],
            Needs { source: true, bucket: BucketUse::WithAliases, ..Needs::NOTHING },
        );
        assert!(names(&problems.unwrap_err()).contains(&"QDRANT_S3_ENDPOINT_URL"));
    }

    #[test]
    fn a_share_needs_its_number_and_their_number() {
        let share = |variables: &[(&str, &str)]| read(variables, Needs::NOTHING).map(|(settings, _)| settings.share);
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
    fn every_row_of_the_table_is_read() {
        let mut reader = Reader::new(&[]);
        settings(&mut reader, ALL);
        for variable in VARIABLES {
            let read = reader.asked.contains(variable.name);
            assert_eq!(read, variable.scope == Scope::Component, "{}", variable.name);
        }
    }

    #[test]
    fn a_name_that_is_no_setting_is_a_mistake() {
        for (name, nearest) in [
            ("QDRANT_DRYRUN", "QDRANT_DRY_RUN"),
            ("dry_run", "QDRANT_DRY_RUN"),
            ("QDRANT_S3_BUCKET", "QDRANT_S3_BUCKET_NAME"),
            ("QDRANT_API_KEY_FILE", "QDRANT_API_KEY"),
        ] {
            let problems = read(&[(name, "true")], Needs::NOTHING).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            let problem = problems.first().unwrap();
            assert_eq!(problem.variable, name);
            assert!(problem.problem.ends_with(&format!("did you mean {nearest}?")), "{}", problem.problem);
        }
        let told = read(&[("x\n\u{1b}[31m", "")], Needs::NOTHING).unwrap_err();
        assert_eq!(told.first().unwrap().variable, "x\\u{a}\\u{1b}[31m");
    }

    #[test]
    fn an_error_says_what_is_accepted() {
        for (name, value, accepted) in [
            ("CURL_TIMEOUT", "abc", "`abc` is not a duration such as 3600, 3600s, 60m or 1h; accepted is 1s to 7d"),
            ("CURL_TIMEOUT", "8d", "`8d` is out of range; accepted is 1s to 7d"),
            ("QDRANT_SNAPSHOTS_PER_PEER", "0", "`0` is not a number from 1 to 64"),
            ("QDRANT_ARCHIVE_CHECK", "half", "`half` is not one of full, tail, none"),
            ("QDRANT_WAIT_ON_TASK", "maybe", "`maybe` is neither true nor false"),
        ] {
            let problems = read(&[(name, value)], Needs::NOTHING).unwrap_err();
            assert_eq!(problems, [Problem { variable: name.to_owned(), problem: accepted.to_owned() }]);
        }
    }
}
