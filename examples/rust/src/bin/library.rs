//! Runs a task by the host of this project as a library: a bar, a report, and Ctrl-C or SIGTERM that cancel the run.
//!
//! usage: library WORK_DIRECTORY backup|restore
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::ExitCode;

use qdrant_backup::egress::Rule;
use qdrant_backup::operations::{Event, Kind};
use qdrant_backup::{Cancel, Io, Options, Task, Watch, perform};
use qdrant_backup_examples::{bar, settings};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, verb] = arguments.as_slice() else {
        eprintln!("usage: library WORK_DIRECTORY backup|restore");
        return ExitCode::from(2);
    };
    let task = if verb == "restore" { Task::RecoverSets } else { Task::CreateSets };
    // What is not named in the settings, such as the addresses of peers without a common name, is allowed like this.
    let allow_hosts = std::env::var("QDRANT_ALLOW_HOSTS").unwrap_or_default();
    let allow_hosts = Rule::parse_list(&allow_hosts).expect("rules as those of --allow-host");
    let options = Options { settings: settings(), work_dir: directory.into(), allow_hosts, ..Options::new(task) };

    let cancel = Cancel::default();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let cancel = cancel.clone();
        let mut asked = signal(kind).expect("a handler");
        tokio::spawn(async move {
            asked.recv().await;
            cancel.cancel();
        });
    }
    let (mut at_work, mut ended) = (BTreeSet::new(), 0);
    let mut events = |event: &Event| match event {
        Event::CollectionBegun(it) => drop(at_work.insert(it.collection.clone())),
        Event::Step(it) => println!("{}: {}", it.collection, it.text),
        // The last item of a collection is the collection itself, or its set.
        Event::ItemEnded(it) if matches!(it.kind, Kind::Set | Kind::Collection) => {
            ended += 1;
            println!("{} {}", bar(ended, at_work.len()), it.collection.as_deref().unwrap_or_default());
        }
        _ => {}
    };
    // Log lines go to standard error, as the program's own.
    let run = perform(&options, &Io::Inherit, Watch { events: &mut events, cancel }).await;
    if let Some(report) = run.report {
        println!("{:?}: {} items, {} ms", report.status, report.items.len(), report.milliseconds);
    }
    ExitCode::from(run.exit_code)
}
