//! One peer's HTTP server.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::PORT;
use super::cluster::Cluster;
use super::routes::{Node, answer};
use super::storage::Storage;
use crate::faults::{Listener, Place, Server};
use crate::network;

/// Serves the peer with this index.
pub fn start(listener: Listener, cluster: &Arc<Cluster>, storage: &Arc<Storage>, index: usize) -> Server {
    let node = Node { cluster: Arc::clone(cluster), storage: Arc::clone(storage), index };
    let faults = cluster.options.faults.clone();
    Server::start(listener, Place::Qdrant(index), faults, move |request| answer(node.clone(), request))
}

/// Listeners for `peers` peers: addresses in one subnet of the loopback network, or of the network in memory, one port.
pub async fn listen(peers: usize, memory: bool) -> Vec<(String, Listener)> {
    'subnet: loop {
        let random = uuid::Uuid::new_v4().into_bytes();
        let subnet = if memory { network::subnet() } else { format!("127.{}.{}", 1 + random[0] % 254, random[1]) };
        let mut listeners = Vec::new();
        for host in 1..=peers {
            let ip = format!("{subnet}.{host}");
            match bind(&ip).await {
                Ok(listener) => listeners.push((ip, listener)),
                Err(_) => continue 'subnet,
            }
        }
        return listeners;
    }
}

/// Listens on the port of all peers.
pub async fn bind(ip: &str) -> std::io::Result<Listener> {
    if network::has(ip) {
        return Ok(Listener::Memory(format!("{ip}:{PORT}")));
    }
    TcpListener::bind((ip, PORT)).await.map(Listener::Socket)
}
