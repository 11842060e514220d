//! Where snapshots lie that this program has stored itself: `streamed/<source>/<collection>/<set>/<shard>.snapshot`. Qdrant's
//! own names repeat within a second; these don't.

use crate::naming;
use crate::places;

const EXTENSION: &str = ".snapshot";

/// Which snapshot lies at a bare key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedKey {
    /// The id of the source, or that which it would have if it had a record.
    pub source: String,
    /// The collection.
    pub collection: String,
    /// The id of the set that it was made for.
    pub set: String,
    /// The shard.
    pub shard: u32,
}

impl StreamedKey {
    /// The prefix of the bare keys of all streamed snapshots of a source.
    pub fn folder(source: &str) -> String {
        format!("{}/{}/", places::STREAMED, naming::escape_segment(source))
    }

    /// The prefix of the bare keys of those of one collection.
    pub fn collection_folder(source: &str, collection: &str) -> String {
        format!("{}{}/", Self::folder(source), naming::escape_segment(collection))
    }

    /// The bare key.
    pub fn key(&self) -> String {
        let folder = Self::collection_folder(&self.source, &self.collection);
        format!("{folder}{}/{}{EXTENSION}", naming::escape_segment(&self.set), self.shard)
    }

    /// Reads a bare key; `None` for any other object's. Some servers list keys with their escapes undone.
    pub fn parse(bare: &str) -> Option<Self> {
        let rest = bare.strip_prefix(places::STREAMED)?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let mut name = || parts.next().and_then(naming::collection_of_folder);
        let (source, collection, set) = (name()?, name()?, name()?);
        let shard = parts.next()?.strip_suffix(EXTENSION)?.parse().ok()?;
        let parsed = Self { source, collection, set, shard };
        // `007` is a number, too, but none that is written; and nothing may follow.
        let same = naming::unescape_segment(&parsed.key()) == naming::unescape_segment(bare);
        (same && parts.next().is_none()).then_some(parsed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_and_others_are_none() {
        let key = StreamedKey {
            source: "00aa".to_owned(),
            collection: "a/b ü..".to_owned(),
            set: "2026-01-29T11-44-22Z-pod".to_owned(),
            shard: 7,
        };
        assert_eq!(key.key(), "streamed/00aa/a%2Fb %C3%BC../2026-01-29T11-44-22Z-pod/7.snapshot");
        assert_eq!(StreamedKey::parse(&key.key()), Some(key));
        for other in [
            "streamed/00aa/docs/set/7.snapshot.checksum",
            "streamed/00aa/docs/set/007.snapshot",
            "streamed/00aa/docs/set/x/7.snapshot",
            "streamed/00aa/../set/7.snapshot",
            "streamed/00aa/%2E%2E/set/7.snapshot",
            "streamed//docs/set/7.snapshot",
            "streamed/docs/set/7.snapshot",
            "snapshots/00aa/docs/set/7.snapshot",
            "",
        ] {
            assert_eq!(StreamedKey::parse(other), None, "{other}");
        }
    }
}
