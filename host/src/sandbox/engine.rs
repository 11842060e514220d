//! The components that can be run, and the engines that run them, one each for the whole process.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use super::config::config;
use crate::component_file;

/// How often a computing component lets others run, which is how late a deadline or a signal may be.
const TICK: Duration = Duration::from_millis(20);

/// The component of `file`, compressed or not, or the built-in one, ready to run on its engine.
///
/// # Errors
/// The machine or its limits don't allow an engine, the file can't be read or is no component, or this program has no
/// compiler for it.
pub fn component(file: Option<&Path>) -> Result<Component, String> {
    static BUILT_IN: OnceLock<Result<Component, String>> = OnceLock::new();
    match file {
        None => BUILT_IN.get_or_init(built_in).clone(),
        Some(file) => compile(&component_file::read(file)?),
    }
}

#[cfg(feature = "precompiled")]
fn built_in() -> Result<Component, String> {
    let mut config = config();
    super::precompiled::configure(&mut config);
    super::precompiled::load(&start(&config)?).map_err(in_one_line)
}

#[cfg(not(feature = "precompiled"))]
fn built_in() -> Result<Component, String> {
    compile(super::built_in::COMPONENT)
}

#[cfg(feature = "compiler")]
fn compile(component: &[u8]) -> Result<Component, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| start(&compiling())).clone()?;
    Component::from_binary(&engine, component).map_err(in_one_line)
}

/// Code that runs fast, but in a program for tests: these start it hundreds of times, and compile longer than they run.
#[cfg(feature = "compiler")]
fn compiling() -> Config {
    let mut config = config();
    if cfg!(debug_assertions) {
        config.cranelift_opt_level(wasmtime::OptLevel::None);
        config.cranelift_regalloc_algorithm(wasmtime::RegallocAlgorithm::SinglePass);
    }
    config
}

#[cfg(not(feature = "compiler"))]
fn compile(_component: &[u8]) -> Result<Component, String> {
    Err("this program was built without the compiler that other components need; leave --component out for the \
         built-in one, or take the build that has it (`make dist VARIANT=compiler`, the image qdrant-backup-compiler)"
        .to_owned())
}

fn start(config: &Config) -> Result<Engine, String> {
    let engine = Engine::new(config).map_err(in_one_line)?;
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
