//! What is taken from the process's environment: the variables of the contract, and no others.

use std::ffi::OsString;

use qdrant_backup_contract::settings::{Scope, VARIABLES, from_variables, secrets_in_files, unknown_names};
use qdrant_backup_contract::tasks::Task;

const SNAPSHOTS_FILE: &str = "QDRANT_SNAPSHOTS_FILE";

/// Stands for bytes that are not UTF-8.
const REPLACEMENT: char = '\u{FFFD}';

/// Environment variables as pairs of name and value.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The process's environment.
    pub fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// These variables.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        Self { variables: pairs.into_iter().map(|(name, value)| (text(name.into()), text(value.into()))).collect() }
    }

    /// The value of `name`. An empty variable is as good as an unset one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(candidate, _)| candidate == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The settings of the component. Whatever else is in the environment stays out of the sandbox.
    pub fn settings(&self) -> Vec<(String, String)> {
        let wanted = |wanted: &str| {
            // The host reads the snapshots file itself and hands over its content.
            let mut handed_over = VARIABLES.iter().filter(|it| it.scope != Scope::Host && it.name != SNAPSHOTS_FILE);
            handed_over.any(|variable| variable.name == wanted)
        };
        self.variables.iter().filter(|(name, value)| wanted(name) && !value.trim().is_empty()).cloned().collect()
    }

    /// The secrets that stand in files.
    ///
    /// # Errors
    /// As [`secrets_in_files`].
    pub fn secrets_in_files(&self) -> Result<Vec<(String, String)>, Vec<String>> {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        secrets_in_files(variables, |file| std::fs::read_to_string(file).map_err(|error| error.to_string()))
    }

    /// `HTTPS_PROXY` and `NO_PROXY`, in capitals or not, as everybody reads them.
    pub fn https_proxy(&self) -> Option<(&str, &str)> {
        let get = |name: &str| self.get(name).or_else(|| self.get(&name.to_ascii_lowercase()));
        get("HTTPS_PROXY").map(|proxy| (proxy, get("NO_PROXY").unwrap_or_default()))
    }

    /// The variables of ours whose value is not UTF-8 text.
    pub fn unreadable(&self) -> Vec<&'static str> {
        let names = VARIABLES.iter().map(|variable| variable.name);
        names.filter(|name| self.get(name).is_some_and(|value| value.contains(REPLACEMENT))).collect()
    }

    /// A warning for each variable whose name looks like one of ours and is none.
    pub fn warnings(&self) -> Vec<String> {
        unknown_names(self.variables.iter().map(|(name, _)| name.as_str()))
    }
}

/// What is wrong with the settings, for a list that starts with what is wrong with the host's own options, so
/// that everything is seen at once. The component checks them again.
pub fn settings_problems(settings: &[(String, String)], task: &Task) -> Vec<String> {
    let problems = from_variables(settings, task.row().needs).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.variable, problem.problem)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn settings_are_the_variables_of_the_contract_that_have_a_value() {
        let environment = Environment::from_pairs([
            ("QDRANT_SOURCE_HOSTS", "a"),
            ("QDRANT_RESTORE_HOSTS", " "),
            ("QDRANT_API_KEY", ""),
            ("QDRANT_SNAPSHOTS_FILE", "/list"),
            ("QDRANT_ALLOW_HOSTS", "b"),
            ("QDRANT_CLUSTER", "c"),
            ("PATH", "/bin"),
            ("KUBECONFIG", "/root/.kube/config"),
        ]);
        assert_eq!(environment.settings(), [("QDRANT_SOURCE_HOSTS".to_string(), "a".to_string())]);
        assert_eq!(environment.get("QDRANT_SNAPSHOTS_FILE"), Some("/list"));
        assert_eq!(environment.get("QDRANT_RESTORE_HOSTS"), None);
    }

    #[test]
    fn values_that_are_no_text_are_named_where_they_are_ours() {
        let bytes = || OsString::from_vec(vec![b'a', 0xff]);
        let names = ["QDRANT_API_KEY", "QDRANT_WORK_DIR", "LS_COLORS"];
        let environment = Environment::from_pairs(names.map(|name| (name, bytes())));
        assert_eq!(environment.unreadable(), ["QDRANT_API_KEY", "QDRANT_WORK_DIR"]);
    }

    #[test]
    fn secrets_may_stand_in_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let with = |pairs: &[(&str, &str)]| Environment::from_pairs(pairs.iter().copied()).secrets_in_files();
        let found = with(&[("QDRANT_API_KEY_FILE", path), ("QDRANT_S3_ACCESS_KEY_ID_FILE", path)]).unwrap();
        let secret = |name: &str| (name.to_owned(), "hunter2".to_owned());
        assert_eq!(found, [secret("QDRANT_API_KEY"), secret("QDRANT_S3_ACCESS_KEY_ID")]);
        let problems = with(&[("QDRANT_API_KEY_FILE", "/no/such/file")]).unwrap_err().join(" ");
        assert!(problems.contains("can't read `/no/such/file`"), "{problems}");
        let environment = Environment::from_pairs([("QDRANT_API_KEY_FILE", path)]);
        assert_eq!(environment.warnings(), Vec::<String>::new());
    }

    #[test]
    fn the_host_s_own_variables_are_known_names() {
        let names = VARIABLES.iter().filter(|variable| variable.scope == Scope::Host).map(|variable| variable.name);
        let environment = Environment::from_pairs(names.map(|name| (name, "x")));
        assert_eq!(environment.warnings(), Vec::<String>::new());
        let environment = Environment::from_pairs([("QDRANT_SOURCE_HOST", "x")]);
        assert!(environment.warnings().first().unwrap().contains("QDRANT_SOURCE_HOSTS"));
    }

    #[test]
    fn each_variable_of_the_host_has_an_option_and_vice_versa() {
        let of_host =
            VARIABLES.iter().filter(|variable| variable.scope == Scope::Host || variable.name == SNAPSHOTS_FILE);
        let mut listed: Vec<_> = of_host.map(|variable| variable.name).collect();
        let mut options: Vec<_> = crate::table::OPTIONS.iter().filter_map(|option| option.variable).collect();
        listed.sort_unstable();
        options.sort_unstable();
        assert_eq!(listed, options);
    }
}
