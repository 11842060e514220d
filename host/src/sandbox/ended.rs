//! Why a component could not be started, or ended without an answer: in one line that says what to do.

use wasmtime_wasi::I32Exit;

use super::engine;
use super::memory::MemoryExhausted;

/// Why a component can't be started, in one line.
pub(super) fn cant_start(error: wasmtime::Error) -> String {
    exhausted(&error).unwrap_or_else(|| format!("the component can't be started: {}", engine::in_one_line(error)))
}

/// Why the component ended without an answer, in one line that says what to do.
pub(super) fn explain(error: &wasmtime::Error) -> String {
    if let Some(why) = exhausted(error) {
        return why;
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return format!("the component ended by itself, with exit code {code} and without a report");
    }
    let cause = error.root_cause().to_string();
    let cause = cause.lines().next().unwrap_or_default().trim();
    format!("the component crashed: {cause}; lines above may say more, the state files are consistent")
}

fn exhausted(error: &wasmtime::Error) -> Option<String> {
    error.downcast_ref::<MemoryExhausted>().map(ToString::to_string)
}
