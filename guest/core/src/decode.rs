//! Reading JSON into structures. An error names the field in which it is.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a `T` from text.
///
/// # Errors
/// It is not JSON, or not a `T`: says where, or which field.
pub(crate) fn json<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    // As a value first: in it the last of two fields of one name counts, which some writers rely on.
    from_value(serde_json::from_slice(json).map_err(|error| error.to_string())?)
}

/// Reads a `T` from a value.
///
/// # Errors
/// It is not a `T`: says which field.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if path == "." { cause.to_string() } else { format!("field `{path}`: {cause}") }
    })
}
