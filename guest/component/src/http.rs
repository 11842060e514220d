//! HTTP over `wasi:http`.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use qdrant_backup_core::ports::{Body, Http, HttpError, LocalBoxFuture, Phase, Request, Response, Timeouts};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    self, ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

use crate::executor::{ready, sleep};

/// How much of a body is read at a time.
const PIECE: u64 = 64 << 10;

/// How much longer than the runtime, which has its own timeouts, we wait: some runtimes don't count a TLS handshake.
const GRACE: Duration = Duration::from_secs(5);

/// Sends requests by the runtime that runs the component.
pub struct WasiHttp;

impl Http for WasiHttp {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(send(request, None))
    }

    fn send_stream<'a>(
        &'a self,
        request: Request,
        length: u64,
        body: &'a mut dyn Body,
    ) -> LocalBoxFuture<'a, Result<Response, HttpError>> {
        Box::pin(send(request, Some((length, body))))
    }
}

/// A body that is sent as it comes, and its length.
type Streamed<'a> = Option<(u64, &'a mut dyn Body)>;

async fn send(request: Request, streamed: Streamed<'_>) -> Result<Response, HttpError> {
    let timeouts = request.timeouts;
    let limit = timeouts.connect.saturating_add(timeouts.first_byte).saturating_add(GRACE);
    let exchange = pin!(exchange(request, streamed));
    match select(exchange, sleep(limit)).await {
        Either::Left((response, _)) => response,
        Either::Right(_) => Err(HttpError::Timeout(Phase::FirstByte)),
    }
}

async fn exchange(request: Request, streamed: Streamed<'_>) -> Result<Response, HttpError> {
    let timeouts = request.timeouts;
    let length = streamed.as_ref().map_or(request.body.len() as u64, |(length, _)| *length);
    let outgoing = outgoing(&request, length)?;
    // Only with bytes to send: a stream for an empty body can fail although the answer is good.
    let body = if length == 0 { None } else { outgoing.body().ok() };
    let pending = outgoing_handler::handle(outgoing, Some(options(timeouts))).map_err(|code| error_of(&code))?;
    if let Some(body) = body {
        match streamed {
            None => write(body, &mut Whole(request.body), &pending).await?,
            Some((_, pieces)) => write(body, pieces, &pending).await?,
        }
    }
    ready(pending.subscribe()).await;
    let answer = pending.get().and_then(Result::ok);
    let answer = answer.ok_or_else(|| HttpError::Interrupted("the runtime gave no answer".to_owned()))?;
    response(answer.map_err(|code| error_of(&code))?, timeouts)
}

fn outgoing(request: &Request, length: u64) -> Result<OutgoingRequest, HttpError> {
    let refused = || HttpError::Invalid(format!("the runtime refuses a request to {}", host(&request.uri)));
    let headers = Fields::new();
    for (name, value) in &request.headers {
        headers.append(name.as_str(), value.as_bytes()).map_err(|_| refused())?;
    }
    if length > 0 || matches!(request.method, Method::PUT | Method::POST | Method::PATCH) {
        // Without it the body would go out in chunks, which S3 refuses.
        headers.append("content-length", length.to_string().as_bytes()).map_err(|_| refused())?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if request.uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    outgoing.set_method(&method(&request.method)).map_err(|()| refused())?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| refused())?;
    outgoing.set_authority(request.uri.authority().map(|authority| authority.as_str())).map_err(|()| refused())?;
    outgoing.set_path_with_query(Some(path)).map_err(|()| refused())?;
    Ok(outgoing)
}

fn host(uri: &Uri) -> &str {
    uri.authority().map(|authority| authority.as_str()).unwrap_or_default()
}

fn method(method: &Method) -> types::Method {
    match *method {
        Method::GET => types::Method::Get,
        Method::HEAD => types::Method::Head,
        Method::POST => types::Method::Post,
        Method::PUT => types::Method::Put,
        Method::DELETE => types::Method::Delete,
        Method::PATCH => types::Method::Patch,
        ref other => types::Method::Other(other.to_string()),
    }
}

fn options(timeouts: Timeouts) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    // A runtime may not support one of them; ours hold all the same.
    let _ = options.set_connect_timeout(Some(nanoseconds(timeouts.connect)));
    let _ = options.set_first_byte_timeout(Some(nanoseconds(timeouts.first_byte)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(timeouts.between_bytes)));
    options
}

/// A body that is there, as one piece.
struct Whole(Vec<u8>);

impl Body for Whole {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        let whole = std::mem::take(&mut self.0);
        Box::pin(std::future::ready(Ok(Some(whole).filter(|whole| !whole.is_empty()))))
    }
}

/// Writes the body. A server that answers early, or a connection that breaks, ends it: the answer says why.
///
/// # Errors
/// The body itself broke off. The request is not ended then, so that the server can't take it for whole.
async fn write(body: OutgoingBody, pieces: &mut dyn Body, pending: &FutureIncomingResponse) -> Result<(), HttpError> {
    let Ok(stream) = body.write() else { return Ok(()) };
    while let Some(bytes) = pieces.chunk().await? {
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            let Ok(room) = stream.check_write() else { return Ok(()) };
            let (piece, rest) = bytes.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            if piece.is_empty() {
                let answered = ready(pending.subscribe());
                if let Either::Right(_) = select(ready(stream.subscribe()), answered).await {
                    return Ok(());
                }
            } else if stream.write(piece).is_err() {
                return Ok(());
            }
            bytes = rest;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

fn response(incoming: IncomingResponse, timeouts: Timeouts) -> Result<Response, HttpError> {
    let broken = |what: &str| HttpError::Interrupted(what.to_owned());
    let status = StatusCode::from_u16(incoming.status()).map_err(|_| broken("an answer without a valid status"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in incoming.headers().entries() {
        // Headers that are none can't be ones that matter.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
            headers.append(name, value);
        }
    }
    let body = incoming.consume().map_err(|()| broken("an answer without a body"))?;
    let stream = body.stream().map_err(|()| broken("an answer without a body"))?;
    let body = Pieces { stream, _body: body, _response: incoming, between_bytes: timeouts.between_bytes };
    Ok(Response { status, headers, body: Box::new(body) })
}

/// A body that arrives. The fields are dropped in this order, children before their parents.
struct Pieces {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
    between_bytes: Duration,
}

impl Body for Pieces {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            let limit = self.between_bytes.saturating_add(GRACE);
            let mut too_late = sleep(limit);
            loop {
                match self.stream.read(PIECE) {
                    Ok(piece) if !piece.is_empty() => return Ok(Some(piece)),
                    Ok(_) => {}
                    Err(StreamError::Closed) => return Ok(None),
                    Err(StreamError::LastOperationFailed(error)) => {
                        // The text is all there is: not every runtime can turn it into a code.
                        let text = error.to_debug_string();
                        let stalled = text.contains("timeout") || text.contains("ReadTimeout");
                        return Err(if stalled {
                            HttpError::Timeout(Phase::Body)
                        } else {
                            HttpError::Interrupted(text)
                        });
                    }
                }
                match select(ready(self.stream.subscribe()), too_late).await {
                    Either::Left((_, waiting)) => too_late = waiting,
                    Either::Right(_) => return Err(HttpError::Timeout(Phase::Body)),
                }
            }
        })
    }
}

/// What a runtime's code means for us. What can only happen before a request is sent is told from the rest.
fn error_of(code: &ErrorCode) -> HttpError {
    let text = |what: &str| what.to_owned();
    match code {
        ErrorCode::HttpRequestDenied => HttpError::Denied,
        ErrorCode::DestinationIpProhibited => {
            HttpError::Invalid(text("its name leads to a link-local or metadata address, which no rule names"))
        }
        ErrorCode::DnsTimeout | ErrorCode::ConnectionTimeout => HttpError::Timeout(Phase::Connect),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => HttpError::Timeout(Phase::FirstByte),
        ErrorCode::DnsError(payload) => HttpError::Connect(match &payload.rcode {
            Some(rcode) => format!("the name can't be resolved ({rcode})"),
            None => text("the name can't be resolved"),
        }),
        ErrorCode::DestinationNotFound => HttpError::Connect(text("there is no such host")),
        ErrorCode::DestinationUnavailable => HttpError::Connect(text("the host is not available")),
        ErrorCode::DestinationIpUnroutable => HttpError::Connect(text("no route to the host")),
        ErrorCode::ConnectionRefused => HttpError::Connect(text("connection refused")),
        ErrorCode::ConnectionLimitReached => HttpError::Connect(text("too many connections")),
        ErrorCode::TlsProtocolError => HttpError::Tls(text("TLS failed (is this really https?)")),
        ErrorCode::TlsCertificateError => {
            HttpError::Tls(text("its certificate is not trusted (--ca-file, QDRANT_CA_FILE)"))
        }
        ErrorCode::TlsAlertReceived(alert) => HttpError::Tls(format!(
            "it refuses the TLS handshake ({}); where it asks for a client's certificate, give one (--client-cert, --client-key)",
            alert.alert_message.as_deref().unwrap_or("an alert without a name")
        )),
        ErrorCode::ConnectionTerminated => HttpError::Interrupted(text("closed by the other side")),
        ErrorCode::HttpResponseIncomplete => HttpError::Interrupted(text("the answer is not complete")),
        ErrorCode::InternalError(Some(what)) => HttpError::Interrupted(what.clone()),
        ErrorCode::HttpProtocolError => HttpError::Interrupted(text("the answer is not HTTP")),
        ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseTransferCoding(_) => {
            HttpError::Interrupted(text("the answer's body is not as its head says"))
        }
        ErrorCode::HttpResponseHeaderSectionSize(_) | ErrorCode::HttpResponseHeaderSize(_) => {
            HttpError::Interrupted(text("the answer's head is too large"))
        }
        ErrorCode::ConnectionWriteTimeout => HttpError::Interrupted(text("the request could not be sent in time")),
        // Codes for servers and for requests that we don't make; naming each by `Debug` is 8 KB of the component.
        _ => HttpError::Interrupted(text("the runtime could not carry out the request")),
    }
}
