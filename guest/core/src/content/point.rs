//! One point as bytes, the same for the same content wherever and in whichever order it is told, and their hash.

use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

/// What a point's hash begins with: another use or version of SHA-256 has other values.
const POINT: &[u8] = b"qdrant-backup point 1\n";

/// What the hash begins with by which points are chosen for a sample.
const RANK: &[u8] = b"qdrant-backup sample 1\n";

/// The hash of a point as Qdrant's scroll tells it, with payload and vectors.
///
/// # Errors
/// It is no point whose whole content is known: says why.
pub fn hash(point: &Value) -> Result<[u8; 32], String> {
    let mut bytes = POINT.to_vec();
    id(point, &mut bytes)?;
    match point.get("payload") {
        None | Some(Value::Null) => object(&Map::new(), &mut bytes),
        Some(Value::Object(payload)) => object(payload, &mut bytes),
        Some(_) => return Err("its payload is no object".to_owned()),
    }
    vectors(point, &mut bytes)?;
    Ok(Sha256::digest(&bytes).into())
}

/// The place of a point among all: those with the lowest are a sample that everybody chooses alike.
///
/// # Errors
/// It has no id.
pub fn sample_rank(point: &Value) -> Result<[u8; 32], String> {
    let mut bytes = RANK.to_vec();
    id(point, &mut bytes)?;
    Ok(Sha256::digest(&bytes).into())
}

fn id(point: &Value, bytes: &mut Vec<u8>) -> Result<(), String> {
    match point.get("id") {
        Some(Value::String(uuid)) => text(&uuid.to_ascii_lowercase(), bytes),
        Some(Value::Number(id)) if id.is_u64() => number(id, bytes),
        _ => return Err("it has no id".to_owned()),
    }
    Ok(())
}

fn value(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(b'n'),
        Value::Bool(true) => bytes.push(b't'),
        Value::Bool(false) => bytes.push(b'f'),
        Value::Number(found) => number(found, bytes),
        Value::String(found) => text(found, bytes),
        Value::Array(items) => {
            head(b'a', items.len(), bytes);
            items.iter().for_each(|item| self::value(item, bytes));
        }
        Value::Object(fields) => object(fields, bytes),
    }
}

fn object(fields: &Map<String, Value>, bytes: &mut Vec<u8>) {
    head(b'o', fields.len(), bytes);
    for (name, field) in sorted(fields) {
        text(name, bytes);
        value(field, bytes);
    }
}

/// By the bytes of their names: the order in which JSON has them means nothing.
fn sorted(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    fields
}

/// Whole numbers as they are written, others as the bits of a double.
fn number(number: &Number, bytes: &mut Vec<u8>) {
    let written = match number.as_f64() {
        Some(double) if number.is_f64() => format!("d{:016x};", double.to_bits()),
        _ => format!("i{number};"),
    };
    bytes.extend_from_slice(written.as_bytes());
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    head(b's', text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn head(kind: u8, count: usize, bytes: &mut Vec<u8>) {
    bytes.push(kind);
    bytes.extend_from_slice(format!("{count}:").as_bytes());
}

/// Every vector that the point has. The one without a name is the one with an empty name.
fn vectors(point: &Value, bytes: &mut Vec<u8>) -> Result<(), String> {
    let named = match point.get("vector") {
        Some(Value::Object(named)) => sorted(named),
        Some(Value::Array(_)) => Vec::new(),
        None | Some(_) => return Err("its vectors were not told".to_owned()),
    };
    let unnamed = String::new();
    let single = point.get("vector").filter(|vector| vector.is_array()).map(|vector| (&unnamed, vector));
    let all: Vec<_> = single.into_iter().chain(named).collect();
    head(b'v', all.len(), bytes);
    for (name, found) in all {
        text(name, bytes);
        vector(found, bytes).ok_or_else(|| format!("its vector `{name}` is of no kind that is known"))?;
    }
    Ok(())
}

/// `None` for what is no vector.
fn vector(vector: &Value, bytes: &mut Vec<u8>) -> Option<()> {
    match vector {
        Value::Array(rows) if rows.first().is_some_and(Value::is_array) => {
            head(b'm', rows.len(), bytes);
            rows.iter().try_for_each(|row| dense(row.as_array()?, bytes))
        }
        Value::Array(numbers) => dense(numbers, bytes),
        Value::Object(sparse) if sparse.len() == 2 => {
            let list = |name| sparse.get(name).and_then(Value::as_array);
            let (indices, values) = (list("indices")?, list("values")?);
            let indices = indices.iter().map(|index| u32::try_from(index.as_u64()?).ok());
            let mut entries: Vec<_> =
                indices.zip(values).map(|(index, value)| Some((index?, value))).collect::<Option<_>>()?;
            if entries.len() != values.len() || list("indices")?.len() != values.len() {
                return None;
            }
            entries.sort_by_key(|(index, _)| *index);
            head(b'x', entries.len(), bytes);
            for (index, value) in entries {
                bytes.extend_from_slice(&index.to_be_bytes());
                element(value, bytes)?;
            }
            Some(())
        }
        _ => None,
    }
}

fn dense(numbers: &[Value], bytes: &mut Vec<u8>) -> Option<()> {
    head(b'e', numbers.len(), bytes);
    numbers.iter().try_for_each(|number| element(number, bytes))
}

/// A number of a vector is a float of 32 bits, whatever it is stored as. JSON has `null` for those that are no numbers.
fn element(number: &Value, bytes: &mut Vec<u8>) -> Option<()> {
    let bits = match number {
        Value::Null => 0x7fc0_0000,
        number => (number.as_f64()? as f32).to_bits(),
    };
    bytes.extend_from_slice(&bits.to_be_bytes());
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_wholly_known_has_no_hash() {
        let dense = json!([1.0]);
        for (id, payload, vector) in [
            (json!(null), json!({}), dense.clone()),
            (json!(-1), json!({}), dense.clone()),
            (json!(1), json!([]), dense.clone()),
            (json!(1), json!({}), json!(null)),
            (json!(1), json!({}), json!(["1"])),
            (json!(1), json!({}), json!([[1.0], 2.0])),
            (json!(1), json!({}), json!({"a": 1.0})),
            (json!(1), json!({}), json!({"a": {"indices": [1, 2], "values": [1.0]}})),
            (json!(1), json!({}), json!({"a": {"indices": [1], "values": [1.0, 2.0]}})),
            (json!(1), json!({}), json!({"a": {"indices": [-1], "values": [1.0]}})),
            (json!(1), json!({}), json!({"a": {"indices": [1], "values": [1.0], "more": []}})),
        ] {
            let point = json!({"id": id, "payload": payload, "vector": vector});
            assert!(hash(&point).is_err(), "{point}");
        }
        assert!(hash(&json!({"id": 1, "payload": {}})).is_err());
    }

    /// Everything that could be told otherwise and mean something else.
    #[test]
    fn no_two_contents_look_the_same() {
        let payloads = [
            json!({}),
            json!({"a": null}),
            json!({"a": []}),
            json!({"a": {}}),
            json!({"a": ""}),
            json!({"a": "n"}),
            json!({"a": false}),
            json!({"a": 0}),
            json!({"a": 0.0}),
            json!({"a": -0.0}),
            json!({"a": "0"}),
            json!({"a": [[]]}),
            json!({"a": [1, 2]}),
            json!({"a": [12]}),
            json!({"a": [1], "b": [2]}),
            json!({"a": [], "b": [1, 2]}),
            json!({"as1:b": 1}),
            json!({"a": {"b": 1}}),
        ];
        let vectors = [
            json!({}),
            json!([]),
            json!([1.0]),
            json!([1.0, 0.0]),
            json!([[1.0]]),
            json!([[1.0], [0.0]]),
            json!([[1.0, 0.0]]),
            json!({"a": [1.0]}),
            json!({"a": [1.0], "b": [1.0]}),
            json!({"a": {"indices": [0], "values": [1.0]}}),
            json!({"a": {"indices": [1], "values": [0.0]}}),
            json!({"indices": [1], "values": [0.0]}),
            json!({"indices": [0], "values": [1.0]}),
        ];
        let mut hashes = Vec::new();
        for id in [json!(1), json!(2), json!("00000000-0000-0000-0000-000000000001")] {
            for payload in &payloads {
                for vector in &vectors {
                    hashes.push(hash(&json!({"id": id, "payload": payload, "vector": vector})).unwrap());
                }
            }
        }
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }
}
