//! What this program is made of, in one line.

use crate::delivery;
use crate::sandbox::COMPONENT;

/// The version, the commit where the build was told it (`QDRANT_BACKUP_COMMIT`), the component by its SHA-256, and the
/// engine.
pub fn line() -> String {
    let commit = option_env!("QDRANT_BACKUP_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    let sha256 = delivery::sha256(COMPONENT);
    let component = sha256.get(..12).unwrap_or_default();
    format!(
        "qdrant-backup {} ({commit}component sha256:{component}, wasmtime {})",
        env!("CARGO_PKG_VERSION"),
        env!("WASMTIME_VERSION")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_says_what_it_is_made_of() {
        let line = super::line();
        assert!(line.contains("component sha256:") && line.contains("wasmtime 48."), "{line}");
        assert!(!line.contains('\n'));
    }
}
