//! What a manifest says of where it comes from: read from all of them, before any is judged. A manifest that could not be
//! restored here, such as one whose snapshots lie under another prefix, still says whose it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::found::{Found, LIMIT};
use super::manifest::SetId;
use crate::concurrent;
use crate::naming;
use crate::settings::Settings;
use crate::store::ObjectStore;

/// How many manifests are read at the same time.
const AT_ONCE: usize = 16;

/// Where a set comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetHeader {
    /// The id of its source; `None` in sets of the script and of version 0.1.0.
    pub source_id: Option<String>,
    /// What people called the source.
    pub source_name: Option<String>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The peers that it was made on, as far as it says.
    pub peers: BTreeSet<u64>,
    /// The prefix of Qdrant's own (`QDRANT_S3_KEY_PREFIX`) below which all of its snapshots lie; `None` where they lie
    /// below none in common.
    pub key_prefix: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    source_id: Option<String>,
    source_name: Option<String>,
    run_id: Option<String>,
    source: Option<ToldSource>,
    #[serde(default)]
    shards: Vec<ToldShard>,
}

#[derive(Deserialize)]
struct ToldSource {
    #[serde(default)]
    peers: Vec<ToldPeer>,
}

#[derive(Deserialize)]
struct ToldPeer {
    #[serde(default)]
    id: u64,
}

#[derive(Deserialize)]
struct ToldShard {
    #[serde(default)]
    source_peer_id: u64,
    #[serde(default)]
    s3_key: String,
}

impl SetHeader {
    /// Reads it from a manifest of `collection`; `None` where it is none.
    pub fn parse(json: &[u8], collection: &str) -> Option<Self> {
        let told: Told = crate::decode::json(json).ok()?;
        let mut prefixes = told.shards.iter().map(|shard| naming::prefix_of_shard_key(collection, &shard.s3_key));
        let first = prefixes.next().flatten();
        let key_prefix = first.filter(|first| prefixes.all(|other| other.as_ref() == Some(first)));
        let named = told.source.iter().flat_map(|source| &source.peers).map(|peer| peer.id);
        let made = told.shards.iter().map(|shard| shard.source_peer_id);
        Some(Self {
            // 0 stands for a server that was not known by its id, and such servers are not all one.
            peers: named.chain(made).filter(|id| *id != 0).collect(),
            source_id: told.source_id,
            source_name: told.source_name,
            run_id: told.run_id,
            key_prefix,
        })
    }
}

/// A set with what it says of its origin; `None` where it can't be read, or is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headed {
    /// The collection.
    pub collection: String,
    /// The set.
    pub found: Found,
    /// Where it comes from.
    pub header: Option<SetHeader>,
}

impl Headed {
    /// True for one that passes the choice of a moment, or of a run: `QDRANT_SNAPSHOT_DATETIME_FILTER`, with which its id or
    /// that of its run begins, and `QDRANT_RESTORE_BEFORE`.
    pub fn passes(&self, settings: &Settings) -> bool {
        let before = settings.restore_before;
        self.found.id.is_meant(self.header.as_ref(), &settings.snapshot_filter)
            && before.is_none_or(|before| self.found.id.started().is_some_and(|started| started < before))
    }
}

impl SetId {
    /// True where this id, or that of the run which made the set, begins with `filter` (`QDRANT_SNAPSHOT_DATETIME_FILTER`).
    /// `header`: what its manifest says, where that can be read.
    fn is_meant(&self, header: Option<&SetHeader>, filter: &str) -> bool {
        let run = header.and_then(|header| header.run_id.as_deref()).unwrap_or_default();
        self.as_str().starts_with(filter) || run.starts_with(filter)
    }
}

/// Which sets a task looks at that judges each by itself: those that a restore would take, and those that can't be read and
/// may be among them.
pub struct Meant<'a> {
    filter: &'a str,
    /// Of a set that can't be read nobody knows of which run it is; of which time, its own id tells.
    is_run: bool,
}

impl<'a> Meant<'a> {
    /// What `filter` (`QDRANT_SNAPSHOT_DATETIME_FILTER`) means among `all`: a time or a set where the id of one begins with
    /// it, else a run.
    pub fn new(filter: &'a str, all: &BTreeMap<String, Vec<Found>>) -> Self {
        let is_run = !all.values().flatten().any(|set| set.id.as_str().starts_with(filter));
        Self { filter, is_run }
    }

    /// True for a set that is meant, or may be. `header`: what its manifest says, where that can be read.
    pub fn takes(&self, set: &SetId, header: Option<&SetHeader>) -> bool {
        set.is_meant(header, self.filter) || (header.is_none() && self.is_run)
    }
}

/// Reads the headers of all these sets, of each collection the oldest first.
pub async fn headers(store: &dyn ObjectStore, sets: &BTreeMap<String, Vec<Found>>) -> Vec<Headed> {
    let all = sets.iter().flat_map(|(collection, sets)| sets.iter().map(move |found| (collection, found)));
    let read = all.map(|(collection, found)| async move {
        let json = store.get_listed(&found.key, found.bytes, LIMIT).await.ok().flatten();
        let header = json.and_then(|json| SetHeader::parse(&json, collection));
        Headed { collection: collection.clone(), found: found.clone(), header }
    });
    let mut headed: Vec<Headed> = Vec::new();
    concurrent::at_most(AT_ONCE, read, |one| headed.push(one)).await;
    headed.sort_by(|left, right| (&left.collection, &left.found.id).cmp(&(&right.collection, &right.found.id)));
    headed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_and_new_manifests_say_where_they_come_from() {
        let read = |value: serde_json::Value| SetHeader::parse(value.to_string().as_bytes(), "docs");
        let script =
            read(json!({"shards": [{"source_peer_id": 7}, {"source_peer_id": 0}], "schema_version": 2})).unwrap();
        assert_eq!((script.source_id, script.peers), (None, BTreeSet::from([7])));
        let new = json!({"source_id": "0a", "source_name": "prod", "run_id": "r", "source": {"peers": [{"id": 1}, {"id": 2}]},
            "shards": [{"source_peer_id": 1}], "schema_version": 99, "later": {}});
        let new = read(new).unwrap();
        assert_eq!((new.source_id.as_deref(), new.run_id.as_deref()), (Some("0a"), Some("r")));
        assert_eq!(new.peers, BTreeSet::from([1, 2]));
        assert_eq!(read(json!([])), None);
        let below = |keys: &[&str]| {
            let shards: Vec<_> = keys.iter().map(|key| json!({"s3_key": key})).collect();
            read(json!({"shards": shards})).unwrap().key_prefix
        };
        assert_eq!(below(&["a/b/docs/shards/0/x", "a/b/docs/shards/1/y"]).as_deref(), Some("a/b"));
        assert_eq!(below(&["docs/shards/0/x"]).as_deref(), Some(""));
        for keys in [
            &["a/docs/shards/0/x", "b/docs/shards/1/y"][..],
            &["a/docs/shards/0/x", "a/other/shards/1/y"],
            &["a//docs/shards/0/x"],
            &["a/../docs/shards/0/x"],
            &["a/docs/shards/0/../x"],
            &["a/docs/0/x"],
            &[],
        ] {
            assert_eq!(below(keys), None, "{keys:?}");
        }
        assert_eq!(SetHeader::parse(b"{", "docs"), None);
    }
}
