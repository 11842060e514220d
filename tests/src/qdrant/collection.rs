//! A collection as the cluster agrees on it: configuration, shards, replicas, transfers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answer::{Outcome, Refusal, bad_request, not_found, wrong_input};
use super::replica::Replica;

/// A collection.
pub struct Collection {
    /// Tells two collections of one name apart.
    pub uuid: String,
    /// `config` as `GET /collections/{c}` shows it.
    pub config: Value,
    /// Field to schema, as it was given.
    pub indexes: BTreeMap<String, Value>,
    /// Shard id to shard.
    pub shards: BTreeMap<u32, Shard>,
    /// Replicas on their way.
    pub transfers: Vec<Transfer>,
    /// When all its replicas are active.
    pub active_from: Instant,
    /// How many reads strict mode still allows.
    pub reads_left: Option<u64>,
    /// `green`, or what a fault made of it.
    pub status: &'static str,
    /// True where points are held in memory.
    pub memory: bool,
}

/// A shard.
pub struct Shard {
    /// Its shard key, with custom sharding.
    pub key: Option<Value>,
    /// Peer to its replica.
    pub replicas: BTreeMap<u64, Replica>,
}

/// A replica on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The shard.
    pub shard: u32,
    /// From this peer.
    pub from: u64,
    /// To this peer.
    pub to: u64,
    /// False when the source loses it.
    pub stays: bool,
}

impl Collection {
    /// A collection from the body of `PUT /collections/{c}`, still without shards.
    ///
    /// `service`: what the server's own configuration has for collections that do not say.
    /// `later`: parts of a configuration that a later version than the stand-in's has.
    pub fn new(body: &Value, peers: usize, service: &Value, memory: bool, later: &[String]) -> Result<Self, Refusal> {
        if body["hnsw_config"]["full_scan_threshold"].as_u64().is_some_and(|threshold| threshold < 10) {
            return Err(Refusal {
                status: 422,
                ..bad_request("hnsw_config.full_scan_threshold: value must be 10 or larger")
            });
        }
        let given = |name: &str| {
            let own = body.get(name).filter(|value| !value.is_null()).cloned();
            match service.get(name).filter(|value| !value.is_null()) {
                Some(default) if default.is_object() && name.ends_with("_config") && name != "quantization_config" => {
                    Some(with_defaults(default.clone(), own))
                }
                default => own.or_else(|| default.cloned()),
            }
        };
        if let Some(name) = body.as_object().and_then(|body| body.keys().find(|name| name.starts_with("read_fan_out")))
        {
            return Err(bad_request(&format!("unknown field `{name}`")));
        }
        let custom = given("sharding_method") == Some(json!("custom"));
        let mut params = Map::new();
        params.insert("vectors".to_owned(), given("vectors").unwrap_or(json!({})));
        params
            .insert("shard_number".to_owned(), given("shard_number").unwrap_or(json!(if custom { 1 } else { peers })));
        if custom {
            params.insert("sharding_method".to_owned(), json!("custom"));
        }
        params.insert("replication_factor".to_owned(), given("replication_factor").unwrap_or(json!(1)));
        params.insert("write_consistency_factor".to_owned(), given("write_consistency_factor").unwrap_or(json!(1)));
        params.insert("on_disk_payload".to_owned(), given("on_disk_payload").unwrap_or(json!(true)));
        if let Some(sparse) = given("sparse_vectors") {
            params.insert("sparse_vectors".to_owned(), sparse);
        }
        let mut config = json!({
            "params": params,
            "hnsw_config": with_defaults(json!({"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": false}), given("hnsw_config")),
            "optimizer_config": with_defaults(json!({"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                "max_segment_size": null, "memmap_threshold": null, "indexing_threshold": 10000, "flush_interval_sec": 5,
                "max_optimization_threads": null, "prevent_unoptimized": null}), given("optimizers_config")),
            "wal_config": with_defaults(json!({"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}), given("wal_config")),
            "quantization_config": given("quantization_config"),
        });
        for name in ["strict_mode_config", "metadata"].into_iter().chain(later.iter().map(String::as_str)) {
            if let Some(value) = given(name) {
                config[name] = value;
            }
        }
        Ok(Self {
            uuid: uuid::Uuid::new_v4().to_string(),
            config,
            indexes: BTreeMap::new(),
            shards: BTreeMap::new(),
            transfers: Vec::new(),
            active_from: Instant::now(),
            reads_left: None,
            status: "green",
            memory,
        })
    }

    /// A number among `params`.
    pub fn number(&self, name: &str) -> usize {
        self.config["params"][name].as_u64().unwrap_or(1) as usize
    }

    /// True with custom sharding.
    pub fn is_custom(&self) -> bool {
        self.config["params"]["sharding_method"] == "custom"
    }

    /// Adds a shard with an empty replica on each of `peers`.
    pub fn add_shard(&mut self, id: u32, key: Option<Value>, peers: &[u64]) {
        let replicas = peers.iter().map(|peer| (*peer, self.empty_replica())).collect();
        self.shards.insert(id, Shard { key, replicas });
    }

    /// An empty replica with the indexes of the collection.
    pub fn empty_replica(&self) -> Replica {
        Replica::empty(&self.config["params"], self.memory)
    }

    /// `PATCH`: changes the configuration.
    pub fn update(&mut self, body: &Value) {
        for (there, here) in [
            ("params", "params"),
            ("hnsw_config", "hnsw_config"),
            ("optimizers_config", "optimizer_config"),
            ("strict_mode_config", "strict_mode_config"),
        ] {
            if let Some(change) = body.get(there).filter(|change| change.is_object()) {
                let current = self.config.get(here).cloned().unwrap_or(json!({}));
                // A null changes nothing.
                self.config[here] = with_defaults(current, Some(without_nulls(change)));
            }
        }
        match body.get("quantization_config") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text == "Disabled" => self.config["quantization_config"] = Value::Null,
            Some(change) => self.config["quantization_config"] = change.clone(),
        }
        for (name, change) in body.get("vectors").and_then(Value::as_object).into_iter().flatten() {
            let vectors = &mut self.config["params"]["vectors"];
            let vector = if name.is_empty() { vectors } else { &mut vectors[name] };
            *vector = with_defaults(vector.clone(), Some(without_nulls(change)));
        }
        // As measured on 1.17 to 1.19: a null removes its entry.
        for (name, change) in body.get("metadata").and_then(Value::as_object).into_iter().flatten() {
            if !self.config["metadata"].is_object() {
                self.config["metadata"] = json!({});
            }
            let metadata = self.config["metadata"].as_object_mut().expect("an object");
            if change.is_null() {
                metadata.remove(name);
            } else {
                metadata.insert(name.clone(), change.clone());
            }
        }
        self.reads_left = self.strict().and_then(|strict| strict.get("read_rate_limit").and_then(Value::as_u64));
    }

    /// The strict mode, where it is on.
    pub fn strict(&self) -> Option<&Value> {
        self.config.get("strict_mode_config").filter(|strict| strict["enabled"] == true)
    }

    /// The peer whose replica of `shard` answers for `peer`: its own where it is readable.
    pub fn reader(&self, shard: u32, peer: u64) -> Option<&Replica> {
        let replicas = &self.shards.get(&shard)?.replicas;
        let readable =
            |replica: &&Replica| matches!(replica.state.as_str(), "Active" | "ReshardingScaleDown" | "ActiveRead");
        replicas.get(&peer).filter(readable).or_else(|| replicas.values().find(readable))
    }

    /// Writes points into the shards they belong to.
    pub fn upsert(&mut self, points: &[Value], key: Option<&Value>) -> Outcome {
        let shards: Vec<u32> =
            self.shards.iter().filter(|(_, shard)| shard.key.as_ref() == key).map(|(id, _)| *id).collect();
        if shards.is_empty() {
            return Err(match key {
                Some(key) => not_found(&format!("Shard key {key} not found")),
                None if self.is_custom() => bad_request("Shard key not specified"),
                None => not_found("shard"),
            });
        }
        let mut by_shard: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
        for point in points {
            let mut hasher = DefaultHasher::new();
            point["id"].to_string().hash(&mut hasher);
            by_shard.entry(shards[(hasher.finish() % shards.len() as u64) as usize]).or_default().push(point.clone());
        }
        for (shard, points) in by_shard {
            for replica in self.shards.get_mut(&shard).into_iter().flat_map(|shard| shard.replicas.values_mut()) {
                if replica.state == "Active" {
                    replica.engine.upsert(&points).map_err(|error| wrong_input(&error))?;
                }
            }
        }
        Ok(json!({"operation_id": 1, "status": "completed"}))
    }

    /// Deletes points by id.
    pub fn delete(&mut self, ids: &[Value]) -> Outcome {
        for replica in self
            .shards
            .values_mut()
            .flat_map(|shard| shard.replicas.values_mut())
            .filter(|replica| replica.state == "Active")
        {
            replica.engine.delete(ids).map_err(|error| wrong_input(&error))?;
        }
        Ok(json!({"operation_id": 2, "status": "completed"}))
    }

    /// Indexes a payload field on every replica.
    pub fn index(&mut self, field: &str, schema: &Value) -> Outcome {
        for replica in self.shards.values_mut().flat_map(|shard| shard.replicas.values_mut()) {
            replica.engine.index(field, schema).map_err(|error| wrong_input(&error))?;
        }
        self.indexes.insert(field.to_owned(), schema.clone());
        Ok(json!({"operation_id": 3, "status": "completed"}))
    }

    /// `GET /collections/{c}`, as `peer` sees it.
    pub fn info(&self, peer: u64) -> Value {
        let points: u64 = self
            .shards
            .keys()
            .filter_map(|shard| self.reader(*shard, peer))
            .map(|replica| replica.engine.count())
            .sum();
        let mut schema: Map<String, Value> = Map::new();
        for (field, given) in &self.indexes {
            let shown = match given {
                Value::Object(params) => json!({"data_type": params["type"], "params": given, "points": 0}),
                name => json!({"data_type": name, "points": 0}),
            };
            schema.insert(field.clone(), shown);
        }
        // What the segments have counts, also where it came with a snapshot and was never asked for here.
        for replica in self.shards.keys().filter_map(|shard| self.reader(*shard, peer)) {
            schema.extend(replica.engine.indexes());
        }
        json!({
            "status": self.status, "optimizer_status": "ok", "indexed_vectors_count": 0, "points_count": points, "segments_count": self.shards.len(),
            "config": self.config, "payload_schema": schema, "update_queue": {"length": 0},
        })
    }

    /// `GET /collections/{c}/cluster`, as `peer` sees it.
    pub fn cluster(&self, peer: u64) -> Value {
        let entry = |id: &u32, shard: &Shard| match &shard.key {
            Some(key) => json!({"shard_id": id, "shard_key": key}),
            None => json!({"shard_id": id}),
        };
        let mut local = Vec::new();
        let mut remote = Vec::new();
        for (id, shard) in &self.shards {
            for (owner, replica) in &shard.replicas {
                let mut entry = entry(id, shard);
                let state = if Instant::now() < self.active_from { "Initializing" } else { &replica.state };
                entry["state"] = json!(state);
                if *owner == peer {
                    entry["points_count"] = json!(replica.engine.count());
                    local.push(entry);
                } else {
                    entry["peer_id"] = json!(owner);
                    remote.push(entry);
                }
            }
        }
        let transfers: Vec<Value> = self
            .transfers
            .iter()
            .map(|transfer| json!({"shard_id": transfer.shard, "from": transfer.from, "to": transfer.to, "sync": transfer.stays, "method": "stream_records", "comment": "Transferring records (0/1), started 0s ago"}))
            .collect();
        json!({"peer_id": peer, "shard_count": self.shards.len(), "local_shards": local, "remote_shards": remote, "shard_transfers": transfers})
    }
}

fn without_nulls(change: &Value) -> Value {
    let fields = change.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// `defaults` with what `given` has over it.
fn with_defaults(defaults: Value, given: Option<Value>) -> Value {
    match (defaults, given) {
        (Value::Object(mut defaults), Some(Value::Object(given))) => {
            defaults.extend(given);
            Value::Object(defaults)
        }
        (defaults, _) => defaults,
    }
}
