//! Names of snapshots and keys of objects, as Qdrant makes them (Qdrant: `snapshot_storage_ops.rs`,
//! `collection/snapshots.rs`; object_store: `Path`).

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;

use crate::timestamp;

const EXTENSION: &str = ".snapshot";

/// What object_store, by which Qdrant writes to S3, escapes in a segment of a key: these, and all that isn't ASCII.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'/')
    .add(b'\\')
    .add(b'{')
    .add(b'^')
    .add(b'}')
    .add(b'%')
    .add(b'`')
    .add(b']')
    .add(b'"')
    .add(b'>')
    .add(b'[')
    .add(b'~')
    .add(b'<')
    .add(b'#')
    .add(b'|')
    .add(b'*')
    .add(b'?');

/// The name of a snapshot of a whole collection: `{collection}-{peer}-{timestamp}.snapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// The collection.
    pub collection: String,
    /// The peer that made it.
    pub peer: u64,
    /// When it began to be made, to the second.
    pub started: OffsetDateTime,
}

impl SnapshotName {
    /// Reads the name of a snapshot of `collection`; `None` for anything else, such as the snapshot of a shard
    /// (`{collection}-shard-{shard}-{timestamp}.snapshot`), which Qdrant lists among them.
    pub fn parse(collection: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(collection)?.strip_prefix('-')?.strip_suffix(EXTENSION)?;
        let (peer, timestamp) = rest.split_at_checked(rest.len().checked_sub(timestamp::SNAPSHOT.length())?)?;
        let parsed = Self {
            collection: collection.to_owned(),
            peer: peer.strip_suffix('-')?.parse().ok()?,
            started: timestamp::SNAPSHOT.read(timestamp)?,
        };
        // `+1` and `007` are numbers, too, but none that Qdrant writes.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = timestamp::SNAPSHOT.write(self.started);
        write!(f, "{}-{}-{timestamp}{EXTENSION}", self.collection, self.peer)
    }
}

/// The name of a snapshot of one shard: `{collection}-shard-{shard}-{timestamp}.snapshot`. It does not say which peer made
/// it, so that two snapshots of one shard within a second have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSnapshotName {
    /// The shard.
    pub shard: u32,
    /// When it began to be made, to the second.
    pub started: OffsetDateTime,
}

impl ShardSnapshotName {
    /// Reads the name of a snapshot of a shard of `collection`.
    pub fn parse(collection: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(collection)?.strip_prefix("-shard-")?.strip_suffix(EXTENSION)?;
        let (shard, timestamp) = rest.split_once('-')?;
        let parsed = Self { shard: shard.parse().ok()?, started: timestamp::SNAPSHOT.read(timestamp)? };
        (parsed.shard.to_string() == shard).then_some(parsed)
    }
}

/// The key under which Qdrant stores the snapshot `name` of a shard of `collection`.
pub fn shard_snapshot_key(prefix: &str, collection: &str, shard: u32, name: &str) -> String {
    format!("{}{}", shard_folder(prefix, collection, shard), escape_segment(name))
}

/// The prefix of the keys of all snapshots of a shard.
fn shard_folder(prefix: &str, collection: &str, shard: u32) -> String {
    format!("{}{shard}/", shards_folder(prefix, collection))
}

/// The prefix of the keys of all shard snapshots of a collection.
pub fn shards_folder(prefix: &str, collection: &str) -> String {
    let separator = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{separator}{}/shards/", escape_segment(collection))
}

/// The key under which Qdrant stores the snapshot `name` of `collection`. `prefix` is its `snapshots_path`
/// without `./`, as it stands in keys.
pub fn snapshot_key(prefix: &str, collection: &str, name: &str) -> String {
    let separator = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{separator}{}/{}", escape_segment(collection), escape_segment(name))
}

/// The collection and the snapshot that `key` holds; `None` where it isn't a whole collection's. Some servers
/// list keys with their escapes undone, so both forms are understood.
pub fn snapshot_of_key(prefix: &str, key: &str) -> Option<SnapshotName> {
    let rest = if prefix.is_empty() { key } else { key.strip_prefix(prefix)?.strip_prefix('/')? };
    let (folder, name) = rest.split_once('/')?;
    SnapshotName::parse(&collection_of_folder(folder)?, &unescape_segment(name))
}

/// The `prefix` of the key of a snapshot of a shard of `collection` (see [`shard_snapshot_key`]); `None` for any other key.
pub fn prefix_of_shard_key(collection: &str, key: &str) -> Option<String> {
    let key = format!("/{key}");
    let (prefix, rest) = key.split_once(&format!("/{}", shards_folder("", collection)))?;
    let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
    (is_plain(rest) && (prefix.is_empty() || is_plain(prefix))).then(|| prefix.to_owned())
}

/// True for a key without the parts by which a path leads elsewhere on servers that keep objects in files, and for some
/// proxies.
pub fn is_plain(key: &str) -> bool {
    !key.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// `text` as one segment of a key.
pub fn escape_segment(text: &str) -> String {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// The text behind a segment of a key.
pub fn unescape_segment(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8().map_or_else(|_| segment.to_owned(), |text| text.into_owned())
}

/// The collection whose folder this is. No Qdrant has one of these two names, which in a path lead elsewhere.
pub(crate) fn collection_of_folder(folder: &str) -> Option<String> {
    Some(unescape_segment(folder)).filter(|collection| !matches!(collection.as_str(), "" | "." | ".."))
}

/// `QDRANT_SNAPSHOT_DATETIME_FILTER`: which snapshots are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFilter(String);

impl SnapshotFilter {
    /// A text matches anywhere in a name. A glob (`*`, `?`, `[a-z]`, `{a,b}`) has to match the whole name, or its
    /// date and time (`2026-01-29-*`). Empty: everything.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.trim().to_owned())
    }

    /// True when the snapshot `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        let pattern = self.0.as_str();
        if !pattern.contains(['*', '?', '[', '{']) {
            return name.contains(pattern);
        }
        let bare = name.strip_suffix(EXTENSION).unwrap_or(name);
        let timestamp = bare.len().checked_sub(timestamp::SNAPSHOT.length()).and_then(|start| bare.get(start..));
        [Some(name), Some(bare), timestamp].into_iter().flatten().any(|text| fast_glob::glob_match(pattern, text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_name_is_read_from_the_right() {
        let name = SnapshotName::parse("docs-2", "docs-2-567156434043892-2026-01-29-11-44-27.snapshot").unwrap();
        assert_eq!((name.peer, name.started), (567_156_434_043_892, datetime!(2026-01-29 11:44:27 UTC)));
        let largest = format!("c-{}-2026-01-29-11-44-27.snapshot", u64::MAX);
        assert_eq!(SnapshotName::parse("c", &largest).unwrap().to_string(), largest);
    }

    #[test]
    fn other_names_are_not_snapshots_of_the_collection() {
        for name in [
            "docs-shard-0-2026-01-29-11-44-27.snapshot",
            "docs-2-17-2026-01-29-11-44-27.snapshot",
            "docs2-17-2026-01-29-11-44-27.snapshot",
            "docs-17-2026-01-29-11-44-27.snapshot.checksum",
            "docs-17-2026-13-29-11-44-27.snapshot",
            "docs-017-2026-01-29-11-44-27.snapshot",
            "docs-+17-2026-01-29-11-44-27.snapshot",
            "docs-2026-01-29-11-44-27.snapshot",
            "docs-17-2026-01-2ü-11-44-27.snapshot",
            "docs-.snapshot",
            "",
        ] {
            assert_eq!(SnapshotName::parse("docs", name), None, "{name}");
        }
    }

    /// The key was recorded from Qdrant 1.18.3.
    #[test]
    fn keys_are_qdrants() {
        let name = "ge ün%,odd-1-2026-01-29-11-44-27.snapshot";
        let key = snapshot_key("snapshots", "ge ün%,odd", name);
        assert_eq!(key, "snapshots/ge %C3%BCn%25,odd/ge %C3%BCn%25,odd-1-2026-01-29-11-44-27.snapshot");
        for listed in [key.as_str(), "snapshots/ge ün%,odd/ge ün%,odd-1-2026-01-29-11-44-27.snapshot"] {
            let found = snapshot_of_key("snapshots", listed).unwrap();
            assert_eq!((found.collection.as_str(), found.to_string().as_str()), ("ge ün%,odd", name));
        }
        assert_eq!(snapshot_key("", "..", "x"), "%2E%2E/x");
    }

    #[test]
    fn other_keys_are_left_alone() {
        for key in [
            "snapshots/docs/shards/0/docs-shard-0-2026-01-29-11-44-27.snapshot",
            "snapshots/full-snapshot-2026-01-29-11-44-27.snapshot",
            "snapshots2/docs/docs-1-2026-01-29-11-44-27.snapshot",
            "snapshots/docs/other-1-2026-01-29-11-44-27.snapshot",
            "snapshots/../docs/docs-1-2026-01-29-11-44-27.snapshot",
            "snapshots/../..-1-2026-01-29-11-44-27.snapshot",
            "snapshots/%2E%2e/..-1-2026-01-29-11-44-27.snapshot",
            "snapshots/%2E/.-1-2026-01-29-11-44-27.snapshot",
            "snapshots//-1-2026-01-29-11-44-27.snapshot",
            "snapshots/docs/",
        ] {
            assert_eq!(snapshot_of_key("snapshots", key), None, "{key}");
        }
        assert!(snapshot_of_key("", "docs/docs-1-2026-01-29-11-44-27.snapshot").is_some());
    }

    #[test]
    fn every_segment_comes_back() {
        for text in ["a", "a/b", "%41", "ü", "a b", "..", "~#?*[]{}|<>\"`^\\", "100%"] {
            let escaped = escape_segment(text);
            assert_eq!(unescape_segment(&escaped), text);
            assert!(escaped.is_ascii() && !escaped.contains('/'), "{escaped}");
        }
    }

    #[test]
    fn a_filter_is_text_or_glob() {
        let name = "midlib-567156434043892-2026-01-29-11-44-27.snapshot";
        for pattern in [
            "",
            " ",
            "2026-01-29",
            "-2026-01-29-11",
            "midlib",
            "midlib-*",
            "2026-01-29*",
            "2026-01-??-1*",
            "*2026-01-2[0-9]*",
            "*-2026-01-{28,29}-*.snapshot",
        ] {
            assert!(SnapshotFilter::new(pattern).matches(name), "{pattern}");
        }
        for pattern in ["2026-01-28", "lib-*", "2026-02*", "*.snap", "["] {
            assert!(!SnapshotFilter::new(pattern).matches(name), "{pattern}");
        }
    }
}
