//! A backup and a restore at an S3 provider of your choice, such as Garage, whose region is not us-east-1:
//!
//! ```console
//! $ export PROVIDER_ENDPOINT=http://127.0.0.1:3900 PROVIDER_REGION=garage PROVIDER_BUCKET=... PROVIDER_KEY=... PROVIDER_SECRET=...
//! $ cargo test -p qdrant-backup-tests --test provider -- --ignored
//! ```
//!
//! The region is what the stand-in for Qdrant is configured with; the program has to find it by itself. Objects are left
//! in the bucket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::qdrant::{Options, S3Access};
use qdrant_backup_tests::site::{API_KEY, Servers, run};
use serde_json::json;
use tempfile::TempDir;

#[ignore = "for an S3 provider: see the head of this file"]
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let access = S3Access {
        endpoint: variable("PROVIDER_ENDPOINT"),
        bucket: variable("PROVIDER_BUCKET"),
        access_key: variable("PROVIDER_KEY"),
        secret_key: variable("PROVIDER_SECRET"),
        region: variable("PROVIDER_REGION"),
        key_prefix: "snapshots".to_owned(),
    };
    let options = Options { s3: Some(access.clone()), api_key: Some(API_KEY.to_owned()), ..Options::default() };
    let servers = Servers::start(options).await;
    let client = servers.client();
    // Names of their own: the bucket may hold what an earlier run left.
    let unique = uuid::Uuid::new_v4().simple().to_string();
    for name in [format!("docs-{unique}"), format!("ge ün%,odd {unique}")] {
        client.create(&name, json!({"shard_number": 3, "replication_factor": 2})).await;
        client.index(&name).await;
        client.fill(&name, 0, 200).await;
    }
    let before = client.contents().await;
    let work = TempDir::new().unwrap();
    let settings = || {
        let pairs = [
            ("QDRANT_SOURCE_HOSTS", servers.hosts().remove(0)),
            ("QDRANT_RESTORE_HOSTS", servers.hosts().remove(0)),
            ("QDRANT_ALLOW_HOSTS", "127.0.0.0/8".to_owned()),
            ("QDRANT_API_KEY", API_KEY.to_owned()),
            ("QDRANT_S3_ENDPOINT_URL", access.endpoint.clone()),
            ("QDRANT_S3_BUCKET_NAME", access.bucket.clone()),
            ("QDRANT_S3_ACCESS_KEY_ID", access.access_key.clone()),
            ("QDRANT_S3_SECRET_ACCESS_KEY", access.secret_key.clone()),
            ("QDRANT_WORK_DIR", work.path().display().to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    };
    run(&["create_snap"], settings()).await.expect(0);
    client.wipe().await;
    run(&["recover_snap"], settings()).await.expect(0);
    assert_same(&client.contents().await, &before);
    assert!(run(&["get_snap_s3"], settings()).await.expect(0).stdout.contains(&unique));
}
