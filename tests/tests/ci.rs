//! What is in `ci/`: it is linted, and the shell in it does what it says, with a good and with a damaged set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::{Servers, Site};
use qdrant_backup_tests::tools;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_program");

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The block of text that follows the line `begin`, without its indentation.
fn block(name: &str, begin: &str) -> String {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let mut lines = text.lines().skip_while(|line| line.trim() != begin).skip(1).peekable();
    let indent = lines.peek().unwrap().len() - lines.peek().unwrap().trim_start().len();
    let inside = lines.take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent);
    inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

/// The shell of each system: as it stands in its file, and where that is the whole of it.
fn scripts() -> [(&'static str, String); 4] {
    [
        ("shell", std::fs::read_to_string(file("ci/restore-check.sh")).unwrap()),
        ("GitLab", block("ci/gitlab.yml", "- |")),
        ("Tekton", block("ci/tekton.yaml", "script: |")),
        ("GitHub", block("ci/action.yml", "run: |")),
    ]
}

#[test]
fn every_system_has_the_same_shell() {
    let [(_, shell), gitlab, tekton, _] = scripts();
    for (system, script) in [gitlab, tekton] {
        assert_eq!(script, shell, "{system}: copy ci/restore-check.sh");
    }
}

#[test]
fn the_files_are_as_their_systems_want_them() {
    let Some(python) = tools::python() else { return };
    let bin = python.parent().unwrap();
    let mut lint = Command::new(bin.join("actionlint"));
    tools::output(lint.arg(file(".github/workflows/restore-check.yml")));
    for (schema, name) in [
        ("vendor.github-workflows", ".github/workflows/restore-check.yml"),
        ("vendor.github-actions", "ci/action.yml"),
        ("vendor.gitlab-ci", "ci/gitlab.yml"),
    ] {
        let mut check = Command::new(bin.join("check-jsonschema"));
        tools::output(check.args(["--builtin-schema", schema]).arg(file(name)));
    }
}

/// A job of its own: the script in an empty folder, with the settings of `site` and a Qdrant that is thrown away.
async fn job(script: &str, site: &Site, target: &Servers, more: &[(&str, &str)]) -> (Output, TempDir) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("script.sh"), script).unwrap();
    let host = target.hosts().remove(0);
    let sha256 = hex(&Sha256::digest(std::fs::read(PROGRAM).unwrap()));
    let mut command = tokio::process::Command::new("sh");
    command.arg("script.sh").current_dir(folder.path()).env_clear();
    // Of the target and its check alone.
    let kept = |name: &&str| {
        let kinds = ["QDRANT_S3_", "QDRANT_API_KEY", "QDRANT_ALLOW_HOSTS", "QDRANT_RETRY_", "QDRANT_VERIFY_"];
        kinds.iter().any(|kind| name.starts_with(kind))
    };
    let settings = site.settings();
    command.envs(settings.iter().filter(|(name, _)| kept(&name.as_str())).map(|(name, value)| (name, value)));
    command.envs([
        ("PATH", std::env::var("PATH").unwrap().as_str()),
        ("QDRANT_RESTORE_HOSTS", host.as_str()),
        ("QDRANT_BACKUP_URL", format!("file://{PROGRAM}").as_str()),
        ("QDRANT_BACKUP_SHA256", sha256.as_str()),
        ("RESTORE_CHECK_SUMMARY", "page.md"),
        ("RESTORE_CHECK_SCRIPT", file("ci/restore-check.sh").to_str().unwrap()),
        ("GITHUB_STEP_SUMMARY", "page.md"),
        ("RESTORE_CHECK_WAIT", "5"),
    ]);
    command.envs(more.iter().copied());
    (command.output().await.unwrap(), folder)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn site() -> Site {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 60).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_passes_and_a_damaged_one_fails() {
    if let Some(why) = tools::missing(&["curl"]) {
        return tools::skipped(&why);
    }
    let site = site().await;
    for (system, script) in scripts() {
        let target = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
        let (output, folder) =
            job(&script, &site, &target, &[("RESTORE_CHECK", "curl -sf $RESTORE_CHECK_URL/readyz")]).await;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{system}: {log}");
        let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
        assert!(page.starts_with("## recover_snap_shards: done\n"), "{system}: {page}");
        assert!(
            page.contains("| verified, done | collection | docs |") && page.contains("The check passed."),
            "{page}"
        );
        assert_same(&target.client().contents().await, &site.source.client().contents().await);
        let metrics = std::fs::read_to_string(folder.path().join("restore-check/metrics.prom")).unwrap();
        assert!(metrics.contains("qdrant_backup_last_run_success"), "{metrics}");
    }
    // A byte of a snapshot is another one.
    let key = site.s3.keys("snapshots/docs/").into_iter().find(|key| key.ends_with(".snapshot")).unwrap();
    let mut bytes = site.s3.get(&key).unwrap().to_vec();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).unwrap() ^= 1;
    site.s3.put(&key, bytes);
    for (system, script) in scripts() {
        let target = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
        let (output, folder) = job(&script, &site, &target, &[]).await;
        assert!(!output.status.success(), "{system}");
        let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
        assert!(page.contains("| **failed** |"), "{system}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_restored_and_a_check_that_fails_are_no_success() {
    if let Some(why) = tools::missing(&["curl"]) {
        return tools::skipped(&why);
    }
    let site = site().await;
    let [(_, script), ..] = scripts();
    let target = site.more(Options { peers: 1, clustered: false, ..Options::default() }).await;
    let (output, folder) = job(&script, &site, &target, &[("RESTORE_CHECK", "exit 7")]).await;
    assert_eq!(output.status.code(), Some(7));
    let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
    assert!(page.contains("**The check failed (exit code 7).**"), "{page}");
    // What was restored before is left alone, which is a success of the program, and no proof of the backup.
    let (output, folder) = job(&script, &site, &target, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
    assert!(page.contains("**No collection was restored and verified.**"), "{page}");
    // A program that is not the one that was meant is not run.
    let (output, folder) = job(&script, &site, &target, &[("QDRANT_BACKUP_SHA256", &"0".repeat(64))]).await;
    assert!(!output.status.success() && !folder.path().join("restore-check/run.log").exists());
}
