//! Where two points differ, for people.

use serde_json::Value;

use super::point;

/// The first field in which two points of one id differ, such as `payload.city`, `vector.title[17]`; `None` where their
/// content is the same. Where a point is of no kind that is known, they differ.
pub fn difference(one: &Value, other: &Value) -> Option<String> {
    let whole = |point: &Value| point::hash(point).ok();
    if whole(one).is_some_and(|hash| whole(other) == Some(hash)) {
        return None;
    }
    // Only one part at a time is that of the other: what then differs is in it.
    for part in ["payload", "vector"] {
        let (one, other) = (one.get(part).unwrap_or(&Value::Null), other.get(part).unwrap_or(&Value::Null));
        if let Some(path) = within(one, other, part == "vector") {
            return Some(format!("{part}{path}"));
        }
    }
    Some("as a whole".to_owned())
}

/// The path to the first difference; empty for the value itself.
fn within(one: &Value, other: &Value, is_vector: bool) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().find_map(|name| {
                let (one, other) = (one.get(name), other.get(name));
                match (one, other) {
                    (Some(one), Some(other)) => within(one, other, is_vector).map(|path| format!(".{name}{path}")),
                    _ => Some(format!(".{name}")),
                }
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(place, (one, other))| within(one, other, is_vector).map(|path| format!("[{place}]{path}")))
        }
        (Value::Number(one), Value::Number(other)) => {
            let same = match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) if is_vector => (one as f32).to_bits() == (other as f32).to_bits(),
                (Some(a), Some(b)) if one.is_f64() && other.is_f64() => a.to_bits() == b.to_bits(),
                _ => one == other,
            };
            (!same).then(String::new)
        }
        (one, other) => (one != other).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(one: Value, other: Value) -> Option<String> {
        difference(&one, &other)
    }

    #[test]
    fn the_first_field_that_differs_is_named() {
        let point = |payload: Value, vector: Value| json!({"id": 1, "payload": payload, "vector": vector});
        let same = json!([1.0]);
        for (one, other, path) in [
            (json!({"a": 1, "b": {"c": [1, "x"]}}), json!({"a": 1, "b": {"c": [1, "y"]}}), "payload.b.c[1]"),
            (json!({"a": 1}), json!({"a": 1.0}), "payload.a"),
            (json!({"a": 1}), json!({}), "payload.a"),
            (json!({}), json!({"a": null}), "payload.a"),
            (json!({"a": 0.0}), json!({"a": -0.0}), "payload.a"),
            (json!({"a": 1.5, "b": 1}), json!({"a": 1.5, "b": 2}), "payload.b"),
            (json!({"a": [1]}), json!({"a": [1, 2]}), "payload.a"),
        ] {
            assert_eq!(of(point(one, same.clone()), point(other, same.clone())).as_deref(), Some(path));
        }
        for (one, other, path) in [
            (json!([1.0, 2.0]), json!([1.0, 2.5]), "vector[1]"),
            // The same number of 32 bits.
            (json!([0.1, 2.0]), json!([0.100_000_001_490_116_12, 2.5]), "vector[1]"),
            (json!({"t": [1.0]}), json!({"t": [1.0], "u": [1.0]}), "vector.u"),
            (json!({"t": [0.0]}), json!({"t": [-0.0]}), "vector.t[0]"),
        ] {
            assert_eq!(of(point(json!({}), one), point(json!({}), other)).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_is_told_otherwise_and_the_same_does_not_differ() {
        let one =
            json!({"id": 1, "payload": null, "vector": {"": [1, 0.1], "s": {"indices": [2, 1], "values": [1, 2]}}});
        let other = json!({"id": 1, "vector": {"s": {"values": [2.0, 1.0], "indices": [1, 2]}, "": [1.0, 0.1]}});
        assert_eq!(of(one, other), None);
    }
}
