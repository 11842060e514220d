//! The component this program was built with.

/// Its bytes.
pub static COMPONENT: &[u8] = include_bytes!(env!("COMPONENT_WASM"));
