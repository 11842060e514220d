//! Reading JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a `T`: through [`Value`], since everything else would be compiled once for text and once for values.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_value(value(json)?)
}

fn value(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(json)
}
