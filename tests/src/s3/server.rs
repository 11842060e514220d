//! `s3s` for the protocol and the signatures, and a strict region.

use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use super::store::Store;
use super::{ACCESS_KEY, SECRET_KEY};
use crate::faults::{Answer, Faults, Place, Server, whole};

/// Serves `store`; where there is a region, signatures have to name it.
pub fn start(listener: TcpListener, store: Store, region: Option<String>, faults: Faults) -> Server {
    let service = {
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.build()
    };
    Server::start(listener, Place::S3, faults, move |request| serve(service.clone(), region.clone(), request))
}

async fn serve(service: S3Service, region: Option<String>, request: http::Request<Bytes>) -> Answer {
    if let Some(refusal) = region.and_then(|region| wrong_region(&region, &request)) {
        return refusal;
    }
    let response = service.call(request.map(s3s::Body::from)).await.ok()?;
    Some(response.map(|body| UnsyncBoxBody::new(body.map_err(|error| std::io::Error::other(error.to_string())))))
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
