//! The calls a backup and a restore make, one method each.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::client::{Client, Effect, segment};
use super::collection::{CollectionCluster, CollectionInfo, Layout};
use super::error::{QdrantError, QdrantErrorKind};
use crate::presigned_url::PresignedUrl;

/// How long Qdrant waits for a change of the cluster's shared state, in seconds. On a busy cluster some are never committed,
/// and done at once when they are asked for again: the outcome is then looked up, and the change is asked for again
/// ([`CONSENSUS_TRIES`]).
const CONSENSUS_TIMEOUT: u32 = 10;

/// How often a change of the cluster's shared state is asked for whose outcome was not known.
pub const CONSENSUS_TRIES: usize = 6;

/// A snapshot as Qdrant describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SnapshotDescription {
    /// File name.
    pub name: String,
    /// Bytes, as Qdrant found it where it stored it.
    #[serde(default)]
    pub size: u64,
    /// SHA-256 in hex; only from nodes that store snapshots on their own disk.
    pub checksum: Option<String>,
}

/// Whether a server can fetch what a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has fetched the very object.
    Fetched,
    /// It could not: its own words.
    NotFetched(QdrantError),
}

/// `GET /`: what the server is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ServerVersion {
    pub version: String,
    pub commit: Option<String>,
}

/// `GET /cluster`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClusterInfo {
    pub status: String,
    pub peer_id: Option<u64>,
    #[serde(default)]
    pub peers: BTreeMap<String, PeerUri>,
}

/// A peer's address for other peers (not its REST address).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PeerUri {
    pub uri: String,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<CollectionName>,
}

#[derive(Deserialize)]
struct CollectionName {
    name: String,
}

#[derive(Deserialize)]
struct Aliases {
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    alias_name: String,
    collection_name: String,
}

/// Points in the order of their ids.
pub struct Page {
    /// The points.
    pub points: Vec<Value>,
    /// Where the next page begins.
    pub next: Option<Value>,
    /// The size of the answer.
    pub bytes: usize,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl Client {
    pub(super) async fn version(&self) -> Result<ServerVersion, QdrantError> {
        let bytes = self.send(Method::GET, "/", None, Effect::Idempotent).await?;
        self.typed(&Method::GET, "/", crate::decode::json(&bytes))
    }

    pub(super) async fn cluster_info(&self) -> Result<ClusterInfo, QdrantError> {
        self.read(Method::GET, "/cluster", None, Effect::Idempotent).await
    }

    /// The id of the peer that answers; `None` for a server without clustering.
    pub async fn peer_id(&self) -> Result<Option<u64>, QdrantError> {
        Ok(self.cluster_info().await?.peer_id)
    }

    /// The names of all collections the key may see.
    pub async fn collections(&self) -> Result<Vec<String>, QdrantError> {
        let answer: Collections = self.read(Method::GET, "/collections", None, Effect::Idempotent).await?;
        Ok(answer.collections.into_iter().map(|collection| collection.name).collect())
    }

    /// A collection, or `None` where there is none. An alias' name finds the collection behind it.
    pub async fn collection(&self, collection: &str) -> Result<Option<CollectionInfo>, QdrantError> {
        let Some(whole) = self.collection_as_told(collection).await? else { return Ok(None) };
        self.typed(&Method::GET, "/collections", crate::decode::from_value(whole)).map(Some)
    }

    /// The same with every field that the server knows.
    pub async fn collection_as_told(&self, collection: &str) -> Result<Option<Value>, QdrantError> {
        let path = format!("/collections/{}", segment(collection));
        optional(self.read(Method::GET, &path, None, Effect::Idempotent).await)
    }

    /// True where the server says itself that there is no such collection. A 404 alone may be a proxy's.
    pub async fn says_missing(&self, collection: &str) -> bool {
        let path = format!("/collections/{}", segment(collection));
        let answer: Result<Value, _> = self.read(Method::GET, &path, None, Effect::Idempotent).await;
        answer.is_err_and(|error| error.is_missing_collection(collection))
    }

    /// Where the shards of a collection live, as this peer sees it.
    pub async fn layout(&self, collection: &str) -> Result<Option<Layout>, QdrantError> {
        let path = format!("/collections/{}/cluster", segment(collection));
        let answer: Result<CollectionCluster, _> = self.read(Method::GET, &path, None, Effect::Idempotent).await;
        let layout = optional(answer)?.map(Layout::from);
        if let Some(layout) = &layout {
            self.note_answered_as(layout.peer_id);
        }
        Ok(layout)
    }

    /// The quotas that the cluster has agreed on; `None` where the server knows none. Asked once: no backup waits for it.
    pub async fn quotas(&self) -> Result<Option<Value>, QdrantError> {
        let quotas = optional(self.read(Method::GET, "/quotas", None, Effect::Once).await)?;
        Ok(quotas.map(quotas_alone))
    }

    /// Sets the quotas. The peers know them a moment later; what Qdrant does not know of them it leaves out, and answers ok.
    pub async fn set_quotas(&self, quotas: &Value) -> Result<(), QdrantError> {
        self.read::<Value>(Method::PUT, "/quotas", Some(quotas), Effect::Idempotent).await.map(drop)
    }

    /// The names of the entries of the cluster's metadata; none where the server is too old to have any. Asked once.
    pub async fn metadata_keys(&self) -> Result<Vec<String>, QdrantError> {
        let keys = self.read(Method::GET, "/cluster/metadata/keys", None, Effect::Once).await;
        Ok(optional(keys)?.unwrap_or_default())
    }

    /// An entry of the cluster's metadata; null where there is none.
    pub async fn metadata(&self, key: &str) -> Result<Value, QdrantError> {
        let path = format!("/cluster/metadata/keys/{}", segment(key));
        self.read(Method::GET, &path, None, Effect::Once).await
    }

    /// Sets an entry of the cluster's metadata. A null would remove it.
    pub async fn set_metadata(&self, key: &str, value: &Value) -> Result<(), QdrantError> {
        let path = format!("/cluster/metadata/keys/{}?wait=true", segment(key));
        self.read::<Value>(Method::PUT, &path, Some(value), Effect::Idempotent).await.map(drop)
    }

    /// All aliases: alias to collection.
    pub async fn aliases(&self) -> Result<BTreeMap<String, String>, QdrantError> {
        let answer: Aliases = self.read(Method::GET, "/aliases", None, Effect::Idempotent).await?;
        Ok(answer.aliases.into_iter().map(|alias| (alias.alias_name, alias.collection_name)).collect())
    }

    /// The aliases of one collection.
    pub async fn aliases_of(&self, collection: &str) -> Result<Vec<String>, QdrantError> {
        let path = format!("/collections/{}/aliases", segment(collection));
        let answer: Aliases = self.read(Method::GET, &path, None, Effect::Idempotent).await?;
        let own = answer.aliases.into_iter().filter(|alias| alias.collection_name == collection);
        Ok(own.map(|alias| alias.alias_name).collect())
    }

    /// Points aliases to collections, all in one request, so that readers never see half of it.
    pub async fn set_aliases(&self, aliases: &BTreeMap<String, String>) -> Result<(), QdrantError> {
        let actions: Vec<Value> = aliases
            .iter()
            .map(|(alias, collection)| json!({"create_alias": {"collection_name": collection, "alias_name": alias}}))
            .collect();
        let path = format!("/collections/aliases?timeout={CONSENSUS_TIMEOUT}");
        // Pointing an alias twice to the same collection is the same as once.
        self.confirm(Method::POST, &path, &json!({ "actions": actions }), Effect::Idempotent).await
    }

    /// Makes a snapshot of what this peer holds of a collection. `None`: accepted, not done yet.
    pub async fn create_snapshot(
        &self,
        collection: &str,
        wait: bool,
    ) -> Result<Option<SnapshotDescription>, QdrantError> {
        let path = format!("/collections/{}/snapshots?wait={wait}", segment(collection));
        self.call(Method::POST, &path, None, Effect::Work).await
    }

    /// The snapshots of a collection: of all peers where they are in S3, of this peer where on its disk.
    /// With S3, shard snapshots are among them.
    pub async fn snapshots(&self, collection: &str) -> Result<Vec<SnapshotDescription>, QdrantError> {
        let path = format!("/collections/{}/snapshots", segment(collection));
        self.read(Method::GET, &path, None, Effect::Idempotent).await
    }

    /// Makes a snapshot of this peer's own replica of a shard. `None`: accepted, not done yet.
    pub async fn create_shard_snapshot(
        &self,
        collection: &str,
        shard: u32,
        wait: bool,
    ) -> Result<Option<SnapshotDescription>, QdrantError> {
        let path = format!("/collections/{}/shards/{shard}/snapshots?wait={wait}", segment(collection));
        self.call(Method::POST, &path, None, Effect::Work).await
    }

    /// The snapshots of a shard: of all peers where they are in S3, of this peer where on its disk.
    pub async fn shard_snapshots(&self, collection: &str, shard: u32) -> Result<Vec<SnapshotDescription>, QdrantError> {
        let path = format!("/collections/{}/shards/{shard}/snapshots", segment(collection));
        self.read(Method::GET, &path, None, Effect::Idempotent).await
    }

    /// Deletes a snapshot of a collection, or of one of its shards, where this peer stores them; not an error where there
    /// is none.
    pub async fn delete_snapshot(&self, collection: &str, shard: Option<u32>, name: &str) -> Result<(), QdrantError> {
        let of_shard = shard.map(|shard| format!("/shards/{shard}")).unwrap_or_default();
        let path = format!("/collections/{}{of_shard}/snapshots/{}?wait=true", segment(collection), segment(name));
        optional(self.read::<Value>(Method::DELETE, &path, None, Effect::Idempotent).await).map(drop)
    }

    /// Makes this peer fetch a shard snapshot and put it in place of its replica. Other peers' replicas are left
    /// alone (`no_sync`). With a checksum (SHA-256, 64 hexadecimal digits) Qdrant refuses any other bytes.
    pub async fn recover_shard(
        &self,
        collection: &str,
        shard: u32,
        location: &PresignedUrl,
        checksum: Option<&str>,
    ) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/shards/{shard}/snapshots/recover?wait=true", segment(collection));
        let mut body = json!({"location": location.reveal(), "priority": "no_sync"});
        if let (Some(checksum), Some(fields)) = (checksum, body.as_object_mut()) {
            fields.insert("checksum".to_owned(), checksum.into());
        }
        self.confirm(Method::PUT, &path, &body, Effect::Work).await
    }

    /// Makes this peer fetch a collection snapshot and put its shards in place. Other peers' replicas are left
    /// alone (`no_sync`). The answer means that the work is done here, not that the cluster has settled.
    pub async fn recover(&self, collection: &str, location: &PresignedUrl) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/snapshots/recover?wait=true", segment(collection));
        let body = json!({"location": location.reveal(), "priority": "no_sync"});
        self.confirm(Method::PUT, &path, &body, Effect::Work).await
    }

    /// Whether this peer can fetch `link`, whose object has the SHA-256 `sha256`: it is told to recover `collection`, which
    /// is not there, from an object with another checksum. It fetches the object, sees that, and does nothing.
    ///
    /// # Errors
    /// It does not say: the key is refused, or something else came before.
    pub async fn try_link(&self, collection: &str, link: &PresignedUrl, sha256: &str) -> Result<Reach, QdrantError> {
        const NO_OBJECT_S: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let path = format!("/collections/{}/snapshots/recover?wait=true", segment(collection));
        let body = json!({"location": link.reveal(), "priority": "no_sync", "checksum": NO_OBJECT_S});
        match self.confirm(Method::PUT, &path, &body, Effect::Once).await {
            Err(error) if error.says(sha256) => Ok(Reach::Fetched),
            Err(error) if error.refuses_links() => Ok(Reach::NotFetched(error)),
            Err(error) => Err(error),
            Ok(()) => Err(self.error(&Method::PUT, &path, QdrantErrorKind::Shape("ok to what can't be".to_owned()))),
        }
    }

    /// How many snapshots of a collection this peer is making; `None` where the server can't tell (before 1.16).
    pub async fn running_snapshots(&self, collection: &str) -> Result<Option<u64>, QdrantError> {
        self.running(collection, "running_snapshots").await
    }

    /// How many recoveries of a collection run on this peer; `None` where the server can't tell (before 1.16).
    pub async fn running_recoveries(&self, collection: &str) -> Result<Option<u64>, QdrantError> {
        self.running(collection, "running_snapshot_recovery").await
    }

    async fn running(&self, collection: &str, counter: &str) -> Result<Option<u64>, QdrantError> {
        let path = "/telemetry?details_level=2&anonymize=false";
        let telemetry: Value = self.read(Method::GET, path, None, Effect::Idempotent).await?;
        let Some(snapshots) = telemetry.pointer("/collections/snapshots").and_then(Value::as_array) else {
            return Ok(None);
        };
        let entry = snapshots.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(collection));
        Ok(Some(entry.and_then(|entry| entry.get(counter)).and_then(Value::as_u64).unwrap_or(0)))
    }

    /// Creates a collection from the body of `PUT /collections/{c}`.
    pub async fn create_collection(&self, collection: &str, body: &Value) -> Result<(), QdrantError> {
        let path = format!("/collections/{}?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        self.confirm(Method::PUT, &path, body, Effect::Once).await
    }

    /// Changes parameters of a collection: the body of `PATCH /collections/{c}`.
    pub async fn update_collection(&self, collection: &str, body: &Value) -> Result<(), QdrantError> {
        let path = format!("/collections/{}?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        self.confirm(Method::PATCH, &path, body, Effect::Idempotent).await
    }

    /// Deletes a collection and the aliases that point to it; not an error where there is none.
    pub async fn delete_collection(&self, collection: &str) -> Result<(), QdrantError> {
        let path = format!("/collections/{}?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        self.read::<bool>(Method::DELETE, &path, None, Effect::Idempotent).await.map(drop)
    }

    /// Creates a payload index and waits until it is there.
    pub async fn create_index(&self, collection: &str, field: &str, schema: &Value) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/index?wait=true", segment(collection));
        let body = json!({"field_name": field, "field_schema": schema});
        self.read::<Value>(Method::PUT, &path, Some(&body), Effect::Idempotent).await.map(drop)
    }

    /// Creates a shard key with `shards` shards, of `replicas` replicas each where that is not the collection's number.
    pub async fn create_shard_key(
        &self,
        collection: &str,
        key: &Value,
        shards: usize,
        replicas: Option<usize>,
    ) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/shards?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        let mut body = json!({"shard_key": key, "shards_number": shards});
        if let (Some(replicas), Some(fields)) = (replicas, body.as_object_mut()) {
            fields.insert("replication_factor".to_owned(), replicas.into());
        }
        self.confirm(Method::PUT, &path, &body, Effect::Once).await
    }

    /// Drops a shard key with its shards.
    pub async fn drop_shard_key(&self, collection: &str, key: &Value) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/shards/delete?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        self.confirm(Method::POST, &path, &json!({"shard_key": key}), Effect::Once).await
    }

    /// Starts a change of the layout: the body of `POST /collections/{c}/cluster`.
    pub async fn change_layout(&self, collection: &str, body: &Value) -> Result<(), QdrantError> {
        let path = format!("/collections/{}/cluster?timeout={CONSENSUS_TIMEOUT}", segment(collection));
        self.confirm(Method::POST, &path, body, Effect::Once).await
    }

    /// The exact number of points of a collection, as a reader of this peer gets it.
    pub async fn count(&self, collection: &str) -> Result<u64, QdrantError> {
        let path = format!("/collections/{}/points/count", segment(collection));
        self.count_at(&path, true).await
    }

    /// About how many points a collection has: where strict mode refuses exact counts.
    pub async fn approximate_count(&self, collection: &str) -> Result<u64, QdrantError> {
        let path = format!("/collections/{}/points/count", segment(collection));
        self.count_at(&path, false).await
    }

    /// The exact number of points in this peer's own replica of a shard.
    pub async fn count_replica(&self, collection: &str, shard: u32) -> Result<u64, QdrantError> {
        let path = format!("/collections/{}/shards/{shard}/points/count", segment(collection));
        self.count_at(&path, true).await
    }

    /// Reads `limit` points in the order of their ids, from `offset` on: of this peer's own replica of a shard, or of the
    /// whole collection. With `content` they have payload and vectors, else ids only.
    pub async fn scroll(
        &self,
        collection: &str,
        shard: Option<u32>,
        limit: u64,
        offset: Option<&Value>,
        content: bool,
    ) -> Result<Page, QdrantError> {
        let path = format!("{}/scroll", points_path(collection, shard));
        let body = json!({"limit": limit, "offset": offset, "with_payload": content, "with_vector": content});
        let bytes = self.send(Method::POST, &path, Some(&body), Effect::Idempotent).await?;
        let result = self.unwrap(&Method::POST, &path, &bytes)?.unwrap_or_default();
        let shape = |what: &str| self.error(&Method::POST, &path, QdrantErrorKind::Shape(what.to_owned()));
        let Value::Object(mut page) = result else { return Err(shape("no page of points")) };
        let Some(Value::Array(points)) = page.remove("points") else { return Err(shape("no points")) };
        Ok(Page { points, next: page.remove("next_page_offset"), bytes: bytes.len() })
    }

    /// Reads the points with these ids, with payload and vectors; those that are not there are left out.
    pub async fn retrieve(
        &self,
        collection: &str,
        shard: Option<u32>,
        ids: &[Value],
    ) -> Result<Vec<Value>, QdrantError> {
        let body = json!({"ids": ids, "with_payload": true, "with_vector": true});
        self.read(Method::POST, &points_path(collection, shard), Some(&body), Effect::Idempotent).await
    }

    /// Reads `limit` random points with payload and vectors; how many came.
    pub async fn sample(&self, collection: &str, limit: u64) -> Result<u64, QdrantError> {
        let path = format!("/collections/{}/points/query", segment(collection));
        let body = json!({"query": {"sample": "random"}, "limit": limit, "with_payload": true, "with_vector": true});
        let answer: Value = self.read(Method::POST, &path, Some(&body), Effect::Idempotent).await?;
        let points = answer.get("points").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let whole = |point: &&Value| point.get("vector").is_some();
        Ok(points.iter().filter(whole).count() as u64)
    }

    async fn count_at(&self, path: &str, exact: bool) -> Result<u64, QdrantError> {
        let answer: Count = self.read(Method::POST, path, Some(&json!({ "exact": exact })), Effect::Idempotent).await?;
        Ok(answer.count)
    }

    /// Sends a change whose answer has to be `true`.
    async fn confirm(&self, method: Method, path: &str, body: &Value, effect: Effect) -> Result<(), QdrantError> {
        match self.read::<Value>(method.clone(), path, Some(body), effect).await? {
            Value::Bool(true) => Ok(()),
            other => {
                let kind = QdrantErrorKind::Shape(format!("result {other} in place of true"));
                Err(self.error(&method, path, kind))
            }
        }
    }
}

/// The path of the points of a collection, or of this peer's own replica of a shard.
fn points_path(collection: &str, shard: Option<u32>) -> String {
    let of_shard = shard.map(|shard| format!("/shards/{shard}")).unwrap_or_default();
    format!("/collections/{}{of_shard}/points", segment(collection))
}

/// The quotas in an answer that tells what is used besides, which is another at every look.
pub(crate) fn quotas_alone(mut answer: Value) -> Value {
    answer.get_mut("config").map(Value::take).unwrap_or(answer)
}

/// 404 as `None`.
fn optional<T>(answer: Result<T, QdrantError>) -> Result<Option<T>, QdrantError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
