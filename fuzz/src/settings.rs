//! Addresses, durations, moments, and all settings together, as people write them.

use qdrant_backup_contract::settings::{
    BucketUse, CredentialSource, DefaultPort, Host, Needs, Scope, VARIABLES, from_variables, parse_duration,
    unknown_names,
};
use qdrant_backup_contract::timestamp;

use crate::texts;

pub fn host_examples() -> Vec<Vec<u8>> {
    texts(&[
        "qdrant-headless",
        " http://Qdrant-Headless:6333/ ",
        "https://qdrant.example.com:443",
        "10.0.0.7:7000",
        "::1",
        "http://[FD00::0:1]:80",
        "http://allowed@evil/",
        "http://[::ffff:127.0.0.1]:6333",
        "0x7f.1",
        "tcp://10.0.0.1:6333",
        "a..b:99999",
    ])
}

pub fn check_hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for default in [DefaultPort::Always(6333), DefaultPort::OfScheme] {
        let Ok(host) = Host::parse(text, default) else { continue };
        let shown = host.to_string();
        assert!(host.port > 0 && !shown.contains(['@', ' ', '?', '#']), "{shown}");
        assert_eq!(Host::parse(&shown, DefaultPort::OfScheme).as_ref(), Ok(&host), "{shown}");
        let uri: http::Uri = format!("{shown}/").parse().expect("an address can be asked");
        assert_eq!(uri.host(), Some(host.name.as_str()));
        assert_eq!(uri.port_u16().unwrap_or(if host.tls { 443 } else { 80 }), host.port);
    }
}

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        "QDRANT_SOURCE_HOSTS=http://q:6333,r\nQDRANT_API_KEY=secret",
        "QDRANT_S3_ENDPOINT_URL=https://s3\nQDRANT_S3_BUCKET_NAME=b\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=c",
        "QDRANT_RESTORE_RENAME=docs=docs-2, a = b\nQDRANT_RESTORE_DROP_OLD=true",
        "QDRANT_REPORT_FILE=../../etc/passwd\nQDRANT_METRICS_PUSH_URL=http://a@b/metrics/job/x",
        "QDRANT_RESTORE_BEFORE=2026-01-29\nCURL_TIMEOUT=1h\nQDRANT_BACKUP_SHARES=3\nJOB_COMPLETION_INDEX=2",
        "QDRANT_SORCE_HOSTS=x\nQDRANT_SERVICE_HOST=10.0.0.1\nLOG_FORMAT=json",
    ])
}

/// Lines of `NAME=value`.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let variables: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let needs = Needs { source: true, restore: true, bucket: BucketUse::Always };
    match from_variables(&variables, needs) {
        Ok((settings, _)) => {
            for name in [&settings.report.file, &settings.report.metrics_file].into_iter().flatten() {
                assert!(!name.contains('/') && name != ".." && name != ".", "{name}");
            }
            assert!(!settings.aliases_object.contains('/'));
            let s3 = settings.s3.expect("it is needed");
            assert!(!s3.key_prefix.split('/').any(|part| part == ".."));
            if let CredentialSource::Keys(keys) = &s3.credentials {
                let secret = keys.secret_key.reveal();
                assert!(!format!("{s3:?}").contains(secret) || secret.len() < 20);
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let is_known = |name: &str| VARIABLES.iter().any(|known| known.name == name);
                let is_ours = VARIABLES.iter().any(|one| one.name == problem.variable && one.scope != Scope::Host);
                let is_none = problem.problem.starts_with("there is no such setting");
                assert!(if is_none { variables.iter().any(|(name, _)| !is_known(name)) } else { is_ours });
            }
        }
    }
    let names = variables.iter().map(|(name, _)| name.as_str());
    let _ = unknown_names(names.filter(|name| name.len() < 64).take(4));
}

pub fn time_examples() -> Vec<Vec<u8>> {
    texts(&["3600", "60m", " 1h", "7 d", "18446744073709551615s", "2026-01-29T11:44:22Z", "2026-11-22T10:30:51.336Z"])
}

pub fn check_times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format!("{}s", duration.as_secs())), Ok(duration));
        assert!(text.contains(|c: char| c.is_ascii_digit()) && !text.contains('-'), "{text}");
    }
    for form in
        [timestamp::LOG, timestamp::DATE, timestamp::RFC3339, timestamp::SNAPSHOT, timestamp::COPY, timestamp::KEY]
    {
        if let Some(read) = form.read(text) {
            assert_eq!(form.write(read), text);
        }
    }
    if let Some(read) = timestamp::read_s3(text) {
        assert!(text.starts_with(timestamp::RFC3339.write(read).trim_end_matches('Z')), "{text}");
    }
}
