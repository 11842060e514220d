//! Requests over hyper's pooled client.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use qdrant_backup_core::ports::{Body, Http, HttpError, LocalBoxFuture, Phase, Request, Response};
use tokio::time::timeout;

/// HTTP/1.1 over the connections of a `C`.
pub struct Hyper<C>(Client<C, Full<Bytes>>);

impl<C: Connect + Clone + Send + Sync + 'static> Hyper<C> {
    /// Over the connections that `connector` makes.
    pub fn new(connector: C) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Http for Hyper<C> {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let timeouts = request.timeouts;
            let mut outgoing = http::Request::new(Full::new(Bytes::from(request.body)));
            *outgoing.method_mut() = request.method;
            *outgoing.uri_mut() = request.uri;
            *outgoing.headers_mut() = request.headers;
            let answer = timeout(timeouts.connect + timeouts.first_byte, self.0.request(outgoing)).await;
            let answer = answer.map_err(|_| HttpError::Timeout(Phase::FirstByte))?;
            let response = answer.map_err(|error| {
                let kind = if error.is_connect() { HttpError::Connect } else { HttpError::Interrupted };
                kind(error.to_string())
            })?;
            let (head, incoming) = response.into_parts();
            Ok(Response { status: head.status, headers: head.headers, body: body(incoming, timeouts.between_bytes) })
        })
    }
}

/// The body of an answer as the core reads it, each piece of which has to come within `limit`.
pub fn body<B>(body: B, limit: Duration) -> Box<dyn Body>
where
    B: hyper::body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin + 'static,
{
    Box::new(Pieces { body, limit })
}

struct Pieces<B> {
    body: B,
    limit: Duration,
}

impl<B: hyper::body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Body for Pieces<B> {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            loop {
                let frame = timeout(self.limit, self.body.frame()).await;
                let Some(frame) = frame.map_err(|_| HttpError::Timeout(Phase::Body))? else { return Ok(None) };
                let frame = frame.map_err(|error| HttpError::Interrupted(error.to_string()))?;
                if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
                    return Ok(Some(data.to_vec()));
                }
            }
        })
    }
}
