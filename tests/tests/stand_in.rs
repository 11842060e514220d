//! The stand-in answers as real servers did, and goes wrong as they do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Method;
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::store::ObjectStore;
use qdrant_backup_tests::client::Client;
use qdrant_backup_tests::native;
use qdrant_backup_tests::qdrant::{Options, Qdrant, S3Access, sha256};
use qdrant_backup_tests::s3::{self, S3};
use serde_json::{Value, json};

const KEY: &str = "secret-key";

fn access(s3: &S3) -> S3Access {
    S3Access {
        endpoint: s3.endpoint(),
        bucket: s3::BUCKET.to_owned(),
        access_key: s3::ACCESS_KEY.to_owned(),
        secret_key: s3::SECRET_KEY.to_owned(),
        region: s3::REGION.to_owned(),
        key_prefix: "snapshots".to_owned(),
    }
}

/// A presigned URL for an object.
async fn presigned(s3: &S3, key: &str) -> String {
    let (access, key) = (access(s3), key.to_owned());
    native::run(move |ports| {
        Box::pin(async move {
            let bucket = Bucket::open(&ports, &access.settings()).await.unwrap();
            bucket.presigned_get(&key, Duration::from_secs(600)).await.unwrap().reveal().to_owned()
        })
    })
    .await
}

/// What the recorded servers and ours call the same things.
struct Names {
    /// Host and port to peer.
    hosts: BTreeMap<String, usize>,
    /// Names of snapshots.
    snapshots: BTreeMap<String, String>,
}

struct Replay {
    s3: S3,
    client: Client,
    _qdrant: Qdrant,
    names: Names,
}

impl Replay {
    async fn start(options: Options, hosts: &[&str]) -> Self {
        let s3 = S3::start().await;
        let options = Options { s3: Some(access(&s3)), api_key: Some(KEY.to_owned()), ..options };
        let qdrant = Qdrant::start(options).await;
        let client = Client::new(qdrant.hosts(), Some(KEY.to_owned()));
        let hosts = hosts.iter().enumerate().map(|(peer, host)| ((*host).to_owned(), peer)).collect();
        Self { s3, client, _qdrant: qdrant, names: Names { hosts, snapshots: BTreeMap::new() } }
    }

    /// Replays what this version of Qdrant has answered; returns how many requests were compared.
    async fn run(&mut self, version: &str, file: &str) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/qdrant-{version}")).join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let mut compared = 0;
        for (number, line) in text.lines().enumerate() {
            let entry: Value = serde_json::from_str(line).unwrap();
            if entry.get("request").is_some() {
                compared += usize::from(self.compare(number + 1, &entry).await);
            }
        }
        compared
    }

    /// Sends one recorded request and compares the answers; false for one that can't be sent again.
    async fn compare(&mut self, number: usize, entry: &Value) -> bool {
        let request = &entry["request"];
        let method: Method = request["method"].as_str().unwrap().parse().unwrap();
        let url = request["url"].as_str().unwrap().trim_start_matches("http://");
        let (host, path) = url.split_once('/').unwrap();
        let Some(mut peer) = self.names.hosts.get(host).copied() else { return false };
        let mut path = format!("/{path}");
        for (theirs, ours) in &self.names.snapshots {
            path = path.replace(theirs, ours);
        }
        let note = entry["note"].as_str().unwrap_or_default();
        // Not offered: nobody here asks for them.
        let deletes_snapshot = method == Method::DELETE && path.contains("/snapshots/");
        if path.starts_with("/cluster/telemetry") || path.contains("/upload") || deletes_snapshot {
            return false;
        }
        // The recorded shards were on other peers than ours.
        if let Some(shard) = shard_of(&path) {
            let wants_holder = !note.contains("does not hold");
            peer = self.peer_with(&path, shard, wants_holder).await.unwrap_or(peer);
        }
        let mut body = (!request["body"].is_null()).then(|| request["body"].clone());
        if let Some(location) = body.as_ref().and_then(|body| body["location"].as_str()).map(str::to_owned) {
            let location = self.location(&location, note).await;
            if note.contains("good checksum") {
                let (_, snapshot) = qdrant_backup_tests::http_client::get(&location).await.unwrap();
                body.as_mut().unwrap()["checksum"] = json!(sha256(&snapshot));
            }
            body.as_mut().unwrap()["location"] = json!(location);
        }
        let key = request["headers"]["api-key"].as_str();
        let client = Client::new(self.client.hosts().to_vec(), key.map(str::to_owned));
        // The S3 server of that recording checked no signatures.
        if note.contains("bad signature") && entry["response"]["status"] == 200 {
            return false;
        }
        let (status, answer) = match note {
            "malformed json" => return false,
            _ => client.call(peer, method, &path, body.as_ref()).await,
        };
        let recorded = &entry["response"];
        let expected = recorded["status"].as_u64().unwrap();
        assert_eq!(
            u64::from(status),
            expected,
            "line {number} ({note}): {path}: {answer}\nrecorded: {}",
            recorded["body"]
        );
        let (recorded_body, answer) = (in_order(&recorded["body"]), in_order(&answer));
        if let Some(difference) = differ(&recorded_body, &answer, "") {
            panic!("line {number} ({note}): {path}: {difference}\n{answer}\nrecorded: {}", recorded["body"]);
        }
        if note == "create" {
            // These points were not recorded.
            let points: Vec<Value> = (1..51)
                .map(|id| json!({"id": id, "vector": [1, 2, 3, 4, 5, 6, 7, id], "payload": {"city": "Paris", "n": id}}))
                .collect();
            self.client.ok(Method::PUT, &format!("{path}/points?wait=true"), Some(&json!({ "points": points }))).await;
        }
        let name = |answer: &Value| answer["result"]["name"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (name(&recorded["body"]), name(&answer)) {
            self.names.snapshots.insert(theirs, ours);
            // Names have a resolution of a second, and equal ones overwrite one another.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// The peer that holds a shard, or one that does not.
    async fn peer_with(&self, path: &str, shard: u64, holder: bool) -> Option<usize> {
        let collection = path.split('/').nth(2)?;
        for peer in 0..self.client.hosts().len() {
            let (_, cluster) =
                self.client.call(peer, Method::GET, &format!("/collections/{collection}/cluster"), None).await;
            let local = cluster["result"]["local_shards"].as_array()?.iter().any(|entry| entry["shard_id"] == shard);
            if local == holder {
                return Some(peer);
            }
        }
        None
    }

    /// Our URL for a recorded one.
    async fn location(&self, recorded: &str, note: &str) -> String {
        if recorded.ends_with("/healthz") {
            return format!("{}/healthz", self.client.hosts()[0]);
        }
        let Some((_, key)) = recorded.split_once("/qdrant-snapshots/") else { return recorded.to_owned() };
        let key =
            percent_encoding::percent_decode_str(key.split('?').next().unwrap()).decode_utf8().unwrap().into_owned();
        let (folder, name) = key.rsplit_once('/').unwrap();
        let name = self.names.snapshots.get(name).map_or(name, String::as_str);
        let url = presigned(&self.s3, &format!("{folder}/{name}")).await;
        if note.contains("bad signature") { url.replace("X-Amz-Expires=600", "X-Amz-Expires=601") } else { url }
    }
}

fn shard_of(path: &str) -> Option<u64> {
    let (_, rest) = path.split_once("/shards/")?;
    rest.split('/').next()?.parse().ok()
}

/// What of the recorded shape is missing or of another type; values may differ.
fn differ(recorded: &Value, ours: &Value, at: &str) -> Option<String> {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            // Keyed by peer ids or by names that were given: one entry stands for all.
            if at.ends_with("/peers") {
                return differ(theirs.values().next()?, ours.values().next()?, &format!("{at}/*"));
            }
            // An absent field and a null one mean the same.
            theirs.iter().filter(|(_, value)| !value.is_null()).find_map(|(name, value)| match ours.get(name) {
                Some(other) => differ(value, other, &format!("{at}/{name}")),
                None => Some(format!("{at}/{name} is missing")),
            })
        }
        (Value::Array(theirs), Value::Array(ours)) => match (theirs.first(), ours.first()) {
            (Some(theirs), Some(ours)) => differ(theirs, ours, &format!("{at}[0]")),
            _ => None,
        },
        // A shard key is a string or a number.
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) if at.ends_with("/shard_key") => {
            None
        }
        (Value::String(theirs), Value::String(ours)) if at == "/status/error" => {
            // The prefix tells the kind of the error.
            let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
            (kind(theirs) != kind(ours)).then(|| format!("{at}: other kind of error"))
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null, _) => None,
        (theirs, ours) => Some(format!("{at}: {ours} in place of {theirs}")),
    }
}

/// The versions of which there are recordings.
const RECORDED: [&str; 3] = ["1.17.1", "1.18.3", "1.19.0"];

fn options(version: &str) -> Options {
    Options { version: version.to_owned(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recordings_of_standalone_servers_are_answered_alike() {
    for version in RECORDED {
        let options = Options { peers: 1, clustered: false, ..options(version) };
        let mut replay = Replay::start(options, &["127.0.0.1:7333"]).await;
        assert!(replay.run(version, "standalone.jsonl").await >= 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recordings_of_clusters_are_answered_alike() {
    let hosts = ["127.0.0.10:6333", "127.0.0.11:6333", "127.0.0.12:6333"];
    for version in RECORDED {
        let mut replay = Replay::start(options(version), &hosts).await;
        assert!(replay.run(version, "cluster-3-nodes.jsonl").await >= 95);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_faults_are_answered_alike() {
    for version in RECORDED {
        let options = Options {
            peers: 1,
            clustered: false,
            // 1.17 has no such switch.
            url_recovery: version == "1.17.1",
            read_only_api_key: Some("reader".to_owned()),
            ..options(version)
        };
        let mut replay = Replay::start(options, &["127.0.0.1:7433"]).await;
        replay.client.create("docs", json!({})).await;
        replay.client.fill("docs", 1, 20).await;
        assert!(replay.run(version, "faults.jsonl").await >= 14);
    }
}

/// A cluster with a collection, its snapshots by peer, and the collection gone.
async fn lost(replication_factor: u64, lag: Duration) -> (S3, Qdrant, Client, Vec<String>) {
    let s3 = S3::start().await;
    let qdrant = Qdrant::start(Options { s3: Some(access(&s3)), lag, ..Options::default() }).await;
    let client = Client::new(qdrant.hosts(), None);
    client.create("docs", json!({"shard_number": 3, "replication_factor": replication_factor})).await;
    client.fill("docs", 0, 90).await;
    let mut urls = Vec::new();
    for peer in 0..3 {
        let (_, made) = client.call(peer, Method::POST, "/collections/docs/snapshots?wait=true", None).await;
        urls.push(presigned(&s3, &format!("snapshots/docs/{}", made["result"]["name"].as_str().unwrap())).await);
    }
    client.delete("docs").await;
    (s3, qdrant, client, urls)
}

async fn recover(client: &Client, peer: usize, url: &str, priority: &str) -> u16 {
    let body = json!({"location": url, "priority": priority});
    client.call(peer, Method::PUT, "/collections/docs/snapshots/recover?wait=true", Some(&body)).await.0
}

/// Every replica's state, as the first peer sees it.
async fn states(client: &Client) -> Vec<String> {
    let cluster = client.ok(Method::GET, "/collections/docs/cluster", None).await;
    let all = ["local_shards", "remote_shards"].into_iter().flat_map(|list| cluster[list].as_array().unwrap().clone());
    all.map(|entry| entry["state"].as_str().unwrap().to_owned()).collect()
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_peer_leaves_empty_shards_that_look_well() {
    let (_s3, _qdrant, client, urls) = lost(1, Options::default().lag).await;
    assert_eq!(recover(&client, 0, &urls[0], "snapshot").await, 200);
    settle().await;
    assert!(client.count(0, "docs").await < 90);
    assert!(states(&client).await.iter().all(|state| state == "Active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_snapshots_to_one_host_pile_up_there() {
    let (_s3, _qdrant, client, urls) = lost(1, Options::default().lag).await;
    for url in &urls {
        assert_eq!(recover(&client, 1, url, "snapshot").await, 200);
        settle().await;
    }
    assert!(client.placed("docs").await.values().all(|replicas| replicas.keys().eq([1].iter())));
    assert_eq!(client.count(2, "docs").await, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_naive_restore_kills_replicas_that_were_just_restored() {
    // So slow that a look in between can't miss it, however busy the machine is.
    let (_s3, _qdrant, client, urls) = lost(2, Duration::from_secs(1)).await;
    for (peer, url) in urls.iter().enumerate() {
        assert_eq!(recover(&client, peer, url, "snapshot").await, 200);
    }
    let killed = async {
        while !states(&client).await.iter().any(|state| matches!(state.as_str(), "Dead" | "Partial")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), killed).await.expect("replicas are killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_sharding_into_nothing_restores_nothing_and_says_200() {
    let s3 = S3::start().await;
    let qdrant = Qdrant::start(Options { s3: Some(access(&s3)), ..Options::default() }).await;
    let client = Client::new(qdrant.hosts(), None);
    client.create("docs", json!({"sharding_method": "custom"})).await;
    client.ok(Method::PUT, "/collections/docs/shards", Some(&json!({"shard_key": "acme"}))).await;
    client.fill_key("docs", 0, 20, Some(&json!("acme"))).await;
    let mut urls = Vec::new();
    for peer in 0..3 {
        let (_, made) = client.call(peer, Method::POST, "/collections/docs/snapshots?wait=true", None).await;
        urls.push(presigned(&s3, &format!("snapshots/docs/{}", made["result"]["name"].as_str().unwrap())).await);
    }
    client.delete("docs").await;
    for (peer, url) in urls.iter().enumerate() {
        assert_eq!(recover(&client, peer, url, "snapshot").await, 200);
    }
    settle().await;
    assert_eq!(client.count(0, "docs").await, 0);
}

/// The answer with its shard keys in an order of ours: Qdrant has none.
fn in_order(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(keys) = answer.pointer_mut("/result/shard_keys").and_then(Value::as_array_mut) {
        keys.sort_by_key(Value::to_string);
    }
    answer
}
