//! The same component in a runtime that is not ours: wasmtime's Python package, which is as good as `wasmtime run`.
//!
//! `QDRANT_BACKUP_PYTHON` names a Python with `tests/requirements.txt` installed. Without it the tests
//! say that they were skipped, or fail with `QDRANT_BACKUP_SKIP_NOTHING=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Output;

use qdrant_backup_tests::site::Site;
use qdrant_backup_tests::tools;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

async fn run(python: &Path, work: &Path, arguments: &[&str], settings: &[(String, String)]) -> Output {
    let folder = TempDir::new().unwrap();
    let component = folder.path().join("qdrant-backup.wasm");
    std::fs::write(&component, qdrant_backup::COMPONENT).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign_runtime/run.py");
    let mut command = Command::new(python);
    command.arg(script).arg(&component).arg(work).args(arguments).env_clear().envs(settings.iter().cloned());
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_run_there() {
    let Some(python) = tools::python() else { return };
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 200).await;
    client.alias("live", "docs").await;
    let before = client.contents().await;
    let output = run(&python, site.work.path(), &["create_snap"], &site.settings()).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("all done"), "{log}");
    assert_eq!(site.file("snapshots").lines().count(), 3);

    client.wipe().await;
    let output = run(&python, site.work.path(), &["recover_snap"], &site.settings()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    qdrant_backup_tests::client::assert_same(&client.contents().await, &before);
    assert!(client.aliases().await.contains_key("live"));
}

#[tokio::test(flavor = "multi_thread")]
async fn success_and_failure_are_told_apart() {
    let Some(python) = tools::python() else { return };
    let work = TempDir::new().unwrap();
    let output = run(&python, work.path(), &["--help"], &[]).await;
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("recover_snap"));
    std::fs::write(work.path().join("snapshots"), "x").unwrap();
    assert!(run(&python, work.path(), &["reset"], &[]).await.status.success());
    assert!(!work.path().join("snapshots").exists());
    let output =
        run(&python, work.path(), &["create_snap"], &[("QDRANT_SORCE_HOSTS".to_owned(), "x".to_owned())]).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("did you mean QDRANT_SOURCE_HOSTS?") && log.contains("QDRANT_SOURCE_HOSTS: "), "{log}");
}
