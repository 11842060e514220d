//! How components are compiled and run. Shared with `build.rs`, which compiles the built-in one ahead of time: code that
//! was compiled by another configuration is refused when it is loaded.

use wasmtime::Config;

/// The configuration of the compiler and of the engine.
pub fn config() -> Config {
    let mut config = Config::new();
    // Lets a computing component be interrupted, for a deadline or a signal.
    config.epoch_interruption(true);
    // Where in the WebAssembly text a trap was: nobody has that text, and it is a sixth of the compiled component.
    config.generate_address_map(false);
    config
}
