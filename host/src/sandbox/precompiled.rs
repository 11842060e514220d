//! The built-in component, compiled when this program was built.

use wasmtime::Engine;
use wasmtime::component::Component;

static PRECOMPILED: &[u8] = include_bytes!(env!("COMPONENT_PRECOMPILED"));

/// The built-in component, ready to run in a thousandth of the time that compiling takes.
///
/// # Errors
/// The engine's configuration is not the one it was compiled by, or the processor lacks what it needs.
pub fn load(engine: &Engine) -> wasmtime::Result<Component> {
    // SAFETY: wasmtime trusts such bytes as it trusts its own compiler, so they must come from it unchanged. They do:
    // `build.rs` made them by the same version of wasmtime and put them into this program, whose code they are as much
    // as the rest of it. Nothing that is read at run time comes here.
    #[allow(unsafe_code)]
    unsafe {
        Component::deserialize(engine, PRECOMPILED)
    }
}
