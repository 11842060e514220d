//! `make demo`: a three-peer Qdrant and an S3 server on loopback addresses are filled, backed up, wiped and restored by
//! the program, and every point is compared. With `KEEP=1` the servers go on running, to play with.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// The widest line.
const COLUMNS: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1) else {
        eprintln!("usage: demo PROGRAM (target/debug/qdrant-backup)");
        return ExitCode::from(2);
    };
    let started = Instant::now();
    step("1/5 Three Qdrant peers and an S3 server");
    let site = Site::cluster(3).await;
    let client = site.source.client();
    print(&site.source.hosts().join("  "));
    print(&site.s3.endpoint());

    step("2/5 Three collections");
    client.create("products", json!({"shard_number": 6, "replication_factor": 2})).await;
    client.index("products").await;
    client.fill("products", 0, 2000).await;
    client.create("ge ün%,odd", json!({"shard_number": 2})).await;
    client.fill("ge ün%,odd", 0, 300).await;
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
    for (key, from) in [(json!("acme"), 0), (json!(7), 500)] {
        client.ok(http::Method::PUT, "/collections/tenants/shards?timeout=60", Some(&json!({"shard_key": key}))).await;
        client.fill_key("tenants", from, from + 200, Some(&key)).await;
    }
    client.alias("products-live", "products").await;
    let before = client.contents().await;
    let aliases = client.aliases().await;
    for (collection, content) in &before {
        print(&format!("{collection}: {} points, {} payload indexes", content.points.len(), content.indexes.len()));
    }
    print("products-live is an alias of products");

    step("3/5 Backup: qdrant-backup backup");
    if !run(&site, &program, "backup").await {
        return ExitCode::FAILURE;
    }
    print("In the bucket:");
    for key in site.s3.keys("") {
        print(&format!("{:>8} bytes  {key}", site.s3.get(&key).unwrap().len()));
    }

    step("4/5 Everything is deleted, and restored: qdrant-backup recover_snap_shards");
    client.wipe().await;
    print(&format!("{} collections, {} aliases left", client.collections().await.len(), client.aliases().await.len()));
    if !run(&site, &program, "recover_snap_shards").await {
        return ExitCode::FAILURE;
    }

    step("5/5 Every point compared");
    let after = client.contents().await;
    assert_same(&after, &before);
    assert_eq!(client.aliases().await, aliases, "other aliases");
    for (collection, content) in &after {
        print(&format!(
            "{collection}: {} points with payload and vectors, {} payload indexes: equal on every replica",
            content.points.len(),
            content.indexes.len()
        ));
    }
    print("products-live is an alias of products again");
    print(&format!("Done in {:.1} s.", started.elapsed().as_secs_f64()));
    if std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty() && keep != "0") {
        keep(&site, &program).await;
    }
    ExitCode::SUCCESS
}

/// The servers run until somebody presses Ctrl-C.
async fn keep(site: &Site, program: &OsStr) {
    step("The servers are running. In another terminal:");
    for (name, value) in site.settings() {
        // To be copied as it is: no line is broken.
        println!("export {name}='{value}'");
    }
    println!("export QDRANT_WORK_DIR='{}'", site.work.path().display());
    println!("{} list", program.to_string_lossy());
    step("Ctrl-C ends them");
    let _ = tokio::signal::ctrl_c().await;
}

fn step(title: &str) {
    println!("\n{}", colour("1", &format!("== {title}")));
}

/// `text` in a colour of the terminal (an SGR code), if there is one and it is wanted.
fn colour(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Prints a line, indented and broken at [`COLUMNS`].
fn print(text: &str) {
    for line in broken(text) {
        let code = if line.contains("FAILED") || line.contains("error") {
            "31"
        } else if line.contains("done:") || line.contains("all done") {
            "32"
        } else {
            "0"
        };
        println!("{}", colour(code, &line));
    }
}

/// The lines of a text: 3 spaces in front, 7 where it goes on, broken between words, and within one that is too long.
fn broken(text: &str) -> Vec<String> {
    let mut lines = vec![String::from("  ")];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last + 1 + word.len() > COLUMNS && last > 7 {
            lines.push(" ".repeat(6));
        }
        while !word.is_empty() || text.is_empty() {
            let line = lines.last_mut().unwrap();
            let room = COLUMNS.saturating_sub(line.chars().count() + 1);
            let rest = word.split_off(room.min(word.len()));
            line.push(' ');
            line.extend(word);
            word = rest;
            if word.is_empty() {
                break;
            }
            lines.push(" ".repeat(6));
        }
    }
    lines
}

/// Runs the program as a person would, its log in between ours: without the time, which is not needed here.
async fn run(site: &Site, program: &OsStr, task: &str) -> bool {
    let started = Instant::now();
    let mut command = Command::new(program);
    command.arg(task).env_clear().envs(site.settings()).env("QDRANT_WORK_DIR", site.work.path());
    // On a terminal the program shows what it is at, as it does for everybody.
    let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let stream = || if is_terminal { Stdio::inherit() } else { Stdio::piped() };
    for name in ["TERM", "NO_COLOR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.stdin(Stdio::null()).stdout(stream()).stderr(stream());
    let mut process =
        command.spawn().unwrap_or_else(|error| panic!("can't run {}: {error}", program.to_string_lossy()));
    if let (Some(out), Some(log)) = (process.stdout.take(), process.stderr.take()) {
        tokio::join!(show(out), show(log));
    }
    let status = process.wait().await.unwrap();
    print(&format!("exit code {}, {:.1} s", status.code().unwrap_or(-1), started.elapsed().as_secs_f64()));
    status.success()
}

async fn show(from: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        // `[2026-01-29 11:44:22] text`
        let text =
            line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line.as_str(), |(_, text)| text);
        print(text);
    }
}
