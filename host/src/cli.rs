//! The command line: the host's own options in any place, everything else is the task and its options.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg;
use qdrant_backup_contract::command_line::{self, Invocation};
use qdrant_backup_contract::settings::parse_duration;
use qdrant_backup_contract::tasks::Task;

use crate::client::{ClientCertificate, Proxy, Trust};
use crate::completions;
use crate::config;
use crate::delivery::{self, Asked, Delivery};
use crate::egress::Rule;
use crate::environment::{Environment, settings_problems};
use crate::man;
use crate::options::Options;
use crate::table::{
    ALLOW_HOST, CA_FILE, CLIENT_CERT, CLIENT_KEY, COMMANDS, COMPONENT, DEADLINE, EXTRA_CA_FILE, HostOption,
    MEMORY_LIMIT, NO_PROGRESS, OPTIONS, SNAPSHOTS, WORK_DIR,
};
use crate::units::{parse_size, show_size};
use crate::version;

/// What the command line and the environment ask for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Run a task.
    Run(Box<Options>),
    /// Write the component to where it is run by others.
    Deliver(Delivery),
    /// Print this text on standard output and succeed.
    Print(String),
}

/// Why nothing can be run (exit code 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliError {
    /// The command line is wrong: a text with the usage.
    Usage(String),
    /// Options or variables have values that can't be used: `NAME: what is wrong and what is accepted`.
    Configuration(Vec<String>),
}

const SMALLEST_MEMORY: u64 = 16 << 20;
const LARGEST_MEMORY: u64 = 4 << 30;

/// Understands the arguments (without the program's name) together with the environment.
///
/// # Errors
/// A wrong command line, or all values that can't be used at once.
pub fn parse(arguments: &[String], environment: &Environment) -> Result<Command, CliError> {
    match delivery::parse(arguments) {
        Some(Ok(Asked::Do(delivery))) => return Ok(Command::Deliver(delivery)),
        Some(Ok(Asked::Print(text))) => return Ok(Command::Print(text)),
        Some(Err(usage)) => return Err(CliError::Usage(usage)),
        None => {}
    }
    let (given, rest) = split(arguments).map_err(CliError::Usage)?;
    if let Some(command) = own_command(&rest, &given, environment) {
        return command;
    }
    let (task, settings) = match command_line::parse(&rest).map_err(|error| CliError::Usage(error.to_string()))? {
        Invocation::Run { task, settings } => (task, settings),
        Invocation::Print(_) if rest.iter().any(|argument| argument == "--version" || argument == "-V") => {
            return Ok(Command::Print(version::line()));
        }
        Invocation::Print(text) => return Ok(Command::Print(with_options(&text))),
    };
    if task != Task::RecoverSnapshots && given.iter().any(|(option, _)| option.flag == SNAPSHOTS) {
        return Err(CliError::Usage(format!("{SNAPSHOTS} is for `recover_snap` only")));
    }
    let mut options = options(task, &given, environment).map_err(CliError::Configuration)?;
    options.settings.extend(settings);
    options.typed = rest;
    let own = given.iter().filter(|(option, _)| option.flag != NO_PROGRESS);
    options.typed_own = own.flat_map(|(option, value)| [option.flag.to_owned(), value.clone()]).collect();
    Ok(Command::Run(Box::new(options)))
}

/// A command that prints something about the program itself; `None` where the words are for a task.
fn own_command(rest: &[String], given: &Given, environment: &Environment) -> Option<Result<Command, CliError>> {
    let (name, arguments) = rest.split_first()?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = format!("Usage: qdrant-backup {} {}", command.name, command.arguments);
    let printed = match (command.name, arguments.as_slice()) {
        (_, ["--help" | "-h"]) => Some(format!("{}\n\n{}", usage.trim_end(), command.help)),
        ("config", ["show", output @ ..]) => shown_as(output, environment).map(|json| {
            let given =
                given.iter().filter_map(|(option, value)| Some((option.variable?, option.flag, value.as_str())));
            config::show(environment, &given.collect::<Vec<_>>(), json)
        }),
        ("completions", [shell]) => completions::script(shell),
        ("man", []) => Some(man::page()),
        _ => None,
    };
    Some(printed.map(Command::Print).ok_or_else(|| CliError::Usage(usage.trim_end().to_owned())))
}

/// True for JSON; `None` for words that are not accepted.
fn shown_as(output: &[&str], environment: &Environment) -> Option<bool> {
    match output {
        [] => Some(environment.get("QDRANT_OUTPUT").is_some_and(|value| value.eq_ignore_ascii_case("json"))),
        ["--output", "json"] | ["--output=json"] => Some(true),
        ["--output", "table"] | ["--output=table"] => Some(false),
        _ => None,
    }
}

/// The host's part of the help.
pub fn help() -> String {
    let mut text = String::from("Global options:\n");
    for option in OPTIONS {
        text.push_str(&format!("  {} {}\n", option.flag, option.value).replace(" \n", "\n"));
        for line in wrap(option.help, 90) {
            text.push_str(&format!("          {line}\n"));
        }
        if let Some(variable) = option.variable {
            text.push_str(&format!("          [env: {variable}]\n"));
        }
    }
    text.push_str("\nAbout the program itself:\n");
    for command in COMMANDS.iter().take(3) {
        text.push_str(&format!("  {} {}\n", command.name, command.arguments).replace(" \n", "\n"));
        for line in wrap(command.help, 90) {
            text.push_str(&format!("          {line}\n"));
        }
    }
    text.push('\n');
    text.push_str(&delivery::help());
    text.push_str(
        "\nExit codes: 0 done, 1 failed, 2 wrong command line or settings, 3 partly done, 124 the deadline ran out,\n\
         130 stopped by SIGINT, 143 stopped by SIGTERM. The state files are consistent in each case.\n",
    );
    text
}

fn with_options(text: &str) -> String {
    format!("{}\n\n{}", text.trim_end(), help())
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

type Given = Vec<(&'static HostOption, String)>;

/// Takes the host's own options out. After `--` nothing is an option of the host's any more.
fn split(arguments: &[String]) -> Result<(Given, Vec<String>), String> {
    let mut given = Given::new();
    let mut rest = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Arg::Value(value) => rest.push(text(value)),
            Arg::Short(letter) => rest.push(format!("-{letter}")),
            Arg::Long(name) => {
                let flag = format!("--{name}");
                match OPTIONS.iter().find(|option| option.flag == flag) {
                    Some(option) => given.push((option, value_of(option, &mut parser)?)),
                    None => rest.push(match parser.optional_value() {
                        Some(value) => format!("{flag}={}", text(value)),
                        None => flag,
                    }),
                }
            }
        }
    }
    Ok((given, rest))
}

fn value_of(option: &HostOption, parser: &mut lexopt::Parser) -> Result<String, String> {
    if option.value.is_empty() {
        let given = parser.optional_value();
        return given.map_or(Ok(String::new()), |_| Err(format!("{} takes no value", option.flag)));
    }
    let value = parser.value().ok().map(text).filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| format!("{flag} needs a value: {flag} {}", option.value, flag = option.flag))
}

fn text(argument: OsString) -> String {
    argument.to_string_lossy().into_owned()
}

fn options(task: Task, given: &Given, environment: &Environment) -> Result<Options, Vec<String>> {
    let mut problems: Vec<String> =
        environment.unreadable().into_iter().map(|name| format!("{name}: the value is not UTF-8 text")).collect();
    let values = Values { given, environment };

    let mut allow_hosts = Vec::new();
    for (name, value) in values.all(ALLOW_HOST) {
        match Rule::parse_list(value) {
            Ok(rules) => allow_hosts.extend(rules),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    let mut memory_limit = Options::DEFAULT_MEMORY_LIMIT;
    if let Some((name, value)) = values.one(MEMORY_LIMIT) {
        match parse_size(value).filter(|size| (SMALLEST_MEMORY..=LARGEST_MEMORY).contains(size)) {
            Some(size) => memory_limit = size,
            None => problems.push(format!(
                "{name}: `{value}` can't be used; accepted is {} to {}, such as `512MiB` or `512Mi`",
                show_size(SMALLEST_MEMORY),
                show_size(LARGEST_MEMORY)
            )),
        }
    }
    let mut deadline = None;
    if let Some((name, value)) = values.one(DEADLINE) {
        deadline = parse_duration(value).ok().filter(|deadline| !deadline.is_zero());
        if deadline.is_none() {
            problems.push(format!(
                "{name}: `{value}` can't be used; accepted is a time of at least 1 s, such as `3600`, `90s`, `60m` or `2h`"
            ));
        }
    }
    let path = |flag| values.one(flag).map(|(_, value)| PathBuf::from(value));
    let client = match (path(CLIENT_CERT), path(CLIENT_KEY)) {
        (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
        (None, None) => None,
        _ => {
            problems
                .push(format!("{CLIENT_CERT} (QDRANT_CLIENT_CERT) and {CLIENT_KEY} (QDRANT_CLIENT_KEY) go together"));
            None
        }
    };
    let proxy = match environment.https_proxy() {
        None => None,
        Some((url, no_proxy)) => {
            Proxy::parse(url, no_proxy).map_err(|why| problems.push(format!("HTTPS_PROXY: {why}"))).ok()
        }
    };
    let settings = environment.settings();
    let settings = match environment.secrets_in_files() {
        Ok(secrets) => settings.into_iter().chain(secrets).collect::<Vec<_>>(),
        Err(unreadable) => {
            problems.extend(unreadable);
            settings
        }
    };
    if !problems.is_empty() {
        problems.extend(settings_problems(&settings, &task));
        return Err(problems);
    }
    Ok(Options {
        settings,
        work_dir: path(WORK_DIR).unwrap_or_else(|| PathBuf::from(".")),
        snapshots: path(SNAPSHOTS).filter(|_| task == Task::RecoverSnapshots),
        trust: Trust { ca_file: path(CA_FILE), extra_ca_file: path(EXTRA_CA_FILE), client },
        proxy,
        allow_hosts,
        component: path(COMPONENT),
        memory_limit,
        deadline,
        // A terminal that says so can't move its cursor (terminfo(5), "dumb"); NO_COLOR: https://no-color.org.
        progress: values.one(NO_PROGRESS).is_none() && environment.get("TERM") != Some("dumb"),
        colours: environment.get("NO_COLOR").is_none_or(str::is_empty),
        typed: Vec::new(),
        typed_own: Vec::new(),
        task,
    })
}

/// Options and variables together.
struct Values<'a> {
    given: &'a Given,
    environment: &'a Environment,
}

impl<'a> Values<'a> {
    /// Every value of `flag` with the name it was given by: the variable's first, then the options'.
    fn all(&self, flag: &str) -> Vec<(&'static str, &'a str)> {
        let variable = OPTIONS.iter().find(|option| option.flag == flag).and_then(|option| option.variable);
        let from_environment = variable.and_then(|name| self.environment.get(name).map(|value| (name, value)));
        let from_options = self.given.iter().filter(|(option, _)| option.flag == flag);
        let from_options = from_options.map(|(option, value)| (option.flag, value.as_str()));
        from_environment.into_iter().chain(from_options).collect()
    }

    /// The value that counts: the last option, else the variable.
    fn one(&self, flag: &str) -> Option<(&'static str, &'a str)> {
        self.all(flag).pop()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::component_file;

    fn parse_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, CliError> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        parse(&arguments, &Environment::from_pairs(environment.iter().copied()))
    }

    fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Options {
        match parse_with(arguments, environment) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn usage(arguments: &[&str]) -> String {
        match parse_with(arguments, &[]) {
            Err(CliError::Usage(text)) => text,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn problems(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        match parse_with(arguments, environment) {
            Err(CliError::Configuration(problems)) => problems,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn a_task_alone_runs_with_the_defaults() {
        let options = run(&["create_snap"], &[]);
        assert_eq!(options.task, Task::CreateSnapshots);
        assert_eq!(options.work_dir, PathBuf::from("."));
        assert_eq!(options.memory_limit, 256 << 20);
        assert_eq!(
            (options.deadline, options.trust.ca_file, options.component, options.snapshots),
            (None, None, None, None)
        );
        assert!(options.allow_hosts.is_empty() && options.settings.is_empty());
    }

    #[test]
    fn own_options_stand_anywhere_and_the_rest_is_the_task_s() {
        let expected = run(&["--work-dir", "/w", "--deadline=2h", "reset", "--bkp", "true"], &[]);
        assert_eq!(expected.task, Task::Reset { keep_backup: true });
        assert_eq!(expected.work_dir, PathBuf::from("/w"));
        assert_eq!(expected.deadline, Some(Duration::from_secs(7_200)));
        let other = run(&["reset", "--work-dir=/w", "--bkp", "true", "--deadline", "2h"], &[]);
        assert_eq!((other.task, other.work_dir, other.deadline), (expected.task, expected.work_dir, expected.deadline));
    }

    #[test]
    fn options_win_over_variables_and_allowed_hosts_add_up() {
        let environment = [
            ("QDRANT_WORK_DIR", "/env"),
            ("QDRANT_MEMORY_LIMIT", "64Mi"),
            ("QDRANT_RUN_DEADLINE", "90"),
            ("QDRANT_CA_FILE", "/env.pem"),
            ("QDRANT_ALLOW_HOSTS", "a, b:1"),
            ("QDRANT_SNAPSHOTS_FILE", "/env.csv"),
        ];
        let options = run(&["recover_snap"], &environment);
        assert_eq!(options.work_dir, PathBuf::from("/env"));
        assert_eq!(options.memory_limit, 64 << 20);
        assert_eq!(options.deadline, Some(Duration::from_secs(90)));
        assert_eq!(options.trust.ca_file, Some(PathBuf::from("/env.pem")));
        assert_eq!(options.snapshots, Some(PathBuf::from("/env.csv")));
        assert_eq!(options.allow_hosts.len(), 2);
        let arguments =
            ["recover_snap", "--work-dir", "/flag", "--memory-limit", "1Gi", "--allow-host", "c,d", "--allow-host=e"];
        let options = run(&arguments, &environment);
        assert_eq!(options.work_dir, PathBuf::from("/flag"));
        assert_eq!(options.memory_limit, 1 << 30);
        assert_eq!(options.allow_hosts.len(), 5);
    }

    #[test]
    fn what_is_not_the_host_s_is_handed_on_as_it_came() {
        let (given, rest) =
            split(&["--bkp=A=b", "--work-dir=/w=x", "-h", "x y", "--no", "--", "--work-dir", "-V"].map(str::to_owned))
                .unwrap();
        assert_eq!(given.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["/w=x"]);
        assert_eq!(rest, ["--bkp=A=b", "-h", "x y", "--no", "--work-dir", "-V"]);
        // A value may begin with a dash.
        assert_eq!(run(&["create_snap", "--work-dir", "-w"], &[]).work_dir, PathBuf::from("-w"));
    }

    #[test]
    fn the_commands_of_delivery_are_known() {
        let deliver = parse_with(&["component", "c.wasm"], &[]);
        assert!(matches!(deliver, Ok(Command::Deliver(_))), "{deliver:?}");
        let help = parse_with(&["help", "configmap"], &[]);
        assert!(matches!(&help, Ok(Command::Print(text)) if text.contains("MANIFEST")), "{help:?}");
        assert!(usage(&["oci"]).starts_with("usage: "));
    }

    #[test]
    fn the_help_names_the_largest_component() {
        assert!(help().contains(&show_size(component_file::LIMIT as u64)));
    }

    #[test]
    fn the_last_of_several_options_counts() {
        assert_eq!(run(&["reset", "--work-dir", "a", "--work-dir", "b"], &[]).work_dir, PathBuf::from("b"));
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let options =
            run(&["create_snap"], &[("QDRANT_WORK_DIR", ""), ("QDRANT_RUN_DEADLINE", " "), ("LOG_FORMAT", "")]);
        assert_eq!((options.work_dir, options.deadline), (PathBuf::from("."), None));
        assert!(options.settings.is_empty());
    }

    #[test]
    fn all_wrong_values_are_named_at_once() {
        let environment = [("QDRANT_RUN_DEADLINE", "soon"), ("QDRANT_ALLOW_HOSTS", "http://a")];
        let problems = problems(&["create_snap", "--memory-limit", "1Mi"], &environment);
        let names: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        let expected = ["QDRANT_ALLOW_HOSTS", "--memory-limit", "QDRANT_RUN_DEADLINE", "QDRANT_SOURCE_HOSTS"];
        assert_eq!(names, expected, "{problems:?}");
    }

    #[test]
    fn limits_of_the_limits() {
        for (flag, value) in [
            ("--memory-limit", "16383Ki"),
            ("--memory-limit", "5Gi"),
            ("--memory-limit", "much"),
            ("--deadline", "0"),
            ("--deadline", "soon"),
            ("--allow-host", "*"),
        ] {
            assert_eq!(problems(&["reset", flag, value], &[]).len(), 1, "{flag} {value}");
        }
        assert_eq!(run(&["create_snap", "--memory-limit", "4GiB"], &[]).memory_limit, 4 << 30);
    }

    #[test]
    fn an_option_without_value_says_what_it_needs() {
        assert_eq!(usage(&["create_snap", "--work-dir"]), "--work-dir needs a value: --work-dir DIR");
        assert_eq!(usage(&["create_snap", "--deadline="]), "--deadline needs a value: --deadline DURATION");
    }

    #[test]
    fn a_snapshots_file_is_for_a_restore() {
        assert!(usage(&["create_snap", "--snapshots", "x"]).contains("`recover_snap` only"));
        assert_eq!(run(&["create_snap"], &[("QDRANT_SNAPSHOTS_FILE", "/x")]).snapshots, None);
        assert_eq!(run(&["recover_snap", "--snapshots", "x"], &[]).snapshots, Some(PathBuf::from("x")));
    }

    #[test]
    fn only_the_variables_of_the_contract_are_taken() {
        let environment = [
            ("QDRANT_SOURCE_HOSTS", "a"),
            ("QDRANT_SNAPSHOTS_FILE", "/x"),
            ("QDRANT_ALLOW_HOSTS", "b"),
            ("HOME", "/root"),
            ("AWS_PROFILE", "me"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ];
        let mut settings = run(&["recover_snap"], &environment).settings;
        settings.sort();
        let expected = [("AWS_SECRET_ACCESS_KEY", "s"), ("QDRANT_SOURCE_HOSTS", "a")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }

    #[test]
    fn help_names_every_option_and_variable() {
        let Ok(Command::Print(text)) = parse_with(&["--help"], &[]) else { panic!("no help") };
        for option in OPTIONS {
            assert!(text.contains(option.flag), "{}", option.flag);
            assert!(option.variable.is_none_or(|variable| text.contains(variable)), "{}", option.flag);
        }
        assert!(text.contains("create_snap") && text.lines().all(|line| line.len() <= 120), "{text}");
    }

    #[test]
    fn what_is_asked_of_the_program_itself_is_printed() {
        let printed = |arguments: &[&str]| match parse_with(arguments, &[("QDRANT_HTTP_PORT", "7000")]) {
            Ok(Command::Print(text)) => text,
            other => panic!("{arguments:?}: {other:?}"),
        };
        assert!(printed(&["config", "show"]).contains("QDRANT_HTTP_PORT = 7000\n    from: variable"));
        assert!(printed(&["--work-dir", "/w", "config", "show"]).contains("QDRANT_WORK_DIR = /w\n    from: option"));
        assert!(printed(&["config", "show", "--output", "json"]).starts_with('{'));
        assert!(printed(&["completions", "bash"]).contains("complete -F"));
        assert!(printed(&["man"]).starts_with(".TH"));
        assert!(printed(&["--version"]).contains("wasmtime"));
        assert!(printed(&["config", "--help"]).contains("secrets are masked"));
        for wrong in [&["config"][..], &["config", "set"], &["completions"], &["completions", "tcsh"], &["man", "x"]] {
            assert!(usage(wrong).starts_with("Usage: qdrant-backup "), "{wrong:?}");
        }
        for command in COMMANDS.iter().skip(3) {
            assert!(
                delivery::help().contains(&format!("  {} {}\n", command.name, command.arguments)),
                "{}",
                command.name
            );
        }
    }

    #[test]
    fn an_unknown_task_or_option_is_a_usage_error() {
        for arguments in [&["no_such_task"][..], &["create_snap", "--work-dri", "x"], &[]] {
            assert!(!usage(arguments).is_empty(), "{arguments:?}");
        }
    }
}
