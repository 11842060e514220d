//! What Qdrant is told to create a collection as it was.

use crate::error::{Code, Error};
use crate::marker;
use serde_json::{Map, Value, json};

/// The least `full_scan_threshold` that the API takes (Qdrant, `HnswConfigDiff`).
const LEAST_FULL_SCAN: u64 = 10;

/// The body that creates the collection, and the one that finishes it, from `config.json` of a snapshot or `config` of
/// `GET /collections/{c}`.
///
/// # Errors
/// It has no parameters.
pub(crate) fn of(config: &Value) -> Result<(Value, Option<Value>), Error> {
    let params = config.get("params").and_then(Value::as_object).ok_or_else(|| {
        Error::new(Code::ManifestUnusable, "its configuration", "the backup has no parameters of the collection")
    })?;
    let mut create = Map::new();
    let mut late = Map::new();
    for (name, value) in params {
        // `read_fan_out_*` are refused at creation and taken as an update (Qdrant 1.18).
        let into = if name.starts_with("read_fan_out") { &mut late } else { &mut create };
        into.insert(name.clone(), value.clone());
    }
    for (there, value) in config.as_object().into_iter().flatten() {
        let here = match there.as_str() {
            "params" | "strict_mode_config" | "metadata" => continue,
            // The collection's own id.
            "uuid" => continue,
            "optimizer_config" => "optimizers_config",
            // A part that no version known here has is carried as it is, like every field of the others.
            same => same,
        };
        create.insert(here.to_owned(), value.clone());
    }
    let mut finish = Map::new();
    late.retain(|_, value| !value.is_null());
    if !late.is_empty() {
        finish.insert("params".to_owned(), Value::Object(late));
    }
    if let Some(strict) = config.get("strict_mode_config").filter(|strict| !strict.is_null()) {
        finish.insert("strict_mode_config".to_owned(), without_nulls(strict.clone()));
    }
    let mut create = without_nulls(Value::Object(create));
    // A service may be configured with less than the API takes; where the target's is so too, it comes by itself.
    let hnsw = create.get_mut("hnsw_config").and_then(Value::as_object_mut);
    if let Some(hnsw) =
        hnsw.filter(|hnsw| hnsw.get("full_scan_threshold").and_then(Value::as_u64) < Some(LEAST_FULL_SCAN))
    {
        hnsw.remove("full_scan_threshold");
    }
    // A user's own, in which a null is a value; it can be given at creation only.
    let metadata = config.get("metadata").map(marker::without).filter(|metadata| !metadata.is_null());
    if let (Some(metadata), Some(fields)) = (metadata, create.as_object_mut()) {
        fields.insert("metadata".to_owned(), metadata);
    }
    Ok((create, (!finish.is_empty()).then_some(Value::Object(finish))))
}

/// `value` without object fields that are null: an absent setting and a null one mean the same to Qdrant, but
/// not every field accepts null.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                kept.insert(name, without_nulls(value));
            }
            Value::Object(kept)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// The parameters in which a collection that is there has to agree with the backup: those Qdrant compares at a
/// recovery, and those it forgets to.
pub(crate) fn shape(params: &Value) -> Value {
    let field = |name: &str| params.get(name).cloned().unwrap_or_default();
    without_nulls(json!({
        "vectors": field("vectors"),
        "sparse_vectors": field("sparse_vectors"),
        "shard_number": field("shard_number"),
        "sharding_method": field("sharding_method"),
    }))
}

/// True when `there`, an index as the target describes it, is the `wanted` one.
pub(crate) fn same_index(wanted: &Value, there: &Value) -> bool {
    let data_type = there.get("data_type").and_then(Value::as_str);
    match wanted {
        Value::String(name) => data_type.is_some_and(|data_type| data_type.eq_ignore_ascii_case(name)),
        Value::Object(fields) => {
            let same_type = fields.get("type").and_then(Value::as_str) == data_type;
            let params = there.get("params").cloned().unwrap_or_default();
            same_type && (params.is_null() || without_nulls(params) == without_nulls(wanted.clone()))
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_creation_refuses_and_what_limits_checks_comes_last() {
        let config = json!({
            "params": {"vectors": {}, "shard_number": 1, "read_fan_out_factor": 2, "read_fan_out_delay_ms": null},
            "optimizer_config": {"memmap_threshold": null, "flush_interval_sec": 5},
            "strict_mode_config": {"enabled": true, "max_query_limit": null},
            "quantization_config": null, "uuid": "u",
        });
        let (create, finish) = of(&config).unwrap();
        assert_eq!(create, json!({"vectors": {}, "shard_number": 1, "optimizers_config": {"flush_interval_sec": 5}}));
        assert_eq!(
            finish.unwrap(),
            json!({"params": {"read_fan_out_factor": 2}, "strict_mode_config": {"enabled": true}})
        );
    }

    #[test]
    fn what_no_known_version_has_is_carried_as_it_is() {
        let config = json!({
            "params": {"vectors": {"size": 4, "datatype": "bits8", "new": {"a": [1, {"b": null}]}}, "newer": 1},
            "hnsw_config": {"m": 16, "memory": "pinned"}, "optimizer_config": {"fresh": true},
            "id_tracker": {"on_disk": true}, "uuid": "u",
        });
        let (create, finish) = of(&config).unwrap();
        let expected = json!({
            "vectors": {"size": 4, "datatype": "bits8", "new": {"a": [1, {}]}}, "newer": 1,
            "hnsw_config": {"m": 16, "memory": "pinned"}, "optimizers_config": {"fresh": true},
            "id_tracker": {"on_disk": true},
        });
        assert_eq!((create, finish), (expected, None));
    }

    #[test]
    fn metadata_keeps_nulls_and_refused_fields_are_left_out() {
        let config = json!({"params": {}, "metadata": {"a": null, marker::NAME: {"restore": "r", "backup": "b"}},
            "hnsw_config": {"m": 16, "full_scan_threshold": 9}});
        let (create, _) = of(&config).unwrap();
        assert_eq!(create, json!({"metadata": {"a": null}, "hnsw_config": {"m": 16}}));
        let (create, _) = of(&json!({"params": {}, "hnsw_config": {"full_scan_threshold": 10}})).unwrap();
        assert_eq!(create, json!({"hnsw_config": {"full_scan_threshold": 10}}));
    }

    #[test]
    fn an_index_is_compared_by_type_and_parameters() {
        assert!(same_index(&json!("keyword"), &json!({"data_type": "keyword", "points": 7})));
        assert!(!same_index(&json!("keyword"), &json!({"data_type": "integer"})));
        let lookup = json!({"type": "integer", "lookup": true, "range": null});
        assert!(same_index(&lookup, &json!({"data_type": "integer", "params": {"type": "integer", "lookup": true}})));
        assert!(!same_index(&lookup, &json!({"data_type": "integer", "params": {"type": "integer", "lookup": false}})));
    }
}
