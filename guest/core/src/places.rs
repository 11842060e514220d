//! Where in the bucket the tool's own objects lie: the one place that knows their folders and their prefix.
//!
//! Keys are made without the prefix (`backup_manifests/docs/x.json`) and put under it here. Without a prefix
//! (`QDRANT_BACKUP_PREFIX`) they lie at the root of the bucket, where all versions have put them; with one, what lies at
//! the root goes on being read.

/// The manifests of sets.
pub const SET_MANIFESTS: &str = "backup_manifests";
/// The manifests of snapshots of whole collections.
pub const SNAPSHOT_MANIFESTS: &str = "snapshot_manifests";
/// The aliases.
pub const ALIASES: &str = "collection_aliases_store";
/// Who is at work.
pub const LOCKS: &str = "run_locks";
/// What restores have begun and ended.
pub const RESTORE_STATE: &str = "restore_state";
/// The last report of every task.
pub const REPORTS: &str = "run_reports";
/// How far `verify` is in its round.
pub const VERIFY_STATE: &str = "verify_state";
/// The sources.
pub const SOURCES: &str = "sources";
/// Snapshots of shards that this tool has stored itself.
pub const STREAMED: &str = "streamed";
/// The runs, with the collections that there were.
pub const RUNS: &str = "runs";

/// Every folder of the tool.
pub const FOLDERS: [&str; 10] =
    [SET_MANIFESTS, SNAPSHOT_MANIFESTS, ALIASES, LOCKS, RESTORE_STATE, REPORTS, VERIFY_STATE, SOURCES, RUNS, STREAMED];

/// The place of the tool's own objects in one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    prefix: String,
    reads_root: bool,
}

impl Places {
    /// Below `prefix` (no slash at either end; empty: the root). `reads_root`: whether the keys may list what lies at
    /// the root; without a prefix that is the place itself.
    pub fn new(prefix: &str, reads_root: bool) -> Self {
        Self { prefix: prefix.to_owned(), reads_root: reads_root && !prefix.is_empty() }
    }

    /// The prefix; empty for the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// True where every place is looked at in which a version of this tool may have put its objects.
    pub fn is_whole(&self) -> bool {
        self.prefix.is_empty() || self.reads_root
    }

    /// The key under which `bare` is written.
    pub fn ours(&self, bare: &str) -> String {
        if self.prefix.is_empty() { bare.to_owned() } else { format!("{}/{bare}", self.prefix) }
    }

    /// The keys under which `bare` may lie, the one that counts first.
    pub fn all(&self, bare: &str) -> Vec<String> {
        let root = self.reads_root.then(|| bare.to_owned());
        std::iter::once(self.ours(bare)).chain(root).collect()
    }

    /// `key` without the prefix.
    pub fn bare<'k>(&self, key: &'k str) -> &'k str {
        if self.prefix.is_empty() {
            return key;
        }
        key.strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_written_below_and_the_root_is_read_too() {
        let places = Places::new("team/a", true);
        assert_eq!(places.ours("sources/x.json"), "team/a/sources/x.json");
        assert_eq!(places.all("sources/"), ["team/a/sources/", "sources/"]);
        assert_eq!(places.bare("team/a/sources/x.json"), "sources/x.json");
        assert_eq!(places.bare("sources/x.json"), "sources/x.json");
        assert_eq!(places.bare("team/ab/sources/x.json"), "team/ab/sources/x.json");
        let alone = Places::new("team/a", false);
        assert_eq!(alone.all("sources/"), ["team/a/sources/"]);
        assert!(places.is_whole() && !alone.is_whole());
    }

    #[test]
    fn without_a_prefix_there_is_one_place() {
        let places = Places::new("", true);
        assert_eq!(places.all("sources/"), ["sources/"]);
        assert_eq!(places.bare("sources/x"), "sources/x");
        assert!(places.is_whole() && Places::default().is_whole());
    }
}
