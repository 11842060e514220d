//! The configuration of the collection, held field by field against the backup's. Qdrant fills in the defaults of the
//! target's service for whatever is not named at creation, and "none" can't be named there.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

use super::job::Job;
use crate::error::{Code, Error};
use crate::marker;
use crate::qdrant::CollectionInfo;

/// When it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before the data comes: what is set only in the end is left out.
    Created,
    /// In the end.
    Finished,
}

/// A field that is not as it was.
#[derive(Clone, Debug, PartialEq)]
struct Difference {
    /// Its place, such as `hnsw_config`, `m`.
    path: Vec<String>,
    /// What it was; null for nothing.
    was: Value,
    /// What it is; null for nothing.
    is: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {} and was {}", self.path.join("."), self.is, self.was)
    }
}

/// Compares the configuration of the collection with the backup's, and sets what can be set.
///
/// # Errors
/// Something remains different, and `QDRANT_RESTORE_ACCEPT_CONFIG` is not set. With it, it is returned to be told, as is
/// what can't be compared; and the collection as it was told last.
pub(super) async fn restore(job: &Job<'_>, when: When) -> Result<(Vec<String>, CollectionInfo), Error> {
    let info = job.info().await?;
    let (found, mut notes) = differences_on_target(job, when, &info);
    if found.is_empty() {
        return Ok((notes, info));
    }
    let changes = changes(&found);
    let client = job.client()?;
    let mut refused = String::new();
    if changes.as_object().is_some_and(|changes| !changes.is_empty()) {
        match client.update_collection(&job.plan.collection, &changes).await {
            Ok(()) => {}
            Err(error) if error.status().is_some_and(|status| matches!(status, 400 | 422)) => {
                refused = format!("; {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let info = job.info().await?;
    let (left, _) = differences_on_target(job, when, &info);
    if left.is_empty() {
        return Ok((notes, info));
    }
    let left = left.iter().map(Difference::to_string).collect::<Vec<_>>().join(", ");
    let cause = format!("its configuration differs from the backup's: {left}{refused}");
    if job.context.settings.accept_config {
        job.warn(&cause);
        notes.push(cause);
        return Ok((notes, info));
    }
    Err(Error::new(Code::VerificationFailed, "", cause).advice(
        "configure the target's service as the source's was, or set QDRANT_RESTORE_ACCEPT_CONFIG=true to take it as it is",
    ))
}

/// What differs, and what of the target's configuration can't be compared.
fn differences_on_target(job: &Job<'_>, when: When, info: &CollectionInfo) -> (Vec<Difference>, Vec<String>) {
    let newer = job
        .plan
        .version
        .as_deref()
        .is_none_or(|version| job.cluster.peers.iter().any(|peer| !same_minor(version, &peer.version)));
    let wanted = comparable(&wanted(job), when);
    let mut there = comparable(&info.config, when);
    let mut notes = Vec::new();
    for name in unknown(&wanted) {
        let part = there.as_object_mut().and_then(|fields| fields.remove(name));
        if part.and_then(|part| part.as_object().map(Map::is_empty)) == Some(false) {
            notes.push(format!("its `{name}` is not in the backup, and was not compared"));
        }
    }
    (differences(&wanted, &there, newer), notes)
}

/// The parts of a configuration that every version of Qdrant has, and of which this one tells nothing: what they were is
/// not known.
fn unknown(config: &Value) -> impl Iterator<Item = &'static str> + '_ {
    let parts = ["hnsw_config", "optimizer_config", "wal_config"].into_iter();
    parts.filter(|name| config.get(name).is_none_or(|part| part.as_object().is_none_or(Map::is_empty)))
}

/// The backup's configuration, with what a person asked to be otherwise.
fn wanted(job: &Job<'_>) -> Value {
    let mut wanted = job.plan.config.clone();
    for name in ["replication_factor", "write_consistency_factor"] {
        let asked = job.plan.create.get(name).cloned();
        if let (Some(asked), Some(params)) = (asked, wanted.get_mut("params").and_then(Value::as_object_mut)) {
            params.insert(name.to_owned(), asked);
        }
    }
    wanted
}

/// What of a configuration is compared.
fn comparable(config: &Value, when: When) -> Value {
    let mut config = config.clone();
    let Some(fields) = config.as_object_mut() else { return config };
    // The collection's own id.
    fields.remove("uuid");
    if let Some(metadata) = fields.get_mut("metadata") {
        *metadata = marker::without(metadata);
    }
    // A strict mode that is off is none.
    if fields.get("strict_mode_config").is_some_and(|strict| strict.get("enabled") != Some(&json!(true))) {
        fields.remove("strict_mode_config");
    }
    if let Some(params) = fields.get_mut("params").and_then(Value::as_object_mut) {
        if params.get("sharding_method") == Some(&json!("auto")) {
            params.remove("sharding_method");
        }
        if when == When::Created {
            params.retain(|name, _| !name.starts_with("read_fan_out"));
        }
    }
    if when == When::Created {
        fields.remove("strict_mode_config");
    }
    config
}

/// Fields that every version knows, and whose absence means something.
const ABSENT_MEANS_NONE: &[&str] = &[
    "hnsw_config",
    "max_segment_size",
    "memmap_threshold",
    "metadata",
    "on_disk",
    "quantization_config",
    "read_fan_out_delay_ms",
    "read_fan_out_factor",
    "sparse_vectors",
    "strict_mode_config",
];

/// Every field that differs. `other_version`: a field that the backup does not name at all may be one that its Qdrant
/// did not know.
fn differences(was: &Value, is: &Value, other_version: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), was, is, other_version, &mut found);
    found
}

fn compare(path: &mut Vec<String>, was: &Value, is: &Value, other_version: bool, found: &mut Vec<Difference>) {
    if path.first().is_some_and(|first| first == "metadata") && path.len() == 1 {
        // A user's own: here a null is a value.
        let is_none = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if was != is && !(is_none(was) && is_none(is)) {
            found.push(Difference { path: path.clone(), was: was.clone(), is: is.clone() });
        }
        return;
    }
    let (Some(was_fields), Some(is_fields)) = (was.as_object(), is.as_object()) else {
        if !is_same(was, is) {
            found.push(Difference { path: path.clone(), was: was.clone(), is: is.clone() });
        }
        return;
    };
    let names: BTreeSet<&String> = was_fields.keys().chain(is_fields.keys()).collect();
    for name in names {
        let was = was_fields.get(name);
        if was.is_none() && other_version && !ABSENT_MEANS_NONE.contains(&name.as_str()) {
            continue;
        }
        path.push(name.clone());
        compare(path, was.unwrap_or(&Value::Null), is_fields.get(name).unwrap_or(&Value::Null), other_version, found);
        path.pop();
    }
}

fn is_same(was: &Value, is: &Value) -> bool {
    match (was.as_f64(), is.as_f64()) {
        (Some(was), Some(is)) => was == is,
        _ => was == is || (is_nothing(was) && is_nothing(is)),
    }
}

/// What Qdrant shows for an option that nobody has chosen.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

/// The body of `PATCH /collections/{c}` that sets what differs, as far as Qdrant lets it be set.
fn changes(differences: &[Difference]) -> Value {
    let mut body = json!({});
    for difference in differences {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        let was = &difference.was;
        match path.as_slice() {
            ["quantization_config", ..] => set(&mut body, &["quantization_config"], or_disabled(was, path.len() == 1)),
            ["hnsw_config", name] if !was.is_null() => set(&mut body, &["hnsw_config", name], Some(was.clone())),
            ["hnsw_config", "on_disk"] => set(&mut body, &["hnsw_config", "on_disk"], Some(json!(false))),
            ["optimizer_config", "max_optimization_threads"] if was.is_null() => {
                set(&mut body, &["optimizers_config", "max_optimization_threads"], Some(json!("auto")));
            }
            ["optimizer_config", name] if !was.is_null() => {
                set(&mut body, &["optimizers_config", name], Some(was.clone()));
            }
            ["params", "vectors", "on_disk"] => on_disk(&mut body, "", was),
            ["params", "vectors", "quantization_config", ..] => {
                set(&mut body, &["vectors", "", "quantization_config"], or_disabled(was, path.len() == 3));
            }
            ["params", "vectors", name, "on_disk"] => on_disk(&mut body, name, was),
            ["params", "vectors", name, "quantization_config", ..] => {
                set(&mut body, &["vectors", name, "quantization_config"], or_disabled(was, path.len() == 4));
            }
            ["params", name] if !was.is_null() && !matches!(*name, "vectors" | "sparse_vectors" | "shard_number") => {
                set(&mut body, &["params", name], Some(was.clone()));
            }
            ["params", "on_disk_payload"] => set(&mut body, &["params", "on_disk_payload"], Some(json!(false))),
            ["strict_mode_config"] if was.is_null() => {
                set(&mut body, &["strict_mode_config", "enabled"], Some(json!(false)));
            }
            ["strict_mode_config", name] if !was.is_null() => {
                set(&mut body, &["strict_mode_config", name], Some(was.clone()));
            }
            ["strict_mode_config"] => set(&mut body, &["strict_mode_config"], Some(was.clone())),
            ["metadata"] => metadata(&mut body, was, &difference.is),
            _ => {}
        }
    }
    body
}

/// A quantization, or that there is none. Of one that is there only in part the whole is not known here.
fn or_disabled(was: &Value, whole: bool) -> Option<Value> {
    match (whole, was.is_null()) {
        (true, true) => Some(json!("Disabled")),
        (true, false) => Some(was.clone()),
        (false, _) => None,
    }
}

fn on_disk(body: &mut Value, vector: &str, was: &Value) {
    set(body, &["vectors", vector, "on_disk"], Some(if was.is_null() { json!(false) } else { was.clone() }));
}

/// Entries that are missing or others, and those that are too many. A null can't be set, only given at creation.
fn metadata(body: &mut Value, was: &Value, is: &Value) {
    let mut entries = Map::new();
    for name in is.as_object().into_iter().flat_map(Map::keys) {
        entries.insert(name.clone(), Value::Null);
    }
    for (name, value) in was.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        entries.insert(name.clone(), value.clone());
    }
    entries.retain(|name, value| is.get(name) != Some(value) && (!value.is_null() || was.get(name).is_none()));
    if !entries.is_empty() {
        set(body, &["metadata"], Some(Value::Object(entries)));
    }
}

/// Puts a value to its place.
fn set(body: &mut Value, path: &[&str], value: Option<Value>) {
    let Some(value) = value else { return };
    let mut at = body;
    for name in path {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(*name).or_insert(Value::Null);
    }
    *at = value;
}

fn same_minor(one: &str, other: &str) -> bool {
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    minor(one) == minor(other)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn texts(was: Value, is: Value) -> Vec<String> {
        differences(&was, &is, false).iter().map(Difference::to_string).collect()
    }

    #[test]
    fn what_the_service_filled_in_is_a_difference() {
        let was = json!({"quantization_config": null, "optimizer_config": {"max_segment_size": null, "flush_interval_sec": 5},
            "params": {"vectors": {"size": 4}}});
        let is = json!({"quantization_config": {"scalar": {"type": "int8"}},
            "optimizer_config": {"max_segment_size": 200, "flush_interval_sec": 5.0},
            "params": {"vectors": {"size": 4, "on_disk": true}}});
        assert_eq!(
            texts(was.clone(), is.clone()),
            [
                "`optimizer_config.max_segment_size` is 200 and was null",
                "`params.vectors.on_disk` is true and was null",
                "`quantization_config` is {\"scalar\":{\"type\":\"int8\"}} and was null",
            ]
        );
        let set = changes(&differences(&was, &is, false));
        assert_eq!(set, json!({"quantization_config": "Disabled", "vectors": {"": {"on_disk": false}}}));
    }

    #[test]
    fn what_means_the_same_is_none() {
        let was = json!({"hnsw_config": {"on_disk": null, "m": 16}, "metadata": {}, "params": {"sparse_vectors": {}}});
        let is = json!({"hnsw_config": {"on_disk": false, "m": 16.0}, "params": {}, "quantization_config": null});
        assert!(texts(was, is).is_empty());
        let strict =
            |enabled: bool| comparable(&json!({"strict_mode_config": {"enabled": enabled, "x": 1}}), When::Finished);
        assert!(texts(json!({}), strict(false)).is_empty());
        assert!(!texts(json!({}), strict(true)).is_empty());
    }

    /// What is set last is compared last. That sharding is automatic was not said by every version.
    #[test]
    fn what_comes_last_is_not_compared_before() {
        let params = json!({"sharding_method": "custom", "shard_number": 1});
        let whole = json!({"params": {"sharding_method": "custom", "shard_number": 1, "read_fan_out_factor": 2},
            "strict_mode_config": {"enabled": true}, "uuid": "u"});
        let finished = json!({"params": {"sharding_method": "custom", "shard_number": 1, "read_fan_out_factor": 2},
            "strict_mode_config": {"enabled": true}});
        assert_eq!(comparable(&whole, When::Created), json!({ "params": params }));
        assert_eq!(comparable(&whole, When::Finished), finished);
        assert_eq!(comparable(&json!({"params": {"sharding_method": "auto"}}), When::Finished), json!({"params": {}}));
    }

    #[test]
    fn every_other_value_is_one_and_is_set_where_it_can_be() {
        let was = json!({"hnsw_config": {"m": 8}, "optimizer_config": {"max_optimization_threads": null},
            "params": {"replication_factor": 2, "vectors": {"text": {"quantization_config": {"binary": {}}}}},
            "wal_config": {"wal_capacity_mb": 32}, "strict_mode_config": {"enabled": true}});
        let is = json!({"hnsw_config": {"m": 16}, "optimizer_config": {"max_optimization_threads": 0},
            "params": {"replication_factor": 1, "vectors": {"text": {"quantization_config": {"scalar": {"type": "int8"}}}}},
            "wal_config": {"wal_capacity_mb": 64}});
        let found = differences(&was, &is, false);
        let set = changes(&found);
        assert_eq!(set["hnsw_config"], json!({"m": 8}));
        assert_eq!(set["optimizers_config"], json!({"max_optimization_threads": "auto"}));
        assert_eq!(set["params"], json!({"replication_factor": 2}));
        assert_eq!(set["strict_mode_config"], json!({"enabled": true}));
        assert_eq!(set.get("wal_config"), None, "it can't be changed");
        assert!(found.iter().any(|one| one.path.join(".") == "wal_config.wal_capacity_mb"));
    }

    /// What was nothing is set to what means nothing, where Qdrant has a word for it; of a part no more than what differs.
    #[test]
    fn what_was_nothing_is_set_to_nothing_where_it_can_be() {
        for (was, is, body) in [
            (
                json!({"hnsw_config": {"on_disk": null, "payload_m": null}}),
                json!({"hnsw_config": {"on_disk": true, "payload_m": 8}}),
                json!({"hnsw_config": {"on_disk": false}}),
            ),
            (
                json!({"optimizer_config": {"flush_interval_sec": 5, "max_optimization_threads": 4, "max_segment_size": null}}),
                json!({"optimizer_config": {"flush_interval_sec": 9, "max_optimization_threads": 2, "max_segment_size": 7}}),
                json!({"optimizers_config": {"flush_interval_sec": 5, "max_optimization_threads": 4}}),
            ),
            (
                json!({"params": {"shard_number": 2, "on_disk_payload": null, "read_fan_out_factor": null}}),
                json!({"params": {"shard_number": 3, "on_disk_payload": true, "read_fan_out_factor": 2}}),
                json!({"params": {"on_disk_payload": false}}),
            ),
            (
                json!({"params": {"vectors": {"size": 4}, "sparse_vectors": {"s": {}}}}),
                json!({"params": {"vectors": [], "sparse_vectors": []}}),
                json!({}),
            ),
            (
                json!({"strict_mode_config": {"enabled": true, "max_timeout": 5, "max_query_limit": null}}),
                json!({"strict_mode_config": {"enabled": true, "max_timeout": 9, "max_query_limit": 10}}),
                json!({"strict_mode_config": {"max_timeout": 5}}),
            ),
            (
                json!({}),
                json!({"strict_mode_config": {"enabled": true}}),
                json!({"strict_mode_config": {"enabled": false}}),
            ),
            (
                json!({"params": {"vectors": {"a": {}, "b": {"quantization_config": {"binary": {"always_ram": true}}}}}}),
                json!({"params": {"vectors": {"a": {"quantization_config": {"binary": {}, "x": 1}},
                    "b": {"quantization_config": {"binary": {"always_ram": false}}}}}}),
                json!({"vectors": {"a": {"quantization_config": "Disabled"}}}),
            ),
            (
                json!({"params": {"vectors": {}}}),
                json!({"params": {"vectors": {"quantization_config": {"binary": {}, "x": 1}}}}),
                json!({"vectors": {"": {"quantization_config": "Disabled"}}}),
            ),
        ] {
            assert_eq!(changes(&differences(&was, &is, false)), body, "{was}");
        }
    }

    #[test]
    fn metadata_is_compared_with_its_nulls() {
        let was = json!({"metadata": {"a": null, "b": 1, "c": {"d": null}}});
        assert!(!texts(was.clone(), json!({"metadata": {"b": 1, "c": {"d": null}}})).is_empty());
        assert!(!texts(was.clone(), json!({"metadata": {"a": null, "b": 1, "c": {}}})).is_empty());
        assert!(!texts(json!({"metadata": {"a": null}}), json!({})).is_empty());
        assert!(texts(was.clone(), was.clone()).is_empty());
        let is = json!({"metadata": {"b": 2, "z": 3}});
        let set = changes(&differences(&was, &is, false));
        assert_eq!(set, json!({"metadata": {"b": 1, "c": {"d": null}, "z": null}}));
        // What is as it was is not set again, and what took the place of a null stays: a null would remove it.
        let is = json!({"metadata": {"a": 5, "b": 2, "c": {"d": null}}});
        assert_eq!(changes(&differences(&was, &is, false)), json!({"metadata": {"b": 1}}));
    }

    #[test]
    fn a_field_of_a_newer_qdrant_is_no_difference_an_old_one_is() {
        let is = json!({"hnsw_config": {"m": 16, "memory": "cold"}, "params": {"vectors": {"on_disk": true}}});
        let was = json!({"hnsw_config": {"m": 16}, "params": {"vectors": {}}});
        let found = differences(&was, &is, true);
        assert_eq!(found.iter().map(|one| one.path.join(".")).collect::<Vec<_>>(), ["params.vectors.on_disk"]);
        assert_eq!(differences(&was, &is, false).len(), 2);
    }
}
