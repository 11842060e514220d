//! Compiles the component ahead of time.

use std::path::{Path, PathBuf};

#[path = "../src/sandbox/config.rs"]
mod config;

/// Compiles `component` for the target that the host is built for; returns the file with the result.
///
/// # Errors
/// The target can't be compiled for, or the component is none.
pub fn precompile(component: &Path) -> Result<PathBuf, String> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/sandbox/config.rs");
    let target = super::variable("TARGET")?;
    let failed = |error: wasmtime::Error| format!("can't compile the component for {target}: {error:#}");
    let mut config = config::config();
    // Named, so that what only the builder's processor can do is not used.
    config.target(&target).map_err(failed)?;
    config.cranelift_opt_level(wasmtime::OptLevel::SpeedAndSize);
    let engine = wasmtime::Engine::new(&config).map_err(failed)?;
    let wasm = std::fs::read(component).map_err(|error| format!("can't read {}: {error}", component.display()))?;
    let code = engine.precompile_component(&wasm).map_err(failed)?;
    let file = PathBuf::from(super::variable("OUT_DIR")?).join("qdrant-backup.cwasm");
    std::fs::write(&file, code).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    Ok(file)
}
