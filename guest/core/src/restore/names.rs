//! Names that the target's Qdrant does not take. Versions before 1.18 took vectors of names that later ones refuse.

use serde_json::Value;

use super::plan::Plan;
use super::version::parse;
use crate::error::{Code, Error};
use crate::qdrant::Cluster;

/// The longest name of a vector, in bytes (Qdrant 1.18, `validate_vector_name`).
const LONGEST: usize = 200;

/// What no name may have in it, as it becomes one of a folder (Qdrant, `INVALID_NAME_CHARS`).
const UNSAFE: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];

/// Makes sure that the target takes the names of the collection and its vectors, before anything is touched.
///
/// # Errors
/// Names the one that it does not take.
pub(super) fn check(plan: &Plan, cluster: &Cluster) -> Result<(), Error> {
    let refused = |what: String, why: &str| {
        let cause = format!("{what} {why}, which this version of Qdrant refuses; nothing was touched");
        Err(Error::new(Code::Unsupported, "", cause).advice("restore it into the version that made the backup"))
    };
    if plan.collection.contains(UNSAFE) {
        return refused(format!("the collection's name `{}`", plan.collection), "has a character");
    }
    let newest = cluster.peers.iter().filter_map(|peer| parse(&peer.version)).max();
    if newest.is_some_and(|(major, minor, _)| (major, minor) < (1, 18)) {
        return Ok(());
    }
    for name in vectors(&plan.create) {
        if name.len() > LONGEST {
            return refused(format!("the name of its vector `{name}`"), "is longer than 200 bytes");
        }
        if name.contains(UNSAFE) {
            return refused(format!("the name of its vector `{name}`"), "has a character");
        }
    }
    Ok(())
}

/// The names of the vectors in a body that creates a collection.
fn vectors(body: &Value) -> impl Iterator<Item = &String> {
    // The one vector without a name has its size where others have their names.
    let dense = body.get("vectors").and_then(Value::as_object).filter(|vectors| !vectors.contains_key("size"));
    let sparse = body.get("sparse_vectors").and_then(Value::as_object);
    dense.into_iter().chain(sparse).flat_map(serde_json::Map::keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_vector_with_a_name_is_found() {
        let names = |body: Value| vectors(&body).cloned().collect::<Vec<_>>();
        assert_eq!(names(json!({"vectors": {"size": 4, "distance": "Dot"}})), Vec::<String>::new());
        assert_eq!(names(json!({"vectors": {"a": {"size": 4}}, "sparse_vectors": {"b/c": {}}})), ["a", "b/c"]);
    }
}
