//! The HTTP client behind `wasi:http`: HTTP/1.1 with pooled connections, TLS with a CA of one's choice, and
//! a time limit for each phase of a request.
//!
//! Redirects are not followed, bodies are passed on as they are.

mod body;
mod connect;
mod failure;
mod proxy;
mod resolve;
mod tls;

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;
use wasmtime_wasi_http::{RequestOptions, WasiBody};

use connect::Connector;
pub use failure::Failure;
pub use proxy::Proxy;
pub use tls::{CertificateFileError, ClientCertificate, Trust, configuration};

use crate::egress::AllowList;
pub use resolve::Resolver;

/// How long a connection is kept for the next request. Shorter than the 5 s after which Qdrant's web server
/// (actix) closes it: a request that meets a closing connection may or may not have been seen.
const IDLE: Duration = Duration::from_secs(3);

/// The limits where a component sets none; the last two are those of wasmtime.
const CONNECT: Duration = Duration::from_secs(30);
const FIRST_BYTE: Duration = Duration::from_secs(600);
const BETWEEN_BYTES: Duration = Duration::from_secs(600);

/// Connections over TCP, on which names lead nowhere where `rules` forbid it. To which URLs requests go at all is for the caller
/// to ask of the rules.
pub fn connector(rules: AllowList) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::new(rules));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A snapshot may take half an hour without a byte on the wire: without probes, a peer that vanished
    // looks the same, and some networks drop connections that are silent.
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp.set_keepalive_interval(Some(Duration::from_secs(20)));
    tcp.set_keepalive_retries(Some(6));
    tcp
}

/// A client with its pool; clones share it.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, WasiBody>,
}

impl Client {
    /// A client that trusts what `tls` trusts, else the system (see [`configuration`]). Names lead it nowhere where
    /// `rules` forbid it; `https://` servers are reached by `proxy`.
    pub fn new(tls: Option<ClientConfig>, rules: AllowList, proxy: Option<Proxy>) -> Self {
        let connector = Connector::new(connector(rules), tls, || Ok(configuration(&Trust::default())?), proxy);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { inner }
    }

    /// Sends `request` and waits for the head of the answer. Dropping the future, or the answer's body before
    /// its end, closes the connection.
    ///
    /// A request that a closing connection did not take is sent again on another one; a request that may
    /// have been seen never is.
    ///
    /// # Errors
    /// No connection (the name's look-up, TCP and TLS together) or no answer in time, or a broken connection.
    pub async fn send(
        &self,
        mut request: Request<WasiBody>,
        limits: RequestOptions,
    ) -> Result<Response<WasiBody>, Failure> {
        // Lets the runtime look at its sockets first: the component may have kept it from that for a while, and
        // a connection that was closed meanwhile must not be taken for this request.
        tokio::task::yield_now().await;
        let mut connection = capture_connection(&mut request);
        let mut answer = std::pin::pin!(self.inner.request(request));
        let early = tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            _ = connection.wait_for_connection_metadata() => None,
            () = tokio::time::sleep(limits.connect_timeout.unwrap_or(CONNECT)) => return Err(Failure::connect_timeout()),
        };
        let answer = match early {
            Some(answer) => answer,
            None => timeout(limits.first_byte_timeout.unwrap_or(FIRST_BYTE), answer)
                .await
                .map_err(|_| Failure::first_byte_timeout())?,
        };
        let between_bytes = limits.between_bytes_timeout.unwrap_or(BETWEEN_BYTES);
        let answer = answer.map_err(|error| Failure::of(&error))?;
        Ok(answer.map(|incoming| body::TimedBody::new(incoming, between_bytes).boxed_unsync()))
    }
}
