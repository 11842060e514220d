//! A part of what `make faults` tries, the same at every run.

use std::time::Duration;

use qdrant_backup_tests::faults::{crash, matrix};

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests go wrong in every way")]
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_one_request_does_harm() {
    let options = matrix::Options {
        budget: Duration::from_secs(600),
        workers: 4,
        most: 60,
        task: None,
        class: String::new(),
        fault: String::new(),
        verbose: false,
    };
    let summary = matrix::run(&options).await;
    println!("{summary}");
    assert!(summary.wrong().is_empty(), "{summary}");
    assert!(summary.tried() >= 55, "{summary}");
}

#[cfg_attr(real_servers, ignore = "for the stand-in: its requests are held")]
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_at_any_request_does_harm() {
    let options = crash::Options {
        program: vec![env!("CARGO_BIN_EXE_faults").into(), "as-program".into()],
        budget: Duration::from_secs(600),
        every: 61,
        workers: 2,
        task: None,
        verbose: false,
    };
    let summary = crash::run(&options).await;
    println!("{summary}");
    assert!(summary.wrong().is_empty(), "{summary}");
    assert!(summary.killed() >= 6, "{summary}");
}
