//! What each code means, where it comes from, and what to do: for docs/troubleshooting.md.

use super::Code;

/// What is to be known of a code.
pub struct Explained {
    /// What it says, in one line.
    pub text: &'static str,
    /// The usual causes.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Code {
    /// What it means and what to do.
    pub fn explained(self) -> Explained {
        let (text, cause, remedy) = match self {
            Self::Configuration => (
                "A setting, or a file that a person wrote, can't be used",
                "a value that is not accepted, two settings that contradict each other, a line of `collections` or `snapshots` \
                 that is not one",
                "the message names the setting and what is accepted; `qdrant-backup help settings NAME` says more, \
                 `qdrant-backup config show` where each value came from",
            ),
            Self::WorkDirectory => (
                "The work directory can't be read or written",
                "it is not mounted, read-only, full, or belongs to another user",
                "mount a volume that the user of the pod may write (`fsGroup`), or name another by QDRANT_WORK_DIR",
            ),
            Self::Cancelled => (
                "The run was cancelled",
                "a signal, the deadline (QDRANT_RUN_DEADLINE), or the program that embeds the component",
                "run the task again: it goes on with what is there",
            ),
            Self::QdrantUnreachable => (
                "Qdrant does not answer",
                "a wrong name or port, a peer that is down, a network policy, an address that the sandbox may not reach, a \
                 certificate that is not trusted",
                "`qdrant-backup check` tries each peer by its own address; allow addresses by QDRANT_ALLOW_HOSTS, trust a CA by \
                 QDRANT_EXTRA_CA_FILE",
            ),
            Self::QdrantUnauthorized => (
                "Qdrant refuses the key",
                "QDRANT_API_KEY is missing or another one, or may only read",
                "backups need a key that may write, restores the full one (QDRANT_RESTORE_API_KEY, where it differs)",
            ),
            Self::QdrantRefused => (
                "Qdrant refuses the call",
                "the message has Qdrant's own words: a full disk, limits of strict mode, a collection that is not there any more",
                "mend what Qdrant says, and run the task again: it goes on where it stopped",
            ),
            Self::QdrantAnswer => (
                "Qdrant answers with something else than it documents",
                "a proxy in between, the port of something else, a version that is not supported",
                "look whether QDRANT_SOURCE_HOSTS and QDRANT_HTTP_PORT lead to Qdrant's REST port",
            ),
            Self::StoreUnreachable => (
                "The object store does not answer",
                "a wrong QDRANT_S3_ENDPOINT_URL, no network, a network policy, a certificate that is not trusted",
                "`qdrant-backup check`; an outage is waited out for QDRANT_RETRY_MAX_DURATION",
            ),
            Self::StoreUnauthorized => (
                "The object store refuses the keys",
                "wrong or expired keys, a policy that lacks a right",
                "the message names the right that is missing, such as s3:PutObject; docs/stores.md has a whole policy, \
                 docs/credentials.md where keys come from",
            ),
            Self::StoreRefused => (
                "The object store refuses the call",
                "no such bucket, another region, a full store, an object under a lock",
                "the message has the store's own words and what to do about them; docs/stores.md has each store's peculiarities",
            ),
            Self::StoreAnswer => (
                "The object store answers with something else than S3 documents",
                "a proxy's page, a console in place of the API, an object that is not what was stored",
                "look whether QDRANT_S3_ENDPOINT_URL is the S3 API, and QDRANT_S3_ADDRESSING_STYLE the one that it takes",
            ),
            Self::Clock => (
                "The clock of this machine, or that of the object store, is wrong",
                "they are more than 15 minutes apart",
                "set whichever is wrong: names and ages of backups, signatures and links depend on it",
            ),
            Self::Locked => (
                "Another run is at work",
                "a backup, a restore or a prune on the same source or target has not ended, or was killed",
                "wait for it; a lock without a heartbeat is stale after some minutes and is then taken over",
            ),
            Self::NoPeer => (
                "No peer, source or target that can be used",
                "no host answers, or a member of the cluster can't be reached by its own address",
                "`qdrant-backup check`; give each peer an address of its own (a headless Service), allow it \
                 (QDRANT_ALLOW_HOSTS) or say where it is (QDRANT_PEER_HOSTS)",
            ),
            Self::NothingSelected => (
                "A choice that nothing fits",
                "another bucket or prefix, a name that is none, a filter that leaves nothing",
                "`list_sets` and `list_sources` list what there is; look at QDRANT_COLLECTIONS, \
                 QDRANT_SNAPSHOT_DATETIME_FILTER, QDRANT_S3_KEY_PREFIX and the file `collections`",
            ),
            Self::SnapshotMissing => (
                "A snapshot is not where it has to be",
                "Qdrant stores its snapshots elsewhere than in this bucket, or somebody has deleted it",
                "look at Qdrant's own storage settings and QDRANT_S3_KEY_PREFIX; QDRANT_SNAPSHOT_TRANSFER=stream needs \
                 neither. An older set may be whole: `verify` tells",
            ),
            Self::SnapshotDamaged => (
                "A snapshot is not whole, or not the one that was made",
                "it was cut off, changed or replaced in the bucket",
                "make a new backup; restore from an older set, which a restore does by itself where none is chosen",
            ),
            Self::ManifestUnusable => (
                "A manifest can't be used",
                "a newer version has written it, or it was changed",
                "use the version of the program that wrote it, or newer; `list_sets` says which (`created_by`)",
            ),
            Self::Incomplete => (
                "A backup lacks a part",
                "a snapshot or a peer is missing; what was made in spite of it counts as partial",
                "mend what the run says of the part, and back up again",
            ),
            Self::Changed => (
                "Something changed meanwhile",
                "a collection was deleted or made anew, shards were moved, a peer was replaced, another run stored the same \
                 object",
                "run the task again when nobody changes the cluster",
            ),
            Self::NotSettled => (
                "A cluster does not settle",
                "replicas are not active, or shards are being moved, for longer than is waited for",
                "look at GET /collections/NAME/cluster; give it more time by QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS",
            ),
            Self::TargetOccupied => (
                "The collection on the target may not be touched",
                "it holds points that no run of this restore has put there",
                "restore beside it (QDRANT_RESTORE_RENAME), or replace it on purpose (QDRANT_RESTORE_FORCE=true)",
            ),
            Self::Version => (
                "A version of Qdrant that does not fit",
                "Qdrant reads snapshots of its own minor version and of the one before",
                "restore into such a version and upgrade from there; QDRANT_SKIP_VERSION_CHECK=true tries it all the same",
            ),
            Self::Unsupported => (
                "Something that can't be done with this backup, or this target",
                "such as custom sharding on a server without clustering, or another number of shards",
                "the message says what would do",
            ),
            Self::VerificationFailed => (
                "A restored collection is not as it was backed up",
                "other numbers of points, another configuration, replicas that differ",
                "do not use it: restore another set, and keep the log; QDRANT_VERIFY_TOLERANCE_PCT is for sources that were \
                 written to during the backup",
            ),
            Self::Alias => (
                "An alias can't be set",
                "another collection has it, or its collection is not there",
                "QDRANT_RESTORE_FORCE=true takes it over; `recover_colla` restores aliases alone",
            ),
            Self::SourceUnclear => (
                "Whose a backup is, or which source is meant, can't be told",
                "several sources share the bucket, or a peer of one has joined another",
                "`list_sources` lists them; QDRANT_RESTORE_SOURCE chooses one (docs/identity.md)",
            ),
            Self::DryRun => (
                "What a dry run does not do",
                "the task has no dry run, and QDRANT_DRY_RUN is set",
                "unset it for this task",
            ),
        };
        Explained { text, cause, remedy }
    }
}

#[cfg(test)]
#[path = "../../../contract/src/page.rs"]
mod page;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use qdrant_backup_contract::settings::VARIABLES;
    use qdrant_backup_contract::tasks::Task;

    /// The table of the page.
    fn markdown_table() -> String {
        let mut table = String::from("| Code | What it says | Usual causes | What to do |\n|---|---|---|---|\n");
        for code in Code::ALL {
            let Explained { text, cause, remedy } = code.explained();
            let name = code.name();
            table.push_str(&format!("| <a id=\"{name}\"></a>`{name}` | {text} | {cause} | {remedy} |\n"));
        }
        table
    }

    #[test]
    fn the_page_has_every_code() {
        page::check("troubleshooting", &markdown_table()).unwrap();
    }

    #[test]
    fn what_is_advised_is_there() {
        let words = |text: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect::<Vec<_>>()
        };
        for code in Code::ALL {
            let Explained { cause, remedy, .. } = code.explained();
            for word in words(remedy).into_iter().chain(words(cause)).filter(|word| word.starts_with("QDRANT_")) {
                assert!(VARIABLES.iter().any(|variable| variable.name == word), "{code}: {word}");
            }
            for task in remedy.split('`').skip(1).step_by(2).filter(|word| word.contains('_')) {
                let is_field = task == "created_by";
                assert!(is_field || Task::named(task).is_some(), "{code}: there is no task {task}");
            }
        }
    }
}
