//! The manual page, from the tables of tasks, options and settings.

use qdrant_backup_contract::settings::VARIABLES;
use qdrant_backup_contract::tasks::Task;

use crate::table::{COMMANDS, OPTIONS};

/// The page in the language of man(7).
pub fn page() -> String {
    let mut page = format!(
        ".TH QDRANT-BACKUP 1 \"\" \"qdrant-backup {}\"\n.SH NAME\nqdrant-backup \\- back up Qdrant to S3 and restore it\n\
         .SH SYNOPSIS\n.B qdrant-backup\n.I TASK\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\nRuns one task in a sandbox that may \
         reach the configured servers and one directory. Progress goes to standard error, what was asked for to standard \
         output. The settings are environment variables.\n.SH TASKS\n",
        env!("CARGO_PKG_VERSION")
    );
    for row in Task::all().iter().map(Task::row) {
        let argument = row.argument.iter().map(|argument| argument.name);
        let names: Vec<&str> = std::iter::once(row.name).chain(row.aliases.iter().copied()).collect();
        page.push_str(&format!(".TP\n\\fB{}\\fR", escaped(&names.join(", "))));
        argument.for_each(|argument| page.push_str(&format!(" \\fI{}\\fR", escaped(argument))));
        page.push_str(&format!("\n{}\n.br\n{}\n", text(row.summary), text(row.details)));
        for option in row.options {
            let value = option.value.map(|value| format!(" \\fI{}\\fR", escaped(value))).unwrap_or_default();
            page.push_str(&format!(".RS\n.TP\n\\fB{}\\fR{value}\n", escaped(&format!("--{}", option.name))));
            page.push_str(&format!("{}\n.RE\n", text(option.help)));
        }
    }
    page.push_str(".SH COMMANDS OF THE PROGRAM\n");
    for command in COMMANDS {
        page.push_str(&format!(
            ".TP\n\\fB{}\\fR \\fI{}\\fR\n{}\n",
            escaped(command.name),
            escaped(command.arguments),
            text(command.help)
        ));
    }
    page.push_str(".SH OPTIONS\n");
    for option in OPTIONS {
        let value = Some(option.value).filter(|value| !value.is_empty());
        let value = value.map(|value| format!(" \\fI{}\\fR", escaped(value))).unwrap_or_default();
        page.push_str(&format!(".TP\n\\fB{}\\fR{value}\n", escaped(option.flag)));
        page.push_str(&format!("{}\n", text(option.help)));
    }
    page.push_str(".SH ENVIRONMENT\n");
    for variable in VARIABLES {
        page.push_str(&format!(".TP\n.B {}\n{}\n", escaped(variable.name), text(variable.meaning)));
        let more = [("accepted", variable.accepts()), ("default", variable.default())];
        for (what, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
            page.push_str(&format!(".br\n{what}: {}\n", escaped(value)));
        }
    }
    page.push_str(
        ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong command line or settings, 3 partly done, 124 the deadline ran out, 130 \
         stopped by SIGINT, 143 stopped by SIGTERM.\n",
    );
    page
}

/// Text for people; none of its lines is a request to roff.
fn text(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = escaped(line);
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_everything_and_no_stray_requests() {
        let page = page();
        for task in Task::all() {
            assert!(page.contains(&escaped(task.row().name)), "{}", task.row().name);
        }
        assert!(VARIABLES.iter().all(|variable| page.contains(variable.name)));
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let request = line.split(' ').next().unwrap_or_default();
            assert!([".TH", ".SH", ".TP", ".B", ".I", ".br", ".RS", ".RE"].contains(&request), "{line}");
        }
    }
}
