//! How a collection is made as it was: what Qdrant is told, and whether it can be told at all. Asked when a backup is
//! made, when it is judged, and when it is restored, so that all three agree.

pub(crate) mod body;
pub(crate) mod names;
pub(crate) mod shard_keys;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::{Code, Error};

/// Why a collection of this configuration (`config` of `GET /collections/{c}`, or `config.json` of a snapshot) and these
/// shards, each with its shard key, can't be made as it is, whatever the target.
///
/// # Errors
/// Says what Qdrant can't be told.
pub(crate) fn check(config: &Value, shards: &[(u32, Option<Value>)]) -> Result<(), Error> {
    body::of(config)?;
    let param = |name: &str| config.pointer(&format!("/params/{name}"));
    if param("sharding_method").and_then(Value::as_str) == Some("custom") {
        return shard_keys::of_shards(shards).map(drop);
    }
    let ids: BTreeSet<u32> = shards.iter().map(|(id, _)| *id).collect();
    let number = param("shard_number").and_then(Value::as_u64).unwrap_or(1);
    if ids.len() as u64 == number && ids.iter().copied().eq(0..ids.len() as u32) {
        return Ok(());
    }
    let there = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::new(
        Code::Unsupported,
        "its layout",
        format!("it has the shards {there} and is configured for {number}, so that it can't be created so"),
    )
    .advice("end or abort the resharding, then back it up again"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_restore_would_refuse_is_known_beforehand() {
        let auto = json!({"params": {"vectors": {}, "shard_number": 2}});
        assert!(check(&auto, &[(0, None), (1, None)]).is_ok());
        for wrong in [&[(0, None)][..], &[(0, None), (2, None)], &[(0, None), (1, None), (2, None)]] {
            assert_eq!(check(&auto, wrong).unwrap_err().code(), Code::Unsupported, "{wrong:?}");
        }
        let custom = json!({"params": {"vectors": {}, "shard_number": 1, "sharding_method": "custom"}});
        let key = |text: &str| Some(json!(text));
        assert!(check(&custom, &[]).is_ok());
        assert!(check(&custom, &[(1, key("a")), (2, key("b")), (3, key("b"))]).is_ok());
        assert!(check(&custom, &[(1, key("a")), (2, key("b")), (3, key("a"))]).is_err());
        assert!(check(&custom, &[(1, key("a")), (2, None)]).is_err());
        assert!(check(&json!({}), &[(0, None)]).is_err());
    }
}
