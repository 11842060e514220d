//! From the hosts a person configured to the peers of their clusters, each at an address of its own.
//!
//! A snapshot or a recovery concerns the one peer that gets the request, so that the name of a Service, which
//! leads to any of the pods, is good for asking who is there and for nothing else.

use futures_util::future::{join, join_all};
use http::Uri;
use std::collections::{BTreeMap, BTreeSet};

use super::api::{ClusterInfo, ServerVersion};
use super::client::Client;
use super::collection::Layout;
use super::error::QdrantError;
use super::version;
use crate::error::{Code, Error};
use crate::ports::Ports;
use crate::settings::{Host, Secret, Settings, hash};

/// Servers that form one cluster, or one server on its own.
#[derive(Clone)]
pub struct Cluster {
    /// The configured host by which it was found; names the cluster in files and logs.
    pub host: Host,
    /// False for a server that runs without clustering.
    pub distributed: bool,
    /// The ids of all peers that it names, whether they can be used or not; none without clustering.
    pub members: BTreeSet<u64>,
    /// The peers that answer, by id.
    pub peers: Vec<Peer>,
    /// Peers of the cluster that can't be used, each with the cause.
    pub missing: Vec<Missing>,
}

/// One server.
#[derive(Clone)]
pub struct Peer {
    /// Its id; a server without clustering tells it only with a collection, and has none here.
    pub id: Option<u64>,
    /// Calls this very server.
    pub client: Client,
    /// Version, such as `1.18.3`.
    pub version: String,
    /// The commit it was built from, where it says so.
    pub commit: Option<String>,
}

/// A server that is configured, or known to its cluster, and can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its address, as far as known.
    pub host: String,
    /// Its peer id, where known.
    pub id: Option<u64>,
    /// Why it can't be used and what to do.
    pub cause: String,
}

impl Missing {
    /// How to go on without a peer of this id that is gone for good.
    pub fn remedy(id: u64) -> String {
        format!(
            "if it will not come back, remove it from the cluster: DELETE /cluster/peer/{id} (with ?force=true where \
             replicas are still said to be on it)"
        )
    }

    /// As an error.
    pub fn error(&self) -> Error {
        Error::new(Code::NoPeer, "", self.cause.clone())
    }
}

/// What was found behind the configured hosts.
#[derive(Default)]
pub struct Discovered {
    /// The clusters, in the order of the hosts.
    pub clusters: Vec<Cluster>,
    /// Hosts that did not answer.
    pub missing: Vec<Missing>,
}

/// Finds the source's peers: all of each cluster, or with `GET_PEERS_FROM_CLUSTER_INFO=false` the configured
/// hosts alone.
pub async fn discover_source(ports: &Ports, settings: &Settings) -> Discovered {
    let key = settings.source_api_key.clone();
    discover(ports, settings, &settings.source_hosts, key, settings.discover_peers).await
}

/// Finds the target's peers. Always all of them: a peer that is forgotten at a restore keeps empty shards that
/// look healthy.
pub async fn discover_target(ports: &Ports, settings: &Settings) -> Discovered {
    let key = settings.restore_api_key.clone();
    discover(ports, settings, &settings.restore_hosts, key, true).await
}

/// A configured host that answered as a member of a cluster.
struct Answer {
    client: Client,
    info: ClusterInfo,
    version: ServerVersion,
}

async fn discover(
    ports: &Ports,
    settings: &Settings,
    hosts: &[Host],
    api_key: Option<Secret>,
    all_peers: bool,
) -> Discovered {
    let asked = hosts.iter().map(|host| {
        let client = Client::of(ports, settings, host.clone(), api_key.clone());
        async move { (host.clone(), ask(client).await) }
    });
    let mut discovered = Discovered::default();
    let mut groups: Vec<Vec<Answer>> = Vec::new();
    for (host, answer) in join_all(asked).await {
        match answer {
            Err(error) => {
                discovered.missing.push(Missing { host: host.to_string(), id: None, cause: error.to_string() });
            }
            Ok(answer) => {
                match groups.iter_mut().find(|group| group.iter().any(|known| same_cluster(known, &answer))) {
                    Some(group) => group.push(answer),
                    None => groups.push(vec![answer]),
                }
            }
        }
    }
    for group in groups {
        if let Some(cluster) = to_cluster(group, settings, all_peers).await {
            discovered.clusters.push(cluster);
        }
    }
    discovered
}

async fn ask(client: Client) -> Result<Answer, QdrantError> {
    let (info, version) = join(client.cluster_info(), client.version()).await;
    Ok(Answer { info: info?, version: version?, client })
}

/// True when both answers name a common peer; servers without clustering are each on their own.
fn same_cluster(a: &Answer, b: &Answer) -> bool {
    a.info.peers.keys().any(|id| b.info.peers.contains_key(id))
}

async fn to_cluster(group: Vec<Answer>, settings: &Settings, all_peers: bool) -> Option<Cluster> {
    let first = group.first()?;
    let host = first.client.host().clone();
    if first.info.status != "enabled" {
        let peers = group.into_iter().map(|answer| peer(None, answer.client, answer.version)).collect();
        return Some(Cluster { host, distributed: false, members: BTreeSet::new(), peers, missing: Vec::new() });
    }
    let mut uris: BTreeMap<u64, String> = BTreeMap::new();
    for (id, peer) in group.iter().flat_map(|answer| &answer.info.peers) {
        if let Ok(id) = id.parse() {
            uris.insert(id, peer.uri.clone());
        }
    }
    let answered: BTreeSet<u64> = group.iter().filter_map(|answer| answer.info.peer_id).collect();
    let wanted: Vec<u64> = if all_peers { uris.keys().copied().collect() } else { answered.iter().copied().collect() };
    let found = join_all(wanted.into_iter().map(|id| {
        let configured = group.iter().find(|answer| answer.info.peer_id == Some(id)).map(|answer| &answer.client);
        let own = uris.get(&id).and_then(|uri| rest_host(uri, &host, settings.http_port));
        let name = own.as_ref().map(|own| own.name.as_str()).unwrap_or_default();
        let ruled = settings.peer_hosts.host(id, name, settings.http_port);
        // Who is alone answers at the configured host, whatever port or proxy leads to it.
        let is_alone = uris.len() == 1 && configured.is_some() && ruled.is_none();
        let derived = ruled.or(own).map(|host| first.client.to_host(host));
        let mut candidates: Vec<Client> =
            derived.filter(|_| all_peers).into_iter().chain(configured.cloned()).collect();
        if is_alone {
            candidates.reverse();
        }
        let uri = uris.get(&id).cloned().unwrap_or_default();
        async move { identify(id, &uri, candidates).await }
    }))
    .await;
    let members = uris.keys().copied().chain(answered).collect();
    let mut cluster = Cluster { host, distributed: true, members, peers: Vec::new(), missing: Vec::new() };
    for result in found {
        match result {
            Ok(peer) => cluster.peers.push(peer),
            Err(missing) => cluster.missing.push(missing),
        }
    }
    for missing in &mut cluster.missing {
        // By what the cluster itself says: a rule of QDRANT_PEER_HOSTS may lead to the wrong one.
        let uri = missing.id.and_then(|id| uris.get(&id));
        let is_there = |peer: &&Peer| uri.is_some() && peer.id.and_then(|id| uris.get(&id)) == uri;
        if let Some(now) = cluster.peers.iter().find(is_there) {
            let id = now.id.map(|id| id.to_string()).unwrap_or_default();
            missing.cause = format!(
                "at its address, {}, is the peer {id} now: with a new volume, a pod comes back as another peer",
                missing.host
            );
        }
    }
    Some(cluster)
}

/// The first of `candidates` that proves to be the peer `id`.
async fn identify(id: u64, uri: &str, candidates: Vec<Client>) -> Result<Peer, Missing> {
    let mut causes = Vec::new();
    let mut address = uri.to_owned();
    for (index, client) in candidates.into_iter().enumerate() {
        if index == 0 {
            address = client.host().to_string();
        }
        match ask(client.clone()).await {
            Ok(answer) if answer.info.peer_id == Some(id) => return Ok(peer(Some(id), client, answer.version)),
            Ok(answer) => causes.push(format!(
                "{} answers as peer {} and not as peer {id}; give each peer an address of its own (a headless \
                 Service), with the REST port QDRANT_HTTP_PORT",
                client.host(),
                answer.info.peer_id.map_or_else(|| "without an id".to_owned(), |other| other.to_string()),
            )),
            Err(error) => causes.push(error.to_string()),
        }
    }
    if causes.is_empty() {
        causes.push(format!("its address in the cluster, `{uri}`, can't be read"));
    }
    Err(Missing { host: address, id: Some(id), cause: causes.join("; ") })
}

fn peer(id: Option<u64>, client: Client, version: ServerVersion) -> Peer {
    Peer { id, client, version: version.version, commit: version.commit }
}

/// The REST address of a peer from its address for other peers: the same name, the REST port, and the scheme of
/// the host that was configured, since the peers' own traffic may be plain where REST is not.
fn rest_host(uri: &str, like: &Host, http_port: u16) -> Option<Host> {
    let uri: Uri = uri.parse().ok()?;
    let name = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    (!name.is_empty()).then_some(Host { tls: like.tls, name, port: http_port })
}

/// The id by which a server without clustering goes here: it tells its own only with a collection.
const SINGLE: u64 = 0;

impl Client {
    /// Makes sure that the peer `id` still answers at this address: it may have been replaced since it was found, by one
    /// that is new to the cluster or of another one. Asks only where it has not just answered as that peer. A server
    /// without clustering has no id to go by.
    ///
    /// # Errors
    /// Says who answers, or why nobody does.
    pub async fn expect_peer(&self, collection: &str, id: u64) -> Result<(), String> {
        if id == SINGLE || self.has_just_answered_as(id) {
            return Ok(());
        }
        match self.layout(collection).await.map_err(|error| error.to_string())? {
            Some(layout) if layout.peer_id == id => Ok(()),
            Some(layout) => Err(format!(
                "{} answers as peer {} now and not as peer {id} any more: it was replaced; run the task again",
                self.host(),
                layout.peer_id
            )),
            None => Err(format!(
                "{} has no collection `{collection}` any more: it was deleted, or the peer was replaced",
                self.host()
            )),
        }
    }
}

impl Cluster {
    /// What the first of its peers says that answers `call`: for what any of them can tell.
    ///
    /// # Errors
    /// None answers: says why, of each.
    pub async fn first_answer<T>(&self, call: impl AsyncFn(&Client) -> Result<T, QdrantError>) -> Result<T, Error> {
        let mut causes = Vec::new();
        for peer in &self.peers {
            match call(&peer.client).await {
                Ok(answer) => return Ok(answer),
                Err(error) => causes.push(error.to_string()),
            }
        }
        causes.extend(self.missing.iter().map(|missing| missing.cause.clone()));
        Err(Error::new(Code::NoPeer, "", causes.join("; ")))
    }

    /// The ids of its peers.
    pub fn ids(&self) -> BTreeSet<u64> {
        self.peers.iter().map(|peer| peer.id.unwrap_or(SINGLE)).collect()
    }

    /// The peer that is asked about a collection where any of them can tell: not the same for all collections, which is
    /// what would hold up a backup of many peers.
    pub fn peer_to_ask(&self, collection: &str) -> Option<&Peer> {
        // By what the shares of an Indexed Job are not cut by, so that each pod asks all peers.
        let number = hash(collection).checked_rem(self.peers.len() as u64)?;
        self.peers.get(usize::try_from(number).ok()?)
    }

    /// Where the shards of a collection live as `peer` sees it, in terms of [`Cluster::ids`].
    ///
    /// # Errors
    /// The peer does not answer.
    pub async fn layout(&self, peer: &Peer, collection: &str) -> Result<Option<Layout>, QdrantError> {
        let layout = peer.client.layout(collection).await?;
        Ok(layout.map(|layout| if self.distributed { layout } else { layout.of_single_peer(SINGLE) }))
    }

    /// What to tell of the versions of its peers.
    pub fn version_warnings(&self) -> Vec<String> {
        version::warnings(self.peers.iter().map(|peer| peer.version.as_str()).collect())
    }

    /// True where every peer keeps `metadata` of collections (Qdrant 1.16 and later).
    pub fn knows_metadata(&self) -> bool {
        self.peers.iter().all(|peer| version::is_at_least(&peer.version, (1, 16)))
    }

    /// The peer with this id. A server without clustering is every peer it is asked for.
    pub fn peer(&self, id: u64) -> Option<&Peer> {
        if self.distributed { self.peers.iter().find(|peer| peer.id == Some(id)) } else { self.peers.first() }
    }
}

impl Peer {
    /// Its address, for logs and reports.
    pub fn address(&self) -> String {
        self.client.host().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, tls: bool) -> Host {
        Host { tls, name: name.to_owned(), port: 7000 }
    }

    #[test]
    fn the_rest_address_keeps_its_name_with_our_scheme_and_port() {
        let like = host("qdrant", true);
        let expected = Host { tls: true, name: "qdrant-0.qdrant-headless".to_owned(), port: 6333 };
        assert_eq!(rest_host("http://qdrant-0.qdrant-headless:6335/", &like, 6333), Some(expected.clone()));
        assert_eq!(rest_host("http://Qdrant-0.qdrant-headless/", &like, 6333), Some(expected));
        assert_eq!(
            rest_host("http://[fd00::1]:6335/", &like, 6333).map(|host| host.name),
            Some("[fd00::1]".to_owned())
        );
        assert_eq!(rest_host("", &like, 6333), None);
        assert_eq!(rest_host("nonsense uri", &like, 6333), None);
    }
}
