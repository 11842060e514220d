//! The HTTP server around the store: a log of the requests, a strict region, and faults.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::store::Store;
use super::{ACCESS_KEY, SECRET_KEY};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only of this method.
    pub method: Option<Method>,
    /// Only those whose path or query has this in it.
    pub uri: String,
    /// How many such requests pass first.
    pub skip: usize,
    /// How many go wrong after that.
    pub times: usize,
    /// What goes wrong.
    pub wrong: Wrong,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// This status and body, nothing is done.
    Status(u16, String),
    /// The connection ends without an answer, nothing is done.
    Reset,
    /// The work is done, and the connection ends without an answer.
    Lost,
    /// The connection ends after so many bytes of the answer's body.
    Truncate(usize),
    /// No answer for so long.
    Stall(Duration),
}

/// What is seen and what goes wrong.
pub struct Watch {
    region: Option<String>,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<Vec<Fault>>,
}

impl Watch {
    /// Watches a server that insists on a region, or on none.
    pub fn new(region: Option<String>) -> Self {
        Self { region, requests: Mutex::default(), faults: Mutex::default() }
    }

    /// The region it insists on.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a fault.
    pub fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Logs a request and says what goes wrong with it.
    fn see(&self, request: Request) -> Option<Wrong> {
        let uri = request.uri.to_string();
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = faults.iter_mut().find(|fault| {
            fault.times > 0
                && fault.method.as_ref().is_none_or(|method| *method == request.method)
                && uri.contains(&fault.uri)
        });
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let fault = hit?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.wrong.clone())
    }

    /// The answer to a signature for another region, as Garage gives it.
    fn wrong_region(&self, request: &Request) -> Option<Response<Body>> {
        let region = self.region.as_ref()?;
        let header = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let query = request.uri.query().unwrap_or_default().replace("%2F", "/");
        let named = format!("/{region}/s3/aws4_request");
        if header.contains(&named) || query.contains(&named) {
            return None;
        }
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>Authorization header \
             malformed, unexpected scope, expected: &apos;{named}&apos;</Message><Region>{region}</Region></Error>"
        );
        let body = if request.method == Method::HEAD { String::new() } else { body };
        Some(answer(400, body))
    }
}

/// Serves until it is stopped; its connections stop with it.
pub async fn accept(listener: TcpListener, store: Store, watch: Arc<Watch>) {
    let service = {
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.build()
    };
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (service, watch) = (service.clone(), Arc::clone(&watch));
        connections.spawn(async move {
            let service = service_fn(move |request| serve(service.clone(), Arc::clone(&watch), request));
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(
    service: S3Service,
    watch: Arc<Watch>,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let reset = || std::io::Error::other("reset");
    let seen =
        Request { method: request.method().clone(), uri: request.uri().clone(), headers: request.headers().clone() };
    let wrong = watch.see(seen.clone());
    match &wrong {
        Some(Wrong::Status(status, body)) => return Ok(answer(*status, body.clone())),
        Some(Wrong::Reset) => return Err(reset()),
        Some(Wrong::Stall(time)) => tokio::time::sleep(*time).await,
        Some(Wrong::Truncate(_) | Wrong::Lost) | None => {}
    }
    if let Some(refused) = watch.wrong_region(&seen) {
        return Ok(refused);
    }
    let response = service.call(request.map(s3s::Body::from)).await.map_err(|_| reset())?;
    if matches!(wrong, Some(Wrong::Lost)) {
        return Err(reset());
    }
    if let Some(Wrong::Truncate(length)) = wrong {
        let (head, body) = response.into_parts();
        let whole = body.collect().await.map_err(|_| reset())?.to_bytes();
        let piece = whole.slice(..length.min(whole.len()));
        let frames = futures_util::stream::iter([Ok(hyper::body::Frame::data(piece)), Err(reset())]);
        return Ok(Response::from_parts(head, UnsyncBoxBody::new(http_body_util::StreamBody::new(frames))));
    }
    Ok(response.map(|body| UnsyncBoxBody::new(body.map_err(|error| std::io::Error::other(error.to_string())))))
}

fn answer(status: u16, body: String) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}
