//! What an S3 service answers: listings and errors, of any shape.

use std::time::Duration;

use qdrant_backup_contract::settings::{Endpoint, S3Settings, Secret};
use qdrant_backup_core::naming::{escape_segment, snapshot_of_key};
use qdrant_backup_core::ports::Ports;
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::sets::SetId;
use qdrant_backup_core::store::ObjectStore;

use crate::ports::World;
use crate::texts;

const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
const SECRET: &str = "a-secret/of+S3=";

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        "0<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>]c25h&#43;=</NextContinuationToken><Contents><Key>snapshots/a&amp;b &lt;c&gt;/x</Key><LastModified>2026-11-22T10:30:51.336Z</LastModified><ETag>&quot;1&quot;</ETag><Size>2000</Size></Contents><Contents><Key><![CDATA[y<z]]></Key><Size>0</Size></Contents></ListBucketResult>",
        "0<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>snapshots/../../etc/passwd</Key><Size>18446744073709551615</Size></Contents></ListBucketResult>",
        "1<Error><Code>AuthorizationHeaderMalformed</Code><Message>expected: &apos;garage&apos;</Message><Region>garage</Region></Error>",
        "2<html><body>Bad Gateway</body></html>",
        "0<ListBucketResult><IsTruncated>false</IsTruncated>",
        "0<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult><Key>&a;</Key></ListBucketResult>",
    ])
}

/// The settings of a bucket at `http://s3`.
pub fn settings() -> S3Settings {
    let endpoint = Endpoint::parse("http://s3").expect("an endpoint");
    S3Settings {
        timeout: std::time::Duration::from_secs(60),
        ..S3Settings::new(endpoint, "bucket", "access", Secret::new(SECRET))
    }
}

/// An open bucket in the world of `ports`, which has to answer with an empty listing.
pub fn open(world: &World, ports: &Ports) -> Bucket {
    world.answer(200, EMPTY.as_bytes());
    futures_executor::block_on(Bucket::open(ports, &settings())).expect("an empty listing is one")
}

/// The first byte says which status the answer has.
pub fn check(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let status = [200, 403, 502, 400, 301, 404, 412, 501][usize::from(kind % 8)];
    let world = World::answering(200, b"");
    let ports = world.ports();
    let bucket = open(&world, &ports);
    world.answer(status, body);
    let mut errors = Vec::new();
    let mut keys = Vec::new();
    futures_executor::block_on(async {
        errors.extend(bucket.list("snapshots/", &mut |object| keys.push(object.key)).await.err());
        errors.extend(bucket.get("a/b", 1 << 20).await.err());
        errors.extend(bucket.stat("a/b").await.err());
        errors.extend(bucket.range("a/b", 5, body.len()).await.err());
        errors.extend(bucket.read_through("a/b", 5, &mut |_| {}).await.err());
        errors.extend(bucket.put("a/b", "text/plain", body.to_vec()).await.err());
        errors.extend(bucket.put_new("a/b", "text/plain", body.to_vec()).await.err());
        errors.extend(bucket.delete("a/b").await.err());
    });
    for error in errors {
        assert!(!error.to_string().contains(SECRET));
    }
    for key in keys {
        // Only names that we could have written ourselves are taken for snapshots and manifests.
        if let Some(name) = snapshot_of_key("snapshots", &key) {
            assert!(name.to_string().starts_with(&name.collection));
        }
        if let Some((collection, id)) = SetId::of_key(&key) {
            assert!(id.key(&collection).starts_with("backup_manifests/"), "{key}");
        }
        let _ = futures_executor::block_on(bucket.presigned_get(&key, Duration::from_secs(60))).map(|url| {
            assert!(url.reveal().starts_with("http://s3/bucket/"), "{}", url.reveal());
            assert!(url.reveal().parse::<http::Uri>().is_ok_and(|uri| uri.host() == Some("s3")));
        });
    }
}

/// Keys of any text come out of a listing as they went in.
pub fn check_keys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // XML 1.0 has no way to write the others.
    let keys: Vec<String> = text
        .split('\n')
        .map(|key| key.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect())
        .collect();
    let contents = keys.iter().map(|key| {
        let key = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
    });
    let xml = format!("<ListBucketResult>{}</ListBucketResult>", contents.collect::<String>());
    let world = World::answering(200, b"");
    let ports = world.ports();
    let bucket = open(&world, &ports);
    world.answer(200, xml.as_bytes());
    let mut listed = Vec::new();
    futures_executor::block_on(bucket.list("", &mut |object| listed.push(object.key))).expect("well-formed");
    // A listing of everything may ask for several prefixes, and this server answers each with the same.
    assert!(listed.chunks(keys.len()).all(|page| page == keys), "{listed:?}");
    for key in keys {
        assert!(!escape_segment(&key).contains('/'));
    }
}
