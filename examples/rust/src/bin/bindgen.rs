//! Runs a task of the component by wasmtime alone, with the bindings that `bindgen!` makes of the contract: one directory, a list
//! of allowed servers, a limit on memory, progress, and Ctrl-C or SIGTERM that cancel the run.
//!
//! usage: bindgen COMPONENT WORK_DIRECTORY HOST:PORT,... TASK...
#![allow(clippy::expect_used, missing_docs)]

use std::process::ExitCode;

use http_body_util::BodyExt as _;
use qdrant_backup_examples::settings;
use tokio::signal::unix::{SignalKind, signal};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, default_send_request,
};

wasmtime::component::bindgen!({
    path: "../../wit/v0.2",
    world: "vectorkeep:qdrant-backup/embedder",
    exports: { default: async },
});

use exports::vectorkeep::qdrant_backup::operations::{Event, Request, Setting, Status, Task};

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sent), Error>> + Send>;

/// The servers that may be reached: the component asks for what it likes.
struct Allowed(Vec<String>);

impl WasiHttpHooks for Allowed {
    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Sent) -> Answer {
        let to = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if !self.0.contains(&to) {
            eprintln!("denied: {to}");
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        Box::new(async move {
            let (answer, connection) = default_send_request(request, options).await?;
            Ok((answer.map(|body| body.boxed_unsync()), Box::new(connection) as Sent))
        })
    }
}

struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    allowed: Allowed,
    limits: StoreLimits,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.allowed, table: &mut self.table, ctx: &mut self.http }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> wasmtime::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, directory, allowed, words @ ..] = arguments.as_slice() else {
        eprintln!("usage: bindgen COMPONENT WORK_DIRECTORY HOST:PORT,... TASK...");
        return Ok(ExitCode::from(2));
    };
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async::<Host>(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let host = Host {
        wasi: WasiCtx::builder().preopened_dir(directory, "/work", FsPerms::ReadWrite)?.build(),
        http: WasiHttpCtx::new(),
        table: ResourceTable::new(),
        allowed: Allowed(allowed.split(',').map(str::to_owned).collect()),
        limits: StoreLimitsBuilder::new().memory_size(256 << 20).trap_on_grow_failure(true).build(),
    };
    let mut store = Store::new(&engine, host);
    store.limiter(|host| &mut host.limits);
    let component = Component::from_file(&engine, component)?;
    let component = Embedder::instantiate_async(&mut store, &component, &linker).await?;
    let operations = component.vectorkeep_qdrant_backup_operations();

    let settings = settings().into_iter().map(|(name, value)| Setting { name, value }).collect();
    let (hosts, api_key, bucket, collections, snapshots) = Default::default();
    let request = Request { hosts, api_key, bucket, collections, settings, snapshots };
    let started = operations.call_start(&mut store, &Task::Command(words.to_vec()), &request).await?;
    let job = started.map_err(|error| wasmtime::format_err!("{}: {}", error.code, error.message))?;

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    let stopped = tokio::spawn(stopped);
    let mut cancelled = false;
    loop {
        for event in operations.job().call_wait(&mut store, job, 500).await? {
            match event {
                Event::Step(it) => println!("{}: {}", it.collection, it.text),
                Event::ItemEnded(it) => println!("{:?}: {:?} {}", it.outcome, it.kind, it.name.unwrap_or_default()),
                Event::WaitingFor(what) => println!("waiting: {what}"),
                Event::Finished(Ok(report)) => {
                    println!("{:?}: {} items, {} ms", report.status, report.items.len(), report.milliseconds);
                    return Ok(ExitCode::from(u8::from(report.status != Status::Done)));
                }
                Event::Finished(Err(error)) => {
                    eprintln!("{}: {}", error.code, error.message);
                    return Ok(ExitCode::FAILURE);
                }
                _ => {}
            }
        }
        if stopped.is_finished() && !cancelled {
            cancelled = true;
            operations.job().call_cancel(&mut store, job).await?;
        }
    }
}
