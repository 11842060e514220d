//! Points, and digests.

use qdrant_backup_core::content::{Digest, Sample, difference, hash};
use serde_json::Value;

pub fn examples() -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../docs/content-digest.json")).expect("JSON");
    let points = cases.iter().flat_map(|case| case["points"].as_array().expect("points"));
    let digests = cases.iter().map(|case| case["digest"].as_str().expect("a digest").as_bytes().to_vec());
    points.map(|point| point.to_string().into_bytes()).chain(digests).collect()
}

pub fn check(bytes: &[u8]) {
    if let Some(digest) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Digest>().ok()) {
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
    let Ok(point) = serde_json::from_slice::<Value>(bytes) else { return };
    let _ = Sample::default().add(&point, 1, ());
    let Ok(of_point) = hash(&point) else { return };
    assert_eq!(difference(&point, &point), None);
    // One more field is another content, wherever it is.
    let mut other = point.clone();
    if other["payload"].is_null() {
        other["payload"] = Value::Object(serde_json::Map::new());
    }
    let fields = other["payload"].as_object_mut().expect("a payload that has a hash");
    let name = fields.keys().map(String::as_str).collect::<String>() + "x";
    fields.insert(name, Value::Null);
    assert_ne!(hash(&other), Ok(of_point));
    assert!(difference(&point, &other).is_some());
}
