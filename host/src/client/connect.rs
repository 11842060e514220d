//! Connections, plain or TLS.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connects by TCP, and by TLS over it where the address says `https`. Whom to trust is found out at the first of these:
/// reading a system's trust store takes longer than all else at the start, and most clusters speak plain HTTP inside.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Arc<OnceLock<ClientConfig>>,
    trust: fn() -> Result<ClientConfig, Error>,
}

impl Connector {
    /// Trusts what `tls` trusts, else what `trust` finds.
    pub fn new(tcp: HttpConnector, tls: Option<ClientConfig>, trust: fn() -> Result<ClientConfig, Error>) -> Self {
        Self { tcp, tls: Arc::new(tls.map_or_else(OnceLock::new, OnceLock::from)), trust }
    }

    fn https(&self) -> Result<HttpsConnector<HttpConnector>, Error> {
        let config = match self.tls.get() {
            Some(config) => config,
            None => {
                let found = (self.trust)()?;
                self.tls.get_or_init(|| found)
            }
        };
        // A clone shares the sessions that can be resumed.
        Ok(HttpsConnector::from((self.tcp.clone(), config.clone())))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if uri.scheme() == Some(&Scheme::HTTPS) {
            let https = self.https();
            return Box::pin(async move { https?.call(uri).await });
        }
        let tcp = self.tcp.call(uri);
        Box::pin(async move { Ok(MaybeHttpsStream::Http(tcp.await?)) })
    }
}
