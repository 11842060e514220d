//! Sets `cfg(real_servers)` where `QDRANT_BIN` names real Qdrant servers: cargo then lists the tests that only the
//! stand-in can serve as ignored, each with its reason.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=QDRANT_BIN");
    println!("cargo::rustc-check-cfg=cfg(real_servers)");
    if std::env::var_os("QDRANT_BIN").is_some_and(|program| !program.is_empty()) {
        println!("cargo::rustc-cfg=real_servers");
    }
}
