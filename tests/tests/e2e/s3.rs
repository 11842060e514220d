//! S3 servers that are strict, slow or unwell.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::{Content, assert_same};
use qdrant_backup_tests::faults::{Chosen, Event};
use qdrant_backup_tests::fixtures::back_up_and_wipe;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{self, Fault, S3, Wrong};
use qdrant_backup_tests::site::Site;
use serde_json::json;

/// A backup of `docs`, wiped.
async fn backed_up(site: &Site) -> BTreeMap<String, Content> {
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 60).await;
    back_up_and_wipe(site, "create_snap").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_nobody_set_is_found() {
    let s3 = S3::with(s3::Options { region: Some("eu01".to_owned()), ..s3::Options::default() }).await;
    let site = Site::with(s3, Options { peers: 2, ..Options::default() }).await;
    let before = backed_up(&site).await;
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
    // A wrong one, as a cloud sets AWS_REGION for all pods, is no harm.
    site.source.client().wipe().await;
    site.run_with(&["recover_snap"], &[("AWS_REGION", "us-west-2")]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_passed_over() {
    let site = Site::cluster(2).await;
    let fault = |method: Method, uri: &str, skip, wrong| Fault {
        method: Some(method),
        uri: uri.to_owned(),
        skip,
        times: 1,
        wrong,
    };
    site.s3.fail(fault(
        Method::GET,
        "list-type=2",
        0,
        Wrong::Status(503, "<Error><Code>SlowDown</Code></Error>".to_owned()),
    ));
    site.s3.fail(fault(Method::HEAD, "snapshots/docs", 0, Wrong::Reset));
    site.s3.fail(fault(Method::PUT, "snapshot_manifests", 0, Wrong::Status(500, String::new())));
    let before = backed_up(&site).await;
    site.s3.fail(fault(Method::GET, "list-type=2&prefix=snapshots", 0, Wrong::Truncate(40)));
    site.s3.fail(fault(Method::GET, "snapshot_manifests/docs/", 0, Wrong::Truncate(40)));
    site.s3.fail(fault(Method::GET, "snapshots/docs/docs-", 0, Wrong::Reset));
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
}

/// From the first request whose path has `uri` in it, S3 asks everybody to slow down, for `time`.
fn outage(site: &Site, method: Method, uri: &str, time: Duration) {
    let faults = site.s3.faults().clone();
    let begin = Event::new(move || {
        let slow_down = Wrong::Status(503, "<Error><Code>SlowDown</Code></Error>".to_owned());
        let all = Fault { method: None, uri: String::new(), skip: 0, times: usize::MAX, wrong: slow_down };
        faults.add(Chosen::S3, all);
        let faults = faults.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            faults.heal();
        });
        // The request itself is a part of it: nobody hears its answer.
        std::future::pending::<()>()
    });
    let wrong = Wrong::Before(begin);
    site.s3.fail(Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: 1, wrong });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_twelve_seconds_is_waited_out_and_told() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 20).await;
    let before = client.contents().await;
    let patient = [("QDRANT_RETRY_MAX_DURATION", "60s"), ("CURL_TIMEOUT", "2")];
    let told = ["retrying", "QDRANT_RETRY_MAX_DURATION", "answers again, after "];
    let twelve = Duration::from_secs(12);
    outage(&site, Method::PUT, "backup_manifests", twelve);
    site.run_with(&["create_snap_shards"], &patient).await.expect(0).says(&told);
    client.wipe().await;
    outage(&site, Method::GET, "backup_manifests", twelve);
    site.run_with(&["recover_snap_shards"], &patient).await.expect(0).says(&told);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_are_failures_with_a_reason() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    let denied = || Wrong::Status(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned());
    // The first two are of the check at the start.
    let fault = |skip| Fault { method: None, uri: "snapshot_manifests".to_owned(), skip, times: 100, wrong: denied() };
    site.s3.fail(fault(2));
    site.run(&["create_snap"]).await.expect(3).says(&["AccessDenied", "s3:PutObject"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_kept_is_known_before_anything_is_made() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    let nothing_was_made = |why: &str| assert!(site.s3.keys("").is_empty(), "{why}: {:?}", site.s3.keys(""));
    for (task, folder) in [("create_snap", "snapshot_manifests"), ("create_snap_shards", "backup_manifests")] {
        let denied = "<Error><Code>AccessDenied</Code><Message>with an explicit deny</Message></Error>".to_owned();
        let (method, uri, wrong) = (Some(Method::PUT), folder.to_owned(), Wrong::Status(403, denied));
        site.s3.fail(Fault { method, uri, skip: 0, times: usize::MAX, wrong });
        site.run(&[task]).await.expect(1).says(&["AccessDenied", "s3:PutObject", "QDRANT_S3_SSE"]);
        nothing_was_made(task);
        site.s3.heal();
    }
    site.run_with(&["create_snap"], &[("QDRANT_WORK_DIR", "/proc/self/fdinfo")]).await.expect(1).says(&["writable"]);
    nothing_was_made("a work directory");
    // What was written to find out is gone in the end.
    site.run(&["create_snap"]).await.expect(0);
    site.run(&["create_snap_shards"]).await.expect(0);
    assert!(site.s3.keys("").iter().all(|key| !key.contains("write-check")), "{:?}", site.s3.keys(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_can_name_another_endpoint_than_ours() {
    let site = Site::cluster(1).await;
    let before = backed_up(&site).await;
    // The same server under another address, which only Qdrant uses.
    let other = site.s3.endpoint().replace("127.0.0.1", "localhost");
    site.run_with(&["recover_snap"], &[("QDRANT_S3_ENDPOINT_URL_FOR_QDRANT", &other)]).await.expect(0);
    assert_same(&site.source.client().contents().await, &before);
    let presigned =
        site.s3.requests().into_iter().filter(|request| request.uri.to_string().contains("X-Amz-Signature"));
    let hosts: Vec<_> = presigned.map(|request| request.headers["host"].to_str().unwrap().to_owned()).collect();
    assert!(!hosts.is_empty() && hosts.iter().all(|host| host.starts_with("localhost:")), "{hosts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_signature_is_ever_printed_or_stored() {
    let site = Site::cluster(2).await;
    backed_up(&site).await;
    // Qdrant sends the whole link back when it can't read it.
    let broken = Fault {
        method: Some(Method::GET),
        uri: "X-Amz-Signature".to_owned(),
        skip: 0,
        times: 100,
        wrong: Wrong::Status(403, String::new()),
    };
    site.s3.fail(broken);
    let run = site.run(&["recover_snap"]).await.expect(0).says(&["Failed to download", "X-Amz-Signature=***"]);
    let signature = site.s3.requests().into_iter().find_map(|request| {
        let uri = request.uri.to_string();
        uri.split("X-Amz-Signature=").nth(1).map(|rest| rest.split('&').next().unwrap().to_owned())
    });
    let mut everything = vec![run.stdout, run.stderr];
    for file in std::fs::read_dir(site.work.path()).unwrap() {
        everything.push(std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    for key in site.s3.keys("snapshot_manifests/").into_iter().chain(site.s3.keys("collection_aliases_store/")) {
        everything.push(String::from_utf8(site.s3.get(&key).unwrap()).unwrap());
    }
    let secrets = [
        signature.unwrap(),
        s3::SECRET_KEY.to_owned(),
        qdrant_backup_tests::site::API_KEY.to_owned(),
        "test-secret%2F%2Bkey".to_owned(),
    ];
    for (text, secret) in everything.iter().flat_map(|text| secrets.iter().map(move |secret| (text, secret))) {
        assert!(!text.contains(secret.as_str()), "{secret} in {text}");
    }
}
