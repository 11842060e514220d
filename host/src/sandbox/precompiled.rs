//! The built-in component, compiled when this program was built.
//!
//! Its machine code lies between that of the program and is run where it lies: no copy is made of its megabytes at every
//! start, and of its pages only those that are run are ever read.

use std::ptr::NonNull;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Config, CustomCodeMemory, Engine};

/// At the beginning of a page, as wasmtime's compiler assumes.
#[repr(C, align(4096))]
struct Page<T>(T);

const LENGTH: usize = include_bytes!(env!("COMPONENT_PRECOMPILED")).len();

// SAFETY: a section of the name `.text...` gets to the rest of the program's code, where all that matters is that nobody
// writes to it; what is in it is never run but by wasmtime.
#[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = ".text.component"))]
static PRECOMPILED: Page<[u8; LENGTH]> = Page(*include_bytes!(env!("COMPONENT_PRECOMPILED")));

/// Code that can be run as it is.
struct InPlace;

impl CustomCodeMemory for InPlace {
    fn required_alignment(&self) -> usize {
        align_of_val(&PRECOMPILED)
    }

    fn publish_executable(&self, _code: *const u8, _length: usize) -> wasmtime::Result<()> {
        Ok(())
    }

    fn unpublish_executable(&self, _code: *const u8, _length: usize) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Adds to the configuration of the engine that runs the built-in component, and no other, what it needs.
pub fn configure(config: &mut Config) {
    if cfg!(target_os = "linux") {
        config.with_custom_code_memory(Some(Arc::new(InPlace)));
    }
}

/// The built-in component, ready to run in a thousandth of the time that compiling takes.
///
/// # Errors
/// The engine's configuration is not the one it was compiled by, or the processor lacks what it needs.
pub fn load(engine: &Engine) -> wasmtime::Result<Component> {
    // SAFETY: wasmtime trusts such bytes as it trusts its own compiler, so they must come from it unchanged. They do:
    // `build.rs` made them by the same version of wasmtime and put them into this program, whose code they are as much
    // as the rest of it. Nothing that is read at run time comes here. In place, they are there as long as the program is,
    // and nobody writes to its code.
    #[allow(unsafe_code)]
    unsafe {
        if cfg!(target_os = "linux") {
            Component::deserialize_raw(engine, NonNull::from(PRECOMPILED.0.as_slice()))
        } else {
            Component::deserialize(engine, PRECOMPILED.0)
        }
    }
}
