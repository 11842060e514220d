//! What to type next, by what failed. Nothing that is named here removes or overwrites anything: a task that may do so is
//! named with `--dry-run`, or not at all.

use qdrant_backup_contract::command_line::words;
use qdrant_backup_contract::settings::table::QDRANT_RESTORE_FORCE;
use qdrant_backup_contract::tasks::Task;

use crate::options::Options;

/// More collections are not named one by one.
const MOST: usize = 8;

/// What is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The same task again: it goes on where it stopped.
    Again,
    /// The same, once the other run has ended.
    AgainLater,
    /// The same as a dry run, which says what is there and what would be done.
    DryRun,
    /// Another task, which only looks.
    Look(&'static str),
    /// A look at the sets of these collections.
    Verify,
    /// The message says it.
    Message,
}

/// The command for `code`, the code of an error of `collections` (none: of the run itself); `None` where its message alone
/// can say it. `all`: the run was about these collections and no others.
pub fn after(options: &Options, code: &str, collections: &[&str], all: bool) -> Option<String> {
    let chosen = if all { String::new() } else { chosen(options, collections) };
    let again = || format!("{chosen}{}", typed(options));
    Some(match next(options, code) {
        Next::Again => again(),
        Next::AgainLater => format!("{}, once the other run has ended", again()),
        Next::DryRun => format!("{} --dry-run", again()),
        Next::Look(task) => command(options, task),
        Next::Verify => format!("{chosen}{}", command(options, "verify")),
        Next::Message => return None,
    })
}

/// The command for collections that were restored and not verified.
pub fn unverified(options: &Options, collections: &[&str]) -> String {
    format!("{}{}", chosen(options, collections), command(options, "verify"))
}

/// The one table.
fn next(options: &Options, code: &str) -> Next {
    let again = again(options);
    match code {
        "configuration" | "dry-run" => Next::Look("config show"),
        "work-directory" | "clock" | "no-peer" | "version" => Next::Look("check"),
        "qdrant-unreachable" | "qdrant-unauthorized" | "qdrant-answer" => Next::Look("check"),
        "store-unreachable" | "store-unauthorized" | "store-answer" | "store-refused" => Next::Look("check"),
        "locked" if again == Next::Again => Next::AgainLater,
        "nothing-selected" => Next::Look("list"),
        "source-unclear" => Next::Look("list_sources"),
        "snapshot-missing" | "snapshot-damaged" | "manifest-unusable" if !makes_backups(&options.task) => Next::Verify,
        "verification-failed" => Next::Verify,
        "target-occupied" | "alias" if has_dry_run(&options.task) => Next::DryRun,
        "incomplete" | "changed" | "not-settled" | "cancelled" | "qdrant-refused" | "locked" => again,
        "snapshot-missing" | "snapshot-damaged" | "manifest-unusable" => again,
        _ => Next::Message,
    }
}

/// Whether the task may be run again without a look: not where it removes something, or was told to replace what is there.
fn again(options: &Options) -> Next {
    let is_forced =
        options.settings.iter().rev().find(|(name, _)| name == "QDRANT_RESTORE_FORCE").is_some_and(|(_, value)| {
            !value.trim().is_empty() && QDRANT_RESTORE_FORCE.read(value.trim()).unwrap_or(true)
        });
    let row = options.task.row();
    let may_remove = row.removes || (is_forced && row.needs.restore);
    match (may_remove, has_dry_run(&options.task)) {
        (false, _) => Next::Again,
        (true, true) => Next::DryRun,
        (true, false) => Next::Message,
    }
}

fn has_dry_run(task: &Task) -> bool {
    task.row().options.iter().any(|option| option.name == "dry-run")
}

fn makes_backups(task: &Task) -> bool {
    matches!(task, Task::CreateSnapshots | Task::CreateSets)
}

/// The task as it was typed, without `--dry-run`.
fn typed(options: &Options) -> String {
    let task = if options.typed.is_empty() { words(&options.task) } else { options.typed.clone() };
    let task: Vec<String> = task.iter().filter(|word| *word != "--dry-run").map(|word| quoted(word)).collect();
    command(options, &task.join(" "))
}

/// A command with the program's own options as they were typed.
fn command(options: &Options, task: &str) -> String {
    let own: String = options.typed_own.iter().map(|word| format!("{} ", quoted(word))).collect();
    format!("qdrant-backup {own}{task}")
}

/// A setting in front of the command that chooses `collections`; empty where they can't be named in it: more than a person
/// reads, names that a glob would read otherwise, or names that are not those that the setting is about.
fn chosen(options: &Options, collections: &[&str]) -> String {
    let is_plain = |name: &&str| {
        !name.is_empty() && name.trim() == *name && !name.contains([',', '*', '?', '[', ']', '{', '}', '!', '\\'])
    };
    let is_renamed = options.settings.iter().any(|(name, _)| name == "QDRANT_RESTORE_RENAME");
    if collections.is_empty() || collections.len() > MOST || is_renamed || !collections.iter().all(is_plain) {
        return String::new();
    }
    format!("QDRANT_COLLECTIONS={} ", quoted(&collections.join(",")))
}

/// `word` as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:,=@%+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(task: Task, typed: &[&str]) -> Options {
        Options { typed: typed.iter().map(|word| (*word).to_owned()).collect(), ..Options::new(task) }
    }

    #[test]
    fn a_failed_collection_is_backed_up_again_by_itself() {
        let backup = options(Task::CreateSets, &["backup", "--dry-run"]);
        let said = |code, collections: &[&str], all| after(&backup, code, collections, all);
        let narrowed = said("changed", &["a", "b"], false);
        assert_eq!(narrowed.as_deref(), Some("QDRANT_COLLECTIONS=a,b qdrant-backup backup"));
        assert_eq!(said("changed", &["a", "b"], true).as_deref(), Some("qdrant-backup backup"));
        let odd = said("incomplete", &["it's"], false);
        assert_eq!(odd.as_deref(), Some(r"QDRANT_COLLECTIONS='it'\''s' qdrant-backup backup"));
        // A glob would mean others.
        assert_eq!(said("changed", &["a*"], false).as_deref(), Some("qdrant-backup backup"));
        assert_eq!(said("store-unauthorized", &["a"], false).as_deref(), Some("qdrant-backup check"));
        assert_eq!(said("unsupported", &["a"], false), None);
    }

    #[test]
    fn what_was_typed_for_the_program_is_typed_again() {
        let own = ["--work-dir", "/my folder"].map(str::to_owned).to_vec();
        let drill = Options { typed_own: own, ..options(Task::Drill, &["drill", "--into", "http://b:6333"]) };
        let said = after(&drill, "not-settled", &[], false);
        assert_eq!(said.as_deref(), Some("qdrant-backup --work-dir '/my folder' drill --into http://b:6333"));
        let said = after(&drill, "clock", &[], false);
        assert_eq!(said.as_deref(), Some("qdrant-backup --work-dir '/my folder' check"));
        assert_eq!(after(&options(Task::Verify, &[]), "changed", &[], false).as_deref(), Some("qdrant-backup verify"));
    }

    #[test]
    fn a_restore_is_looked_at_before_it_is_tried_again() {
        let mut restore = options(Task::RecoverSets, &["recover_snap_shards"]);
        let said = |restore: &Options, code| after(restore, code, &["a"], false).unwrap_or_default();
        assert_eq!(said(&restore, "snapshot-damaged"), "QDRANT_COLLECTIONS=a qdrant-backup verify");
        assert_eq!(said(&restore, "incomplete"), "QDRANT_COLLECTIONS=a qdrant-backup recover_snap_shards");
        let looked = "QDRANT_COLLECTIONS=a qdrant-backup recover_snap_shards --dry-run";
        assert_eq!(said(&restore, "target-occupied"), looked);
        assert_eq!(unverified(&restore, &["a"]), "QDRANT_COLLECTIONS=a qdrant-backup verify");
        restore.settings.push(("QDRANT_RESTORE_FORCE".to_owned(), "true".to_owned()));
        assert_eq!(said(&restore, "incomplete"), looked);
        restore.settings.push(("QDRANT_RESTORE_RENAME".to_owned(), "b=a".to_owned()));
        assert_eq!(said(&restore, "snapshot-damaged"), "qdrant-backup verify");
    }

    /// Every code of the documentation, for every task: never one that removes or overwrites.
    #[test]
    fn nothing_destructive_is_named() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let codes: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| <a id=")?.split('`').nth(1)).collect();
        assert!(codes.len() > 20, "{codes:?}");
        for task in Task::all() {
            let mut options = Options::new(task);
            options.settings.push(("QDRANT_RESTORE_FORCE".to_owned(), "true".to_owned()));
            let row = options.task.row();
            for code in codes.iter().chain(&["", "a-code-of-a-newer-component"]) {
                let Some(said) = after(&options, code, &["a"], false) else { continue };
                let is_again = said.contains(&format!("qdrant-backup {}", row.name));
                assert!(
                    !is_again || !(row.removes || row.needs.restore) || said.ends_with("--dry-run"),
                    "{code}: {said}"
                );
                assert!(!said.contains("FORCE") && !said.contains("reset"), "{}: {code}: {said}", row.name);
            }
        }
    }
}
