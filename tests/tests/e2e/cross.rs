//! Snapshots of the stand-in are Qdrant's: with `QDRANT_BIN`, real servers restore them.

use qdrant_backup_tests::client::{Client, assert_same};
use qdrant_backup_tests::qdrant::{Options, Qdrant};
use qdrant_backup_tests::site::{API_KEY, Site};
use serde_json::json;

#[cfg_attr(not(real_servers), ignore = "for real servers: QDRANT_BIN is not set")]
#[tokio::test(flavor = "multi_thread")]
async fn real_servers_restore_what_the_stand_in_made() {
    let site = Site::cluster(3).await;
    let options = Options { s3: Some(site.access()), api_key: Some(API_KEY.to_owned()), ..Options::default() };
    let stand_in = Qdrant::start(options).await;
    let client = Client::new(stand_in.hosts(), Some(API_KEY.to_owned()));
    client.create("docs", json!({"shard_number": 4, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 300).await;
    let before = client.contents().await;
    let host = stand_in.hosts().remove(0);
    site.run_with(&["create_snap"], &[("QDRANT_SOURCE_HOSTS", &host)]).await.expect(0);
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
}
