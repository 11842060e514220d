//! The engine and the components that it runs, one each for the whole process.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::config::config;

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

/// The component of `file`, or the built-in one, ready to run.
///
/// # Errors
/// The file can't be read or is no component, or this program has no compiler for it.
pub fn component(file: Option<&Path>) -> Result<Component, String> {
    static BUILT_IN: OnceLock<Result<Component, String>> = OnceLock::new();
    let engine = engine()?;
    let Some(file) = file else {
        return BUILT_IN.get_or_init(|| built_in(&engine).map_err(in_one_line)).clone();
    };
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    compile(&engine, &bytes)
}

#[cfg(feature = "precompiled")]
use super::precompiled::load as built_in;

#[cfg(not(feature = "precompiled"))]
fn built_in(engine: &Engine) -> wasmtime::Result<Component> {
    Component::from_binary(engine, super::COMPONENT)
}

#[cfg(feature = "compiler")]
fn compile(engine: &Engine, component: &[u8]) -> Result<Component, String> {
    Component::from_binary(engine, component).map_err(in_one_line)
}

#[cfg(not(feature = "compiler"))]
fn compile(_engine: &Engine, _component: &[u8]) -> Result<Component, String> {
    Err("this program was built without the compiler that other components need; leave --component out for the \
         built-in one, or take the build that has it (`make dist VARIANT=compiler`, the image qdrant-backup-compiler)"
        .to_owned())
}

fn start() -> Result<Engine, String> {
    let engine = Engine::new(&config()).map_err(in_one_line)?;
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
