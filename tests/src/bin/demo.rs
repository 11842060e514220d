//! `make demo`: a three-peer Qdrant and an S3 server on loopback addresses are filled, backed up, wiped and restored by
//! the program, and every point is compared.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::process::{ExitCode, Stdio};
use std::time::Instant;

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::site::Site;
use serde_json::json;
use tokio::process::Command;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1) else {
        eprintln!("usage: demo PROGRAM (target/debug/qdrant-backup)");
        return ExitCode::from(2);
    };
    let started = Instant::now();
    step("Three Qdrant peers and an S3 server");
    let site = Site::cluster(3).await;
    let client = site.source.client();
    println!("   {}\n   {}", site.source.hosts().join("  "), site.s3.endpoint());

    step("Filling them");
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
        println!("   {collection}: {} points, {} payload indexes", content.points.len(), content.indexes.len());
    }
    println!("   products-live is an alias of products");

    step("qdrant-backup create_snap");
    if !run(&site, &program, "create_snap").await {
        return ExitCode::FAILURE;
    }
    println!("\n   In the bucket:");
    for key in site.s3.keys("") {
        println!("   {:>8} bytes  {key}", site.s3.get(&key).unwrap().len());
    }

    step("Wiping the cluster");
    client.wipe().await;
    println!("   {} collections, {} aliases left", client.collections().await.len(), client.aliases().await.len());

    step("qdrant-backup recover_snap");
    if !run(&site, &program, "recover_snap").await {
        return ExitCode::FAILURE;
    }

    step("The proof");
    let after = client.contents().await;
    assert_same(&after, &before);
    assert_eq!(client.aliases().await, aliases, "other aliases");
    for (collection, content) in &after {
        println!(
            "   {collection}: {} points with payload and vectors, {} payload indexes: all as before, on every replica",
            content.points.len(),
            content.indexes.len()
        );
    }
    println!("   products-live is an alias of products again\n\nDone in {:.1} s.", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn step(title: &str) {
    println!("\n== {title}");
}

/// Runs the program as a person would, its log in between ours.
async fn run(site: &Site, program: &std::ffi::OsStr, task: &str) -> bool {
    let started = Instant::now();
    let mut command = Command::new(program);
    command.arg(task).env_clear().envs(site.settings()).env("QDRANT_WORK_DIR", site.work.path()).stdin(Stdio::null());
    let status =
        command.status().await.unwrap_or_else(|error| panic!("can't run {}: {error}", program.to_string_lossy()));
    println!("   exit code {}, {:.1} s", status.code().unwrap_or(-1), started.elapsed().as_secs_f64());
    status.success()
}
