//! Programs that some tests need and that are not everywhere.

use std::path::PathBuf;
use std::process::Command;

/// What `why` is missing for: says so, and is a failure with `QDRANT_BACKUP_SKIP_NOTHING=1`.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("QDRANT_BACKUP_SKIP_NOTHING").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// A Python with `tests/requirements.txt` installed, from `QDRANT_BACKUP_PYTHON`.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("QDRANT_BACKUP_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skipped("QDRANT_BACKUP_PYTHON is not set");
    }
    python
}

/// True where all of `programs` can be started.
pub fn installed(programs: &[&str]) -> bool {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| Command::new(program).arg("--help").output().is_err()).collect();
    if !missing.is_empty() {
        skipped(&format!("not installed: {}", missing.join(", ")));
    }
    missing.is_empty()
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
