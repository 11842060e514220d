//! The table of the tasks: one row each. The command line, its help, and what a run needs are taken from here.
//!
//! A new task is a row here and a file in the core's `tasks`; the compiler asks for the places that name it.

use crate::settings::{BucketUse, Needs};

/// What is known of a task without running it.
pub struct Row {
    /// Its name on the command line, and in reports.
    pub name: &'static str,
    /// Its older names.
    pub aliases: &'static [&'static str],
    /// What people call it who do not know its name yet; only for suggestions.
    pub synonyms: &'static [&'static str],
    /// What it does, in one line.
    pub summary: &'static str,
    /// And in a few.
    pub details: &'static str,
    /// What stands after its name, if anything has to.
    pub argument: Option<Argument>,
    /// Its options.
    pub options: &'static [TaskOption],
    /// What it can't do without.
    pub needs: Needs,
    /// The files by which people say what is meant. They are read before anything is sent.
    pub inputs: &'static [Input],
    /// It removes what can't be made again. A misspelt name never leads to it.
    pub removes: bool,
    /// What it is asked for is what it prints: nothing needs to be summed up after it.
    pub answers: bool,
}

/// What has to stand after a task's name.
pub struct Argument {
    /// What it is, in capitals.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Takes it.
    pub take: fn(&mut Order, String),
}

/// An option of a task.
pub struct TaskOption {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What its value may be; `None`: it has none.
    pub value: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
    /// Takes it with its value (empty where it has none); false for a value that is not accepted.
    pub take: fn(&mut Order, &str) -> bool,
}

/// What a command line orders: a task, and settings that its options stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The task.
    pub task: Task,
    /// Settings by their variables' names.
    pub settings: Vec<(String, String)>,
}

impl Order {
    fn set(&mut self, name: &str, value: &str) -> bool {
        self.settings.push((name.to_owned(), value.to_owned()));
        true
    }
}

/// A file in the work directory that people write, or correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// `collections`: which collections are meant.
    Collections,
    /// `snapshots`: what was found.
    Snapshots,
    /// `snapshots`, or the file that takes its place: what is to be restored.
    Choice,
}

impl Row {
    /// True when it understands `--dry-run`.
    pub fn has_dry_run(&self) -> bool {
        self.options.iter().any(|option| option.name == DRY_RUN.name)
    }
}

/// Makes [`Task`] and its rows: `Variant { field: type } => Row { … }`.
macro_rules! tasks {
    ($($(#[doc = $doc:literal])* $variant:ident $({ $($(#[doc = $help:literal])* $field:ident: $type:ty),* $(,)? })? => $row:expr;)*) => {
        /// A task with its options.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Task {
            $($(#[doc = $doc])* $variant $({ $($(#[doc = $help])* $field: $type),* })?,)*
        }

        impl Task {
            /// Its row of the table.
            pub fn row(&self) -> &'static Row {
                match self {
                    $(Self::$variant { .. } => {
                        const ROW: &Row = &$row;
                        ROW
                    })*
                }
            }

            /// Every task, its options not set, in the order of the help.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant { $($($field: Default::default()),*)? }),*]
            }
        }
    };
}

impl Task {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        self.row().name
    }

    /// The task of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|task| task.row().name == name || task.row().aliases.contains(&name))
    }
}

const DRY_RUN: TaskOption = TaskOption {
    name: "dry-run",
    value: None,
    help: "print on standard output what would be created, restored or deleted, and change nothing",
    take: |order, _| order.set("QDRANT_DRY_RUN", "true"),
};

const OUTPUT: TaskOption = TaskOption {
    name: "output",
    value: Some("table|json"),
    help: "lists and plans for people (the default), or as JSON for programs",
    take: |order, value| order.set("QDRANT_OUTPUT", value) && matches!(value, "json" | "table"),
};

const HTML: TaskOption = TaskOption {
    name: "html",
    value: Some("FILE"),
    help: "write a page for a browser into this file of the work directory: one file, without scripts",
    take: |order, value| order.set("QDRANT_REPORT_HTML_FILE", value),
};

const LEGACY: TaskOption = TaskOption {
    name: "legacy",
    value: None,
    help: "old snapshots of whole collections, too",
    take: |order, _| {
        if let Task::Prune { legacy } = &mut order.task {
            *legacy = true;
        }
        true
    },
};

const INTO: TaskOption = TaskOption {
    name: "into",
    value: Some("URL"),
    help: "restore into this Qdrant, in place of QDRANT_RESTORE_HOSTS",
    take: |order, value| order.set("QDRANT_RESTORE_HOSTS", value),
};

const WITH: TaskOption = TaskOption {
    name: "with",
    value: Some("URL"),
    help: "compare with this Qdrant, in place of QDRANT_RESTORE_HOSTS",
    take: |order, value| order.set("QDRANT_RESTORE_HOSTS", value),
};

const REMOVE: TaskOption = TaskOption {
    name: "remove",
    value: None,
    help: "let the set be pruned again",
    take: |order, _| {
        if let Task::Pin { remove, .. } = &mut order.task {
            *remove = true;
        }
        true
    },
};

const BKP: TaskOption = TaskOption {
    name: "bkp",
    value: Some("true|false"),
    help: "true: rename the files to `<file>-<time>.bkp`, in place of removing them",
    take: |order, value| {
        let Task::Reset { keep_backup } = &mut order.task else { return false };
        let value = value.to_ascii_lowercase();
        *keep_backup = matches!(value.as_str(), "true" | "yes" | "1");
        *keep_backup || matches!(value.as_str(), "false" | "no" | "0")
    },
};

const SET: Argument = Argument {
    name: "SET",
    help: "the set's id, as `list_sets` shows it",
    take: |order, value| {
        if let Task::Pin { set, .. } = &mut order.task {
            *set = value;
        }
    },
};

/// A row with nothing in it but what most tasks have.
const TASK: Row = Row {
    name: "",
    aliases: &[],
    synonyms: &[],
    summary: "",
    details: "",
    argument: None,
    options: &[],
    needs: Needs::NOTHING,
    inputs: &[],
    removes: false,
    answers: false,
};

tasks! {
    /// `check`: what a backup and a restore need, without doing either.
    Check => Row {
        name: "check",
        synonyms: &["preflight", "doctor", "diagnose", "test", "status", "health", "ping"],
        options: &[OUTPUT],
        summary: "check everything that a backup and a restore need, without doing either",
        details: "Looks at what is configured: the settings, the work directory, the bucket with every right that is needed,\n\
                  each peer of QDRANT_SOURCE_HOSTS and QDRANT_RESTORE_HOSTS by its own address, versions, clocks, the key's\n\
                  rights, and whether Qdrant can fetch a link. Leaves nothing behind. Ends with 0 where nothing fails.",
        answers: true,
        ..TASK
    };
    /// `restore`: each collection from its newest good backup of either kind, then the aliases.
    Restore => Row {
        name: "restore",
        synonyms: &["recover", "import", "load", "restore_backup"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { restore: true, bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "restore each collection from its newest good backup, of either kind, then the aliases",
        details: "Restores into QDRANT_RESTORE_HOSTS. Of each collection the newest backup is taken that is whole, a set or\n\
                  snapshots of the whole collection, and named in the log. `recover_snap_shards` restores sets alone, and\n\
                  `recover_snap` snapshots of whole collections alone, or those in the file `snapshots`.",
        ..TASK
    };
    /// `create_snap`: a snapshot of each collection on each peer, the aliases, a manifest.
    CreateSnapshots => Row {
        name: "create_snap",
        aliases: &["create_snapshot"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { source: true, bucket: BucketUse::IfSet, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "back up: a snapshot of each collection on each peer, the aliases, a manifest",
        details: "Asks every peer of QDRANT_SOURCE_HOSTS for a snapshot of each collection it holds a part of, and checks\n\
                  that each is in the bucket. Adds a line to the file `snapshots` for each. A file `collections` with lines\n\
                  `host,collection` chooses collections; without one all are taken and it is written.",
        ..TASK
    };
    /// `recover_snap`: collections from their snapshots, then the aliases.
    RecoverSnapshots => Row {
        name: "recover_snap",
        aliases: &["recover_snapshot"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { restore: true, bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections, Input::Choice],
        summary: "restore: collections from their snapshots, then the aliases",
        details: "Restores into QDRANT_RESTORE_HOSTS, whose peers are found by asking. The snapshots are those in the file\n\
                  `snapshots` (`host,collection,snapshot`, the host may be empty), else the newest complete backup in the\n\
                  bucket that passes QDRANT_SNAPSHOT_DATETIME_FILTER. A collection that holds points is not overwritten\n\
                  unless QDRANT_RESTORE_FORCE=true. If it is run again, it goes on where it was cut off.",
        ..TASK
    };
    /// `create_snap_shards`: a set: a snapshot of each shard of each collection, and a manifest.
    CreateSets => Row {
        name: "create_snap_shards",
        aliases: &["backup"],
        synonyms: &["back_up", "create", "save", "dump", "export", "create_set", "create_backup"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { source: true, bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "back up as a set: one checked snapshot of each shard, a manifest; then prune",
        details: "Asks one peer for each shard, spread over all, and checks every snapshot (QDRANT_ARCHIVE_CHECK). The manifest\n\
                  is written last: `backup_manifests/<collection>/<set>.json`. A file `collections` chooses collections.",
        ..TASK
    };
    /// `recover_snap_shards`: collections from sets, then the aliases.
    RecoverSets => Row {
        name: "recover_snap_shards",
        synonyms: &["recover_set", "restore_set", "restore_sets"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { restore: true, bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "restore from sets, into any topology with the same number of shards",
        details: "The newest usable set of every collection, or the newest whose id begins with\n\
                  QDRANT_SNAPSHOT_DATETIME_FILTER. Every replica gets the snapshot of its shard, and is counted.",
        ..TASK
    };
    /// `list_sets`: the sets in the bucket.
    ListSets => Row {
        name: "list_sets",
        aliases: &["list"],
        synonyms: &["ls", "sets", "show", "backups", "list_backups", "snapshots", "list_snapshots"],
        options: &[OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "list the sets in the bucket",
        details: "On standard output. Qdrant isn't asked.",
        answers: true,
        ..TASK
    };
    /// `list_sources`: whose backups there are.
    ListSources => Row {
        name: "list_sources",
        synonyms: &["sources", "clusters"],
        options: &[OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "list the sources: whose backups are in the bucket",
        details: "On standard output: each with its id, name, peers, and how many backups there are of it. Qdrant isn't asked.\n\
                  QDRANT_RESTORE_SOURCE takes an id or a name.",
        answers: true,
        ..TASK
    };
    /// `report`: a page about all backups.
    Report => Row {
        name: "report",
        synonyms: &["html", "page", "overview", "dashboard", "summary"],
        options: &[HTML, OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "report on all backups, as one HTML page with `--html FILE`",
        details: "Sources, collections, a calendar of sets, sizes, what retention keeps, and what is at risk: a newest good\n\
                  backup older than QDRANT_BACKUP_MAX_AGE, sets that are damaged or were never drilled, one replica. Without\n\
                  `--html` a short table. What can't be read is said and makes the run fail; what is at risk does not.",
        ..TASK
    };
    /// `prune_snap`: removes the sets that no rule keeps, and orphaned snapshots.
    Prune {
        /// Old snapshots of whole collections, too.
        legacy: bool,
    } => Row {
        name: "prune_snap",
        aliases: &["prune"],
        options: &[LEGACY, DRY_RUN, OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        removes: true,
        summary: "remove the sets that no rule keeps, and orphaned snapshots",
        details: "The rules are QDRANT_BACKUP_RETENTION_SETS and QDRANT_BACKUP_KEEP_...; only good sets count, and the newest\n\
                  good one always stays, but of a dropped collection where QDRANT_BACKUP_DROPPED_KEEP is set. Of whole\n\
                  collections (`--legacy`) the newest QDRANT_LEGACY_KEEP_RUNS of each peer stay, and the last complete backup.\n\
                  Records of runs and restores that are no longer needed are removed, too.",
        ..TASK
    };
    /// `verify`: checks that the sets in the bucket are whole.
    Verify => Row {
        name: "verify",
        synonyms: &["validate", "scrub", "verify_sets", "verify_snap"],
        options: &[OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "verify the sets in the bucket: every snapshot is there and unchanged",
        details: "Every snapshot is there as it was made and is walked to its end; QDRANT_VERIFY_PERCENT of them are read whole\n\
                  for their SHA-256, others in each run. QDRANT_COLLECTIONS and QDRANT_SNAPSHOT_DATETIME_FILTER choose.",
        ..TASK
    };
    /// `drill`: restores the newest sets under scratch names, verifies them, and drops them.
    Drill => Row {
        name: "drill",
        synonyms: &["rehearse", "test_restore", "restore_test", "restore_drill"],
        options: &[INTO, DRY_RUN, OUTPUT],
        needs: Needs { restore: true, bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "restore the newest sets under scratch names, verify them, drop them",
        details: "Every collection that a drill makes is called `qdrant-backup-drill-...`, and deleted whatever happens, by the\n\
                  next drill at the latest.",
        ..TASK
    };
    /// `compare`: whether the target holds the same points as the source.
    Compare => Row {
        name: "compare",
        synonyms: &["diff", "cmp", "compare_clusters"],
        options: &[WITH],
        needs: Needs { source: true, restore: true, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "compare the points of the source with those of the target, to the last bit",
        details: "Reads every point of every replica on both, or with QDRANT_VERIFY_CONTENT=sample some of each shard, and names\n\
                  the first that differ. Changes nothing; keys that may read suffice. What is written meanwhile differs.\n\
                  QDRANT_RESTORE_RENAME says where a collection has another name. Exit code 0: all is equal; 1 or 3: not all is.",
        ..TASK
    };
    /// `pin_set`: keeps a set from being pruned.
    Pin {
        /// The set's id.
        set: String,
        /// Let it be pruned again.
        remove: bool,
    } => Row {
        name: "pin_set",
        synonyms: &["pin", "keep", "hold", "protect", "unpin"],
        argument: Some(SET),
        options: &[REMOVE],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        summary: "keep a set from being pruned",
        details: "In all collections that have it (QDRANT_COLLECTIONS chooses).",
        ..TASK
    };
    /// `get_coll`: the collections of the source, into `collections`.
    GetCollections => Row {
        name: "get_coll",
        aliases: &["get_collection"],
        synonyms: &["collections", "get_collections", "list_collections"],
        options: &[OUTPUT],
        needs: Needs { source: true, ..Needs::NOTHING },
        inputs: &[Input::Collections],
        summary: "list the collections into the file `collections`",
        details: "Prints them on standard output, too. An existing file is kept; `reset` removes it.",
        answers: true,
        ..TASK
    };
    /// `get_snap`: the snapshots Qdrant lists, into `snapshots`.
    GetSnapshots => Row {
        name: "get_snap",
        aliases: &["get_snapshot"],
        synonyms: &["get_snapshots"],
        options: &[OUTPUT],
        needs: Needs { source: true, ..Needs::NOTHING },
        inputs: &[Input::Collections, Input::Snapshots],
        summary: "list the snapshots that Qdrant lists into the file `snapshots`",
        details: "Takes those whose names pass QDRANT_SNAPSHOT_DATETIME_FILTER, and prints them on standard output, too.\n\
                  An existing file is kept; `reset` removes it.",
        answers: true,
        ..TASK
    };
    /// `get_snap_s3`: the snapshots in the bucket, into `snapshots`.
    GetSnapshotsS3 => Row {
        name: "get_snap_s3",
        aliases: &["get_snapshot_s3"],
        synonyms: &["get_snapshots_s3"],
        options: &[OUTPUT],
        needs: Needs { bucket: BucketUse::Always, ..Needs::NOTHING },
        inputs: &[Input::Collections, Input::Snapshots],
        summary: "list the snapshots in the bucket into the file `snapshots`",
        details: "Takes those whose names pass QDRANT_SNAPSHOT_DATETIME_FILTER, and prints them on standard output, too.\n\
                  Qdrant isn't asked. An existing file is kept; `reset` removes it.",
        answers: true,
        ..TASK
    };
    /// `get_colla`: the aliases of the source, into `collection_aliases`.
    GetAliases => Row {
        name: "get_colla",
        aliases: &["aliases", "get_collection_alias"],
        synonyms: &["get_aliases", "list_aliases"],
        options: &[OUTPUT],
        needs: Needs { source: true, bucket: BucketUse::WithAliases, ..Needs::NOTHING },
        summary: "list the aliases into the file `collection_aliases` (and the bucket)",
        details: "Into the bucket only with BACKUP_COLLECTION_ALIASES_ON_S3=true: `collection_aliases_store/collection_aliases`\n\
                  and a dated copy.",
        answers: true,
        ..TASK
    };
    /// `recover_colla`: the aliases alone.
    RecoverAliases => Row {
        name: "recover_colla",
        aliases: &["recover_collection_alias"],
        synonyms: &["recover_aliases", "restore_aliases"],
        options: &[DRY_RUN, OUTPUT],
        needs: Needs { restore: true, bucket: BucketUse::WithAliases, ..Needs::NOTHING },
        summary: "restore the aliases alone",
        details: "From the file `collection_aliases`, or with BACKUP_COLLECTION_ALIASES_ON_S3=true from the bucket\n\
                  (QDRANT_COLLECTION_ALIASES_STABLE_FILE names another object). All in one request.",
        ..TASK
    };
    /// `reset`: removes the state files, or renames them.
    Reset {
        /// Rename to `<file>-<time>.bkp` rather than remove.
        keep_backup: bool,
    } => Row {
        name: "reset",
        options: &[BKP],
        removes: true,
        summary: "remove the state files from the work directory, or rename them",
        details: "Asks neither Qdrant nor S3.",
        ..TASK
    };
}
