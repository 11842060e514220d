//! `make bench`: the program beside a plain client that makes the same calls, on servers that answer after a fixed time.
//! README.md says what the lines of its table mean.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_docs
)]

mod measure;
mod native;
mod points;
mod real;
mod served;
mod streams;
mod stub;
mod table;
mod tls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use points::Bench;
use table::Table;

const USAGE: &str = "usage: qdrant-backup-bench [--quick] [--only PART] PROGRAM [COMPONENT]
  PART       one of sizes, start, limit, peers, other, memory, scale, throughput, content, streams; on real servers
             real-transfer, real-content, real-restore
  PROGRAM    the release program, such as dist/qdrant-backup
  COMPONENT  the component alone, for its size
  QDRANT_BIN=/path/to/qdrant has the parts of real servers measured
  BENCH_LOGS=FOLDER keeps the log of each run there
  BASELINE='command' is run beside it: it has to make a snapshot of every collection";

fn main() -> ExitCode {
    // Thousands of connections; the processes that are started inherit it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The bench starts itself for what has to be a process of its own.
        ["measure", ..] => {
            measure::child(&arguments[1..]);
            ExitCode::SUCCESS
        }
        ["native", task] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(native::run(task));
            ExitCode::SUCCESS
        }
        [] | ["--help"] => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        _ => {
            let mut arguments = arguments.into_iter().peekable();
            let quick = arguments.next_if(|argument| argument == "--quick").is_some();
            let only = arguments.next_if(|argument| argument == "--only").map(|_| arguments.next().expect(USAGE));
            let mut files = arguments.map(|file| std::fs::canonicalize(&file).expect(&file));
            let program = files.next().expect(USAGE);
            bench(quick, only.as_deref(), program, files.next())
        }
    }
}

fn bench(quick: bool, only: Option<&str>, program: PathBuf, component: Option<PathBuf>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = Bench::new(quick, program, component, runtime.handle().clone());
    type Part = (&'static str, fn(&Bench, &mut Table));
    let parts: [Part; 13] = [
        ("sizes", Bench::sizes),
        ("start", Bench::start),
        ("limit", Bench::limit),
        ("peers", Bench::peers),
        ("other", Bench::other),
        ("memory", Bench::memory),
        ("scale", Bench::scale),
        ("throughput", Bench::throughput),
        ("content", Bench::content),
        ("streams", Bench::streams),
        ("real-transfer", Bench::real_transfer),
        ("real-content", Bench::real_content),
        ("real-restore", Bench::real_restore),
    ];
    let mut table = Table::default();
    let mut ended = ExitCode::SUCCESS;
    for (name, part) in parts.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        // What goes wrong in one part takes no figure from the others.
        if catch_unwind(AssertUnwindSafe(|| part(&bench, &mut table))).is_err() {
            table.note(name, "not measured: what went wrong is said above".to_owned());
            ended = ExitCode::FAILURE;
        }
    }
    table.print();
    ended
}
