//! What a person can ask for: the tasks, their names, and the command line.

/// A task with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// `get_coll`: the collections of the source, into `collections`.
    GetCollections,
    /// `get_snap`: the snapshots Qdrant lists, into `snapshots`.
    GetSnapshots,
    /// `get_snap_s3`: the snapshots in the bucket, into `snapshots`.
    GetSnapshotsS3,
    /// `get_colla`: the aliases of the source, into `collection_aliases`.
    GetAliases,
    /// `create_snap`: a snapshot of each collection on each peer, the aliases, a manifest.
    CreateSnapshots,
    /// `recover_snap`: collections from their snapshots, then the aliases.
    RecoverSnapshots,
    /// `recover_colla`: the aliases alone.
    RecoverAliases,
    /// `reset`: removes the state files, or renames them.
    Reset {
        /// Rename to `<file>-<time>.bkp` rather than remove.
        keep_backup: bool,
    },
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run a task.
    Run(Task),
    /// Print this text on standard output and succeed (`--help`, `--version`).
    Print(String),
}

/// Why a command line is wrong, with the usage to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
