//! A Qdrant cluster and an S3 server that do no work: every call is answered after a fixed time, from a few numbers.
//!
//! Collections have names of the form `collection-00042`. The shards of number `n` are on the peers `n`, `n + 1`, ...;
//! each shard has [`state::POINTS`] points on one peer.

mod archive;
mod qdrant;
mod s3;
mod state;

pub use state::Options;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::tls::{self, Certified};
use state::{Collection, Counters, Object, State, address};

/// The bucket.
pub const BUCKET: &str = "bench";

/// The servers; they stop when this is dropped.
pub struct Stub {
    state: Arc<State>,
    port: u16,
    /// What the bucket's certificate is signed by.
    ca: Option<NamedTempFile>,
    _servers: JoinSet<()>,
}

impl Stub {
    /// Starts the servers on loopback addresses.
    pub async fn start(options: Options) -> Self {
        let mut collections = HashMap::new();
        let mut objects = BTreeMap::new();
        for number in 0..options.collections {
            if options.source {
                let there = Collection { recovered: (0..options.spread).collect(), rest: Instant::now() };
                collections.insert(number, there);
            } else {
                for shard in 0..options.spread {
                    let peer = (number + shard) % options.peers;
                    let name = qdrant::archive_name(number, peer, 0);
                    let key = format!("snapshots/{}/{name}", qdrant::name(number));
                    objects.insert(key, Object::Archive { collection: number, peer, shard: None });
                }
            }
        }
        let counters =
            Counters { working: (0..options.peers).map(|_| AtomicUsize::new(0)).collect(), ..Counters::default() };
        let state =
            Arc::new(State { options, collections: Mutex::new(collections), objects: Mutex::new(objects), counters });
        let (port, listeners) = listen(options.peers + 1).await;
        let Certified { ca, acceptor } = tls::certified(&address(0).to_string());
        let acceptor = Some(acceptor).filter(|_| options.tls);
        let mut servers = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let (peer, state) = (index.checked_sub(1), Arc::clone(&state));
            servers.spawn(serve(listener, peer, port, acceptor.clone().filter(|_| peer.is_none()), state));
        }
        Self { state, port, ca: Some(ca).filter(|_| options.tls), _servers: servers }
    }

    /// The settings with which the program, or another client, finds these servers.
    pub fn settings(&self, per_peer: usize) -> Vec<(&'static str, String)> {
        let qdrant = format!("http://{}:{}", address(1), self.port);
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let ca = self.ca.iter().map(|ca| (tls::CA_FILE, ca.path().display().to_string()));
        let settings = vec![
            ("QDRANT_SOURCE_HOSTS", qdrant.clone()),
            ("QDRANT_RESTORE_HOSTS", qdrant),
            ("QDRANT_HTTP_PORT", self.port.to_string()),
            ("QDRANT_API_KEY", "bench".to_owned()),
            ("QDRANT_ALLOW_HOSTS", "127.0.0.0/8".to_owned()),
            ("QDRANT_S3_ENDPOINT_URL", format!("{scheme}://{}:{}", address(0), self.port)),
            ("QDRANT_S3_BUCKET_NAME", BUCKET.to_owned()),
            ("QDRANT_S3_ACCESS_KEY_ID", "bench".to_owned()),
            ("QDRANT_S3_SECRET_ACCESS_KEY", "bench".to_owned()),
            ("QDRANT_S3_REGION", "us-east-1".to_owned()),
            ("QDRANT_SNAPSHOTS_PER_PEER", per_peer.to_string()),
            ("QDRANT_COLLECTION_ALIASES_STABLE_FILE", "collection_aliases".to_owned()),
        ];
        settings.into_iter().chain(ca).collect()
    }

    /// All requests so far.
    pub fn requests(&self) -> u64 {
        self.state.counters.requests.load(Ordering::Relaxed)
    }

    /// All connections so far.
    pub fn connections(&self) -> u64 {
        self.state.counters.connections.load(Ordering::Relaxed)
    }

    /// The most snapshots or recoveries that one peer had at the same time.
    pub fn most_working(&self) -> usize {
        self.state.counters.most_working.load(Ordering::Relaxed)
    }

    /// When the first byte of the first request was there.
    pub fn first_request(&self) -> Option<Instant> {
        *self.state.counters.first.lock().unwrap()
    }

    /// How often each kind of request came.
    pub fn kinds(&self) -> BTreeMap<String, u64> {
        self.state.counters.kinds.lock().unwrap().clone()
    }
}

/// The snapshot that is there before a restore of one collection.
pub fn first_archive() -> String {
    format!("{}/{}", qdrant::name(0), qdrant::archive_name(0, 0, 0))
}

/// A port that is free on all addresses.
async fn listen(count: usize) -> (u16, Vec<TcpListener>) {
    'port: loop {
        let first = TcpListener::bind((address(0), 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for index in 1..count {
            match TcpListener::bind((address(index), port)).await {
                Ok(listener) => listeners.push(listener),
                Err(_) => continue 'port,
            }
        }
        return (port, listeners);
    }
}

async fn serve(
    listener: TcpListener,
    peer: Option<usize>,
    port: u16,
    acceptor: Option<TlsAcceptor>,
    state: Arc<State>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        state.counters.connections.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true).unwrap();
        let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, peer, port, Arc::clone(&state)));
            let http = http1::Builder::new();
            // A client that goes away is no fault here.
            let _ = match acceptor {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    http.serve_connection(TokioIo::new(stream), service).await
                }
            };
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Option<usize>,
    port: u16,
    state: Arc<State>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    state.counters.first.lock().unwrap().get_or_insert_with(Instant::now);
    state.counters.requests.fetch_add(1, Ordering::Relaxed);
    let (head, mut body) = request.into_parts();
    let path: Vec<String> = head.uri.path().split('/').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_part = peer.is_none() && s3::is_part(&head);
    let body = if is_part || path.last() == Some(&"upload") {
        // A snapshot, which nobody looks at.
        while let Some(frame) = body.frame().await {
            drop(frame.unwrap());
        }
        Bytes::new()
    } else {
        body.collect().await.map(|body| body.to_bytes()).unwrap_or_default()
    };
    let kind = match peer {
        None => s3::kind(&head, &path),
        Some(_) => qdrant::kind(&head.method, &path),
    };
    *state.counters.kinds.lock().unwrap().entry(kind).or_default() += 1;
    let work = peer.filter(|_| qdrant::is_work(&head.method, &path)).map(|peer| &state.counters.working[peer]);
    if let Some(working) = work {
        let now = working.fetch_add(1, Ordering::Relaxed) + 1;
        state.counters.most_working.fetch_max(now, Ordering::Relaxed);
    }
    if state.options.latency > Duration::ZERO {
        tokio::time::sleep(state.options.latency).await;
    }
    if let Some(snapshot) = peer.and_then(|peer| qdrant::streamed(&state, peer, &head.method, &path)) {
        return Ok(Response::new(snapshot));
    }
    let answer = match peer {
        None => s3::answer(&state, &head, &path, body),
        Some(peer) => qdrant::answer(&state, peer, port, &head.method, &path, &body),
    };
    if let Some(working) = work {
        working.fetch_sub(1, Ordering::Relaxed);
    }
    let length = answer.length.unwrap_or(answer.body.len() as u64);
    let mut response = Response::builder().status(answer.status).header("content-length", length);
    if peer.is_none() {
        // By which the program knows an S3 service from a proxy.
        response = response.header("x-amz-request-id", "bench");
    }
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body).boxed()).unwrap())
}
