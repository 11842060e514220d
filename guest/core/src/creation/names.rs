//! Names that Qdrant does not take. Versions before 1.18 took vectors of names that later ones refuse.

use serde_json::Value;

/// The longest name of a vector, in bytes (Qdrant 1.18, `validate_vector_name`).
const LONGEST: usize = 200;

/// What no name may have in it, as it becomes one of a folder (Qdrant, `INVALID_NAME_CHARS`).
const UNSAFE: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];

/// Why no version of Qdrant takes a collection of this name; `None` where it does.
pub(crate) fn of_collection(name: &str) -> Option<String> {
    name.contains(UNSAFE).then(|| format!("the name `{name}` of the collection has a character that Qdrant refuses"))
}

/// Why Qdrant 1.18 and later take no collection with these `params`, a part of its configuration; `None` where they do.
pub(crate) fn of_vectors(params: &Value) -> Option<String> {
    vectors(params).find_map(|name| {
        let why = if name.len() > LONGEST {
            "is longer than 200 bytes"
        } else if name.contains(UNSAFE) {
            "has a character"
        } else {
            return None;
        };
        Some(format!("the name of its vector `{name}` {why}, which Qdrant 1.18 and later refuse"))
    })
}

/// The names of the vectors.
fn vectors(params: &Value) -> impl Iterator<Item = &String> {
    // The one vector without a name has its size where others have their names.
    let dense = params.get("vectors").and_then(Value::as_object).filter(|vectors| !vectors.contains_key("size"));
    let sparse = params.get("sparse_vectors").and_then(Value::as_object);
    dense.into_iter().chain(sparse).flat_map(serde_json::Map::keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_vector_with_a_name_is_looked_at() {
        let refused = |params: Value| of_vectors(&params).is_some();
        assert!(!refused(json!({"vectors": {"size": 4, "distance": "Dot"}})));
        assert!(!refused(json!({"vectors": {"a": {"size": 4}, "b c": {}}, "sparse_vectors": {"x": {}}})));
        assert!(refused(json!({"vectors": {"a": {"size": 4}}, "sparse_vectors": {"b/c": {}}})));
        for (name, wrong) in [("x".repeat(200), false), ("x".repeat(201), true), ("\u{e4}".repeat(101), true)] {
            assert_eq!(refused(json!({"vectors": {name: {}}})), wrong);
        }
        assert!(of_collection("a?").is_some() && of_collection("a b").is_none());
    }
}
