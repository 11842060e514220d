//! Where the keys of the bucket come from: settings, or a service that lends keys for a while.
//!
//! The order is that of AWS's programs ("Credential provider chain" in the AWS SDKs and Tools Reference Guide): keys in
//! settings, a web identity, a container's service, the machine's role.

use super::endpoint::Endpoint;
use super::secret::Secret;

/// An access key with its secret key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: Secret,
    /// What goes with keys that are lent.
    pub session_token: Option<Secret>,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// They are settings, and last.
    Keys(Keys),
    /// A role that is assumed with a token that the platform signs (`AssumeRoleWithWebIdentity`; EKS's IRSA).
    WebIdentity(WebIdentity),
    /// A service beside the container lends them (ECS, EKS Pod Identity).
    Container(ContainerService),
    /// The machine's own role, by its metadata service (IMDSv2), whose address this is.
    Instance(Endpoint),
}

/// A role and the token that proves who may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// `AWS_ROLE_ARN`.
    pub role: String,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`: an absolute path. The platform writes the file anew, long before its token ends.
    pub token_file: String,
    /// `AWS_ROLE_SESSION_NAME`: what the session is called in logs there.
    pub session: String,
    /// `AWS_ENDPOINT_URL_STS`, else that of the region.
    pub sts: Endpoint,
}

/// A service that lends keys to who runs in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerService {
    /// Server and path.
    pub server: Endpoint,
    /// What it asks for.
    pub authorization: Authorization,
}

/// What stands in `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing.
    None,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Token(Secret),
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`: an absolute path; read each time.
    File(String),
}

impl CredentialSource {
    /// The server that is asked for keys; `None` where none is.
    pub fn server(&self) -> Option<&Endpoint> {
        match self {
            Self::Keys(_) => None,
            Self::WebIdentity(identity) => Some(&identity.sts),
            Self::Container(service) => Some(&service.server),
            Self::Instance(endpoint) => Some(endpoint),
        }
    }

    /// The file with the token that the platform renews, where there is one.
    pub fn token_file(&self) -> Option<&str> {
        match self {
            Self::WebIdentity(identity) => Some(&identity.token_file),
            Self::Container(ContainerService { authorization: Authorization::File(file), .. }) => Some(file),
            Self::Keys(_) | Self::Container(_) | Self::Instance(_) => None,
        }
    }

    /// The secrets among the settings.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (first, second) = match self {
            Self::Keys(keys) => (Some(&keys.secret_key), keys.session_token.as_ref()),
            Self::Container(ContainerService { authorization: Authorization::Token(token), .. }) => (Some(token), None),
            Self::WebIdentity(_) | Self::Container(_) | Self::Instance(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// Where the service beside the container is, where only a path is given (ECS).
const ECS: &str = "http://169.254.170.2";

/// Addresses at which a container's service may be asked without TLS, besides loopback: ECS, and EKS Pod Identity over
/// both protocols (AWS, "Container credential provider").
const PLAIN: &[&str] = &["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// The machine's metadata service where no other is named.
pub(super) const METADATA: &str = "http://169.254.169.254";

/// The container's service at `full`, else at `relative` below the one of ECS.
///
/// # Errors
/// What is wrong with the address.
pub(super) fn container_server(full: Option<&str>, relative: Option<&str>) -> Result<Endpoint, String> {
    let endpoint = match (full, relative) {
        (_, Some(path)) if path.starts_with('/') => Endpoint::parse(&format!("{ECS}{path}"))?,
        (_, Some(_)) => return Err("is not a path, such as /v2/credentials/...".to_owned()),
        (Some(url), None) if url.contains("://") => Endpoint::parse(url)?,
        _ => return Err("is not an address, such as http://169.254.170.23/v1/credentials".to_owned()),
    };
    let host = &endpoint.host;
    let loopback = host.name == "localhost" || host.name == "[::1]" || is_loopback(&host.name);
    if host.tls || loopback || PLAIN.contains(&host.name.as_str()) {
        Ok(endpoint)
    } else {
        Err(format!("without TLS only loopback addresses and {} are asked for keys", PLAIN.join(", ")))
    }
}

fn is_loopback(name: &str) -> bool {
    name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

/// AWS's Security Token Service in `region`; the global one where none is known.
///
/// # Errors
/// The region is no part of a host's name.
pub(super) fn sts_of(region: Option<&str>) -> Result<Endpoint, String> {
    match region {
        None => Endpoint::parse("https://sts.amazonaws.com"),
        Some(region) if region.starts_with("cn-") => Endpoint::parse(&format!("https://sts.{region}.amazonaws.com.cn")),
        Some(region) => Endpoint::parse(&format!("https://sts.{region}.amazonaws.com")),
    }
}

/// True for AWS's own S3: there the machine's role is what is meant where nothing else is configured.
pub(super) fn is_aws(endpoint: &Endpoint) -> bool {
    let name = &endpoint.host.name;
    name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_service_is_asked_by_tls_or_nearby() {
        let server = |full, relative| container_server(full, relative).map(|endpoint| endpoint.to_string());
        for (full, relative, expected) in [
            (None, Some("/v2/credentials/a-b"), "http://169.254.170.2/v2/credentials/a-b"),
            (Some("http://169.254.170.23/v1/credentials"), None, "http://169.254.170.23/v1/credentials"),
            (Some("http://[fd00:ec2::23]/v1/credentials"), None, "http://[fd00:ec2::23]/v1/credentials"),
            (Some("http://127.0.0.1:1234/keys"), None, "http://127.0.0.1:1234/keys"),
            (Some("https://keys.example/a"), None, "https://keys.example/a"),
            // As AWS's programs do it.
            (Some("https://keys.example/a"), Some("/b"), "http://169.254.170.2/b"),
        ] {
            assert_eq!(server(full, relative).unwrap(), expected);
        }
        for (full, relative) in [
            (Some("http://keys.example/a"), None),
            (Some("http://10.0.0.1/a"), None),
            (Some("http://169.254.169.254/a"), None),
            (Some("keys.example"), None),
            (None, Some("credentials")),
        ] {
            server(full, relative).unwrap_err();
        }
    }

    #[test]
    fn sts_is_that_of_the_region() {
        let sts = |region| sts_of(region).unwrap().to_string();
        assert_eq!(sts(None), "https://sts.amazonaws.com");
        assert_eq!(sts(Some("eu-central-1")), "https://sts.eu-central-1.amazonaws.com");
        assert_eq!(sts(Some("cn-north-1")), "https://sts.cn-north-1.amazonaws.com.cn");
        sts_of(Some("eu@evil")).unwrap_err();
    }

    #[test]
    fn aws_is_told_by_its_names() {
        let aws = |url| is_aws(&Endpoint::parse(url).unwrap());
        assert!(aws("https://s3.eu-central-1.amazonaws.com") && aws("https://s3.cn-north-1.amazonaws.com.cn"));
        assert!(!aws("https://amazonaws.com.evil.example") && !aws("http://minio:9000"));
    }
}
