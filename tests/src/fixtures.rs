//! What many tests begin with.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use qdrant_backup_core::places::Places;
use qdrant_backup_core::sets::{SetId, SetManifest};
use serde_json::json;
use tokio::sync::Notify;

use crate::client::{Client, Content};
use crate::faults::{Chosen, Event, Fault, Wrong};
use crate::s3::S3;
use crate::site::Site;

/// A cluster of two peers with a collection `docs`, which has a shard on each of them.
pub async fn filled() -> Site {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 40).await;
    site
}

/// Collections of every kind that a cluster knows, and aliases of two.
pub async fn fill_every_kind(client: &Client) {
    client.create("rf1", json!({"shard_number": 3, "replication_factor": 1})).await;
    client.index("rf1").await;
    client.fill("rf1", 0, 300).await;
    client.create("rf2", json!({"shard_number": 4, "replication_factor": 2})).await;
    client.fill("rf2", 0, 200).await;
    client.create("empty", json!({"shard_number": 2})).await;
    client.create("named", json!({"vectors": {"text": {"size": 4, "distance": "Dot"}}, "hnsw_config": {"m": 8}})).await;
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 2})).await;
    for (key, from) in [(json!("acme"), 0), (json!(7), 100)] {
        let body = json!({"shard_key": key});
        client.ok(Method::PUT, "/collections/tenants/shards?timeout=60", Some(&body)).await;
        client.fill_key("tenants", from, from + 40, Some(&key)).await;
    }
    client.alias("live", "rf1").await;
    client.alias("tenants-live", "tenants").await;
}

/// Backs up by `task`, wipes the cluster, and returns what has to come back. The lists in the work directory are gone, as
/// for a pod that starts with an empty one.
pub async fn back_up_and_wipe(site: &Site, task: &str) -> BTreeMap<String, Content> {
    let client = site.source.client();
    let before = client.contents().await;
    site.run(&[task]).await.expect(0).says(&["all done"]);
    client.wipe().await;
    site.forget_lists();
    before
}

/// The manifests of a collection's backup sets, the oldest first; not what else is noted beside them.
pub fn sets(site: &Site, collection: &str) -> Vec<SetManifest> {
    let keys = site.s3.keys(&SetId::folder(collection));
    keys.iter()
        .filter_map(|key| {
            let (collection, id) = SetId::of_key(key)?;
            let places = Places::default();
            let parsed = SetManifest::parse(&site.s3.get(key).unwrap(), &collection, &id, "snapshots", &places);
            Some(parsed.unwrap())
        })
        .collect()
}

/// A request that is held: the program, or a server of the stand-in, waits there until it may go on.
#[derive(Clone, Default)]
pub struct Hold {
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Hold {
    /// At the next such request of the program to a Qdrant, before it is served.
    pub fn before(s3: &S3, chosen: Chosen, method: Method, uri: &str) -> Self {
        Self::at(s3, chosen, method, uri, Wrong::Before)
    }

    /// At the next such request, when it is served and not yet answered.
    pub fn after(s3: &S3, chosen: Chosen, method: Method, uri: &str) -> Self {
        Self::at(s3, chosen, method, uri, Wrong::After)
    }

    fn at(s3: &S3, chosen: Chosen, method: Method, uri: &str, when: impl FnOnce(Event) -> Wrong) -> Self {
        let hold = Self::default();
        let (reached, go_on) = (Arc::clone(&hold.reached), Arc::clone(&hold.go_on));
        let event = Event::new(move || {
            let go_on = Arc::clone(&go_on);
            reached.notify_one();
            async move { go_on.notified().await }
        });
        let fault = Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: 1, wrong: when(event) };
        s3.faults().add(chosen, fault);
        hold
    }

    /// Waits until it is reached.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.go_on.notify_one();
    }
}
