//! What the tests and the demo do with Qdrant themselves: fill it, look at it, compare. Works on the stand-in and on real
//! servers alike.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{faults, http_client};

/// Talks to the peers of one cluster.
#[derive(Clone, Debug)]
pub struct Client {
    hosts: Vec<String>,
    api_key: Option<String>,
}

/// All that has to come back: shard to peer (by its place in the list of hosts) to points.
pub type Placed = BTreeMap<u64, BTreeMap<usize, BTreeSet<String>>>;

/// What a collection holds, whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Every point with payload and vectors, as JSON.
    pub points: BTreeSet<String>,
    /// The payload indexes: field to type.
    pub indexes: BTreeMap<String, String>,
    /// The parameters, strict mode and metadata of the collection.
    pub config: String,
}

impl Client {
    /// A client for these peers.
    pub fn new(hosts: Vec<String>, api_key: Option<String>) -> Self {
        Self { hosts, api_key }
    }

    /// The peers.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Sends a request to a peer.
    pub async fn call(&self, peer: usize, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.hosts[peer]);
        let mut headers = vec![("content-type", "application/json"), (faults::ASKED_BY, "test")];
        if let Some(key) = &self.api_key {
            headers.push(("api-key", key));
        }
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let answer = http_client::send(method.clone(), &url, &headers, bytes).await;
        let (status, body) = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let text = String::from_utf8_lossy(&body).into_owned();
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The result of a request that has to succeed, sent to the first peer.
    pub async fn ok(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.ok_at(0, method, path, body).await
    }

    async fn ok_at(&self, peer: usize, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(peer, method.clone(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer["result"].clone()
    }

    /// Creates a collection of vectors of 4 dimensions, with what `more` has besides.
    pub async fn create(&self, collection: &str, more: Value) {
        let mut body = json!({"vectors": {"size": 4, "distance": "Cosine"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok(Method::PUT, &format!("{}?timeout=60", path(collection)), Some(&body)).await;
    }

    /// Creates an index of the payload field `city`, and one with parameters of `n`.
    pub async fn index(&self, collection: &str) {
        let path = format!("{}/index?wait=true", path(collection));
        let keyword = json!({"field_name": "city", "field_schema": "keyword"});
        let integer = json!({"field_name": "n", "field_schema": {"type": "integer", "lookup": true, "range": true}});
        for body in [keyword, integer] {
            self.ok(Method::PUT, &path, Some(&body)).await;
        }
    }

    /// Writes the points `from..to`.
    pub async fn fill(&self, collection: &str, from: u64, to: u64) {
        self.fill_key(collection, from, to, None).await;
    }

    /// Writes the points `from..to` under a shard key.
    pub async fn fill_key(&self, collection: &str, from: u64, to: u64, shard_key: Option<&Value>) {
        let ids: Vec<u64> = (from..to).collect();
        for ids in ids.chunks(500) {
            let mut body = json!({"points": ids.iter().map(|id| point(*id)).collect::<Vec<_>>()});
            if let Some(key) = shard_key {
                body["shard_key"] = key.clone();
            }
            self.ok(Method::PUT, &format!("{}/points?wait=true", path(collection)), Some(&body)).await;
        }
    }

    /// Deletes the points `from..to`.
    pub async fn delete_points(&self, collection: &str, from: u64, to: u64) {
        let body = json!({"points": (from..to).collect::<Vec<u64>>()});
        self.ok(Method::POST, &format!("{}/points/delete?wait=true", path(collection)), Some(&body)).await;
    }

    /// Points an alias to a collection.
    pub async fn alias(&self, alias: &str, collection: &str) {
        let body = json!({"actions": [{"create_alias": {"collection_name": collection, "alias_name": alias}}]});
        self.ok(Method::POST, "/collections/aliases?timeout=60", Some(&body)).await;
    }

    /// Removes aliases, and waits until every peer knows: who asks another one must not find them again.
    pub async fn drop_aliases(&self, aliases: &[&str]) {
        let actions: Vec<Value> = aliases.iter().map(|alias| json!({"delete_alias": {"alias_name": alias}})).collect();
        let path = "/collections/aliases?timeout=60";
        self.ok(Method::POST, path, Some(&json!({ "actions": actions }))).await;
        for peer in 0..self.hosts.len() {
            loop {
                let there = self.aliases_at(peer).await;
                if !aliases.iter().any(|alias| there.contains_key(*alias)) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    /// Alias to collection.
    pub async fn aliases(&self) -> BTreeMap<String, String> {
        self.aliases_at(0).await
    }

    async fn aliases_at(&self, peer: usize) -> BTreeMap<String, String> {
        let aliases = self.ok_at(peer, Method::GET, "/aliases", None).await;
        let text = |alias: &Value, name: &str| alias[name].as_str().unwrap().to_owned();
        aliases["aliases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alias| (text(alias, "alias_name"), text(alias, "collection_name")))
            .collect()
    }

    /// The collections.
    pub async fn collections(&self) -> BTreeSet<String> {
        let collections = self.ok(Method::GET, "/collections", None).await;
        collections["collections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Deletes a collection.
    pub async fn delete(&self, collection: &str) {
        self.ok(Method::DELETE, &format!("{}?timeout=60", path(collection)), None).await;
    }

    /// Deletes every collection, and with them the aliases.
    pub async fn wipe(&self) {
        for collection in self.collections().await {
            self.delete(&collection).await;
        }
        assert!(self.aliases().await.is_empty());
    }

    /// The exact count, as this peer answers it.
    pub async fn count(&self, peer: usize, collection: &str) -> u64 {
        let count = self
            .ok_at(peer, Method::POST, &format!("{}/points/count", path(collection)), Some(&json!({"exact": true})))
            .await;
        count["count"].as_u64().unwrap()
    }

    /// Overwrites the first points: the same ids, another payload.
    pub async fn overwrite(&self, collection: &str, points: u64) {
        let wrong = |id| json!({"id": id, "vector": [0.1, 0.2, 0.3, 0.4], "payload": {"city": "WRONG"}});
        let body = json!({"points": (0..points).map(wrong).collect::<Vec<_>>()});
        self.ok(Method::PUT, &format!("{}/points?wait=true", path(collection)), Some(&body)).await;
    }

    /// Every point of every replica, each asked of its own peer. Every replica has to be active.
    pub async fn placed(&self, collection: &str) -> Placed {
        let mut placed = Placed::new();
        for peer in 0..self.hosts.len() {
            let cluster = self.ok_at(peer, Method::GET, &format!("{}/cluster", path(collection)), None).await;
            assert_eq!(cluster["shard_transfers"], json!([]), "{collection}: transfers are running");
            for shard in cluster["local_shards"].as_array().unwrap() {
                assert_eq!(shard["state"], "Active", "{collection}: {cluster}");
                let id = shard["shard_id"].as_u64().unwrap();
                placed.entry(id).or_default().insert(peer, self.points(peer, collection, id).await);
            }
        }
        placed
    }

    async fn points(&self, peer: usize, collection: &str, shard: u64) -> BTreeSet<String> {
        let path = format!("{}/shards/{shard}/points/scroll", path(collection));
        let mut points = BTreeSet::new();
        let mut offset = Value::Null;
        loop {
            let body = json!({"limit": 1000, "offset": offset, "with_payload": true, "with_vector": true});
            let page = self.ok_at(peer, Method::POST, &path, Some(&body)).await;
            points.extend(page["points"].as_array().unwrap().iter().map(canonical));
            offset = page["next_page_offset"].clone();
            if offset.is_null() {
                return points;
            }
        }
    }

    /// What a collection holds. The replicas of each shard have to be equal, and every peer has to count all points.
    pub async fn content(&self, collection: &str) -> Content {
        let mut points = BTreeSet::new();
        for (shard, replicas) in self.placed(collection).await {
            let first = replicas.values().next().cloned().unwrap();
            for (peer, replica) in &replicas {
                assert_eq!(*replica, first, "{collection}: shard {shard} on peer {peer} differs");
            }
            points.extend(first);
        }
        let strict = self.ok(Method::GET, &path(collection), None).await["config"]["strict_mode_config"]["search_allow_exact"]
            == false;
        for peer in (0..self.hosts.len()).filter(|_| !strict) {
            assert_eq!(
                self.count(peer, collection).await,
                points.len() as u64,
                "{collection}: peer {peer} counts otherwise"
            );
        }
        let info = self.ok(Method::GET, &path(collection), None).await;
        let indexes = info["payload_schema"].as_object().unwrap().iter();
        let indexes = indexes
            .map(|(field, schema)| (field.clone(), format!("{} {}", schema["data_type"], canonical(&schema["params"]))))
            .collect();
        let config = &info["config"];
        // Where a restore's mark was taken away, what is left is empty: Qdrant does not take back the field.
        let metadata = config.get("metadata").filter(|metadata| **metadata != json!({}));
        let config = json!([config["params"], config["hnsw_config"], config["strict_mode_config"], metadata]);
        Content { points, indexes, config: canonical(&config) }
    }

    /// What every collection holds.
    pub async fn contents(&self) -> BTreeMap<String, Content> {
        let mut contents = BTreeMap::new();
        for collection in self.collections().await {
            contents.insert(collection.clone(), self.content(&collection).await);
        }
        contents
    }
}

/// JSON whose fields are in order, whatever order a server has, and without those that are null.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            let fields: Vec<String> =
                fields.into_iter().map(|(name, value)| format!("{name}: {}", canonical(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Asserts that everything is as it was, and shows what is not.
#[track_caller]
pub fn assert_same(now: &BTreeMap<String, Content>, before: &BTreeMap<String, Content>) {
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "other collections");
    for (name, before) in before {
        let now = &now[name];
        let missing: Vec<_> = before.points.difference(&now.points).take(3).collect();
        let strange: Vec<_> = now.points.difference(&before.points).take(3).collect();
        assert!(missing.is_empty() && strange.is_empty(), "{name}: missing {missing:?}, strange {strange:?}");
        assert_eq!((&now.indexes, &now.config), (&before.indexes, &before.config), "{name}");
    }
}

/// The path of a collection.
pub fn path(collection: &str) -> String {
    format!("/collections/{}", utf8_percent_encode(collection, NON_ALPHANUMERIC))
}

/// A point that tells by its vector and payload which one it is.
pub fn point(id: u64) -> Value {
    let part = |factor: u64| ((id * factor) % 97) as f64 / 97.0 + 0.01;
    let city = ["Berlin", "Nairobi", "Lima", "Ōsaka"][(id % 4) as usize];
    json!({"id": id, "vector": [part(3), part(5), part(7), part(11)], "payload": {"city": city, "n": id}})
}
