//! Objects by plain links, for a client that signs nothing.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use qdrant_backup_tests::s3::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server of the objects of a store; it stops when this is dropped.
pub struct Served {
    address: String,
    _server: JoinSet<()>,
}

impl Served {
    /// Starts it.
    pub async fn start(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, store));
        Self { address, _server: server }
    }

    /// Where an object is.
    pub fn url(&self, key: &str) -> String {
        format!("http://{}/{key}", self.address)
    }
}

async fn serve(listener: TcpListener, store: Store) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let store = store.clone();
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let found = store.get(request.uri().path().trim_start_matches('/'));
                let status = if found.is_some() { 200 } else { 404 };
                let body = Full::new(Bytes::from(found.unwrap_or_default()));
                async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
            });
            // A client that goes away is no fault here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
