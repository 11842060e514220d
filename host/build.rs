//! Builds the component with a nested cargo, so that `cargo build` alone leaves a program with the component
//! inside. `COMPONENT_WASM_FILE=/path/to.wasm` takes a ready one instead, where the wasm target is missing.
//!
//! With the feature `precompiled` it is compiled to machine code here, too, rather than at every start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[path = "build/metadata.rs"]
mod metadata;
#[cfg(feature = "precompiled")]
#[path = "build/precompile.rs"]
mod precompile;

const TARGET: &str = "wasm32-wasip2";
/// What the component is built from: every crate of this workspace that it depends on, which a test compares with what
/// cargo says, and what the whole build depends on.
const INPUTS: [&str; 10] = [
    "guest/component",
    "guest/contract/src",
    "guest/contract/Cargo.toml",
    "guest/core/src",
    "guest/core/Cargo.toml",
    "wit",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    ".cargo/config.toml",
];
const READY_MADE: &str = "COMPONENT_WASM_FILE";
/// The commit that a release is built from, which the component tells.
const REVISION: &str = "QDRANT_BACKUP_REVISION";

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=QDRANT_BACKUP_COMMIT");
    match component().and_then(|file| hand_over(&file)).and_then(|()| engine()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the program's code where the component is.
fn hand_over(file: &Path) -> Result<(), String> {
    println!("cargo::rustc-env=COMPONENT_WASM={}", file.display());
    #[cfg(feature = "precompiled")]
    println!("cargo::rustc-env=COMPONENT_PRECOMPILED={}", precompile::precompile(file)?.display());
    Ok(())
}

/// Tells the program's code which engine it has.
fn engine() -> Result<(), String> {
    let lock = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("..").join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).map_err(|error| format!("can't read {}: {error}", lock.display()))?;
    let after = text.split_once("name = \"wasmtime\"\nversion = \"").map(|(_, rest)| rest);
    let version = after.and_then(|rest| rest.split('"').next()).ok_or("Cargo.lock has no wasmtime")?;
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rustc-env=WASMTIME_VERSION={version}");
    Ok(())
}

fn component() -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed={READY_MADE}");
    if let Some(file) = env::var_os(READY_MADE).filter(|file| !file.is_empty()) {
        let file = PathBuf::from(file);
        if !file.is_absolute() || !file.is_file() {
            return Err(format!("{READY_MADE}={} must be the absolute path of a component", file.display()));
        }
        println!("cargo::rerun-if-changed={}", file.display());
        return Ok(file);
    }
    require_target()?;
    build()
}

/// A missing target gives a thousand lines about a missing `core` otherwise. Nothing is installed from here.
fn require_target() -> Result<(), String> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("can't run {rustc}: {error}"))?;
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_string();
    if output.status.success() && Path::new(&directory).is_dir() {
        return Ok(());
    }
    Err(format!(
        "the target {TARGET} is not installed; run `rustup target add {TARGET}`, \
         or set {READY_MADE} to a component that is already built"
    ))
}

fn build() -> Result<PathBuf, String> {
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("..");
    // All that the component is made of. A path that does not exist would run this script at every build.
    for input in INPUTS.map(|input| workspace.join(input)).into_iter().filter(|input| input.exists()) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed={REVISION}");

    // A target directory of its own: the outer cargo holds the lock of the usual one. All builds of the host share it.
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let outer = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target_dir = outer.unwrap_or(&out_dir).join("component");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(&workspace)
        .args(["rustc", "--locked", "--quiet", "--package", "qdrant-backup-component", "--lib"])
        .args(["--crate-type", "cdylib", "--target", TARGET, "--profile", "component", "--target-dir"])
        .arg(&target_dir);
    // What is meant for the host's own build must not reach the component's.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_BUILD_DIR",
    ] {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f"));
    let output = cargo.output().map_err(|error| format!("can't run cargo for the component: {error}"))?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(
            "the component (guest/component) does not build; its errors are in the output of this script".to_string()
        );
    }
    let built = target_dir.join(TARGET).join("component").join("qdrant_backup_component.wasm");
    let component = std::fs::read(&built).map_err(|error| format!("can't read {}: {error}", built.display()))?;
    let component = with_metadata(&component).map_err(|why| format!("{}: {why}", built.display()))?;
    let file = out_dir.join("qdrant-backup.wasm");
    // Left alone where it is the same: the host is compiled anew whenever it changes.
    if std::fs::read(&file).ok().as_ref() != Some(&component) {
        std::fs::write(&file, component).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    }
    Ok(file)
}

/// The component, and what it says of itself.
fn with_metadata(component: &[u8]) -> Result<Vec<u8>, String> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let (version, license) = (variable("CARGO_PKG_VERSION"), variable("CARGO_PKG_LICENSE"));
    let (source, revision) = (variable("CARGO_PKG_REPOSITORY"), variable(REVISION));
    let sections = [
        ("description", "Backs up Qdrant to S3 and restores it"),
        ("version", &version),
        ("licenses", &license),
        ("source", &source),
        ("revision", &revision),
    ];
    metadata::write(component, "qdrant-backup", &metadata::Metadata(&sections))
}

/// Numbers as long as they have to be; names that put functions which are alike side by side, so that it compresses by a
/// twentieth better; and no paths of the builder's, which would make it another component for every builder.
fn flags() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let sources = home.map(|home| home.join("registry").join("src"));
    // A folder for each registry, with a long name.
    let registries = sources.and_then(|sources| std::fs::read_dir(sources).ok()).into_iter().flatten().flatten();
    let remap = registries.map(|registry| format!("--remap-path-prefix={}=crates", registry.path().display()));
    let fixed = ["-Clink-arg=--compress-relocations", "-Csymbol-mangling-version=v0"].map(String::from);
    fixed.into_iter().chain(remap).collect()
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}
