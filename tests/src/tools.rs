//! Programs that some tests need and that are not everywhere.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

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
