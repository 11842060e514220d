//! An archive in Qdrant's own engine.

use std::path::Path;

use qdrant_edge::{CountRequest, EdgeShard, ScrollRequest};
use serde_json::{Value, json};

/// What an archive holds.
pub(super) struct Found {
    /// Points, counted and read.
    pub points: u64,
    /// The indexed payload fields.
    pub indexes: Vec<String>,
}

/// Points read at a time.
const PAGE: usize = 1000;

/// Opens `archive` in the new folder `folder` and reads every point with its payload and vectors.
///
/// # Errors
/// The engine does not take it, or does not give back what it counts.
pub(super) fn read(archive: &Path, folder: &Path) -> Result<Found, String> {
    // The engine panics on some files that are not as it wrote them.
    let opened = std::panic::catch_unwind(|| read_all(archive, folder));
    opened.unwrap_or_else(|_| Err("Qdrant's engine crashes on it".to_owned()))
}

fn read_all(archive: &Path, folder: &Path) -> Result<Found, String> {
    let refused = |what: &str, why: String| format!("Qdrant's engine can't {what} it: {why}");
    EdgeShard::unpack_snapshot(archive, folder).map_err(|why| refused("unpack", why.to_string()))?;
    let engine = EdgeShard::load(folder, None).map_err(|why| refused("open", why.to_string()))?;
    let counted = engine.count(CountRequest { filter: None, exact: true });
    let points = counted.map_err(|why| refused("count", why.to_string()))? as u64;
    let mut read = 0;
    let mut offset = Value::Null;
    loop {
        let page = json!({"limit": PAGE, "offset": offset, "with_payload": true, "with_vector": true});
        let page: ScrollRequest = serde_json::from_value(page).map_err(|why| refused("read", why.to_string()))?;
        let (records, next) = engine.scroll(page).map_err(|why| refused("read", why.to_string()))?;
        read += records.len() as u64;
        match next {
            Some(next) => offset = json!(next),
            None => break,
        }
    }
    if read != points {
        return Err(refused("read all of", format!("{read} of {points} points came")));
    }
    let indexes = engine.info().payload_schema.into_keys().map(|field| field.to_string()).collect();
    Ok(Found { points, indexes })
}
