//! Secrets that stand in files, as a mounted Secret has them: `QDRANT_API_KEY_FILE` names the file in place of
//! `QDRANT_API_KEY`.

use super::setting::Variable;
use super::table::VARIABLES;

/// What the name of such a variable ends with.
const IN_A_FILE: &str = "_FILE";

/// True for the names of keys and secrets, whose values may stand in a file. A file that is a setting of its own is read by
/// who uses it.
fn may_be_in_a_file(name: &str) -> bool {
    let is_secret = |variable: &Variable| variable.secret || variable.name.ends_with("ACCESS_KEY_ID");
    let is_setting = |name: &str| VARIABLES.iter().any(|variable| variable.name == name);
    VARIABLES.iter().any(|variable| variable.name == name && is_secret(variable))
        && !is_setting(&format!("{name}{IN_A_FILE}"))
}

/// True for the name of a variable that names a file with a secret.
pub(super) fn names_a_file(name: &str) -> bool {
    name.strip_suffix(IN_A_FILE).is_some_and(may_be_in_a_file)
}

/// The secrets that stand in files, each by the name of its own variable. `variables` are those of the surroundings; `read`
/// gives a file's text, or says why it can't. A line break at the end is not a part of a secret.
///
/// # Errors
/// Every file that can't be read or is empty, and every secret that is given twice.
pub fn secrets_in_files<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<(String, String)>, Vec<String>> {
    let set: Vec<_> = variables.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
    let (mut secrets, mut problems) = (Vec::new(), Vec::new());
    for (variable, file) in set.iter().filter(|(name, _)| names_a_file(name)) {
        let Some(name) = variable.strip_suffix(IN_A_FILE) else { continue };
        let file = file.trim();
        if set.iter().any(|(other, _)| *other == name) {
            problems.push(format!("{variable}: {name} is set as well; set one"));
            continue;
        }
        match read(file) {
            Ok(text) if text.trim().is_empty() => problems.push(format!("{variable}: the file `{file}` is empty")),
            Ok(text) => secrets.push((name.to_owned(), text.trim().to_owned())),
            Err(why) => problems.push(format!("{variable}: can't read `{file}`: {why}")),
        }
    }
    if problems.is_empty() { Ok(secrets) } else { Err(problems) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_may_stand_in_files() {
        let read = |file: &str| match file {
            "/secret" => Ok("hunter2\n".to_owned()),
            "/empty" => Ok(" \n".to_owned()),
            _ => Err("no such file".to_owned()),
        };
        let with = |variables: &[(&'static str, &'static str)]| secrets_in_files(variables.iter().copied(), read);
        let found = with(&[("QDRANT_API_KEY_FILE", " /secret"), ("QDRANT_S3_ACCESS_KEY_ID_FILE", "/secret")]).unwrap();
        let secret = |name: &str| (name.to_owned(), "hunter2".to_owned());
        assert_eq!(found, [secret("QDRANT_API_KEY"), secret("QDRANT_S3_ACCESS_KEY_ID")]);
        // What is no secret has no file; what is not set names none; a file that is a setting is not read here.
        let others = [("QDRANT_SOURCE_HOSTS_FILE", "/x"), ("QDRANT_API_KEY_FILE", ""), ("QDRANT_SNAPSHOTS_FILE", "/x")];
        let token = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/x")];
        assert_eq!(with(&[&others[..], &token].concat()).unwrap(), []);
        for (wrong, why) in [
            (&[("QDRANT_API_KEY_FILE", "/no/such/file")][..], "can't read `/no/such/file`: no such file"),
            (&[("QDRANT_API_KEY_FILE", "/empty")], "is empty"),
            (&[("QDRANT_API_KEY_FILE", "/secret"), ("QDRANT_API_KEY", "hunter3")], "set one"),
        ] {
            let problems = with(wrong).unwrap_err().join(" ");
            assert!(problems.contains(why) && !problems.contains("hunter"), "{problems}");
        }
    }
}
