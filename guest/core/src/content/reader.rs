//! Reading points page by page, in the order of their ids.

use serde_json::Value;
use std::cmp::Ordering;

use crate::error::{Code, Error};
use crate::qdrant::{Client, QdrantError};

/// How many bytes a page is to have, about: in memory it takes some times as much.
const PAGE_BYTES: u64 = 1 << 20;

/// How many points the first page has, of whose size nothing is known: a point of a thousand vectors takes megabytes.
const FIRST: u64 = 2;

/// The most points of a page.
const MOST: u64 = 10_000;

/// Whose points are read, and what of them.
#[derive(Clone, Copy)]
pub(crate) struct Points<'a> {
    /// The server.
    pub client: &'a Client,
    /// The collection.
    pub collection: &'a str,
    /// Its own replica of this shard; `None`: the whole collection, as a reader gets it.
    pub shard: Option<u32>,
}

impl Points<'_> {
    /// How many they are.
    ///
    /// # Errors
    /// They can't be counted, as strict mode may have it.
    pub(super) async fn count(&self) -> Result<u64, QdrantError> {
        match self.shard {
            Some(shard) => self.client.count_replica(self.collection, shard).await,
            None => self.client.count(self.collection).await,
        }
    }
}

/// A reader of points.
pub(crate) struct Reader<'a> {
    points: Points<'a>,
    /// With payload and vectors, else ids only.
    content: bool,
    limit: u64,
    /// The most that the server lets be read at a time.
    most: u64,
    next: Next,
    last: Option<Value>,
}

/// Where the next page begins.
enum Next {
    Start,
    At(Value),
    End,
}

impl<'a> Reader<'a> {
    /// From the first point on.
    pub(crate) fn new(points: Points<'a>, content: bool) -> Self {
        Self { points, content, limit: FIRST, most: MOST, next: Next::Start, last: None }
    }

    /// The next points, at least one; `None` when there are no more. A page that the server refuses, or that is too large
    /// to be read, is asked for again with fewer points.
    ///
    /// # Errors
    /// They can't be read, or don't come in the order of their ids, each once.
    pub(crate) async fn page(&mut self) -> Result<Option<Vec<Value>>, Error> {
        let offset = match &self.next {
            Next::Start => None,
            Next::At(offset) => Some(offset),
            Next::End => return Ok(None),
        };
        let Points { client, collection, shard } = self.points;
        let page = loop {
            match client.scroll(collection, shard, self.limit, offset, self.content).await {
                Ok(page) => break page,
                // Strict mode has a most, which nobody but an answer tells.
                Err(error) if self.limit > 1 && (error.is_refused() || error.is_unreadable()) => {
                    self.limit /= 2;
                    self.most = self.limit;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let count = page.points.len() as u64;
        let each = (page.bytes as u64).div_ceil(count.max(1)).max(1);
        // A point that is larger than those before must not make the next page too large.
        self.limit = (PAGE_BYTES / each).clamp(1, self.most.min(self.limit.saturating_mul(4)));
        let wrong = |what: &str| Error::new(Code::QdrantAnswer, client.host().to_string(), what);
        for point in &page.points {
            let id = point.get("id").ok_or_else(|| wrong("a point without an id"))?;
            if self.last.as_ref().is_some_and(|last| order(last, id) != Ordering::Less) {
                return Err(wrong("points that are not in the order of their ids"));
            }
            self.last = Some(id.clone());
        }
        self.next = match page.next {
            None | Some(Value::Null) => Next::End,
            Some(_) if count == 0 => return Err(wrong("a page without points that is not the last one")),
            Some(next) => Next::At(next),
        };
        Ok(Some(page.points).filter(|points| !points.is_empty()))
    }
}

/// The order of ids: numbers first, then UUIDs.
pub(super) fn order(one: &Value, other: &Value) -> Ordering {
    match (one.as_u64(), other.as_u64()) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.as_str().unwrap_or_default().cmp(other.as_str().unwrap_or_default()),
    }
}
