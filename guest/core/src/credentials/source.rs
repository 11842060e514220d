//! Asks the service that lends keys.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;

use super::Lent;
use super::answer::{self, Found};
use super::error::{CredentialsError, Kind};
use super::renewal::ENDED;
use crate::ports::{FileError, HttpError, Ports, Request, Timeouts};
use crate::retry;
use crate::settings::{Authorization, ContainerService, CredentialSource, Endpoint, Secret, WebIdentity};
use crate::timestamp::RFC3339;

/// Longer than any answer is.
const LIMIT: usize = 64 << 10;

/// What stays as it is in a form, and in a part of a path (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The time for which a machine's service is asked on behalf of one session, the longest there is.
const SESSION: &str = "21600";

/// Somebody who lends keys.
pub(super) struct Source {
    ports: Ports,
    source: CredentialSource,
    /// Tells the secrets that it met, so that no text has them.
    learn: Box<dyn Fn(&Secret)>,
    /// Masks those.
    clean: Box<dyn Fn(&str) -> String>,
}

impl Source {
    /// `learn` is told each secret, `clean` masks them in the service's own words.
    pub(super) fn new(
        ports: &Ports,
        source: &CredentialSource,
        learn: impl Fn(&Secret) + 'static,
        clean: impl Fn(&str) -> String + 'static,
    ) -> Self {
        Self { ports: ports.clone(), source: source.clone(), learn: Box::new(learn), clean: Box::new(clean) }
    }

    /// Who is asked, for people.
    pub(super) fn name(&self) -> String {
        match &self.source {
            CredentialSource::Keys(_) => "the settings".to_owned(),
            CredentialSource::WebIdentity(identity) => {
                format!("the Security Token Service at {} for the role {}", identity.sts, identity.role)
            }
            CredentialSource::Container(service) => format!("the container's service at {}", service.server),
            CredentialSource::Instance(endpoint) => format!("the machine's metadata service at {endpoint}"),
        }
    }

    /// Asks once.
    pub(super) async fn ask(&self) -> Result<Lent, CredentialsError> {
        let now = self.ports.clock.now();
        let (keys, until) = match &self.source {
            CredentialSource::Keys(keys) => {
                return Ok(Lent { keys: keys.clone(), since: now, until: None });
            }
            CredentialSource::WebIdentity(identity) => self.assume(identity).await?,
            CredentialSource::Container(service) => self.container(service).await?,
            CredentialSource::Instance(endpoint) => self.instance(endpoint).await?,
        };
        (self.learn)(&keys.secret_key);
        keys.session_token.iter().for_each(|token| (self.learn)(token));
        if until - now <= ENDED {
            return Err(self.error(Kind::Ended(RFC3339.write(until))));
        }
        Ok(Lent { keys, since: now, until: Some(until) })
    }

    /// `AssumeRoleWithWebIdentity`. The token goes in the body: addresses end up in logs.
    async fn assume(&self, identity: &WebIdentity) -> Result<Found, CredentialsError> {
        let token = self.token(&identity.token_file)?;
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let body = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encoded(&identity.role),
            encoded(&identity.session),
            encoded(token.reveal())
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/xml"));
        let answer = self.call(Method::POST, &address(&identity.sts), headers, body.into_bytes()).await?;
        answer::from_xml(&answer).map_err(|what| self.error(Kind::Shape(what)))
    }

    async fn container(&self, service: &ContainerService) -> Result<Found, CredentialsError> {
        let token = match &service.authorization {
            Authorization::None => None,
            Authorization::Token(token) => Some(token.clone()),
            Authorization::File(file) => Some(self.token(file)?),
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, self.value(token.reveal())?);
        }
        let answer = self.call(Method::GET, &address(&service.server), headers, Vec::new()).await?;
        answer::from_json(&answer).map_err(|what| self.error(Kind::Shape(what)))
    }

    /// By IMDSv2: a session first, the name of the machine's role, its keys. The older form, which answers anybody who can
    /// have a request sent, is not used.
    async fn instance(&self, endpoint: &Endpoint) -> Result<Found, CredentialsError> {
        let shape = |what: &str| self.error(Kind::Shape(what.to_owned()));
        let text = |answer: Vec<u8>| String::from_utf8(answer).map_err(|_| shape("the answer is not text"));
        let mut headers = HeaderMap::new();
        let ttl = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        headers.insert(ttl, HeaderValue::from_static(SESSION));
        let session = self.call(Method::PUT, &format!("{endpoint}/latest/api/token"), headers, Vec::new()).await?;
        let session = Secret::new(text(session)?.trim());
        (self.learn)(&session);
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-aws-ec2-metadata-token"), self.value(session.reveal())?);
        let roles = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
        let listed = text(self.call(Method::GET, &roles, headers.clone(), Vec::new()).await?)?;
        let role = listed.lines().next().map(str::trim).filter(|role| !role.is_empty() && role.len() <= 128);
        let role = role.ok_or_else(|| shape("it names no role; is one attached to the machine?"))?;
        let url = format!("{roles}{}", utf8_percent_encode(role, UNRESERVED));
        let answer = self.call(Method::GET, &url, headers, Vec::new()).await?;
        answer::from_json(&answer).map_err(|what| self.error(Kind::Shape(what)))
    }

    /// The token that the platform has put into `file`, as it is now.
    fn token(&self, file: &str) -> Result<Secret, CredentialsError> {
        let unusable = |cause: &str| FileError { name: file.to_owned(), action: "use", cause: cause.to_owned() };
        let read = self.ports.files.read_path(file).and_then(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| unusable("it is not text"))?;
            if text.trim().is_empty() { Err(unusable("it is empty")) } else { Ok(Secret::new(text.trim())) }
        });
        let token = read.map_err(|error| self.error(Kind::File(error)))?;
        (self.learn)(&token);
        Ok(token)
    }

    /// A header's value that is not shown.
    fn value(&self, secret: &str) -> Result<HeaderValue, CredentialsError> {
        let mut value = HeaderValue::from_str(secret)
            .map_err(|_| self.error(Kind::Shape("its token has signs in it that no header takes".to_owned())))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, CredentialsError> {
        let invalid = |error: http::uri::InvalidUri| HttpError::Invalid(format!("no valid address: {error}"));
        let uri = url.parse().map_err(|error| self.error(Kind::Http(invalid(error))))?;
        // What is nearby answers at once or never.
        let seconds = if matches!(self.source, CredentialSource::WebIdentity(_)) { 30 } else { 5 };
        let limit = Duration::from_secs(seconds);
        let timeouts = Timeouts { connect: limit, first_byte: limit, between_bytes: limit };
        let clock = self.ports.clock.as_ref();
        let response = self.ports.http.send(Request { method, uri, headers, body, timeouts }).await;
        let response = response.map_err(|error| self.error(Kind::Http(error)))?;
        let status = response.status;
        let retry_after = retry::retry_after(&response.headers, clock.now());
        let answer = response.read_all(LIMIT, clock).await.map_err(|error| {
            self.error(match error {
                Some(error) => Kind::Http(error),
                None => Kind::Shape(format!("an answer of more than {LIMIT} bytes")),
            })
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        let (code, message) = answer::refusal(&answer);
        let (code, message) = ((self.clean)(&code), (self.clean)(&message));
        Err(self.error(Kind::Status { status: status.as_u16(), code, message, retry_after }))
    }

    fn error(&self, kind: Kind) -> CredentialsError {
        CredentialsError { server: self.name(), advice: self.advice(&kind), kind }
    }

    /// What to do about an answer, or about none.
    fn advice(&self, kind: &Kind) -> &'static str {
        let status = match kind {
            Kind::Status { status, .. } => Some(*status),
            _ => None,
        };
        match (&self.source, status) {
            (CredentialSource::WebIdentity(_), Some(_)) => {
                "the role's trust policy has to name the cluster's OIDC provider and this service account, and the token's \
                 audience has to be sts.amazonaws.com: AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE"
            }
            (CredentialSource::WebIdentity(_), None) => {
                "AWS_REGION, AWS_ENDPOINT_URL_STS; does a network policy forbid it?"
            }
            (CredentialSource::Container(_), Some(_)) => {
                "is a role associated with this service account or task? AWS_CONTAINER_CREDENTIALS_FULL_URI"
            }
            (CredentialSource::Container(_), None) => {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI; does the agent run, and does a network policy forbid it?"
            }
            (CredentialSource::Instance(_), Some(404)) => "no role is attached to this machine",
            (CredentialSource::Instance(_), Some(_)) => "is the metadata service switched on?",
            (CredentialSource::Instance(_), None) => {
                "from within a container it answers only where its hop limit is 2 or more; where keys are meant to be \
                 settings, set QDRANT_S3_ACCESS_KEY_ID and QDRANT_S3_SECRET_ACCESS_KEY"
            }
            (CredentialSource::Keys(_), _) => "",
        }
    }
}

/// A service's address with a path, which a request needs.
fn address(endpoint: &Endpoint) -> String {
    if endpoint.path.is_empty() { format!("{endpoint}/") } else { endpoint.to_string() }
}

impl Lent {
    /// For how long they were lent.
    pub(super) fn whole(&self) -> Option<Duration> {
        let since: OffsetDateTime = self.since;
        self.until.map(|until| Duration::try_from(until - since).unwrap_or_default())
    }
}
