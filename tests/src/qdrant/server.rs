//! One peer's HTTP server.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PORT;
use super::cluster::Cluster;
use super::routes::{Node, answer};
use super::storage::Storage;

/// A running server.
pub struct Server {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves the peer with this index.
    pub fn start(listener: TcpListener, cluster: &Arc<Cluster>, storage: &Arc<Storage>, index: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let node = Node { cluster: Arc::clone(cluster), storage: Arc::clone(storage), index };
        let accepting = tokio::spawn(accept(listener, node, stopped));
        Self { stop, accepting }
    }

    /// Closes the port and every connection.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, node: Node, stopped: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let node = node.clone();
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(node.clone(), request));
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                // Also when the server is dropped.
                _ = stopped.changed() => {}
            }
        });
    }
}

/// Listeners for `peers` peers: addresses in one subnet of the loopback network, one port.
pub async fn listen(peers: usize) -> Vec<(String, TcpListener)> {
    'subnet: loop {
        let random = uuid::Uuid::new_v4().into_bytes();
        let mut listeners = Vec::new();
        for host in 1..=peers {
            let ip = format!("127.{}.{}.{host}", 1 + random[0] % 254, random[1]);
            match bind(&ip).await {
                Ok(listener) => listeners.push((ip, listener)),
                Err(_) => continue 'subnet,
            }
        }
        return listeners;
    }
}

/// Listens on the port of all peers.
pub async fn bind(ip: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind((ip, PORT)).await
}
