//! Compiles the component ahead of time.

use std::path::{Path, PathBuf};

#[path = "../src/sandbox/config.rs"]
mod config;

/// What a processor of x86-64 has to have, as nearly all since 2008 do: without it the SHA-256 of snapshots, which is computed
/// with the vector instructions of WASM, takes eight times as long. Those of other architectures always have theirs.
const X86_64: [&str; 3] = ["has_sse3", "has_ssse3", "has_sse41"];

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
    for flag in X86_64.into_iter().filter(|_| target.starts_with("x86_64")) {
        // SAFETY: the flag tells of the processor only, and the engine that loads the code checks whether it has this one.
        #[allow(unsafe_code)]
        unsafe {
            config.cranelift_flag_enable(flag)
        };
    }
    config.cranelift_opt_level(wasmtime::OptLevel::SpeedAndSize);
    let engine = wasmtime::Engine::new(&config).map_err(failed)?;
    let wasm = std::fs::read(component).map_err(|error| format!("can't read {}: {error}", component.display()))?;
    let code = engine.precompile_component(&wasm).map_err(failed)?;
    let file = PathBuf::from(super::variable("OUT_DIR")?).join("qdrant-backup.cwasm");
    std::fs::write(&file, code).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    Ok(file)
}
