//! Names as people give them.

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::site::Site;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn odd_long_and_nested_names_come_back() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    let long = "n".repeat(80);
    let names = ["ge ün%,odd", "docs", "docs-2", "my-docs", "docs-shard-0", "a~b[c]{d}^`", "日本語", &long];
    for (number, name) in names.iter().enumerate() {
        client.create(name, json!({"shard_number": 2})).await;
        client.fill(name, 0, 10 + number as u64).await;
        client.alias(&format!("alias of {name}"), name).await;
    }
    let before = client.contents().await;
    let aliases = client.aliases().await;
    site.run(&["create_snap"]).await.expect(0);
    assert!(site.s3.keys("snapshots/ge %C3%BCn%25,odd/").len() == 2);
    client.wipe().await;
    // From the file that the backup wrote, and from the bucket.
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);
    assert_eq!(client.aliases().await, aliases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_qdrant_cannot_snapshot_costs_no_other_one() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    let longest = "x".repeat(250);
    client.create(&longest, json!({})).await;
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 20).await;
    let run = site.run(&["create_snap"]).await.expect(3);
    assert!(run.stderr.contains("File name too long") || run.stderr.contains("too long"), "{}", run.stderr);
    assert!(!site.s3.keys("snapshots/docs/").is_empty());
}
