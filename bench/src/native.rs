//! A plain native client that makes the calls of a backup or a restore, and nothing else: no checks, no records, no
//! signatures, no report. What the program needs more than this is its own cost.
//!
//! It takes the same settings as the program.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all, join3};
use futures_util::{StreamExt, stream};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::tls;

/// How many collections are at work at the same time: more than any limit of a peer, and each asks all peers at once,
/// which makes sockets, of which a process may have so many only.
fn collections_at_once(peers: usize) -> usize {
    (8_000 / peers).min(512)
}

/// The pause before the second of two looks at a collection, as the program makes it.
const PAUSE: Duration = Duration::from_millis(50);

/// How many sets are restored at a time: with more, real servers were no faster.
const SETS_AT_ONCE: usize = 12;

/// The size of a part of an upload.
const PART: usize = 8 << 20;

/// What a tar says of its files, read while it passes.
#[derive(Default)]
struct Walk {
    header: Vec<u8>,
    /// Bytes of the file's data that are passed over.
    skip: u64,
    files: u64,
}

impl Walk {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            bytes = &bytes[skipped..];
            let (more, rest) = bytes.split_at(bytes.len().min(512 - self.header.len()));
            self.header.extend_from_slice(more);
            bytes = rest;
            if self.header.len() == 512 {
                let header = tar::Header::from_byte_slice(&self.header);
                if self.header.iter().any(|byte| *byte != 0) {
                    self.files += 1;
                    self.skip = header.entry_size().unwrap().next_multiple_of(512);
                }
                self.header.clear();
            }
        }
    }
}

struct Plain {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    peers: Vec<Peer>,
    bucket: String,
}

struct Peer {
    id: u64,
    url: String,
    limit: Semaphore,
}

/// Does what `task` names.
pub async fn run(task: &str) {
    let setting = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    // Real servers close a connection that was idle for five seconds.
    let client =
        Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(2)).build(tls::connector());
    let bucket = format!("{}/{}", setting("QDRANT_S3_ENDPOINT_URL"), setting("QDRANT_S3_BUCKET_NAME"));
    let mut plain = Plain { client, peers: Vec::new(), bucket };
    let first = setting("QDRANT_SOURCE_HOSTS");
    if task == "hello" {
        plain.send(Method::GET, &format!("{first}/cluster"), None).await;
        return;
    }
    plain.send(Method::GET, &format!("{}?list-type=2&max-keys=1", plain.bucket), None).await;
    let cluster = plain.json(Method::GET, &format!("{first}/cluster"), None).await;
    plain.json(Method::GET, &format!("{first}/"), None).await;
    let peers: Vec<(u64, String)> = cluster["peers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, peer)| {
            let name = peer["uri"].as_str().unwrap().split(['/', ':']).nth(3).unwrap().to_owned();
            (id.parse().unwrap(), format!("http://{name}:{}", setting("QDRANT_HTTP_PORT")))
        })
        .collect();
    let client = &plain;
    join_all(peers.iter().map(|(_, url)| async move {
        client.json(Method::GET, &format!("{url}/cluster"), None).await;
        client.json(Method::GET, &format!("{url}/"), None).await;
    }))
    .await;
    let per_peer = setting("QDRANT_SNAPSHOTS_PER_PEER").parse().unwrap();
    plain.peers = peers.into_iter().map(|(id, url)| Peer { id, url, limit: Semaphore::new(per_peer) }).collect();
    let plain = Arc::new(plain);
    match task {
        "create_snap" => {
            let url = format!("{first}/collections");
            let there = plain.json(Method::GET, &url, None).await;
            let names = there["collections"].as_array().unwrap().iter();
            let names = names.map(|collection| collection["name"].as_str().unwrap().to_owned()).collect();
            plain.all(names, |plain, name| async move { plain.back_up(&name).await }).await;
            plain.json(Method::GET, &format!("{first}/aliases"), None).await;
        }
        "recover_snap" => {
            let archives = plain.list("snapshots/").await;
            let mut by_collection: HashMap<String, Vec<String>> = HashMap::new();
            for key in archives {
                by_collection.entry(key.split('/').nth(1).unwrap().to_owned()).or_default().push(key);
            }
            let by_collection = Arc::new(by_collection);
            let names: Vec<String> = by_collection.keys().cloned().collect();
            let archives = Arc::clone(&by_collection);
            plain
                .all(names.clone(), move |plain, name| {
                    let archives = Arc::clone(&archives);
                    async move { plain.describe(&name, &archives[&name]).await }
                })
                .await;
            plain
                .all(names, move |plain, name| {
                    let archives = Arc::clone(&by_collection);
                    async move { plain.restore(&name, &archives[&name]).await }
                })
                .await;
        }
        "recover_snap_shards" => {
            let links = std::fs::read_to_string(format!("{}/restore.json", setting("QDRANT_WORK_DIR"))).unwrap();
            let links: Value = serde_json::from_str(&links).unwrap();
            let links = links.as_object().unwrap();
            let work = links.iter().map(|(name, one)| plain.restore_set(name, one));
            stream::iter(work).buffer_unordered(SETS_AT_ONCE).collect::<Vec<()>>().await;
        }
        "copy" => {
            let key = setting("BENCH_OBJECT");
            plain.copy(&key, &format!("{first}/collections/c/shards/0/snapshots/upload")).await;
        }
        "stream" => plain.stream(&format!("{first}/collections/collection-00000/shards/0/snapshot")).await,
        "scroll" => {
            // One replica after another, or some that are named at the same time.
            match std::env::var("BENCH_SCROLL") {
                Err(_) => {
                    for _ in ["source", "target"] {
                        plain.scroll(&format!("{first}/collections/collection-00000/shards/0/points/scroll")).await;
                    }
                }
                Ok(replicas) => {
                    let urls =
                        replicas.split(' ').map(|replica| format!("{first}/collections/{replica}/points/scroll"));
                    join_all(urls.map(|url| async { plain.scroll(&{ url }).await })).await;
                }
            }
        }
        "read" => {
            let key = setting("BENCH_OBJECT");
            let digest = plain.sha256(&key).await;
            println!("{digest}");
        }
        other => panic!("no task {other}"),
    }
}

impl Plain {
    async fn all<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        names: Vec<String>,
        work: impl Fn(Arc<Self>, String) -> F,
    ) {
        let slots = Arc::new(Semaphore::new(collections_at_once(self.peers.len())));
        let mut running = tokio::task::JoinSet::new();
        for name in names {
            let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
            let one = work(Arc::clone(self), name);
            running.spawn(async move {
                one.await;
                drop(slot);
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    }

    async fn back_up(&self, name: &str) {
        let first = format!("{}/collections/{name}", self.peers[0].url);
        let cluster = format!("{first}/cluster");
        let (_, layout, ()) =
            join3(self.json(Method::GET, &first, None), self.json(Method::GET, &cluster, None), self.count(&first))
                .await;
        let mut holders: Vec<(u64, u64)> = Vec::new();
        for shard in layout["local_shards"].as_array().unwrap() {
            holders.push((self.peers[0].id, shard["shard_id"].as_u64().unwrap()));
        }
        for shard in layout["remote_shards"].as_array().unwrap() {
            holders.push((shard["peer_id"].as_u64().unwrap(), shard["shard_id"].as_u64().unwrap()));
        }
        join_all(holders.iter().map(|(id, shard)| async move {
            let peer = self.peers.iter().find(|peer| peer.id == *id).unwrap();
            let collection = format!("{}/collections/{name}", peer.url);
            let replica = format!("{collection}/shards/{shard}");
            let snapshots = format!("{collection}/snapshots");
            join(self.count(&replica), self.json(Method::GET, &snapshots, None)).await;
            let permit = peer.limit.acquire().await.unwrap();
            let made = self.json(Method::POST, &format!("{collection}/snapshots?wait=true"), None).await;
            drop(permit);
            let key = format!("{}/snapshots/{name}/{}", self.bucket, made["name"].as_str().unwrap());
            join(self.send(Method::HEAD, &key, None), self.count(&replica)).await;
        }))
        .await;
        let aliases = format!("{first}/aliases");
        join3(self.count(&first), self.json(Method::GET, &cluster, None), self.json(Method::GET, &aliases, None)).await;
        let manifest = format!("{}/snapshot_manifests/{name}/2026.json", self.bucket);
        self.send(Method::PUT, &manifest, Some(Bytes::from(vec![b' '; 2000]))).await;
    }

    async fn describe(&self, name: &str, archives: &[String]) {
        self.list(&format!("snapshot_manifests/{name}/")).await;
        join_all(archives.iter().map(|key| async move {
            let request = Request::get(format!("{}/{key}", self.bucket)).header("range", "bytes=0-32767");
            let response = self.client.request(request.body(Full::default()).unwrap()).await.unwrap();
            response.into_body().collect().await.unwrap();
        }))
        .await;
    }

    async fn restore(&self, name: &str, archives: &[String]) {
        let first = format!("{}/collections/{name}", self.peers[0].url);
        let there = self.send(Method::GET, &first, None).await;
        assert_eq!(there.0, 404, "{name} is there already");
        self.json(Method::PUT, &format!("{first}?timeout=60"), Some(json!({"vectors": {}}))).await;
        self.settle(name).await;
        let recoveries = archives.iter().map(|key| async move {
            let id: u64 = key.rsplit('/').next().unwrap().split('-').nth(2).unwrap().parse().unwrap();
            let peer = self.peers.iter().find(|peer| peer.id == id).unwrap();
            let _permit = peer.limit.acquire().await.unwrap();
            let url = format!("{}/collections/{name}/snapshots/recover?wait=true", peer.url);
            let location = format!("{}/{key}", self.bucket);
            self.json(Method::PUT, &url, Some(json!({"location": location, "priority": "no_sync"}))).await;
        });
        join_all(recoveries).await;
        let layout = self.settle(name).await;
        let mut replicas = Vec::new();
        for shard in layout["local_shards"].as_array().unwrap() {
            replicas.push((self.peers[0].id, shard["shard_id"].as_u64().unwrap()));
        }
        for shard in layout["remote_shards"].as_array().unwrap() {
            replicas.push((shard["peer_id"].as_u64().unwrap(), shard["shard_id"].as_u64().unwrap()));
        }
        join_all(replicas.iter().map(|(id, shard)| async move {
            let peer = self.peers.iter().find(|peer| peer.id == *id).unwrap();
            self.count(&format!("{}/collections/{name}/shards/{shard}", peer.url)).await;
        }))
        .await;
        join_all(
            self.peers.iter().map(|peer| async move { self.count(&format!("{}/collections/{name}", peer.url)).await }),
        )
        .await;
        self.json(Method::GET, &first, None).await;
        for _ in 0..3 {
            let body = json!({"query": {"sample": "random"}, "limit": 100, "with_payload": true, "with_vector": true});
            self.json(Method::POST, &format!("{first}/points/query"), Some(body)).await;
        }
    }

    /// Makes a collection, and gives each replica its shard's snapshot where Qdrant has placed it.
    async fn restore_set(&self, name: &str, one: &Value) {
        let first = format!("{}/collections/{name}", self.peers[0].url);
        // Now and then a cluster never does it, until it is asked again.
        let body = Bytes::from(one["body"].to_string());
        while self.send(Method::PUT, &format!("{first}?timeout=10"), Some(body.clone())).await.0 != 200
            && self.send(Method::GET, &first, None).await.0 != 200
        {}
        let layout = self.settle(name).await;
        let here = layout["local_shards"].as_array().unwrap().iter().map(|shard| (&layout["peer_id"], shard));
        let there = layout["remote_shards"].as_array().unwrap().iter().map(|shard| (&shard["peer_id"], shard));
        join_all(here.chain(there).map(|(id, shard)| async move {
            let (id, shard) = (id.as_u64().unwrap(), &shard["shard_id"]);
            let peer = self.peers.iter().find(|peer| peer.id == id).unwrap();
            let _permit = peer.limit.acquire().await.unwrap();
            let url = format!("{}/collections/{name}/shards/{shard}/snapshots/recover?wait=true", peer.url);
            let body = json!({"location": one["shards"][shard.to_string()], "priority": "no_sync"});
            self.json(Method::PUT, &url, Some(body)).await;
        }))
        .await;
        self.settle(name).await;
    }

    /// Looks at the collection from every peer until all replicas are active, twice.
    async fn settle(&self, name: &str) -> Value {
        let mut quiet = 0;
        loop {
            let looks = join_all(self.peers.iter().map(|peer| async move {
                self.send(Method::GET, &format!("{}/collections/{name}/cluster", peer.url), None).await
            }))
            .await;
            let restless = ["Initializing", "Partial", "Recovery", "Dead"];
            let looks = looks.into_iter().map(|(status, bytes)| {
                // A peer may not know of it yet.
                let text = String::from_utf8_lossy(&bytes);
                let active = status == 200 && !restless.iter().any(|state| text.contains(state));
                active.then(|| serde_json::from_slice::<Value>(&bytes).unwrap()["result"].take())
            });
            let looks: Option<Vec<Value>> = looks.collect();
            quiet = if looks.is_some() { quiet + 1 } else { 0 };
            if let Some(looks) = looks.filter(|_| quiet == 2) {
                return looks.into_iter().next().unwrap();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads all points, page by page.
    async fn scroll(&self, url: &str) {
        let mut offset = Value::Null;
        loop {
            let body = json!({"limit": 250, "offset": offset, "with_payload": true, "with_vector": true});
            let mut page = self.json(Method::POST, url, Some(body)).await;
            offset = page["next_page_offset"].take();
            if offset.is_null() {
                return;
            }
        }
    }

    async fn count(&self, of: &str) {
        self.json(Method::POST, &format!("{of}/points/count"), Some(json!({"exact": true}))).await;
    }

    async fn list(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut token = String::new();
        loop {
            let url = format!("{}?{token}list-type=2&prefix={prefix}", self.bucket);
            let xml = String::from_utf8(self.send(Method::GET, &url, None).await.1.to_vec()).unwrap();
            let between = |text: &str, name: &str| {
                text.split_once(&format!("<{name}>"))
                    .and_then(|(_, rest)| rest.split_once("</").map(|(value, _)| value.to_owned()))
            };
            keys.extend(xml.split("<Contents>").skip(1).filter_map(|contents| between(contents, "Key")));
            match between(&xml, "NextContinuationToken") {
                None => return keys,
                Some(next) => token = format!("continuation-token={next}&"),
            }
        }
    }

    async fn sha256(&self, key: &str) -> String {
        let url = format!("{}/{key}", self.bucket).parse().unwrap();
        let mut body = self.client.get(url).await.unwrap().into_body();
        let mut hash = Sha256::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                hash.update(&data);
            }
        }
        format!("{:x}", hash.finalize())
    }

    /// Sends an object on as it comes.
    async fn copy(&self, key: &str, to: &str) {
        let url = format!("{}/{key}", self.bucket).parse().unwrap();
        let body = self.client.get(url).await.unwrap().into_body();
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        client.request(Request::post(to).body(body).unwrap()).await.unwrap();
    }

    /// Stores what `url` sends as it comes, in parts, with the checks of a backup: its SHA-256, and the walk through its tar.
    async fn stream(&self, url: &str) {
        let mut body = self.client.get(url.parse().unwrap()).await.unwrap().into_body();
        let (mut hash, mut walk) = (Sha256::new(), Walk::default());
        let mut number = 0;
        let store = |number: u32, part: Vec<u8>| async move {
            let key = format!("{}/streamed?partNumber={number}&uploadId=bench", self.bucket);
            self.send(Method::PUT, &key, Some(part.into())).await;
        };
        let mut fill = async || {
            let mut part: Vec<u8> = Vec::with_capacity(PART + (64 << 10));
            while part.len() < PART {
                let Some(frame) = body.frame().await else { break };
                let Ok(data) = frame.unwrap().into_data() else { continue };
                hash.update(&data);
                walk.take(&data);
                part.extend_from_slice(&data);
            }
            part
        };
        let mut part = fill().await;
        while !part.is_empty() {
            number += 1;
            (part, ()) = join(fill(), store(number, part)).await;
        }
        println!("{:x} {} files", hash.finalize(), walk.files);
    }

    async fn json(&self, method: Method, url: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let (status, bytes) = self.send(method, url, body).await;
        assert_eq!(status, 200, "{url}");
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
        answer.get_mut("result").map(Value::take).unwrap_or(answer)
    }

    async fn send(&self, method: Method, url: &str, body: Option<Bytes>) -> (u16, Bytes) {
        let request = Request::builder().method(method).uri(url).header("api-key", "bench");
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(body.unwrap_or_default())).unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }
}
