//! The engine and the compiled component, one each for the whole process.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// The component this program was built with.
pub static COMPONENT: &[u8] = include_bytes!(env!("COMPONENT_WASM"));

/// How often a computing component lets others run, which is how late a deadline or a signal may be.
const TICK: Duration = Duration::from_millis(20);

/// The engine, started at the first call.
///
/// # Errors
/// The machine or its limits don't allow one.
pub fn engine() -> Result<Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(start).clone()
}

/// The component of `file`, or the built-in one, compiled.
///
/// # Errors
/// The file can't be read or is no component.
pub fn component(file: Option<&Path>) -> Result<Component, String> {
    static COMPILED: OnceLock<Result<Component, String>> = OnceLock::new();
    let engine = engine()?;
    let Some(file) = file else {
        return COMPILED.get_or_init(|| Component::from_binary(&engine, COMPONENT).map_err(in_one_line)).clone();
    };
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    Component::from_binary(&engine, &bytes).map_err(in_one_line)
}

/// The names of what `component` imports and exports.
///
/// # Errors
/// It is no component.
pub fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let engine = engine()?;
    let component = Component::from_binary(&engine, component).map_err(in_one_line)?;
    let kind = component.component_type();
    let imports = kind.imports(&engine).map(|(name, _)| name.to_owned()).collect();
    let exports = kind.exports(&engine).map(|(name, _)| name.to_owned()).collect();
    Ok((imports, exports))
}

fn start() -> Result<Engine, String> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).map_err(in_one_line)?;
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("epoch".to_string()).spawn(tick).map_err(|error| error.to_string())?;
    Ok(engine)
}

/// An error with its causes, without a backtrace.
pub fn in_one_line(error: wasmtime::Error) -> String {
    format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
