//! Programs that some tests need and that are not everywhere.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The running test is skipped, since `why`: says so by its name, and is a failure with `QDRANT_BACKUP_SKIP_NOTHING=1`.
///
/// # Panics
/// With that variable.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("QDRANT_BACKUP_SKIP_NOTHING").is_none(), "{why}");
    let test = std::thread::current();
    // Not by `eprintln`: what that prints in a test that does not fail is never shown.
    let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", test.name().unwrap_or("a test"));
}

/// A Python with `tests/requirements.txt` installed, from `QDRANT_BACKUP_PYTHON`.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("QDRANT_BACKUP_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skipped("QDRANT_BACKUP_PYTHON is not set");
    }
    python
}

/// kubectl and helm of one version of Kubernetes.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    folder: PathBuf,
}

impl Kubernetes {
    /// Every version that `tests/kubernetes/tools.txt` names, the oldest first; none where they are not installed, and the
    /// test is skipped.
    pub fn versions() -> Vec<Self> {
        static FOUND: LazyLock<Result<Vec<Kubernetes>, String>> = LazyLock::new(Kubernetes::find);
        match &*FOUND {
            Ok(versions) => versions.clone(),
            Err(why) => {
                skipped(why);
                Vec::new()
            }
        }
    }

    fn find() -> Result<Vec<Self>, String> {
        let python = std::env::var_os("QDRANT_BACKUP_PYTHON").ok_or("QDRANT_BACKUP_PYTHON is not set")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/tools.py");
        let run = Command::new(python).arg(script).output().map_err(|error| error.to_string())?;
        let folders = String::from_utf8_lossy(&run.stdout);
        let found: Vec<_> = folders.lines().map(|folder| Self { folder: folder.into() }).collect();
        if run.status.success() && !found.is_empty() {
            return Ok(found);
        }
        let why = String::from_utf8_lossy(&run.stderr);
        Err(format!(
            "no kubectl and helm of tests/kubernetes/tools.txt: {}",
            why.lines().last().unwrap_or("none there")
        ))
    }

    /// kubectl, without a cluster.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.folder.join("kubectl"));
        kubectl.env("KUBECONFIG", "/dev/null");
        kubectl
    }

    /// helm, without a cluster.
    pub fn helm(&self) -> Command {
        let mut helm = Command::new(self.folder.join("helm"));
        helm.env("KUBECONFIG", "/dev/null");
        helm
    }
}

/// Which of `programs` can't be started, in words.
pub fn missing(programs: &[&str]) -> Option<String> {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| Command::new(program).arg("--help").output().is_err()).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// Runs `command` to its end.
///
/// # Panics
/// It fails; shows its output.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}
