//! A part of what `make faults` tries, the same at every run. These take longest, so that their names let them begin first:
//! tests are begun in the order of the alphabet.

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
        // The lock of each run that was killed is watched for a minute.
        workers: 8,
        task: None,
        verbose: false,
    };
    let summary = crash::run(&options).await;
    println!("{summary}");
    assert!(summary.wrong().is_empty(), "{summary}");
    assert!(summary.killed() >= 6, "{summary}");
}
