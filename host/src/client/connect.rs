//! Connections, plain or TLS.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::proxy::Proxy;
use super::resolve::Resolver;

/// Connects by TCP to what a name may lead to.
pub type Tcp = HttpConnector<Resolver>;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connects by TCP, and by TLS over it where the address says `https`. Whom to trust is found out at the first of these:
/// reading a system's trust store takes longer than all else at the start, and most clusters speak plain HTTP inside.
#[derive(Clone)]
pub struct Connector {
    tcp: Tcp,
    tls: Arc<OnceLock<ClientConfig>>,
    trust: fn() -> Result<ClientConfig, Error>,
    proxy: Option<Proxy>,
}

impl Connector {
    /// Trusts what `tls` trusts, else what `trust` finds.
    pub fn new(
        tcp: Tcp,
        tls: Option<ClientConfig>,
        trust: fn() -> Result<ClientConfig, Error>,
        proxy: Option<Proxy>,
    ) -> Self {
        Self { tcp, tls: Arc::new(tls.map_or_else(OnceLock::new, OnceLock::from)), trust, proxy }
    }

    /// Clones share the sessions that can be resumed.
    fn config(&self) -> Result<ClientConfig, Error> {
        let config = match self.tls.get() {
            Some(config) => config,
            None => {
                let found = (self.trust)()?;
                self.tls.get_or_init(|| found)
            }
        };
        Ok(config.clone())
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
            let (config, tcp) = (self.config(), self.tcp.clone());
            let proxy = self.proxy.as_ref().and_then(|proxy| proxy.of(&uri));
            return Box::pin(async move {
                let Some((proxy, authorization)) = proxy else {
                    return HttpsConnector::from((tcp, config?)).call(uri).await;
                };
                let tunnel = Tunnel::new(proxy, tcp);
                let tunnel = match authorization {
                    Some(authorization) => tunnel.with_auth(authorization),
                    None => tunnel,
                };
                HttpsConnector::from((tunnel, config?)).call(uri).await
            });
        }
        let tcp = self.tcp.call(uri);
        Box::pin(async move { Ok(MaybeHttpsStream::Http(tcp.await?)) })
    }
}
