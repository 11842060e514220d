//! How the parts of an upload are sent: as cheaply as the store lets them be, and never so that a damaged one is taken.

use http::{HeaderMap, Method};
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::dialect::{DIALECTS, Dialect};
use qdrant_backup_tests::s3::{self, S3};
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::{failed, fault, manifest_keys};

/// Shards with so much besides their points are stored in two parts, and in three.
const TWO_PARTS: usize = 9 << 20;
const THREE_PARTS: usize = 17 << 20;

const SETTINGS: [(&str, &str); 3] =
    [("QDRANT_SNAPSHOT_TRANSFER", "stream"), ("QDRANT_S3_SSE", "AES256"), ("QDRANT_RETRY_MAX_DURATION", "60s")];

/// How a part was sent: with its content in the signature, with its CRC-32, with its MD5.
type Sent = (bool, bool, bool);

const UNSIGNED: Sent = (false, true, false);
const SIGNED: Sent = (true, true, false);

/// One server with a shard of three parts, and a store that speaks `dialect` over TLS or not.
async fn site(dialect: &str, tls: bool) -> Site {
    site_with(dialect, tls, THREE_PARTS).await
}

async fn site_with(dialect: &str, tls: bool, ballast: usize) -> Site {
    let dialect = (dialect != "usual").then(|| Dialect::named(dialect));
    let options = s3::Options { memory: true, tls, dialect, ..s3::Options::default() };
    let local = Options { peers: 1, clustered: false, ballast, local_snapshots: true, ..Options::default() };
    let site = Site::with(S3::with(options).await, local).await;
    site.source.client().create("docs", json!({"shard_number": 1})).await;
    site.source.client().fill("docs", 0, 20).await;
    site
}

fn sent(headers: &HeaderMap) -> Sent {
    let signed = headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD";
    (signed, headers.contains_key("x-amz-checksum-crc32"), headers.contains_key("content-md5"))
}

/// How each part was sent since the last look, by its number.
fn parts(site: &Site) -> Vec<(u32, Sent)> {
    let requests = site.s3.requests();
    let number = |query: &str| query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
    let parts = requests.iter().filter_map(|request| Some((number(request.uri.query()?)?, sent(&request.headers))));
    let parts = parts.collect();
    site.s3.faults().clear();
    parts
}

async fn backup(site: &Site) -> String {
    clock::another_second().await;
    site.run_with(&["create_snap_shards"], &SETTINGS).await.expect(0).stderr
}

#[tokio::test(start_paused = true)]
async fn every_store_gets_parts_that_it_checks() {
    for dialect in DIALECTS {
        for tls in [false, true] {
            let site = site_with(dialect.name, tls, TWO_PARTS).await;
            let before = site.source.client().contents().await;
            backup(&site).await;
            let parts = parts(&site);
            for number in 1..=2 {
                let (_, last) = parts.iter().rfind(|(part, _)| *part == number).unwrap();
                assert!(last.1 && dialect.checks_parts() || last.2, "{} {tls} {parts:?}", dialect.name);
                assert!(tls || last.0, "{} {parts:?}", dialect.name);
            }
            // What is asked for, refused or not looked at is so once.
            assert!(dialect.is_busy() || parts.len() <= 4, "{} {tls} {parts:?}", dialect.name);
            site.run_with(&["verify"], &SETTINGS).await.expect(0);
            site.source.client().wipe().await;
            site.run_with(&["recover_snap_shards"], &SETTINGS).await.expect(0);
            assert_same(&site.source.client().contents().await, &before);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_tls_the_content_of_parts_is_not_signed() {
    for (tls, expected) in [(false, SIGNED), (true, UNSIGNED)] {
        let site = site("usual", tls).await;
        backup(&site).await;
        assert_eq!(parts(&site), [(1, expected), (2, expected), (3, expected)]);
    }
    // Everything else is signed.
    let site = site("usual", true).await;
    backup(&site).await;
    for request in site.s3.requests() {
        let signed = request.headers.get("x-amz-content-sha256").is_none_or(|hash| hash != "UNSIGNED-PAYLOAD");
        assert!(signed || request.uri.to_string().contains("partNumber="), "{request:?}");
    }
}

/// By a policy that looks at `s3:x-amz-content-sha256`.
#[tokio::test(start_paused = true)]
async fn a_bucket_that_wants_signed_parts_gets_them() {
    let site = site("aws-signed", true).await;
    let log = backup(&site).await;
    assert_eq!(parts(&site), [(1, UNSIGNED), (1, SIGNED), (2, SIGNED), (3, SIGNED)]);
    assert_eq!(log.matches("signature of their content").count(), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn another_refusal_is_not_taken_for_one_of_unsigned_parts() {
    let site = site("usual", true).await;
    let denied = |why: &str| format!("<Error><Code>AccessDenied</Code><Message>{why}</Message></Error>");
    for why in ["the first", "the second"] {
        site.s3.faults().add(Chosen::Program, fault(Method::PUT, "partNumber=2&", 1, Wrong::Status(403, denied(why))));
    }
    clock::another_second().await;
    let run = failed(site.run_with(&["create_snap_shards"], &SETTINGS).await).says(&["the second"]);
    assert!(!run.stderr.contains("signature of their content"), "{}", run.stderr);
    assert!(manifest_keys(&site).is_empty() && site.s3.uploads().is_empty());
    assert_eq!(parts(&site), [(1, UNSIGNED), (2, UNSIGNED), (2, SIGNED)]);
    // One that may be about the checksum: what the store said before it was left out is told.
    for why in ["the first", "the second", "the third", "the fourth"] {
        site.s3.faults().add(Chosen::Program, fault(Method::PUT, "partNumber=2&", 1, Wrong::Status(400, denied(why))));
    }
    clock::another_second().await;
    site.run_with(&["create_snap_shards"], &SETTINGS).await.expect(0).says(&["the second"]);
    let md5_alone = (false, false, true);
    assert_eq!(parts(&site)[1..5], [(2, UNSIGNED), (2, SIGNED), (2, md5_alone), (2, (true, false, true))]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_know_crc_32_gets_md5() {
    let with_md5 = (false, true, true);
    let md5_alone = (false, false, true);
    for (dialect, expected, says) in [
        // Not looked at: the first one is sent again.
        ("seaweedfs", vec![(1, UNSIGNED), (1, with_md5), (2, with_md5), (3, with_md5)], 0),
        ("minio-locked", vec![(1, UNSIGNED), (1, with_md5), (2, with_md5), (3, with_md5)], 0),
        // Refused at the beginning, and at a part.
        ("r2", vec![(1, md5_alone), (2, md5_alone), (3, md5_alone)], 1),
        ("ovh", vec![(1, UNSIGNED), (1, SIGNED), (1, md5_alone), (2, md5_alone), (3, md5_alone)], 1),
    ] {
        let site = site(dialect, true).await;
        let log = backup(&site).await;
        assert_eq!(parts(&site), expected, "{dialect}");
        assert_eq!(log.matches("sent with their MD5 from now on").count(), says, "{dialect}: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_does_with_parts_is_found_out_once() {
    for (dialect, more) in [("seaweedfs", 1), ("aws-signed", 1), ("ovh", 2), ("r2", 0)] {
        let site = site(dialect, true).await;
        site.source.client().create("more", json!({"shard_number": 2})).await;
        site.source.client().fill("more", 0, 20).await;
        let log = backup(&site).await;
        assert!(log.matches("from now on, which takes longer").count() <= 1, "{log}");
        assert_eq!(parts(&site).len(), 3 * 3 + more, "{dialect}");
    }
}

/// Whatever the store checks a part by: one that is damaged on its way is not taken, and the shard is sent again.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_damaged_on_its_way_is_not_taken() {
    for (dialect, tls, sent_again_anyway) in [
        ("usual", true, 0),
        ("usual", false, 0),
        ("r2", true, 0),
        // The first part, with its MD5: its CRC-32 was not looked at, or refused.
        ("seaweedfs", true, 1),
        ("ovh", true, 1),
    ] {
        for number in 1..=3 {
            let site = site(dialect, tls).await;
            let part = format!("partNumber={number}&");
            site.s3.faults().add(Chosen::Program, fault(Method::PUT, &part, 1, Wrong::Flipped));
            let log = backup(&site).await;
            let noticed = log.contains("it is started again");
            assert_eq!(noticed, number > sent_again_anyway, "{dialect} {tls} {number}: {log}");
            site.run_with(&["verify"], &SETTINGS).await.expect(0);
        }
    }
}
