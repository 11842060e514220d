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
mod stub;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use points::Bench;
use table::Table;

const USAGE: &str = "usage: qdrant-backup-bench [--quick] PROGRAM [COMPONENT]
  PROGRAM    the release program, such as dist/qdrant-backup
  COMPONENT  the component alone, for its size
  BASELINE='command' is run beside it: it has to make a snapshot of every collection";

fn main() -> ExitCode {
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
        [] | ["--quick"] | ["--help"] => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        _ => {
            let quick = arguments[0] == "--quick";
            let mut files =
                arguments.iter().skip(usize::from(quick)).map(|file| std::fs::canonicalize(file).expect(file));
            let program = files.next().expect(USAGE);
            bench(quick, program, files.next());
            ExitCode::SUCCESS
        }
    }
}

fn bench(quick: bool, program: PathBuf, component: Option<PathBuf>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = Bench::new(quick, program, runtime.handle().clone());
    let mut table = Table::default();
    bench.sizes(&mut table, component.as_deref());
    bench.start(&mut table);
    bench.limit(&mut table);
    bench.other(&mut table);
    bench.memory(&mut table);
    bench.scale(&mut table);
    bench.throughput(&mut table);
    table.print();
}
