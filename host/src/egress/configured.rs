//! The servers that the settings name.

use qdrant_backup_contract::settings::table::{QDRANT_HTTP_PORT, QDRANT_PEER_HOSTS};
use qdrant_backup_contract::settings::{CredentialSource, DefaultPort, Endpoint, Host, credential_source};

use super::AllowList;

impl AllowList {
    /// Qdrant's hosts and those behind rules for peers, the bucket, who lends its keys, and where metrics are pushed to. Where
    /// Qdrant itself reaches the bucket (`QDRANT_S3_ENDPOINT_URL_FOR_QDRANT`) is no business of ours.
    pub fn of_settings(settings: &[(String, String)]) -> Self {
        let setting = |wanted: &str| {
            let found = settings.iter().rev().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let http_port = setting("QDRANT_HTTP_PORT").and_then(|port| QDRANT_HTTP_PORT.read(port).ok());
        let http_port = http_port.unwrap_or_else(|| QDRANT_HTTP_PORT.default());
        let mut list = Self::default();
        for name in ["QDRANT_SOURCE_HOSTS", "QDRANT_RESTORE_HOSTS"] {
            // Values that are no hosts are reported by the component before it sends anything.
            let hosts = setting(name).unwrap_or_default().split(',');
            for host in hosts.filter_map(|host| Host::parse(host, DefaultPort::Always(http_port)).ok()) {
                list.allow_server(&host.name, &[host.port, http_port]);
            }
        }
        let peers = setting("QDRANT_PEER_HOSTS").and_then(|rules| QDRANT_PEER_HOSTS.read(rules).ok());
        for host in peers.unwrap_or_default().servers(http_port) {
            list.allow_server(&host.name, &[host.port]);
        }
        if let Some(endpoint) = setting("QDRANT_S3_ENDPOINT_URL").and_then(|url| Endpoint::parse(url).ok()) {
            list.allow_server(&endpoint.host.name, &[endpoint.host.port]);
        }
        if let Some(server) = credential_source(settings).as_ref().and_then(CredentialSource::server) {
            list.allow_only(&server.host.name, server.host.port);
        }
        let gateway =
            setting("QDRANT_METRICS_PUSH_URL").map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/"));
        if let Some(host) = gateway.and_then(|url| Host::parse(&url, DefaultPort::OfScheme).ok()) {
            list.allow_server(&host.name, &[host.port]);
        }
        list
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::egress::Target;

    fn settings(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn allows(settings: &[(String, String)], url: &str) -> bool {
        AllowList::of_settings(settings).allows(&Target::of(&url.parse().unwrap()).unwrap())
    }

    #[test]
    fn the_configured_servers_may_be_reached_and_nothing_else() {
        let settings = settings(&[
            ("QDRANT_SOURCE_HOSTS", "https://qdrant.example, http://10.0.0.1:7000/,,bad host"),
            ("QDRANT_RESTORE_HOSTS", "restore"),
            ("QDRANT_HTTP_PORT", "6400"),
            ("QDRANT_PEER_HOSTS", "7=https://seven.example.com:443, qdrant-*.inner=https://node-*.x.example.net"),
            ("QDRANT_S3_ENDPOINT_URL", "https://s3.example/storage/v1/s3"),
            ("QDRANT_S3_ENDPOINT_URL_FOR_QDRANT", "http://minio.inside:9000"),
            ("QDRANT_METRICS_PUSH_URL", "http://gateway:9091/metrics/job/qdrant-backup"),
        ]);
        for url in [
            "http://gateway:9091/metrics/job/qdrant-backup",
            "https://qdrant.example:6400/",
            "https://seven.example.com/",
            "https://node-3.x.example.net:6400/",
            "http://qdrant-0.qdrant.example:6400/",
            "http://10.0.0.1:7000/",
            "http://10.0.0.1:6400/",
            "http://restore:6400/",
            "https://s3.example/",
            "https://bucket.s3.example/",
        ] {
            assert!(allows(&settings, url), "{url}");
        }
        for url in [
            "http://qdrant.example/",
            "http://qdrant.example:6333/",
            "http://restore:6333/",
            "https://seven.example.com:6400/",
            "https://node-3.y.example.net:6400/",
            "http://10.0.0.2:6400/",
            "http://s3.example/",
            "https://example/",
            "http://minio.inside:9000/",
            "http://169.254.169.254/",
        ] {
            assert!(!allows(&settings, url), "{url}");
        }
    }

    #[test]
    fn who_lends_keys_may_be_reached_and_no_other_source() {
        const IDENTITY: [(&str, &str); 3] = [
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
            ("AWS_REGION", "eu-central-1"),
        ];
        const POD: [(&str, &str); 1] = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")];
        const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        const S3: (&str, &str) = ("QDRANT_S3_ENDPOINT_URL", "https://s3.eu-central-1.amazonaws.com");
        let sources = [
            "https://sts.eu-central-1.amazonaws.com/",
            "http://169.254.170.23/v1/credentials",
            "http://169.254.169.254/",
        ];
        for (number, given) in [&IDENTITY[..], &POD, &[], &KEYS].into_iter().enumerate() {
            let settings = settings(&[&[S3][..], given].concat());
            for (other, url) in sources.iter().enumerate() {
                assert_eq!(allows(&settings, url), other == number, "{url} with {given:?}");
            }
            let behind = AllowList::of_settings(&settings).allows_behind_a_name("169.254.170.23".parse().unwrap());
            assert_eq!(behind, number == 1, "{given:?}");
        }
        // On its own port alone, and nothing below its name.
        let settings = settings(&[&[S3][..], &IDENTITY].concat());
        for url in ["http://sts.eu-central-1.amazonaws.com/", "https://a.sts.eu-central-1.amazonaws.com/"] {
            assert!(!allows(&settings, url), "{url}");
        }
    }

    #[test]
    fn the_usual_port_is_qdrant_s() {
        assert!(allows(&settings(&[("QDRANT_SOURCE_HOSTS", "https://qdrant:8443")]), "http://a.qdrant:6333/"));
    }
}
