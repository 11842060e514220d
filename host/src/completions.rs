//! Completions for shells, from the tables of tasks and options.

use qdrant_backup_contract::tasks::{Row, Task, TaskOption};

use crate::table::{COMMANDS, OPTIONS};

/// The script for `shell`; `None` for one that is not known.
pub fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

/// Every name of every task with its row.
fn tasks() -> impl Iterator<Item = (&'static str, &'static Row)> {
    Task::all().into_iter().flat_map(|task| {
        let row = task.row();
        std::iter::once(row.name).chain(row.aliases.iter().copied()).map(move |name| (name, row))
    })
}

/// The words that an option takes, where it takes certain words: those of `table|json`.
fn words(option: &TaskOption) -> Vec<&'static str> {
    let words: Vec<_> = option.value.unwrap_or_default().split('|').collect();
    if words.len() > 1 { words } else { Vec::new() }
}

/// True for a value that is the name of a file or folder.
fn is_path(value: &str) -> bool {
    matches!(value, "FILE" | "DIR")
}

fn bash() -> String {
    let joined = |words: Vec<String>| words.join(" ");
    let mut names: Vec<String> = tasks().map(|(name, _)| name.to_owned()).collect();
    names.extend(COMMANDS.iter().map(|command| command.name.to_owned()));
    names.push("help".to_owned());
    let own: Vec<String> = OPTIONS.iter().map(|option| option.flag.to_owned()).collect();
    let mut cases = String::new();
    for (name, row) in tasks() {
        let flags = row.options.iter().map(|option| format!("--{}", option.name));
        cases.push_str(&format!("        {name}) words='{} --help' ;;\n", joined(flags.collect())));
    }
    for command in COMMANDS.iter().filter(|command| !command.words.is_empty()) {
        cases.push_str(&format!("        {}) words='{}' ;;\n", command.name, command.words.join(" ")));
    }
    let mut values = String::new();
    let mut seen = Vec::new();
    for option in tasks().flat_map(|(_, row)| row.options) {
        let words = words(option);
        if !words.is_empty() && !seen.contains(&option.name) {
            seen.push(option.name);
            values.push_str(&format!(
                "        --{}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;\n",
                option.name,
                words.join(" ")
            ));
        }
    }
    let paths: Vec<&str> = OPTIONS.iter().filter(|option| is_path(option.value)).map(|option| option.flag).collect();
    values.push_str(&format!("        {}) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", paths.join("|")));
    let with_value = OPTIONS.iter().filter(|option| !option.value.is_empty());
    let with_value: Vec<&str> = with_value.map(|option| option.flag).collect();
    format!(
        "_qdrant_backup() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} task= words= i\n    \
         case $prev in\n{values}    esac\n    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${{COMP_WORDS[i]}} in\n            \
         {options}) ((i++)) ;;\n            -*) ;;\n            *) task=${{COMP_WORDS[i]}}; break ;;\n        esac\n    done\n    \
         case $task in\n        '') words='{names} --help --version' ;;\n        help) words='{names} settings' ;;\n{cases}    esac\n    \
         COMPREPLY=($(compgen -W \"$words {own}\" -- \"$cur\"))\n}}\ncomplete -F _qdrant_backup qdrant-backup\n",
        options = with_value.join("|"),
        names = joined(names),
        own = joined(own),
    )
}

/// `text` between single quotes, for sh and zsh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn zsh() -> String {
    // A colon ends a name, and a bracket a description.
    let plain = |text: &str| text.replace('\\', r"\\").replace(':', r"\:").replace('[', r"\[").replace(']', r"\]");
    let option = |flag: &str, help: &str, value: Option<&str>, words: &[&str]| {
        let action = match (value, words) {
            (None, _) => String::new(),
            (Some(value), []) if is_path(value) => format!(":{value}:_files"),
            (Some(value), []) => format!(":{}:", plain(value)),
            (Some(_), words) => format!(":value:({})", words.join(" ")),
        };
        quoted(&format!("{flag}[{}]{action}", plain(help)))
    };
    let mut script = "#compdef qdrant-backup\n_qdrant_backup() {\n    local -a tasks own\n    tasks=(\n".to_owned();
    for (name, row) in tasks() {
        script.push_str(&format!("        {}\n", quoted(&format!("{name}:{}", plain(row.summary)))));
    }
    for command in COMMANDS {
        script.push_str(&format!("        {}\n", quoted(&format!("{}:{}", command.name, plain(command.help)))));
    }
    script.push_str("    )\n    own=(\n");
    for own in OPTIONS {
        script.push_str(&format!(
            "        {}\n",
            option(own.flag, own.help, Some(own.value).filter(|value| !value.is_empty()), &[])
        ));
    }
    script.push_str(
        "    )\n    local line state\n    _arguments -C $own '1:task:->task' '*::argument:->rest'\n    case $state in\n        \
         task) _describe -t tasks task tasks ;;\n        rest)\n            case $line[1] in\n",
    );
    for (name, row) in tasks() {
        let options = row.options.iter().map(|it| option(&format!("--{}", it.name), it.help, it.value, &words(it)));
        let options: Vec<String> = options.collect();
        script.push_str(&format!("                {name}) _arguments $own {} ;;\n", options.join(" ")));
    }
    for command in COMMANDS.iter().filter(|command| !command.words.is_empty()) {
        script.push_str(&format!("                {}) _values word {} ;;\n", command.name, command.words.join(" ")));
    }
    script.push_str("            esac ;;\n    esac\n}\n_qdrant_backup \"$@\"\n");
    script
}

fn fish() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    let mut script = "complete -c qdrant-backup -f\n".to_owned();
    let first = "-n __fish_use_subcommand";
    for (name, row) in tasks() {
        script.push_str(&format!("complete -c qdrant-backup {first} -a {name} -d {}\n", quoted(row.summary)));
        for option in row.options {
            let value = match (option.value, words(option)) {
                (None, _) => String::new(),
                (Some(_), words) if words.is_empty() => " -x".to_owned(),
                (Some(_), words) => format!(" -xa {}", quoted(&words.join(" "))),
            };
            script.push_str(&format!(
                "complete -c qdrant-backup -n '__fish_seen_subcommand_from {name}' -l {}{value} -d {}\n",
                option.name,
                quoted(option.help)
            ));
        }
    }
    for command in COMMANDS {
        script.push_str(&format!(
            "complete -c qdrant-backup {first} -a {} -d {}\n",
            command.name,
            quoted(command.help)
        ));
        if !command.words.is_empty() {
            script.push_str(&format!(
                "complete -c qdrant-backup -n '__fish_seen_subcommand_from {}' -xa {}\n",
                command.name,
                quoted(&command.words.join(" "))
            ));
        }
    }
    for option in OPTIONS {
        let files = match option.value {
            "" => "",
            value if is_path(value) => " -rF",
            _ => " -x",
        };
        let flag = option.flag.trim_start_matches("--");
        script.push_str(&format!("complete -c qdrant-backup -l {flag}{files} -d {}\n", quoted(option.help)));
    }
    script
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::table::SHELLS;

    #[test]
    fn every_shell_has_every_task_and_option() {
        for shell in SHELLS.split('|') {
            let script = script(shell).unwrap();
            for (name, row) in tasks() {
                assert!(script.contains(name), "{shell}: {name}");
                assert!(row.options.iter().all(|option| script.contains(option.name)), "{shell}: {name}");
            }
            for option in OPTIONS {
                assert!(script.contains(option.flag.trim_start_matches('-')), "{shell}: {}", option.flag);
            }
        }
        assert_eq!(script("tcsh"), None);
    }

    /// What bash proposes for the last of `line`'s words.
    fn proposed(line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let call = format!(
            "{}\nCOMP_WORDS=({}) COMP_CWORD={}\n_qdrant_backup\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bash(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1
        );
        let output = Command::new("bash").args(["--norc", "-c", &call]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn bash_proposes_what_fits() {
        assert_eq!(proposed("qdrant-backup che"), ["check"]);
        assert_eq!(proposed("qdrant-backup prune --l"), ["--legacy"]);
        assert_eq!(proposed("qdrant-backup check --output j"), ["json"]);
        assert_eq!(proposed("qdrant-backup --work-dir /tmp list_so"), ["list_sources"]);
        assert_eq!(proposed("qdrant-backup completions f"), ["fish"]);
        assert_eq!(proposed("qdrant-backup verify --mem"), ["--memory-limit"]);
    }
}
