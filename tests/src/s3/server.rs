//! `s3s` for the protocol and the signatures, and a strict region.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::dialect::Speaker;
use super::store::Store;
use super::{ACCESS_KEY, SECRET_KEY};
use crate::clock;
use crate::faults::{Answer, Faults, Listener, Place, Server, whole};
use crate::lender::Loans;

/// Serves `store`; where there is a region, signatures have to name it.
pub fn start(
    listener: Listener,
    store: Store,
    region: Option<String>,
    speaker: Option<Speaker>,
    loans: Option<Loans>,
    faults: Faults,
) -> Server {
    let service = {
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        // The clock of a request may be ahead of the machine's; whether a link is still good is looked at here.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.build()
    };
    Server::start(listener, Place::S3, faults, move |request| {
        serve(service.clone(), region.clone(), speaker.clone(), loans.clone(), request)
    })
}

async fn serve(
    service: S3Service,
    region: Option<String>,
    speaker: Option<Speaker>,
    loans: Option<Loans>,
    request: http::Request<Bytes>,
) -> Answer {
    if let Some(refusal) = loans.and_then(|loans| loans.refusal(&request)) {
        return refusal;
    }
    if let Some(refusal) = expired(request.uri()) {
        return refusal;
    }
    if let Some(refusal) = region.and_then(|region| wrong_region(&region, &request)) {
        return refusal;
    }
    if let Some(answer) = speaker.as_ref().and_then(|speaker| speaker.before(&request)) {
        return answer;
    }
    let method = request.method().clone();
    let response = service.call(request.map(s3s::Body::from)).await.ok()?;
    let response =
        response.map(|body| UnsyncBoxBody::new(body.map_err(|error| std::io::Error::other(error.to_string()))));
    match speaker {
        Some(speaker) => speaker.after(&method, response).await,
        None => Some(response),
    }
}

/// The answer to a link that is no longer good.
fn expired(uri: &Uri) -> Option<Answer> {
    let part = |name: &str| uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed = PrimitiveDateTime::parse(part("X-Amz-Date")?, form).ok()?.assume_utc();
    let good_for = std::time::Duration::from_secs(part("X-Amz-Expires")?.parse().ok()?);
    if clock::now() <= signed + good_for {
        return None;
    }
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    Some(Some(whole(StatusCode::FORBIDDEN, body)))
}

/// The answer to a signature for another region, as Garage gives it.
fn wrong_region(region: &str, request: &http::Request<Bytes>) -> Option<Answer> {
    let (method, uri, headers): (&Method, &Uri, &HeaderMap) = (request.method(), request.uri(), request.headers());
    let header = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = uri.query().unwrap_or_default().replace("%2F", "/");
    let named = format!("/{region}/s3/aws4_request");
    if header.contains(&named) || query.contains(&named) {
        return None;
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>Authorization header \
         malformed, unexpected scope, expected: &apos;{named}&apos;</Message><Region>{region}</Region></Error>"
    );
    let body = if method == Method::HEAD { String::new() } else { body };
    Some(Some(whole(StatusCode::BAD_REQUEST, body)))
}
