//! `config show`: every setting with its value, where it came from, and what it means.

use qdrant_backup_contract::printable;
use qdrant_backup_contract::settings::{Needs, Scope, VARIABLES, Variable, from_variables};
use serde_json::{Value, json};

use crate::environment::Environment;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// A setting as it is.
struct Shown {
    variable: &'static Variable,
    /// Empty where there is none.
    value: String,
    from: String,
    /// Why it can't be used.
    problem: Option<String>,
}

/// The settings of `environment`; `given` are the program's own options by the variables they stand for, each with its flag.
pub fn show(environment: &Environment, given: &[(&'static str, &'static str, &str)], json: bool) -> String {
    let shown = settings(environment, given);
    if json {
        let all: Vec<Value> = shown.iter().map(entry).collect();
        return printable::json(&json!({"version": 1, "settings": all}));
    }
    let mut text = String::new();
    for Shown { variable, value, from, problem } in &shown {
        let value = printable::visible(value);
        text.push_str(&format!("{} = {value}\n    from: {from}\n    {}\n", variable.name, variable.meaning));
        if let Some(problem) = problem {
            text.push_str(&format!("    CAN'T BE USED: {}\n", printable::in_one_line(problem)));
        }
    }
    text
}

fn entry(shown: &Shown) -> Value {
    let Shown { variable, value, from, problem } = shown;
    json!({
        "name": variable.name,
        "value": value,
        "from": from,
        "secret": variable.secret,
        "meaning": variable.meaning,
        "accepted": variable.accepts(),
        "default": variable.default(),
        "problem": problem,
    })
}

fn settings(environment: &Environment, given: &[(&'static str, &'static str, &str)]) -> Vec<Shown> {
    let in_files = environment.secrets_in_files();
    let mut values = environment.settings();
    values.extend(in_files.clone().unwrap_or_default());
    let problems = from_variables(&values, Needs::NOTHING).err().unwrap_or_default();
    let unreadable = in_files.err().unwrap_or_default();
    let of = |variable: &'static Variable| {
        let option = given.iter().rev().find(|(name, ..)| *name == variable.name);
        let file = format!("{}_FILE", variable.name);
        let is_file = !VARIABLES.iter().any(|other| other.name == file);
        let file = environment.get(&file).filter(|_| is_file);
        let (value, from) = match (option, environment.get(variable.name), file) {
            (Some((_, flag, value)), ..) => (masked(variable, value), format!("option {flag}")),
            (None, Some(value), _) => (masked(variable, value), "variable".to_owned()),
            (None, None, Some(path)) => (MASK.to_owned(), format!("file `{path}` ({}_FILE)", variable.name)),
            _ if variable.scope == Scope::Unused => (String::new(), "not read any more".to_owned()),
            _ => (variable.default(), "default".to_owned()),
        };
        let problem = problems.iter().find(|problem| problem.variable == variable.name);
        let unread = unreadable.iter().find(|problem| problem.starts_with(&format!("{}_FILE: ", variable.name)));
        let problem = problem.map(|problem| problem.problem.clone()).or_else(|| unread.cloned());
        Shown { variable, value, from, problem }
    };
    VARIABLES.iter().map(of).collect()
}

/// The value of a variable as it may be shown: no secret, and none in an address.
fn masked(variable: &Variable, value: &str) -> String {
    if variable.secret {
        return MASK.to_owned();
    }
    // `scheme://user:password@host`, which no setting accepts, is there before anybody says so.
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split(['/', '?', '#', ',']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((secret, _)) => format!("{scheme}://{MASK}{}", rest.get(secret.len()..).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn shown(pairs: &[(&str, &str)], given: &[(&'static str, &'static str, &str)]) -> String {
        show(&Environment::from_pairs(pairs.iter().copied()), given, false)
    }

    #[test]
    fn every_setting_is_shown_with_where_it_came_from() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let text = shown(
            &[
                ("QDRANT_SOURCE_HOSTS", "http://user:hunter1@qdrant:6333"),
                ("QDRANT_API_KEY", "hunter3"),
                ("QDRANT_S3_SECRET_ACCESS_KEY_FILE", path),
                ("CURL_TIMEOUT", "abc"),
                ("QDRANT_WORK_DIR", "/env"),
            ],
            &[("QDRANT_WORK_DIR", "--work-dir", "/flag")],
        );
        assert!(VARIABLES.iter().all(|variable| text.contains(variable.meaning)));
        for says in [
            "QDRANT_SOURCE_HOSTS = http://***@qdrant:6333\n    from: variable",
            "QDRANT_API_KEY = ***\n    from: variable",
            &format!("QDRANT_S3_SECRET_ACCESS_KEY = ***\n    from: file `{path}`"),
            "CURL_TIMEOUT = abc\n",
            "CAN'T BE USED: `abc` is not a duration such as 3600, 3600s, 60m or 1h; accepted is 1s to 7d",
            "QDRANT_WORK_DIR = /flag\n    from: option --work-dir",
            "QDRANT_HTTP_PORT = 6333\n    from: default",
        ] {
            assert!(text.contains(says), "{says} is not in {text}");
        }
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let environment = Environment::from_pairs([("QDRANT_API_KEY", "hunter3")]);
        let json: Value = serde_json::from_str(&show(&environment, &[], true)).unwrap();
        let all = json["settings"].as_array().unwrap();
        assert_eq!((all.len(), &json["version"]), (VARIABLES.len(), &json!(1)));
        assert!(!json.to_string().contains("hunter"));
    }
}
