//! Proves that the snapshots of backup sets can be opened: each is fetched, its SHA-256 held against the manifest, opened
//! in Qdrant's own storage engine, counted, and every point read with payload and vectors. The digest of the points is
//! written beside the manifest, for restores to be held against. No cluster is needed.
//!
//! A program of its own, since the engine is large and the program that backs up is small.
#![forbid(unsafe_code)]

mod arguments;
mod choice;
mod compare;
mod engine;
mod fetch;
mod native;
mod set;

use std::path::Path;
use std::rc::Rc;

use arguments::{Asked, HELP};
use qdrant_backup_contract::exit::{EXIT_USAGE, Status};
use qdrant_backup_contract::settings::{BucketUse, Needs, from_variables};
use qdrant_backup_core::clusters::target;
use qdrant_backup_core::context::Context;
use qdrant_backup_core::error::{Code, Error};
use qdrant_backup_core::ports::Ports;
use qdrant_backup_core::publish::publish;
use qdrant_backup_core::qdrant::Cluster;
use qdrant_backup_core::report::{Item, Report};
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::sets::Headed;
use qdrant_backup_core::store::ObjectStore;

pub use native::ports;

/// The whole program. Returns the exit code.
pub fn command_line(arguments: &[String], variables: Vec<(String, String)>) -> u8 {
    let asked = match Asked::parse(arguments) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{HELP}");
            return 0;
        }
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return EXIT_USAGE;
        }
    };
    let mut variables = variables;
    // It goes to no cluster that it was not told to compare with.
    variables.retain(|(name, _)| !matches!(name.as_str(), "QDRANT_SOURCE_HOSTS" | "QDRANT_RESTORE_HOSTS"));
    variables.extend(asked.with.clone().map(|url| ("QDRANT_RESTORE_HOSTS".to_owned(), url)));
    let value = |name: &str| variables.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let value = |name| value(name).filter(|value| !value.is_empty());
    let work = Path::new(value("QDRANT_WORK_DIR").unwrap_or("."));
    let ports = match native::ports(work, value("QDRANT_CA_FILE").map(Path::new), &variables) {
        Ok(ports) => ports,
        Err(why) => {
            eprintln!("{why}");
            return EXIT_USAGE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("the system gives no I/O: {why}");
            return Status::Failed.exit_code();
        }
    };
    runtime.block_on(run(ports, work, &variables, &asked))
}

async fn run(ports: Ports, work: &Path, variables: &[(String, String)], asked: &Asked) -> u8 {
    let needs = Needs { bucket: BucketUse::Always, restore: asked.with.is_some(), ..Needs::NOTHING };
    let (settings, notes) = match from_variables(variables, needs) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}: {}", problem.variable, problem.problem);
            }
            return EXIT_USAGE;
        }
    };
    let mut context = Context::new(ports, settings);
    notes.iter().for_each(|note| context.log.warn(None, note));
    let drilled = async {
        if let Some(s3) = &context.settings.s3 {
            context.store = Some(Rc::new(Bucket::open(&context.ports, s3).await?));
        }
        drill(&context, context.store()?, work, asked).await
    };
    if let Err(error) = drilled.await {
        context.reporter.report(Item::failed("task", error));
    }
    let report: Report = context.reporter.finish();
    publish(&context, "drill_engine", &report).await;
    report.status().exit_code()
}

async fn drill(context: &Context, bucket: &dyn ObjectStore, work: &Path, asked: &Asked) -> Result<(), Error> {
    let sets = choice::Sets::list(context, bucket).await?;
    let clusters = if asked.with.is_some() { target::found(context).await? } else { Vec::new() };
    let mut any = false;
    if asked.with.is_none() {
        let named = sets.named(context)?;
        let chosen = sets.chosen(context, |set| sets.is_of(set, named.as_ref()), asked.all);
        any = open(context, bucket, work, chosen, None).await;
    }
    for cluster in &clusters {
        let whose = sets.of_cluster(context, bucket, cluster).await?;
        let chosen = sets.chosen(context, |set| whose.is_of_set(set), asked.all);
        any |= open(context, bucket, work, chosen, Some(cluster)).await;
    }
    if any {
        return Ok(());
    }
    // A proof of nothing is none.
    Err(Error::new(Code::NothingSelected, "", "there is no set to open").advice(
        "look at QDRANT_S3_BUCKET_NAME, QDRANT_COLLECTIONS, QDRANT_SNAPSHOT_DATETIME_FILTER and QDRANT_RESTORE_SOURCE",
    ))
}

/// Opens these sets, and compares each with what `cluster` holds; false where there is none.
async fn open(
    context: &Context,
    bucket: &dyn ObjectStore,
    work: &Path,
    (sets, elsewhere): (Vec<&Headed>, Vec<Item>),
    cluster: Option<&Cluster>,
) -> bool {
    context.reporter.report_all(elsewhere);
    for set in &sets {
        let (items, read) = set::open(context, bucket, work, &set.collection, &set.found).await;
        context.reporter.report_all(items);
        if let (Some(cluster), Some(read)) = (cluster, read) {
            context.reporter.report(compare::item(context, (bucket, work), cluster, &read).await);
        }
    }
    !sets.is_empty()
}
