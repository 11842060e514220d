//! What the examples share: what is taken from the environment.
//!
//! ```text
//! bin/bindgen   a host of one's own: wasmtime, and the bindings that `bindgen!` makes of the contract
//! bin/library   the host of this project as a library, with its list of allowed hosts, private CAs and limits
//! ```

use qdrant_backup::Environment;

/// The settings in the environment, by name.
pub fn settings() -> Vec<(String, String)> {
    Environment::of_process().settings()
}

/// A number in percent as a bar, for a terminal.
pub fn bar(done: usize, total: usize) -> String {
    const WIDTH: usize = 30;
    let filled = (WIDTH * done).checked_div(total).unwrap_or_default().min(WIDTH);
    format!("[{}{}] {done}/{total}", "#".repeat(filled), "-".repeat(WIDTH - filled))
}
