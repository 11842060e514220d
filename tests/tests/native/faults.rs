//! A slice of the fault matrix, natively: the tasks that delete, replace or claim the most.

use qdrant_backup_tests::faults::matrix;

async fn hold(names: &[&str], each: usize) {
    let summary = matrix::run_natively(names, each).await;
    assert!(summary.wrong().is_empty(), "{}", summary.wrong().join("\n"));
    assert!(summary.tried() > names.len() * each / 2, "{summary}");
}

#[tokio::test(start_paused = true)]
async fn a_forced_restore_outlives_faults() {
    hold(&["force", "force generation", "force beside"], 12).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_beside_another_outlives_faults() {
    hold(&["side by side"], 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_drill_and_a_look_outlive_faults() {
    hold(&["drill", "verify", "list_sets"], 12).await;
}

#[tokio::test(start_paused = true)]
async fn retention_outlives_faults() {
    hold(&["prune sets", "prune_snap"], 15).await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_by_stream_outlives_faults() {
    hold(&["stream", "auto"], 15).await;
}

/// Every fault where an upload is begun, and where it is completed.
#[tokio::test(start_paused = true)]
async fn an_upload_outlives_each_fault_at_each_call() {
    let summary = matrix::run_class_natively("stream", &["?uploads", "?uploadId"], 999).await;
    assert!(summary.wrong().is_empty(), "{}", summary.wrong().join("\n"));
    assert!(summary.tried() > 70, "{summary}");
}
