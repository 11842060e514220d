//! The services that lend keys for the bucket: AWS's Security Token Service, the service beside a container, a machine's
//! metadata. One server plays all three, and knows which of its keys are good now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use hyper::body::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use crate::faults::{Answer, Chosen, Fault, Faults, Listener, Place, Server, Wrong, whole};
use crate::s3::{ACCESS_KEY, SECRET_KEY};
use crate::{clock, network};

/// The role that may be assumed, and that the machine has.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/backup";

/// The session of a machine's metadata.
const SESSION: &str = "canary-metadata-session";

/// Keys by their session tokens, with their ends.
#[derive(Clone, Default)]
pub struct Loans(Arc<Mutex<BTreeMap<String, OffsetDateTime>>>);

impl Loans {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, OffsetDateTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every session token so far.
    pub fn tokens(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Ends them all.
    pub fn withdraw(&self) {
        self.lock().values_mut().for_each(|until| *until = clock::now());
    }

    /// What S3 answers to a session token that is not good now.
    pub fn refusal(&self, request: &http::Request<Bytes>) -> Option<Answer> {
        let query = request.uri().query().unwrap_or_default();
        let in_link = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Security-Token="));
        let in_link = in_link.map(|token| percent_encoding::percent_decode_str(token).decode_utf8_lossy().into_owned());
        let in_header = request.headers().get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let token = in_link.or_else(|| in_header.map(str::to_owned))?;
        if self.lock().get(&token).is_some_and(|until| clock::now() < *until) {
            return None;
        }
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>ExpiredToken</Code><Message>The provided token {token} \
             has expired.</Message></Error>"
        );
        Some(Some(whole(StatusCode::BAD_REQUEST, body)))
    }
}

/// A running server; stops when dropped.
pub struct Lender {
    loans: Loans,
    state: Arc<Mutex<State>>,
    faults: Faults,
    address: String,
    _server: Server,
}

struct State {
    lasts: Duration,
    identity: String,
}

impl Lender {
    /// Starts a server, in memory or on a port of this machine, whose keys are good for `lasts`.
    pub async fn start(memory: bool, lasts: Duration) -> Self {
        let (address, listener) = if memory {
            // Loopback: no other address may be asked for keys without TLS.
            let address = format!("{}.1:1338", network::subnet().replacen("10.", "127.", 1));
            (address.clone(), Listener::Memory(address))
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            (listener.local_addr().expect("its address").to_string(), Listener::Socket(listener))
        };
        let (loans, faults) = (Loans::default(), Faults::default());
        let state = Arc::new(Mutex::new(State { lasts, identity: "canary-identity-1".to_owned() }));
        let (lending, known) = (loans.clone(), Arc::clone(&state));
        let server = Server::start(listener, Place::S3, faults.clone(), move |request| {
            let answer = answer(&lending, &known, &request);
            async move { answer }
        });
        Self { loans, state, faults, address, _server: server }
    }

    /// `http://ip:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has lent.
    pub fn loans(&self) -> &Loans {
        &self.loans
    }

    /// The token by which the platform says who is asking, from now on.
    pub fn identify_by(&self, token: &str) {
        self.state.lock().expect("the state").identity = token.to_owned();
    }

    /// For how long keys are lent from now on.
    pub fn lend_for(&self, time: Duration) {
        self.state.lock().expect("the state").lasts = time;
    }

    /// Has every request end so until it is healed.
    pub fn fail(&self, wrong: Wrong) {
        self.faults.add(Chosen::S3, Fault { method: None, uri: "/".to_owned(), skip: 0, times: usize::MAX, wrong });
    }

    /// Ends that.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// The addresses that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.faults.requests().iter().map(|request| format!("{} {}", request.method, request.uri.path())).collect()
    }
}

fn answer(loans: &Loans, state: &Mutex<State>, request: &http::Request<Bytes>) -> Answer {
    let (lasts, identity) = {
        let state = state.lock().expect("the state");
        (state.lasts, state.identity.clone())
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lend = || {
        let token = format!("canary-lent-token-{}/+==", loans.lock().len());
        let until = clock::now() + lasts;
        loans.lock().insert(token.clone(), until);
        (token, until.replace_nanosecond(0).expect("a time").format(&Rfc3339).expect("a time"))
    };
    let refused = |text: String| Some(whole(StatusCode::BAD_REQUEST, text));
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => {
            let body = String::from_utf8_lossy(request.body());
            let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            let form: BTreeMap<String, String> = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
            let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
            let right = field("Action") == "AssumeRoleWithWebIdentity"
                && field("Version") == "2011-06-15"
                && field("RoleArn") == ROLE
                && !field("RoleSessionName").is_empty();
            if !right || field("WebIdentityToken") != identity {
                return refused(format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>The token {} is not \
                     accepted</Message></Error></ErrorResponse>",
                    field("WebIdentityToken")
                ));
            }
            let (token, until) = lend();
            let body = format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>\
                 {}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                SECRET_KEY.replace('&', "&amp;").replace('"', "&quot;")
            );
            Some(whole(StatusCode::OK, body))
        }
        (&Method::GET, "/keys") if header("authorization") == identity => Some(json(lend())),
        (&Method::GET, "/keys") => {
            refused(format!("{{\"code\": \"AccessDenied\", \"message\": \"{}\"}}", header("authorization")))
        }
        (&Method::PUT, "/latest/api/token") if header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" => {
            Some(whole(StatusCode::OK, SESSION))
        }
        (&Method::GET, path) if header("x-aws-ec2-metadata-token") == SESSION => {
            match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => Some(whole(StatusCode::OK, "backup")),
                Some("backup") => Some(json(lend())),
                _ => Some(whole(StatusCode::NOT_FOUND, "<html>404</html>")),
            }
        }
        _ => Some(whole(StatusCode::UNAUTHORIZED, "<html>401</html>")),
    }
}

fn json((token, until): (String, String)) -> http::Response<crate::faults::Body> {
    let body = serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": token,
        "Expiration": until,
    });
    whole(StatusCode::OK, body.to_string())
}
