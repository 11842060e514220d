//! Runs the component with exactly what it is given: one directory, the allowed hosts, some memory, clocks and
//! random numbers. No sockets, no environment, no arguments, no standard input.
//!
//! ```text
//! jobs, one_call   the two versions of the contract by which a task is run
//! watch            what a run is told while it lasts, and tells
//! ended            why a component ended without an answer
//! ```

mod bindings;
mod built_in;
mod config;
mod ended;
mod engine;
mod handler;
mod interfaces;
mod jobs;
mod memory;
mod network;
mod one_call;
#[cfg(feature = "precompiled")]
mod precompiled;
mod state;
mod watch;

use std::path::Path;
use std::sync::Arc;

use qdrant_backup_contract::tasks::Task;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings as wasi;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{FsPerms, WasiCtx};
use wasmtime_wasi_http::p2::bindings::http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtx, WasiHttpView as _};

use crate::client::Client;
use crate::egress::AllowList;
use crate::io::Io;
use crate::messages::Messages;

pub use bindings::operations;
pub use built_in::COMPONENT;
pub use engine::component;
pub use interfaces::interfaces;
pub use watch::{Cancel, Watch};

use memory::MemoryLimit;
use network::Network;
use operations::Report;
use state::State;

#[cfg(not(any(feature = "compiler", feature = "precompiled")))]
compile_error!("the built-in component can't run without the feature `compiler` or `precompiled`");

/// Where the component sees the work directory.
pub const WORK: &str = "/work";

/// How many requests, files, clocks and their parts it may hold at a time: they are in the host's memory, which no limit
/// on its own memory covers. A restore that counts ten thousand replicas at once has half as many.
const HANDLES: usize = 200_000;

/// What one run gets from outside.
pub struct Grants<'a> {
    /// The directory it may read and write.
    pub work_dir: &'a Path,
    /// A directory that it may read, by the path that it has outside.
    pub token_dir: Option<&'a Path>,
    /// How it reaches the network.
    pub client: Client,
    /// What of the network it may reach.
    pub allowed: AllowList,
    /// Its limit in bytes.
    pub memory_limit: u64,
    /// Where its text goes.
    pub io: &'a Io,
    /// Where the sandbox says what it denied.
    pub messages: Arc<Messages>,
}

/// Runs `task` of `component` by the newest version of the contract that it has, and returns how it ended. The call can be
/// dropped at any time: the component replaces its files in one step each, so that they stay whole.
///
/// # Errors
/// The component is not one of ours, asks for more than it may have, or ended without an answer; in one line.
pub async fn run(
    component: &Component,
    grants: Grants<'_>,
    task: &Task,
    request: &operations::Request,
    watch: Watch<'_>,
) -> Result<Result<Report, operations::Error>, String> {
    let engine = component.engine();
    let linker = linker(engine).map_err(engine::in_one_line)?;
    let mut store = Store::new(engine, state(grants)?);
    store.limiter(|state| &mut state.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    if component.get_export_index(None, jobs::INTERFACE).is_some() {
        return jobs::run(&mut store, &linker, component, task, request, watch).await;
    }
    if component.get_export_index(None, one_call::INTERFACE).is_some() {
        return one_call::run(&mut store, &linker, component, task, request, watch).await;
    }
    Err(format!(
        "the component exports neither `{}` nor `{}`; take the qdrant-backup.wasm of the same release as this program",
        jobs::INTERFACE,
        one_call::INTERFACE
    ))
}

fn state(grants: Grants<'_>) -> Result<State, String> {
    let mut wasi = WasiCtx::builder();
    grants.io.connect(&mut wasi);
    wasi.preopened_dir(grants.work_dir, WORK, FsPerms::ReadWrite)
        .map_err(|error| format!("can't open the work directory `{}`: {error:#}", grants.work_dir.display()))?;
    if let Some(folder) = grants.token_dir {
        wasi.preopened_dir(folder, folder.to_string_lossy(), FsPerms::ReadOnly)
            .map_err(|error| format!("can't open the folder `{}`: {error:#}", folder.display()))?;
    }
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES);
    Ok(State {
        wasi: wasi.build(),
        http: WasiHttpCtx::new(),
        table,
        network: Network::new(grants.client, grants.allowed, grants.messages),
        memory: MemoryLimit::new(grants.memory_limit),
    })
}

/// The imports of the worlds in `wit/` and no others: a component that asks for sockets can't start.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // io, clocks, random, stdin, stdout, stderr
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async::<State>(l)?;
    http::types::add_to_linker::<State, WasiHttp>(l, &http::types::LinkOptions::default(), State::http)?;
    handler::add_to_linker(l)?;
    wasi::random::insecure_seed::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    wasi::filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    wasi::filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    wasi::cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    Ok(linker)
}
