//! The digest of the points of one replica, read from it.

use std::time::Duration;

use serde_json::Value;

use super::reader::{Points, Reader};
use super::{Digest, Sample, point};
use crate::context::Context;
use crate::error::{Code, Error};

/// How many points of a sample are read at a time, however large they are.
const SAMPLED_AT_ONCE: usize = 4;

/// How often it is told how far the reading is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Of which points a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All.
    Full,
    /// So many of each shard, chosen by their ids.
    Sample(u64),
}

/// The digest of `points`.
///
/// # Errors
/// They can't be read, or are none whose content is known.
pub(crate) async fn digest(context: &Context, points: Points<'_>, extent: Extent) -> Result<Digest, Error> {
    let _permit = context.limits.reader().await;
    let mut digest = Digest::default();
    let mut sample = Sample::default();
    let mut reader = Reader::new(points, extent == Extent::Full);
    let (mut read, mut told, mut total) = (0, context.ports.clock.monotonic(), None);
    while let Some(page) = reader.page().await? {
        for point in &page {
            match extent {
                Extent::Full => digest.add(&hash(point)?),
                Extent::Sample(most) => {
                    let id = point.get("id").cloned().unwrap_or_default();
                    sample.add(point, most, id).map_err(unknown)?;
                }
            }
        }
        read += page.len() as u64;
        let now = context.ports.clock.monotonic();
        if now.saturating_sub(told) >= TOLD_EVERY {
            told = now;
            if total.is_none() {
                total = points.count().await.ok();
            }
            let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
            let shard = points.shard.map(|shard| format!(" of shard {shard}")).unwrap_or_default();
            let text = format!("`{}`: {read}{total} points{shard} read", points.collection);
            context.log.info(Some(&points.client.host().to_string()), &text);
        }
    }
    let ids: Vec<Value> = sample.into_chosen().collect();
    for ids in ids.chunks(SAMPLED_AT_ONCE) {
        let found = points.client.retrieve(points.collection, points.shard, ids).await?;
        if found.len() != ids.len() {
            let cause = format!("{} points came of {} that were asked for by their ids", found.len(), ids.len());
            return Err(Error::new(Code::VerificationFailed, points.client.host().to_string(), cause));
        }
        for point in &found {
            digest.add(&hash(point)?);
        }
    }
    Ok(digest)
}

fn hash(found: &Value) -> Result<[u8; 32], Error> {
    point::hash(found).map_err(|why| unknown(format!("point {}: {why}", found.get("id").unwrap_or(&Value::Null))))
}

fn unknown(why: String) -> Error {
    Error::new(Code::QdrantAnswer, "", why).advice("this version does not know all that Qdrant tells of a point")
}
