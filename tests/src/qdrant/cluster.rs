//! What the peers of a cluster share, and the changes of it: what consensus does in Qdrant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::answer::{Outcome, Refusal, bad_request, exists, no_collection, not_found, wrong_input};
use super::collection::{Collection, Transfer};
use super::{Options, Peer, Work};

/// A cluster.
pub struct Cluster {
    /// How it was started.
    pub options: Options,
    /// Its peers.
    pub peers: Vec<Peer>,
    state: Mutex<State>,
}

/// What can change.
#[derive(Default)]
pub struct State {
    /// Name to collection.
    pub collections: BTreeMap<String, Collection>,
    /// The quotas that were set; what a server without any tells is no object.
    pub quotas: Value,
    /// Those before, which are told for as many looks as `late` says.
    pub quotas_before: Value,
    /// How many looks come before consensus.
    pub late: usize,
    /// How often the quotas were looked at.
    pub looks: usize,
    /// The cluster's metadata.
    pub metadata: BTreeMap<String, Value>,
    /// Alias to collection.
    pub aliases: BTreeMap<String, String>,
    /// Peer and collection to the number of snapshots and recoveries at work.
    pub running: BTreeMap<(u64, String), (u64, u64)>,
    /// What was done so far.
    pub done: Vec<Work>,
    /// The ids of peers that were removed from the cluster.
    pub removed: std::collections::BTreeSet<u64>,
    /// Peers that are still members, at the address of the one that came after them.
    pub ghosts: Vec<Peer>,
    /// Counts what was created, so that shards land elsewhere each time.
    created: usize,
}

impl Cluster {
    /// A cluster of `peers`.
    pub fn new(options: Options, peers: Vec<Peer>) -> Self {
        Self { options, peers, state: Mutex::default() }
    }

    /// The state, for one short step.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A test that panics while it looks has spoiled nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a snapshot, a recovery or a transfer is at work.
    pub fn is_busy(&self) -> bool {
        let state = self.state();
        state.running.values().any(|(snapshots, recoveries)| snapshots + recoveries > 0)
            || state.collections.values().any(|collection| !collection.transfers.is_empty())
    }

    /// The members, each with its address.
    pub fn members(&self, state: &State) -> Vec<Peer> {
        let all = self.peers.iter().chain(&state.ghosts);
        all.filter(|peer| !state.removed.contains(&peer.id)).cloned().collect()
    }

    fn ids(&self, state: &State) -> Vec<u64> {
        self.members(state).iter().map(|peer| peer.id).collect()
    }

    /// `DELETE /cluster/peer/{id}`.
    pub fn remove_peer(&self, id: &str, force: bool) -> Outcome {
        let mut state = self.state();
        let Some(id) = id.parse().ok().filter(|id| self.ids(&state).contains(id)) else {
            return Err(not_found(&format!("Peer {id} does not exist")));
        };
        let holds = |collection: &Collection| collection.shards.values().any(|shard| shard.replicas.contains_key(&id));
        if !force && state.collections.values().any(holds) {
            return Err(bad_request(&format!("Cannot remove peer {id} as there are shards on it")));
        }
        for shard in state.collections.values_mut().flat_map(|collection| collection.shards.values_mut()) {
            shard.replicas.remove(&id);
        }
        state.removed.insert(id);
        Ok(json!(true))
    }

    /// `PUT /collections/{c}`.
    pub fn create(&self, name: &str, body: &Value) -> Outcome {
        let mut state = self.state();
        if state.collections.contains_key(name) {
            return Err(exists(name));
        }
        if state.aliases.contains_key(name) {
            return Err(wrong_input(&format!(
                "Can't create collection with name {name}. Alias with the same name already exists"
            )));
        }
        if body["sharding_method"] == "custom" && !self.options.clustered {
            return Err(bad_request("Distributed mode disabled"));
        }
        let mut collection = {
            let Options { service, memory, later, .. } = &self.options;
            Collection::new(body, self.peers.len(), service, *memory, later)?
        };
        if !collection.is_custom() {
            let shards = collection.number("shard_number") as u32;
            for (id, peers) in (0..).zip(self.place(&mut state, shards, collection.number("replication_factor"))) {
                collection.add_shard(id, None, &peers);
            }
        }
        collection.active_from += self.options.settle;
        state.collections.insert(name.to_owned(), collection);
        Ok(json!(true))
    }

    /// Peers for `shards` new shards: evenly, beginning anywhere.
    fn place(&self, state: &mut State, shards: u32, factor: usize) -> Vec<Vec<u64>> {
        state.created += 1;
        let ids = self.ids(state);
        let start = state.created * 7;
        let factor = factor.min(ids.len());
        (0..shards as usize)
            .map(|shard| (0..factor).map(|replica| ids[(start + shard * factor + replica) % ids.len()]).collect())
            .collect()
    }

    /// `DELETE /collections/{c}`: false where there is none. Its aliases go with it.
    pub fn delete(&self, name: &str) -> Outcome {
        let mut state = self.state();
        state.aliases.retain(|_, collection| collection != name);
        Ok(json!(state.collections.remove(name).is_some()))
    }

    /// `POST /collections/aliases`: one after another, and those before a failure stay.
    pub fn change_aliases(&self, body: &Value) -> Outcome {
        let mut state = self.state();
        for action in body["actions"].as_array().into_iter().flatten() {
            let text = |action: &Value, name: &str| action[name].as_str().unwrap_or_default().to_owned();
            if let Some(create) = action.get("create_alias") {
                let (collection, alias) = (text(create, "collection_name"), text(create, "alias_name"));
                if !state.collections.contains_key(&collection) {
                    return Err(no_collection(&collection));
                }
                if state.collections.contains_key(&alias) {
                    return Err(exists(&alias));
                }
                state.aliases.insert(alias, collection);
            } else if let Some(delete) = action.get("delete_alias") {
                state.aliases.remove(&text(delete, "alias_name"));
            }
        }
        Ok(json!(true))
    }

    /// `PUT /collections/{c}/shards`: a shard key, its shard ids upwards from the highest there is.
    pub fn create_shard_key(&self, name: &str, body: &Value) -> Outcome {
        let mut state = self.state();
        let collection = find(&mut state, name)?;
        if !collection.is_custom() {
            return Err(bad_request("Shard Key cannot be created with Auto sharding method"));
        }
        let key = body["shard_key"].clone();
        if collection.shards.values().any(|shard| shard.key.as_ref() == Some(&key)) {
            return Err(bad_request(&format!("Sharding key {key} already exists for collection {name}")));
        }
        let shards =
            body["shards_number"].as_u64().map_or_else(|| collection.number("shard_number"), |shards| shards as usize);
        let factor = body["replication_factor"]
            .as_u64()
            .map_or_else(|| collection.number("replication_factor"), |factor| factor as usize);
        let first = collection.shards.keys().max().map_or(1, |last| last + 1);
        let placed = self.place(&mut state, shards as u32, factor);
        let collection = find(&mut state, name)?;
        for (id, peers) in (first..).zip(placed) {
            collection.add_shard(id, Some(key.clone()), &peers);
        }
        Ok(json!(true))
    }

    /// `POST /collections/{c}/shards/delete`.
    pub fn drop_shard_key(&self, name: &str, body: &Value) -> Outcome {
        let mut state = self.state();
        find(&mut state, name)?.shards.retain(|_, shard| shard.key.as_ref() != Some(&body["shard_key"]));
        Ok(json!(true))
    }

    /// `POST /collections/{c}/cluster`: answers when the change is agreed on; the data follows.
    pub fn change_layout(self: &Arc<Self>, name: &str, body: &Value) -> Outcome {
        if !self.options.clustered {
            return Err(bad_request("Distributed mode disabled"));
        }
        let mut state = self.state();
        let ids = self.ids(&state);
        let collection = find(&mut state, name)?;
        let (action, arguments) =
            body.as_object().and_then(|body| body.iter().next()).ok_or_else(|| bad_request("no action"))?;
        let number = |name: &str| arguments[name].as_u64().unwrap_or_default();
        let id = number("shard_id") as u32;
        let shard = collection.shards.get_mut(&id).ok_or_else(|| not_found(&format!("shard {id} not found")))?;
        match action.as_str() {
            "move_shard" | "replicate_shard" => {
                let transfer = Transfer {
                    shard: id,
                    from: number("from_peer_id"),
                    to: number("to_peer_id"),
                    stays: action == "replicate_shard",
                };
                if !ids.contains(&transfer.to) {
                    return Err(not_found(&format!("Peer {} does not exist", transfer.to)));
                }
                if !shard.replicas.contains_key(&transfer.from) {
                    return Err(bad_request(&format!("Shard {id} is not found on peer {}", transfer.from)));
                }
                if shard.replicas.contains_key(&transfer.to) {
                    return Err(bad_request(&format!("Shard {id} is already replicated on peer {}", transfer.to)));
                }
                self.begin(&mut state, name, transfer)?;
            }
            "drop_replica" => {
                let peer = number("peer_id");
                let active = shard.replicas.values().filter(|replica| replica.state == "Active").count();
                match shard.replicas.get(&peer) {
                    None => return Err(bad_request(&format!("Shard {id} is not found on peer {peer}"))),
                    Some(replica) if replica.state == "Active" && active == 1 => {
                        return Err(bad_request(&format!(
                            "Shard {id} must have at least one active replica after removing peer {peer}"
                        )));
                    }
                    Some(_) => shard.replicas.remove(&peer),
                };
            }
            other => return Err(bad_request(&format!("unknown action {other}"))),
        }
        Ok(json!(true))
    }

    /// Begins a transfer; the replica is there after the cluster's lag.
    fn begin(self: &Arc<Self>, state: &mut State, name: &str, transfer: Transfer) -> Result<(), Refusal> {
        let collection = find(state, name)?;
        if collection.transfers.iter().any(|other| other.shard == transfer.shard) {
            return Err(bad_request(&format!("Shard {} is already involved in transfer", transfer.shard)));
        }
        let mut replica = collection.empty_replica();
        replica.state = "Partial".to_owned();
        if let Some(shard) = collection.shards.get_mut(&transfer.shard) {
            shard.replicas.insert(transfer.to, replica);
        }
        collection.transfers.push(transfer.clone());
        let uuid = collection.uuid.clone();
        let (cluster, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(cluster.options.lag).await;
            let mut state = cluster.state();
            let Ok(collection) = find(&mut state, &name) else { return };
            if collection.uuid == uuid {
                finish(collection, &transfer);
            }
        });
        Ok(())
    }

    /// Has every dead replica of a collection copied from an active one, as Qdrant does by itself.
    pub fn heal(self: &Arc<Self>, state: &mut State, name: &str) {
        let Ok(collection) = find(state, name) else { return };
        let mut transfers = Vec::new();
        for (id, shard) in &collection.shards {
            let active = shard.replicas.iter().find(|(_, replica)| replica.state == "Active").map(|(peer, _)| *peer);
            let dead = shard.replicas.iter().find(|(_, replica)| replica.state == "Dead").map(|(peer, _)| *peer);
            if let (Some(from), Some(to)) = (active, dead) {
                transfers.push(Transfer { shard: *id, from, to, stays: true });
            }
        }
        for transfer in transfers {
            // A shard that is on its way already is healed another time, as in Qdrant.
            let _ = self.begin(state, name, transfer);
        }
    }
}

/// Ends a transfer: the data is there.
fn finish(collection: &mut Collection, transfer: &Transfer) {
    collection.transfers.retain(|other| other != transfer);
    let Some(shard) = collection.shards.get_mut(&transfer.shard) else { return };
    let Some(mut target) = shard.replicas.remove(&transfer.to) else { return };
    if let Some(source) = shard.replicas.get_mut(&transfer.from) {
        target.copy(source);
        target.state = "Active".to_owned();
        if !transfer.stays {
            shard.replicas.remove(&transfer.from);
        }
    }
    shard.replicas.insert(transfer.to, target);
}

/// The collection behind a name or an alias.
pub fn find<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Collection, Refusal> {
    let name = state.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
    state.collections.get_mut(&name).ok_or_else(|| no_collection(&name))
}
