//! Keys that are lent, through the sandbox: who lends them may be reached, and the folder of the platform's token read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use qdrant_backup_tests::lender::{Lender, ROLE};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{self, S3};
use qdrant_backup_tests::site::Site;
use serde_json::json;

const NO_KEYS: [(&str, &str); 3] =
    [("QDRANT_S3_ACCESS_KEY_ID", ""), ("QDRANT_S3_SECRET_ACCESS_KEY", ""), ("QDRANT_S3_SESSION_TOKEN", "")];

/// Puts a token into `folder` as the kubelet does: the file is a link into a folder that is replaced as a whole.
fn project(folder: &Path, token: &str) {
    let data = folder.join(format!("..{token}"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("token"), token).unwrap();
    symlink(format!("..{token}"), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if !folder.join("token").exists() {
        symlink("..data/token", folder.join("token")).unwrap();
    }
}

#[tokio::test]
async fn keys_are_lent_through_the_sandbox() {
    let lender = Lender::start(false, Duration::from_secs(3600)).await;
    let options = s3::Options { loans: Some(lender.loans().clone()), ..s3::Options::default() };
    let site = Site::with(S3::with(options).await, Options { peers: 1, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.fill("docs", 0, 20).await;
    let before = client.content("docs").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token").display().to_string();
    let (sts, keys) = (lender.endpoint(), format!("{}/keys", lender.endpoint()));
    // Nothing but what the settings themselves allow.
    let hosts = ("QDRANT_ALLOW_HOSTS", "");
    let by_identity = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    let by_container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.as_str()),
    ];
    let by_machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", sts.as_str())];
    for (number, source) in [&by_identity[..], &by_container, &by_machine].into_iter().enumerate() {
        let token = format!("canary-identity-{number}");
        project(folder.path(), &token);
        lender.identify_by(&token);
        let settings = [&NO_KEYS[..], source, &[hosts]].concat();
        site.run_with(&["create_snap_shards"], &settings).await.expect(0);
        client.wipe().await;
        let run = site.run_with(&["recover_snap_shards"], &settings).await.expect(0);
        assert!(!run.stderr.contains("canary-lent") && !run.stderr.contains("canary-identity"), "{}", run.stderr);
        assert_eq!(client.content("docs").await.points, before.points, "{source:?}");
    }
    // A source that is not the one that is taken is not asked, though settings name it.
    let other = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys.as_str()),
        ("QDRANT_S3_CREDENTIALS", "instance"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9"),
        ("QDRANT_RETRY_MAX_DURATION", "1s"),
        hosts,
    ];
    let asked = lender.asked().len();
    site.run_with(&["list_sets"], &[&NO_KEYS[..], &other].concat()).await.expect(1).says(&["127.0.0.1:9"]);
    assert_eq!(lender.asked().len(), asked);
}
