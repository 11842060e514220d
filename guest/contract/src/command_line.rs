//! The command line, over the table of the tasks.

use lexopt::{Arg, Parser};

use crate::settings;
use crate::suggest;
use crate::tasks::{Order, Row, Task, TaskOption};

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

const HINT: &str = "`qdrant-backup --help` lists the tasks";

/// Understands a command line, without the program's name.
///
/// # Errors
/// No task, an unknown one, or options it does not have.
pub fn parse(arguments: &[String]) -> Result<Invocation, UsageError> {
    let mut parser = Parser::from_args(arguments);
    match next(&mut parser)? {
        None => Err(UsageError(format!("which task?\n\n{}", help()))),
        Some(Word::Flag(flag)) => match flag.as_str() {
            "--help" | "-h" => help_about(&mut parser),
            "--version" | "-V" => {
                Ok(Invocation::Print(concat!("qdrant-backup ", env!("CARGO_PKG_VERSION")).to_owned()))
            }
            _ => Err(UsageError(format!("there is no option `{flag}`; {HINT}"))),
        },
        Some(Word::Value(word)) if word == "help" => help_about(&mut parser),
        Some(Word::Value(word)) => task(named(&word)?, &mut parser),
    }
}

/// The task's argument and options.
fn task(task: Task, parser: &mut Parser) -> Result<Invocation, UsageError> {
    let row = task.row();
    let mut order = Order { task, settings: Vec::new() };
    let mut argument = row.argument.as_ref();
    while let Some(word) = next(parser)? {
        match word {
            Word::Flag(flag) if flag == "--help" || flag == "-h" => return Ok(Invocation::Print(task_help(row))),
            Word::Flag(flag) => option(row, &flag, &mut order, parser)?,
            // Of a variable that is not set, in a script.
            Word::Value(value) if value.trim().is_empty() => return Err(wrong(row, "an argument is empty")),
            Word::Value(value) => match argument.take() {
                Some(argument) => (argument.take)(&mut order, value),
                None => return Err(wrong(row, &format!("`{}` takes no `{value}`", row.name))),
            },
        }
    }
    match argument {
        Some(argument) => Err(wrong(row, &format!("{} is missing: {}", argument.name, argument.help))),
        None => Ok(Invocation::Run { task: order.task, settings: order.settings }),
    }
}

fn option(row: &Row, flag: &str, order: &mut Order, parser: &mut Parser) -> Result<(), UsageError> {
    let option = row.options.iter().find(|option| flag.strip_prefix("--") == Some(option.name));
    let option = option.ok_or_else(|| wrong(row, &format!("`{}` has no option `{flag}`", row.name)))?;
    let value = match option.value {
        Some(accepted) => {
            let value = parser.value().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
            if value.trim().is_empty() {
                return Err(wrong(row, &format!("{flag} needs a value: {flag} {accepted}")));
            }
            value
        }
        None if parser.optional_value().is_some() => return Err(wrong(row, &format!("{flag} takes no value"))),
        None => String::new(),
    };
    if (option.take)(order, &value) {
        return Ok(());
    }
    Err(wrong(row, &format!("`{value}` can't be used: {flag} {}", option.value.unwrap_or_default())))
}

/// The words that [`parse`] understands as `task`: a command line without the program's name.
pub fn words(task: &Task) -> Vec<String> {
    let mut words = vec![task.name().to_owned()];
    let mut add = |word: &str| words.push(word.to_owned());
    match task {
        Task::Prune { legacy: true } => add("--legacy"),
        Task::Reset { keep_backup: true } => add("--bkp=true"),
        Task::Pin { set, remove } => {
            add(set);
            if *remove {
                add("--remove");
            }
        }
        _ => {}
    }
    words
}

enum Word {
    /// With its dashes.
    Flag(String),
    Value(String),
}

fn next(parser: &mut Parser) -> Result<Option<Word>, UsageError> {
    Ok(match parser.next().map_err(|error| UsageError(format!("{error}; {HINT}")))? {
        None => None,
        Some(Arg::Long(name)) => Some(Word::Flag(format!("--{name}"))),
        Some(Arg::Short(letter)) => Some(Word::Flag(format!("-{letter}"))),
        Some(Arg::Value(value)) => Some(Word::Value(value.to_string_lossy().into_owned())),
    })
}

fn named(name: &str) -> Result<Task, UsageError> {
    Task::named(name).ok_or_else(|| {
        let guess = suggest::task(name).map(|task| task.row());
        let guess = guess.map(|row| format!("; did you mean `{}` ({})?", row.name, row.summary));
        UsageError(format!("there is no task `{name}`{} {HINT}", guess.as_deref().unwrap_or(";")))
    })
}

fn wrong(row: &Row, why: &str) -> UsageError {
    UsageError(format!("{why}\n\n{}", usage(row)))
}

fn usage(row: &Row) -> String {
    format!("Usage: qdrant-backup {}", synopsis(row))
}

/// `task ARGUMENT [--option]`
fn synopsis(row: &Row) -> String {
    let argument = row.argument.iter().map(|argument| format!(" {}", argument.name));
    let options = row.options.iter().map(|option| format!(" [{}]", written(option)));
    argument.chain(options).fold(row.name.to_owned(), |synopsis, part| synopsis + &part)
}

/// The table of docs/tasks.md.
pub fn markdown_table() -> String {
    let mut table = String::from("| Task | Also called | What it does |\n|---|---|---|\n");
    for row in Task::all().iter().map(Task::row) {
        let aliases: Vec<String> = row.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let synopsis = synopsis(row).replace('|', "\\|");
        table.push_str(&format!("| `{synopsis}` | {} | {} |\n", aliases.join(", "), row.summary));
    }
    table
}

/// `--name VALUE`
fn written(option: &TaskOption) -> String {
    let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("--{}{value}", option.name)
}

/// The help of the task that is named next, of the settings, or of all.
fn help_about(parser: &mut Parser) -> Result<Invocation, UsageError> {
    Ok(Invocation::Print(match next(parser)? {
        Some(Word::Value(name)) if name == "settings" => {
            let name = match next(parser)? {
                Some(Word::Value(name)) => Some(name),
                _ => None,
            };
            settings::help(name.as_deref()).map_err(UsageError)?
        }
        Some(Word::Value(name)) => task_help(named(&name)?.row()),
        _ => help(),
    }))
}

fn task_help(row: &Row) -> String {
    let mut text = format!("{}\n\n{}\n", usage(row), sentence(row.summary));
    if !row.aliases.is_empty() {
        text.push_str(&format!("[aliases: {}]\n", row.aliases.join(", ")));
    }
    text.push_str(&format!("\n{}", row.details));
    let argument = row.argument.iter().map(|argument| (argument.name.to_owned(), argument.help));
    let options = row.options.iter().map(|option| (written(option), option.help));
    let lines: Vec<_> = argument.chain(options).map(|(name, help)| format!("\n  {name}\n          {help}")).collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n\nOptions:{}", lines.concat()));
    }
    text
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| format!("{}{}.", first.to_ascii_uppercase(), chars.as_str())).unwrap_or_default()
}

fn help() -> String {
    let mut text =
        String::from("Backs up Qdrant to S3 and restores it.\n\nUsage: qdrant-backup TASK [OPTIONS]\n\nTasks:\n");
    for row in Task::all().iter().map(Task::row) {
        text.push_str(&format!("  {:<21}{}\n", row.name, row.summary));
        for alias in row.aliases {
            text.push_str(&format!("  {:<21}[alias: {alias}]\n", ""));
        }
    }
    text.push_str(
        "\n`qdrant-backup TASK --help` says more. The settings are environment variables (QDRANT_SOURCE_HOSTS,\n\
         QDRANT_RESTORE_HOSTS, QDRANT_API_KEY, QDRANT_S3_...): `qdrant-backup help settings [NAME]`.",
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
    fn a_task_s_words_are_understood_as_it() {
        let mut tasks = vec![
            Task::Prune { legacy: true },
            Task::Reset { keep_backup: true },
            Task::Pin { set: "2026-01-29".to_owned(), remove: true },
        ];
        // A set's id is needed.
        tasks.extend(Task::all().into_iter().map(|task| match task {
            Task::Pin { remove, .. } => Task::Pin { set: "a".to_owned(), remove },
            task => task,
        }));
        for task in tasks {
            let settings = Vec::new();
            assert_eq!(parse(&words(&task)), Ok(Invocation::Run { task, settings }));
        }
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
        for row in Task::all().iter().map(Task::row) {
            assert!(printed("--help").contains(row.name));
            assert!(printed(&format!("{} --help", row.name)).contains(row.details));
            assert_eq!(printed(&format!("help {}", row.name)), printed(&format!("{} -h", row.name)));
            assert!(printed(&format!("{} -h", row.name)).lines().all(|line| line.len() <= 120), "{}", row.name);
            assert!(row.options.iter().all(|option| printed(&format!("{} -h", row.name)).contains(option.help)));
        }
        assert!(printed("help settings").contains("QDRANT_S3_BUCKET_NAME"));
        assert!(printed("help settings CURL_TIMEOUT").starts_with("CURL_TIMEOUT"));
        assert!(printed("-V").contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn an_unknown_word_is_answered_with_what_may_be_meant() {
        let said = |line| parsed(line).unwrap_err().0;
        assert_eq!(
            said("bakcup"),
            "there is no task `bakcup`; did you mean `create_snap_shards` (back up as a set: one checked snapshot of \
             each shard, a manifest; then prune)? `qdrant-backup --help` lists the tasks"
        );
        assert_eq!(said("xyzzy"), "there is no task `xyzzy`; `qdrant-backup --help` lists the tasks");
        assert!(said("").contains("Tasks:"));
        assert!(said("--nonsense").contains("no option `--nonsense`"));
        assert!(said("help xyzzy").contains("no task"));
        assert!(said("help settings xyzzy").contains("no setting `xyzzy`"));
    }

    #[test]
    fn a_wrong_option_is_answered_with_what_is_accepted() {
        for (line, why) in [
            ("reset --bkp maybe", "`maybe` can't be used: --bkp true|false"),
            ("reset --bkp", "--bkp needs a value: --bkp true|false"),
            ("prune_snap --legacy=yes", "--legacy takes no value"),
            ("pin_set", "SET is missing"),
            ("pin_set a b", "`pin_set` takes no `b`"),
            ("list_sets --dry-run", "`list_sets` has no option `--dry-run`"),
        ] {
            let said = parsed(line).unwrap_err().0;
            assert!(said.starts_with(why) && said.contains("Usage: qdrant-backup "), "{line}: {said}");
        }
    }

    #[test]
    fn the_page_has_the_tasks() {
        crate::page::check("tasks", &markdown_table()).unwrap();
    }

    #[test]
    fn what_is_empty_is_not_taken_for_an_argument() {
        for arguments in [["pin_set", ""], ["drill", "--into="], ["reset", "--bkp="]] {
            let said = parse(&arguments.map(str::to_owned)).unwrap_err().0;
            assert!(said.contains("is empty") || said.contains("needs a value"), "{arguments:?}: {said}");
        }
    }

    #[test]
    fn an_option_may_stand_for_a_setting() {
        let settings = vec![("QDRANT_RESTORE_HOSTS".to_owned(), "http://q".to_owned())];
        for line in ["drill --into http://q", "drill --into=http://q"] {
            assert_eq!(parsed(line), Ok(Invocation::Run { task: Task::Drill, settings: settings.clone() }));
        }
    }
}
