//! The REST API, as it was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use percent_encoding::percent_decode_str;
use qdrant_backup_core::naming;
use serde_json::{Value, json};
use time::macros::format_description;

use super::answer::{
    self, Outcome, Refusal, bad_format, bad_request, failure, forbidden, no_collection, not_found, too_many,
    wrong_input,
};
use super::archive::{pack_collection, pack_replica};
use super::cluster::{Cluster, find};
use super::collection::Collection;
use super::storage::{self, Storage};
use super::{Peer, Work, recover};
use crate::clock;
use crate::faults::{Answer, Body, whole};

/// How large the pieces of a snapshot are that is made while it is sent.
const STREAMED: usize = 32 << 10;

/// A peer's view of the cluster.
#[derive(Clone)]
pub struct Node {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Where snapshots go.
    pub storage: Arc<Storage>,
    /// Which of the peers this is.
    pub index: usize,
}

/// A request, read whole.
struct Call {
    method: Method,
    path: Vec<String>,
    query: BTreeMap<String, String>,
    body: Bytes,
    may_write: bool,
}

/// Answers a request.
pub async fn answer(node: Node, request: Request<Bytes>) -> Answer {
    let date = clock::http_date(clock::now() + node.cluster.options.ahead);
    let mut response = respond(node, request).await;
    response.headers_mut().insert("date", date);
    Some(response)
}

async fn respond(node: Node, request: Request<Bytes>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head
        .uri
        .path()
        .trim_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
    let query = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let mut call = Call {
        method: head.method,
        path: path.collect(),
        query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body,
        may_write: true,
    };
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [""] => {
            let commit = "db8fa43fcb6aedec1e739487e17a99731b74590a";
            let root = json!({"title": "qdrant - vector search engine", "version": node.cluster.options.version, "commit": commit});
            return json_answer(StatusCode::OK, &root);
        }
        ["healthz"] => return text(StatusCode::OK, "healthz check passed"),
        ["readyz"] => return text(StatusCode::OK, "all shards are ready"),
        _ => {}
    }
    let options = &node.cluster.options;
    let key = head.headers.get("api-key").and_then(|key| key.to_str().ok());
    if let Some(wanted) = &options.api_key {
        match key {
            None => {
                return text(StatusCode::UNAUTHORIZED, "Must provide an API key or an Authorization bearer token");
            }
            Some(key) if key == wanted => {}
            Some(key) if Some(key) == options.read_only_api_key.as_deref() => call.may_write = false,
            Some(_) => return text(StatusCode::UNAUTHORIZED, "Invalid API key or JWT"),
        }
    }
    if let (&Method::GET, ["collections", name, "shards", id, "snapshot"]) = (&call.method, path.as_slice()) {
        return node.stream_snapshot(&call, name, id).await;
    }
    match node.route(&call).await {
        None => text(StatusCode::NOT_FOUND, ""),
        Some(Routed::Accepted) => json_answer(StatusCode::ACCEPTED, &json!({"status": "accepted", "time": 0.000_01})),
        Some(Routed::Done(outcome)) => enveloped(outcome),
    }
}

fn enveloped(outcome: Outcome) -> Response<Body> {
    let status = outcome.as_ref().err().map_or(200, |refusal| refusal.status);
    let mut response = json_answer(StatusCode::from_u16(status).expect("a status"), &answer::body(&outcome));
    if let Some(seconds) = outcome.err().and_then(|refusal| refusal.retry_after) {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

enum Routed {
    Done(Outcome),
    Accepted,
}

impl Node {
    fn peer(&self) -> &Peer {
        &self.cluster.peers[self.index]
    }

    /// `None` for an unknown route.
    async fn route(&self, call: &Call) -> Option<Routed> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let (get, put, post, delete, patch) = (Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH);
        let method = &call.method;
        let peer = self.peer().id;
        let cluster = &self.cluster;
        if let [_, collection, rest @ ..] = path.as_slice() {
            let shard = |text: &str| text.parse::<u32>().ok();
            match rest {
                ["snapshots"] if *method == post => return Some(self.create_snapshot(call, collection, None).await),
                ["shards", id, "snapshots"] if *method == post => {
                    return Some(self.create_snapshot(call, collection, shard(id)).await);
                }
                ["snapshots", "recover"] | ["shards", _, "snapshots", "recover"] if *method == put => {
                    let shard = rest.get(1).filter(|_| rest.len() == 4).and_then(|id| shard(id));
                    return Some(self.recover(call, collection, shard).await);
                }
                _ => {}
            }
        }
        let outcome = match path.as_slice() {
            ["cluster"] if *method == get => Ok(self.cluster_info()),
            ["cluster", "peer", id] if *method == delete => {
                let force = call.query.get("force").is_some_and(|force| force == "true");
                call.manage().and_then(|()| cluster.remove_peer(id, force))
            }
            ["telemetry"] if *method == get => Ok(self.telemetry()),
            ["collections"] if *method == get => {
                let names: Vec<Value> =
                    cluster.state().collections.keys().map(|name| json!({ "name": name })).collect();
                Ok(json!({ "collections": names }))
            }
            ["quotas"] if self.knows_quotas() && *method == get => Ok(self.quotas()),
            ["quotas"] if self.knows_quotas() && *method == put => call.manage().and_then(|()| {
                let mut state = cluster.state();
                state.late = 1;
                state.quotas_before = std::mem::replace(&mut state.quotas, call.json()?);
                Ok(json!(true))
            }),
            ["cluster", "metadata", "keys", rest @ ..] => self.metadata(call, rest)?,
            ["aliases"] if *method == get => Ok(self.aliases(None)),
            ["collections", "aliases"] if *method == post => call.json().and_then(|body| cluster.change_aliases(&body)),
            ["collections", name] if *method == get => self.with(name, |collection| Ok(collection.info(peer))),
            ["collections", name] if *method == put => call.write().and_then(|body| cluster.create(name, &body)),
            ["collections", name] if *method == delete => call.manage().and_then(|()| cluster.delete(name)),
            ["collections", name] if *method == patch => call.write().and_then(|body| {
                self.with(name, |collection| {
                    collection.update(&body);
                    Ok(json!(true))
                })
            }),
            ["collections", name, "exists"] if *method == get => {
                Ok(json!({"exists": find(&mut cluster.state(), name).is_ok()}))
            }
            ["collections", name, "aliases"] if *method == get => Ok(self.aliases(Some(name))),
            ["collections", name, "cluster"] if *method == get => {
                self.with(name, |collection| Ok(collection.cluster(peer)))
            }
            ["collections", name, "cluster"] if *method == post => {
                call.write().and_then(|body| cluster.change_layout(name, &body))
            }
            ["collections", name, "shards"] if *method == get => self.with(name, |collection| {
                let mut keys: Vec<Value> = collection.shards.values().filter_map(|shard| shard.key.clone()).collect();
                keys.dedup();
                Ok(json!({"shard_keys": keys.into_iter().map(|key| json!({ "key": key })).collect::<Vec<_>>()}))
            }),
            ["collections", name, "shards"] if *method == put => {
                call.write().and_then(|body| cluster.create_shard_key(name, &body))
            }
            ["collections", name, "shards", "delete"] if *method == post => {
                call.write().and_then(|body| cluster.drop_shard_key(name, &body))
            }
            ["collections", name, "index"] if *method == put => call.write().and_then(|body| {
                let field = body["field_name"].as_str().unwrap_or_default().to_owned();
                self.with(name, |collection| collection.index(&field, &body["field_schema"]))
            }),
            ["collections", name, "points"] if *method == put => call.write().and_then(|body| {
                let points = body["points"].as_array().cloned().unwrap_or_default();
                self.with(name, |collection| collection.upsert(&points, body.get("shard_key")))
            }),
            ["collections", name, "points", "delete"] if *method == post => call.write().and_then(|body| {
                let ids = body["points"].as_array().cloned().unwrap_or_default();
                self.with(name, |collection| collection.delete(&ids))
            }),
            ["collections", name, "points", "count"] if *method == post => self.read(call, name, |collection, _| {
                let counts = collection.shards.keys().filter_map(|shard| collection.reader(*shard, peer));
                Ok(json!({"count": counts.map(|replica| replica.engine.count()).sum::<u64>()}))
            }),
            ["collections", name, "points", "scroll"] if *method == post => {
                self.read(call, name, |collection, body| scroll(collection, peer, body))
            }
            ["collections", name, "points", "query"] if *method == post => self.read(call, name, |collection, body| {
                let given = |name: &str| body.get(name).cloned().unwrap_or(json!(false));
                let points = scroll(
                    collection,
                    peer,
                    &json!({"limit": body["limit"], "with_payload": given("with_payload"), "with_vector": given("with_vector")}),
                )?["points"]
                    .clone();
                let scored = points.as_array().into_iter().flatten().cloned().map(|mut point| {
                    point["version"] = json!(0);
                    point["score"] = json!(1.0);
                    point
                });
                Ok(json!({"points": scored.collect::<Vec<_>>()}))
            }),
            ["collections", name, "shards", id, "points"] if *method == post => {
                let id: u32 = id.parse().unwrap_or(u32::MAX);
                self.read(call, name, |collection, body| local(collection, id, peer, "retrieve", body))
            }
            ["collections", name, "shards", id, "points", what] if *method == post => {
                let id: u32 = id.parse().unwrap_or(u32::MAX);
                self.read(call, name, |collection, body| local(collection, id, peer, what, body))
            }
            ["collections", name, "snapshots"] if *method == get => self.list_snapshots(name, None).await,
            ["collections", name, "shards", id, "snapshots"] if *method == get => {
                self.list_snapshots(name, id.parse().ok()).await
            }
            ["collections", name, "snapshots", file] if *method == delete => {
                self.delete_snapshot(call, name, None, file).await
            }
            ["collections", name, "shards", id, "snapshots", file] if *method == delete => {
                self.delete_snapshot(call, name, id.parse().ok(), file).await
            }
            ["collections", name, "snapshots", "upload"] if *method == post => {
                match call.manage().and_then(|()| call.upload()) {
                    Ok(bytes) => recover::upload_collection(cluster, peer, name, &bytes, call.priority()).await,
                    Err(refusal) => Err(refusal),
                }
            }
            ["collections", name, "shards", id, "snapshots", "upload"] if *method == post => {
                let id: u32 = id.parse().unwrap_or(u32::MAX);
                let checksum = call.query.get("checksum");
                let _running = Running::recovery(self, name);
                call.manage()
                    .and_then(|()| call.upload())
                    .and_then(|bytes| recover::upload_shard(cluster, peer, name, id, &bytes, call.priority(), checksum))
                    // Unlike a recovery by link.
                    .map(|_| Value::Null)
            }
            _ => return None,
        };
        Some(Routed::Done(outcome))
    }

    fn with(&self, name: &str, work: impl FnOnce(&mut Collection) -> Outcome) -> Outcome {
        work(find(&mut self.cluster.state(), name)?)
    }

    /// A read of points, which strict mode may forbid.
    fn read(&self, call: &Call, name: &str, work: impl FnOnce(&Collection, &Value) -> Outcome) -> Outcome {
        let body = call.json()?;
        self.with(name, |collection| {
            if let Some(strict) = collection.strict().cloned() {
                let exact = body.get("exact").and_then(Value::as_bool).unwrap_or(true);
                if call.path.last().is_some_and(|last| last == "count") && exact && strict["search_allow_exact"] == false {
                    return Err(bad_request("Exact search disabled!. Help: Set exact=false."));
                }
                let most = strict["max_query_limit"].as_u64().unwrap_or(u64::MAX);
                if let Some(limit) = body["limit"].as_u64().filter(|limit| *limit > most) {
                    return Err(bad_request(&format!(
                        "Limit exceeded {limit} > {most} for \"limit\". Help: Reduce the \"limit\" parameter to or below {most}."
                    )));
                }
                // What is refused does not count.
                if let Some(left) = &mut collection.reads_left {
                    *left = left.checked_sub(1).ok_or_else(|| too_many(1))?;
                }
            }
            work(collection, &body)
        })
    }

    fn aliases(&self, of: Option<&str>) -> Value {
        let state = self.cluster.state();
        let aliases = state.aliases.iter().filter(|(_, collection)| of.is_none_or(|of| *collection == of));
        let aliases = aliases.map(|(alias, collection)| json!({"alias_name": alias, "collection_name": collection}));
        json!({"aliases": aliases.collect::<Vec<_>>()})
    }

    fn cluster_info(&self) -> Value {
        if !self.cluster.options.clustered {
            return json!({"status": "disabled"});
        }
        let members = self.cluster.members(&self.cluster.state());
        let peers: BTreeMap<String, Value> = members
            .iter()
            .enumerate()
            .map(|(index, peer)| {
                let inner = format!("qdrant-{}.inner", index + 1);
                let name = if self.cluster.options.inner_names { &inner } else { &peer.ip };
                (peer.id.to_string(), json!({"uri": format!("http://{name}:6335/")}))
            })
            .collect();
        let leader = self.cluster.peers[0].id;
        let role = if self.index == 0 { "Leader" } else { "Follower" };
        json!({
            "status": "enabled", "peer_id": self.peer().id, "peers": peers,
            "raft_info": {"term": 1, "commit": 9, "pending_operations": 0, "leader": leader, "role": role, "is_voter": true},
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": "2026-11-22T09:32:00Z"},
            "message_send_failures": {},
        })
    }

    /// As of 1.19.
    fn knows_quotas(&self) -> bool {
        let mut parts = self.cluster.options.version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        (parts.next(), parts.next()) >= (Some(1), Some(19))
    }

    /// As measured on 1.19.0: with what is used, and for a moment as they were before they were set.
    fn quotas(&self) -> Value {
        let mut state = self.cluster.state();
        let quotas = if state.late > 0 { state.quotas_before.clone() } else { state.quotas.clone() };
        state.late = state.late.saturating_sub(1);
        state.looks += 1;
        json!({
            "config": if quotas.is_null() { json!({"enabled": false}) } else { quotas },
            "usage": {"resident_memory_percent": 1, "disk_usage_percent": state.looks % 100},
            "peers": {},
        })
    }

    /// As measured on 1.18.3: what is not there reads as null, and a null removes what is.
    fn metadata(&self, call: &Call, key: &[&str]) -> Option<Outcome> {
        if !self.cluster.options.clustered {
            return Some(Err(failure("Qdrant is running in standalone mode")));
        }
        let mut state = self.cluster.state();
        match (key, call.method.as_str()) {
            ([], "GET") => Some(Ok(json!(state.metadata.keys().collect::<Vec<_>>()))),
            ([key], "GET") => Some(Ok(state.metadata.get(*key).cloned().unwrap_or_default())),
            ([key], "PUT") => Some(call.manage().and_then(|()| {
                let value = call.json()?;
                if value.is_null() {
                    state.metadata.remove(*key)
                } else {
                    state.metadata.insert((*key).to_owned(), value)
                };
                Ok(json!(true))
            })),
            _ => None,
        }
    }

    fn telemetry(&self) -> Value {
        let state = self.cluster.state();
        let snapshots = state.running.iter().filter(|((peer, _), _)| *peer == self.peer().id).map(|((_, collection), (snapshots, recoveries))| {
            json!({"id": collection, "running_snapshots": snapshots, "running_snapshot_recovery": recoveries})
        });
        json!({"collections": {"number_of_collections": state.collections.len(), "snapshots": snapshots.collect::<Vec<_>>()}})
    }

    async fn create_snapshot(&self, call: &Call, name: &str, shard: Option<u32>) -> Routed {
        if let Err(refusal) = call.manage() {
            return Routed::Done(Err(refusal));
        }
        let exists = find(&mut self.cluster.state(), name).map(drop);
        if call.query.get("wait").is_some_and(|wait| wait == "false") && exists.is_ok() {
            let (node, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move { node.make_snapshot(&name, shard).await });
            return Routed::Accepted;
        }
        // A client that goes away does not stop it.
        let (node, name) = (self.clone(), name.to_owned());
        let made = tokio::spawn(async move { node.make_snapshot(&name, shard).await });
        Routed::Done(made.await.unwrap_or_else(|error| Err(failure(&error.to_string()))))
    }

    async fn delete_snapshot(&self, call: &Call, name: &str, shard: Option<u32>, file: &str) -> Outcome {
        call.manage()?;
        let name = self.resolve(name)?;
        let path = format!("{}/{}", snapshots_folder(&name, shard), naming::escape_segment(file));
        let there = self.storage.delete(self.peer().id, &path).await.map_err(|error| failure(&error))?;
        if there { Ok(json!(true)) } else { Err(not_found(&format!("Snapshot Path {file} not found"))) }
    }

    /// A snapshot of a shard as it is now, made while it is sent: chunked, without a length, and stored nowhere.
    async fn stream_snapshot(&self, call: &Call, name: &str, shard: &str) -> Response<Body> {
        let packed = call.manage().and_then(|()| self.resolve(name)).and_then(|name| {
            let id = shard.parse().map_err(|_| bad_format("shard"))?;
            self.pack(&name, Some(id))
        });
        let (file, bytes) = match packed {
            Ok(packed) => packed,
            Err(refusal) => return enveloped(Err(refusal)),
        };
        tokio::time::sleep(self.cluster.options.work).await;
        let bytes = Bytes::from(bytes);
        let pieces: Vec<_> = (0..bytes.len())
            .step_by(STREAMED)
            .map(|at| Ok(Frame::data(bytes.slice(at..bytes.len().min(at + STREAMED)))))
            .collect();
        let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(pieces))));
        let disposition = format!("attachment; filename=\"{file}\"");
        for (name, value) in [("content-type", "application/x-tar"), ("content-disposition", &disposition)] {
            response.headers_mut().insert(name, value.parse().expect("a header"));
        }
        response
    }

    /// The name of a snapshot that is begun now, and its bytes.
    fn pack(&self, name: &str, shard: Option<u32>) -> Result<(String, Vec<u8>), Refusal> {
        let peer = self.peer().id;
        let moment = clock::now() + self.cluster.options.ahead;
        let moment = moment.format(format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]"));
        let moment = moment.expect("a date");
        let mut state = self.cluster.state();
        let collection = find(&mut state, name)?;
        let Some(id) = shard else {
            return Ok((format!("{name}-{peer}-{moment}.snapshot"), pack_collection(collection, peer)));
        };
        let shard = collection.shards.get_mut(&id).ok_or_else(|| not_found(&format!("shard {id} not found")))?;
        if !shard.replicas.contains_key(&peer) {
            return Err(wrong_input(&format!("Shard {id} is not a local or queue proxy shard")));
        }
        let options = &self.cluster.options;
        Ok((format!("{name}-shard-{id}-{moment}.snapshot"), pack_replica(shard, peer, options.memory, options.ballast)))
    }

    async fn make_snapshot(&self, name: &str, shard: Option<u32>) -> Outcome {
        let peer = self.peer().id;
        let name = self.resolve(name)?;
        let _running = Running::snapshot(self, &name);
        tokio::time::sleep(self.cluster.options.work).await;
        let (file, bytes) = self.pack(&name, shard)?;
        // The limit of the file system on which Qdrant builds the snapshot first.
        if file.len() > 255 {
            return Err(failure("failed to create temporary file: File name too long (os error 36)"));
        }
        let path = format!("{}/{}", snapshots_folder(&name, shard), naming::escape_segment(&file));
        let made = self.storage.put(peer, &path, &file, bytes).await.map_err(|error| failure(&error))?;
        self.note(Work { peer, collection: name, shard, snapshot: file, recovery: false });
        Ok(made)
    }

    async fn list_snapshots(&self, name: &str, shard: Option<u32>) -> Outcome {
        let name = self.resolve(name)?;
        let listed = self.storage.list(self.peer().id, &snapshots_folder(&name, shard)).await;
        listed.map(|snapshots| json!(snapshots)).map_err(|error| failure(&error))
    }

    async fn recover(&self, call: &Call, name: &str, shard: Option<u32>) -> Routed {
        let body = match call.manage().and_then(|()| call.json()) {
            Ok(body) => body,
            Err(refusal) => return Routed::Done(Err(refusal)),
        };
        let (node, name) = (self.clone(), name.to_owned());
        let work = tokio::spawn(async move {
            let name = node.resolve(&name).unwrap_or(name);
            let _running = Running::recovery(&node, &name);
            tokio::time::sleep(node.cluster.options.work).await;
            let outcome = match shard {
                None => recover::recover_collection(&node.cluster, node.peer().id, &name, &body).await,
                Some(shard) => recover::recover_shard(&node.cluster, node.peer().id, &name, shard, &body).await,
            }?;
            let location = body["location"].as_str().unwrap_or_default().split('?').next().unwrap_or_default();
            let snapshot = location.rsplit('/').next().unwrap_or_default().to_owned();
            node.note(Work { peer: node.peer().id, collection: name, shard, snapshot, recovery: true });
            Ok(outcome)
        });
        if call.query.get("wait").is_some_and(|wait| wait == "false") {
            return Routed::Accepted;
        }
        Routed::Done(work.await.unwrap_or_else(|error| Err(failure(&error.to_string()))))
    }

    fn note(&self, work: Work) {
        self.cluster.state().done.push(work);
    }

    /// The collection behind a name or an alias.
    fn resolve(&self, name: &str) -> Result<String, Refusal> {
        let state = self.cluster.state();
        let name = state.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
        if state.collections.contains_key(&name) { Ok(name) } else { Err(no_collection(&name)) }
    }
}

fn snapshots_folder(name: &str, shard: Option<u32>) -> String {
    let folder = storage::folder(name);
    shard.map_or_else(|| folder.clone(), |shard| format!("{folder}/shards/{shard}"))
}

/// Counts work for the telemetry while it lives.
struct Running {
    cluster: Arc<Cluster>,
    key: (u64, String),
    recovery: bool,
}

impl Running {
    fn snapshot(node: &Node, name: &str) -> Self {
        Self::begin(node, name, false)
    }

    fn recovery(node: &Node, name: &str) -> Self {
        Self::begin(node, name, true)
    }

    fn begin(node: &Node, name: &str, recovery: bool) -> Self {
        let running = Self { cluster: Arc::clone(&node.cluster), key: (node.peer().id, name.to_owned()), recovery };
        running.change(1);
        running
    }

    fn change(&self, by: i64) {
        let mut state = self.cluster.state();
        let (snapshots, recoveries) = state.running.entry(self.key.clone()).or_default();
        let counter = if self.recovery { recoveries } else { snapshots };
        *counter = counter.saturating_add_signed(by);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.change(-1);
    }
}

impl Call {
    fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| bad_format(&error.to_string()))
    }

    fn manage(&self) -> Result<(), Refusal> {
        if self.may_write { Ok(()) } else { Err(forbidden("Global manage access is required")) }
    }

    fn write(&self) -> Result<Value, Refusal> {
        self.manage().and_then(|()| self.json())
    }

    fn priority(&self) -> &str {
        self.query.get("priority").map_or("replica", String::as_str)
    }

    /// The file of a multipart form: between the first empty line and the last boundary.
    fn upload(&self) -> Result<Vec<u8>, Refusal> {
        let find = |text: &[u8], from: usize| {
            self.body.get(from..)?.windows(text.len()).position(|window| window == text).map(|at| from + at)
        };
        let boundary_end = find(b"\r\n", 0).ok_or_else(|| bad_format("no form"))?;
        let start = find(b"\r\n\r\n", 0).ok_or_else(|| bad_format("no form"))? + 4;
        let boundary = self.body.slice(..boundary_end);
        let end = find(&[b"\r\n", boundary.as_ref()].concat(), start).ok_or_else(|| bad_format("no form"))?;
        Ok(self.body.slice(start..end).to_vec())
    }
}

/// Points of all shards, in the order of their ids.
fn scroll(collection: &Collection, peer: u64, body: &Value) -> Outcome {
    let limit = body["limit"].as_u64().unwrap_or(10) as usize;
    let mut request =
        json!({"limit": limit + 1, "with_payload": body.get("with_payload").cloned().unwrap_or(json!(true))});
    request["with_vector"] = body.get("with_vector").cloned().unwrap_or(json!(false));
    request["offset"] = body["offset"].clone();
    let mut points = Vec::new();
    for (id, shard) in &collection.shards {
        let key = body.get("shard_key").filter(|key| !key.is_null());
        if key.is_some() && key != shard.key.as_ref() {
            continue;
        }
        let replica = collection.reader(*id, peer).ok_or_else(|| failure("no active replica"))?;
        points.extend(replica.engine.scroll(&request).map_err(|error| bad_format(&error))?.0);
    }
    points.sort_by_key(|point| (point["id"].as_u64(), point["id"].to_string()));
    let next = points.get(limit).map(|point| point["id"].clone());
    points.truncate(limit);
    Ok(json!({"points": points, "next_page_offset": next}))
}

/// The peer's own replica of a shard.
fn local(collection: &Collection, id: u32, peer: u64, what: &str, body: &Value) -> Outcome {
    let shard = collection.shards.get(&id).ok_or_else(|| not_found(&format!("shard {id} not found")))?;
    let replica = shard.replicas.get(&peer).ok_or_else(|| wrong_input(&format!("Shard {id} is not a local shard")))?;
    match what {
        "count" => Ok(json!({"count": replica.engine.count()})),
        "scroll" => {
            let (points, next) = replica.engine.scroll(body).map_err(|error| bad_format(&error))?;
            Ok(json!({"points": points, "next_page_offset": next}))
        }
        "retrieve" => {
            let ids = body["ids"].as_array().cloned().unwrap_or_default();
            let all =
                json!({"limit": u32::MAX, "with_payload": body["with_payload"], "with_vector": body["with_vector"]});
            let (mut points, _) = replica.engine.scroll(&all).map_err(|error| bad_format(&error))?;
            points.retain(|point| ids.contains(&point["id"]));
            Ok(json!(points))
        }
        _ => Err(not_found(what)),
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = text(status, &body.to_string());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    whole(status, text.to_owned())
}
