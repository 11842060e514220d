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
    /// `create_snap_shards`: a set: an archive of each shard of each collection, and a manifest.
    CreateSets,
    /// `recover_snap_shards`: collections from sets, then the aliases.
    RecoverSets,
    /// `list_sets`: the sets in the bucket.
    ListSets {
        /// One JSON array in place of a table.
        json: bool,
    },
    /// `list_sources`: whose backups there are.
    ListSources {
        /// One JSON array in place of a table.
        json: bool,
    },
    /// `prune_snap`: removes what no rule of retention keeps, and archives that belong to no set.
    Prune {
        /// Old archives of whole collections, too.
        legacy: bool,
    },
    /// `verify`: proves that the sets in the bucket are whole.
    Verify,
    /// `drill`: restores the newest sets under scratch names, proves them, and drops them.
    Drill,
    /// `pin_set`: keeps a set from being pruned.
    Pin {
        /// The set's id.
        set: String,
        /// Let it be pruned again.
        remove: bool,
    },
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
    Run {
        /// The task.
        task: Task,
        /// Settings that options stand for.
        settings: Vec<(String, String)>,
    },
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

/// A task as the command line and its help know it.
struct Entry {
    task: Task,
    name: &'static str,
    alias: Option<&'static str>,
    options: &'static str,
    summary: &'static str,
    details: &'static str,
}

/// For every task that creates, restores or deletes.
const DRY_RUN: &str = " [--dry-run]";

const TASKS: &[Entry] = &[
    Entry {
        task: Task::CreateSnapshots,
        name: "create_snap",
        alias: Some("create_snapshot"),
        options: DRY_RUN,
        summary: "back up: an archive of each collection on each peer, the aliases, a manifest",
        details: "Asks every peer of QDRANT_SOURCE_HOSTS for a snapshot of each collection it holds a part of, and proves\n\
                  that each is in the bucket. Adds a line to the file `snapshots` for each. A file `collections` with lines\n\
                  `host,collection` chooses collections; without one all are taken and it is written.",
    },
    Entry {
        task: Task::RecoverSnapshots,
        name: "recover_snap",
        alias: Some("recover_snapshot"),
        options: DRY_RUN,
        summary: "restore: collections from their archives, then the aliases",
        details: "Restores into QDRANT_RESTORE_HOSTS, whose peers are found by asking. The archives are those in the file\n\
                  `snapshots` (`host,collection,snapshot`, the host may be empty), else the newest complete backup in the\n\
                  bucket that passes QDRANT_SNAPSHOT_DATETIME_FILTER. A collection that holds points is not overwritten\n\
                  unless QDRANT_RESTORE_FORCE=true. Run again, it goes on where it was cut off.",
    },
    Entry {
        task: Task::CreateSets,
        name: "create_snap_shards",
        alias: None,
        options: DRY_RUN,
        summary: "back up as a set: one archive of each shard, checksums, a manifest",
        details: "Asks one peer for each shard, spread over all, and proves every archive (QDRANT_ARCHIVE_CHECK). The manifest\n\
                  is written last: `backup_manifests/<collection>/<set>.json`. A file `collections` chooses collections.",
    },
    Entry {
        task: Task::RecoverSets,
        name: "recover_snap_shards",
        alias: None,
        options: DRY_RUN,
        summary: "restore from sets, into any topology with the same number of shards",
        details: "The newest usable set of every collection, or the newest whose id begins with\n\
                  QDRANT_SNAPSHOT_DATETIME_FILTER. Every replica gets the archive of its shard, and is counted.",
    },
    Entry {
        task: Task::ListSets { json: false },
        name: "list_sets",
        alias: None,
        options: " [--output table|json]",
        summary: "list the sets in the bucket",
        details: "On standard output. Qdrant isn't asked.",
    },
    Entry {
        task: Task::ListSources { json: false },
        name: "list_sources",
        alias: None,
        options: " [--output table|json]",
        summary: "list the sources: whose backups are in the bucket",
        details: "On standard output: each with its id, name, peers, and how many backups there are of it. Qdrant isn't asked.\n\
                  QDRANT_RESTORE_SOURCE takes an id or a name.",
    },
    Entry {
        task: Task::Prune { legacy: false },
        name: "prune_snap",
        alias: None,
        options: " [--legacy] [--dry-run]",
        summary: "remove the sets that no rule keeps, and archives of no set",
        details: "The rules are QDRANT_BACKUP_RETENTION_SETS and QDRANT_BACKUP_KEEP_...; only good sets count, and the newest\n\
                  good one always stays. With `--legacy` also archives of whole collections, but the newest\n\
                  QDRANT_LEGACY_KEEP_RUNS of each peer and the last complete backup.",
    },
    Entry {
        task: Task::Verify,
        name: "verify",
        alias: None,
        options: "",
        summary: "prove that the sets in the bucket are whole",
        details: "Every archive is there as it was made and is walked to its end; QDRANT_VERIFY_PERCENT of them are read whole\n\
                  for their SHA-256, others in each run. QDRANT_COLLECTIONS and QDRANT_SNAPSHOT_DATETIME_FILTER choose.",
    },
    Entry {
        task: Task::Drill,
        name: "drill",
        alias: None,
        options: " [--into URL] [--dry-run]",
        summary: "restore the newest sets under scratch names, prove them, drop them",
        details: "Into `--into URL`, or QDRANT_RESTORE_HOSTS. Every collection that a drill makes is called\n\
                  `qdrant-backup-drill-...`, and deleted whatever happens, by the next drill at the latest.",
    },
    Entry {
        task: Task::Pin { set: String::new(), remove: false },
        name: "pin_set",
        alias: None,
        options: " SET [--remove]",
        summary: "keep a set from being pruned",
        details: "In all collections that have it (QDRANT_COLLECTIONS chooses). `list_sets` lists the sets.",
    },
    Entry {
        task: Task::GetCollections,
        name: "get_coll",
        alias: Some("get_collection"),
        options: "",
        summary: "list the collections into the file `collections`",
        details: "Prints them on standard output, too. A file that is there already is kept; `reset` removes it.",
    },
    Entry {
        task: Task::GetSnapshots,
        name: "get_snap",
        alias: Some("get_snapshot"),
        options: "",
        summary: "list the snapshots Qdrant knows of into the file `snapshots`",
        details: "Takes those whose names pass QDRANT_SNAPSHOT_DATETIME_FILTER, and prints them on standard output, too.\n\
                  A file that is there already is kept; `reset` removes it.",
    },
    Entry {
        task: Task::GetSnapshotsS3,
        name: "get_snap_s3",
        alias: Some("get_snapshot_s3"),
        options: "",
        summary: "list the snapshots in the bucket into the file `snapshots`",
        details: "Takes those whose names pass QDRANT_SNAPSHOT_DATETIME_FILTER, and prints them on standard output, too.\n\
                  Qdrant isn't asked. A file that is there already is kept; `reset` removes it.",
    },
    Entry {
        task: Task::GetAliases,
        name: "get_colla",
        alias: Some("get_collection_alias"),
        options: "",
        summary: "list the aliases into the file `collection_aliases`, and the bucket",
        details: "Into the bucket only with BACKUP_COLLECTION_ALIASES_ON_S3=true: `collection_aliases_store/collection_aliases`\n\
                  and a dated copy.",
    },
    Entry {
        task: Task::RecoverAliases,
        name: "recover_colla",
        alias: Some("recover_collection_alias"),
        options: DRY_RUN,
        summary: "restore the aliases alone",
        details: "From the file `collection_aliases`, or with BACKUP_COLLECTION_ALIASES_ON_S3=true from the bucket\n\
                  (QDRANT_COLLECTION_ALIASES_STABLE_FILE names another object). All in one request.",
    },
    Entry {
        task: Task::Reset { keep_backup: false },
        name: "reset",
        alias: None,
        options: " [--bkp true|false]",
        summary: "remove the state files from the work directory",
        details: "With `--bkp true` they are renamed to `<file>-<time>.bkp`. Asks neither Qdrant nor S3.",
    },
];

const HINT: &str = "`qdrant-backup --help` lists the tasks";

impl Task {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        let same = |entry: &&Entry| std::mem::discriminant(&entry.task) == std::mem::discriminant(self);
        TASKS.iter().find(same).map_or("", |entry| entry.name)
    }
}

/// Understands a command line, without the program's name.
///
/// # Errors
/// No task, an unknown one (the nearest is named), or options it does not have.
pub fn parse(arguments: &[String]) -> Result<Invocation, UsageError> {
    let mut arguments = arguments.iter().map(String::as_str);
    let Some(first) = arguments.next() else {
        return Err(UsageError(format!("which task?\n\n{}", help())));
    };
    match first {
        "-h" | "--help" | "help" => {
            return match arguments.next() {
                None => Ok(Invocation::Print(help())),
                Some(name) => Ok(Invocation::Print(task_help(find(name)?))),
            };
        }
        "-V" | "--version" => {
            return Ok(Invocation::Print(concat!("qdrant-backup ", env!("CARGO_PKG_VERSION")).to_owned()));
        }
        _ => {}
    }
    let entry = find(first)?;
    let mut task = entry.task.clone();
    let mut settings = Vec::new();
    while let Some(argument) = arguments.next() {
        let (flag, value) = argument.split_once('=').map_or((argument, None), |(flag, value)| (flag, Some(value)));
        match (flag, &mut task) {
            ("-h" | "--help", _) => return Ok(Invocation::Print(task_help(entry))),
            ("--bkp", Task::Reset { keep_backup }) => {
                let value = value.or_else(|| arguments.next());
                *keep_backup = match value.map(str::to_ascii_lowercase).as_deref() {
                    Some("true" | "yes" | "1") => true,
                    Some("false" | "no" | "0") => false,
                    _ => {
                        return Err(UsageError(format!(
                            "--bkp needs a value: --bkp true or --bkp false\n\n{}",
                            usage(entry)
                        )));
                    }
                };
            }
            ("--output", Task::ListSets { json } | Task::ListSources { json }) => {
                *json = match value.or_else(|| arguments.next()) {
                    Some("json") => true,
                    Some("table") => false,
                    _ => return Err(UsageError(format!("--output is `table` or `json`\n\n{}", usage(entry)))),
                };
            }
            ("--dry-run", _) if value.is_none() && entry.options.contains(DRY_RUN) => {
                settings.push(("QDRANT_DRY_RUN".to_owned(), "true".to_owned()));
            }
            ("--into", Task::Drill) => match value.or_else(|| arguments.next()) {
                Some(url) => settings.push(("QDRANT_RESTORE_HOSTS".to_owned(), url.to_owned())),
                None => return Err(UsageError(format!("--into needs a URL\n\n{}", usage(entry)))),
            },
            ("--legacy", Task::Prune { legacy }) if value.is_none() => *legacy = true,
            ("--remove", Task::Pin { remove, .. }) if value.is_none() => *remove = true,
            (id, Task::Pin { set, .. }) if set.is_empty() && !id.starts_with('-') => *set = argument.to_owned(),
            _ => return Err(UsageError(format!("`{}` has no option `{argument}`\n\n{}", entry.name, usage(entry)))),
        }
    }
    match task {
        Task::Pin { set, .. } if set.is_empty() => Err(UsageError(format!("which set?\n\n{}", usage(entry)))),
        task => Ok(Invocation::Run { task, settings }),
    }
}

fn find(name: &str) -> Result<&'static Entry, UsageError> {
    let names = |entry: &'static Entry| std::iter::once(entry.name).chain(entry.alias);
    if let Some(entry) = TASKS.iter().find(|entry| names(entry).any(|known| known == name)) {
        return Ok(entry);
    }
    if name.starts_with('-') {
        return Err(UsageError(format!("there is no option `{name}`; {HINT}")));
    }
    let nearest = TASKS.iter().flat_map(names).map(|known| (strsim::levenshtein(name, known), known)).min();
    let guess = match nearest {
        Some((distance, known)) if distance <= 4 && distance < name.chars().count() => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    };
    Err(UsageError(format!("there is no task `{name}`{guess} {HINT}")))
}

fn usage(entry: &Entry) -> String {
    format!("Usage: qdrant-backup {}{}", entry.name, entry.options)
}

fn task_help(entry: &Entry) -> String {
    let alias = entry.alias.map(|alias| format!("Also called {alias}.\n")).unwrap_or_default();
    format!("{}\n\n{}\n{alias}\n{}", usage(entry), sentence(entry.summary), entry.details)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| format!("{}{}.", first.to_ascii_uppercase(), chars.as_str())).unwrap_or_default()
}

fn help() -> String {
    let mut text =
        String::from("Backs up Qdrant to S3 and restores it.\n\nUsage: qdrant-backup TASK [OPTIONS]\n\nTasks:\n");
    for entry in TASKS {
        text.push_str(&format!("  {:<20}{}\n", entry.name, entry.summary));
        if let Some(alias) = entry.alias {
            text.push_str(&format!("  {:<20}(also called {alias})\n", ""));
        }
    }
    text.push_str(
        "\n`qdrant-backup TASK --help` says more. The settings are environment variables (QDRANT_SOURCE_HOSTS,\n\
         QDRANT_RESTORE_HOSTS, QDRANT_API_KEY, QDRANT_S3_...); the README lists them all.",
    );
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, UsageError> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn run(task: Task) -> Invocation {
        Invocation::Run { task, settings: Vec::new() }
    }

    #[test]
    fn options_are_for_the_tasks_that_have_them() {
        let dry = |task| Ok(Invocation::Run { task, settings: vec![("QDRANT_DRY_RUN".to_owned(), "true".to_owned())] });
        assert_eq!(parsed("prune_snap --legacy --dry-run"), dry(Task::Prune { legacy: true }));
        assert_eq!(parsed("recover_snap --dry-run"), dry(Task::RecoverSnapshots));
        assert_eq!(parsed("pin_set 2026 --remove"), Ok(run(Task::Pin { set: "2026".to_owned(), remove: true })));
        for line in [
            "list_sets --dry-run",
            "prune_snap --dry-run=yes",
            "prune_snap legacy",
            "pin_set",
            "pin_set a b",
            "get_coll --legacy",
        ] {
            assert!(parsed(line).unwrap_err().0.contains("Usage:"), "{line}");
        }
    }

    fn printed(line: &str) -> String {
        match parsed(line) {
            Ok(Invocation::Print(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_task_has_the_names_of_the_guide() {
        for (names, task) in [
            ("get_coll get_collection", Task::GetCollections),
            ("get_snap get_snapshot", Task::GetSnapshots),
            ("get_snap_s3 get_snapshot_s3", Task::GetSnapshotsS3),
            ("get_colla get_collection_alias", Task::GetAliases),
            ("create_snap create_snapshot", Task::CreateSnapshots),
            ("recover_snap", Task::RecoverSnapshots),
            ("recover_colla recover_collection_alias", Task::RecoverAliases),
            ("reset", Task::Reset { keep_backup: false }),
        ] {
            for name in names.split(' ') {
                assert_eq!(parsed(name), Ok(run(task.clone())));
            }
            assert_eq!(names.split(' ').next(), Some(task.name()));
        }
    }

    #[test]
    fn reset_takes_bkp() {
        let reset = |keep_backup| Ok(run(Task::Reset { keep_backup }));
        assert_eq!(parsed("reset --bkp true"), reset(true));
        assert_eq!(parsed("reset --bkp=TRUE"), reset(true));
        assert_eq!(parsed("reset --bkp no"), reset(false));
        for line in
            ["reset --bkp", "reset --bkp maybe", "reset --backup true", "create_snap --bkp true", "create_snap extra"]
        {
            assert!(parsed(line).unwrap_err().0.contains("Usage:"), "{line}");
        }
    }

    #[test]
    fn help_is_there_for_all_and_each() {
        for entry in TASKS {
            assert!(printed("--help").contains(entry.name));
            assert!(printed(&format!("{} --help", entry.name)).contains(entry.details));
            assert_eq!(printed(&format!("help {}", entry.name)), printed(&format!("{} -h", entry.name)));
        }
        assert!(printed("-V").contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_slip_of_the_pen_is_understood() {
        assert!(parsed("creat_snap").unwrap_err().0.contains("`create_snap`"));
        assert!(parsed("backup").is_err());
        assert!(parsed("").unwrap_err().0.contains("Tasks:"));
        assert!(parsed("--nonsense").unwrap_err().0.contains("no option"));
    }
}
