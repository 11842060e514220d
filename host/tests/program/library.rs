//! The library in a program that has its own runtime.

use std::time::Duration;

use qdrant_backup::{Cancel, Io, Options, Watch, execute, operations, perform};
use qdrant_backup_contract::tasks::Task;

use crate::component::{Answer, ComponentFile, Status};

fn options(file: &ComponentFile, directory: &tempfile::TempDir) -> Options {
    Options {
        settings: vec![("QDRANT_SOURCE_HOSTS".to_string(), "http://127.0.0.1:1".to_string())],
        work_dir: directory.path().to_path_buf(),
        component: Some(file.path()),
        ..Options::new(Task::CreateSnapshots)
    }
}

#[tokio::test]
async fn a_run_on_the_current_runtime_writes_into_buffers() {
    let directory = tempfile::tempdir().unwrap();
    let (io, captured) = Io::capture();
    let file = ComponentFile::answering(Answer::Failed("no peer answers"));
    assert_eq!(execute(&options(&file, &directory), &io).await, 1);
    assert!(captured.stderr().contains("no peer answers"), "{captured:?}");
    assert_eq!(captured.stdout(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_runs_at_once_on_a_runtime_with_threads() {
    let runs = (0..4).map(|number| {
        tokio::spawn(async move {
            let directory = tempfile::tempdir().unwrap();
            let (io, _) = Io::capture();
            let status = if number % 2 == 0 { Status::Done } else { Status::Partial };
            let file = ComponentFile::answering(Answer::Status(status));
            execute(&options(&file, &directory), &io).await
        })
    });
    let mut codes = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        codes.push(run.await.unwrap());
    }
    assert_eq!(codes, [0, 3, 0, 3]);
}

#[tokio::test]
async fn who_embeds_it_gets_the_report_and_may_cancel() {
    let directory = tempfile::tempdir().unwrap();
    let (io, _) = Io::capture();
    let mut events = |_: &operations::Event| ();
    let file = ComponentFile::answering(Answer::Status(Status::Partial));
    let watch = Watch { events: &mut events, cancel: Cancel::default() };
    let ended = perform(&options(&file, &directory), &io, watch).await;
    assert_eq!((ended.exit_code, ended.report.map(|report| report.status)), (3, Some(operations::Status::Partial)));

    let (file, cancel) = (ComponentFile::new("(loop (br 0)) unreachable"), Cancel::default());
    let watch = Watch { events: &mut events, cancel: cancel.clone() };
    let options = options(&file, &directory);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(perform(&options, &io, watch), stop);
    assert_eq!((ended.exit_code, ended.report.is_some()), (1, false));
}
