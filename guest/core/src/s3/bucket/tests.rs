//! The calls on a server that answers what it is told.

use super::*;
use std::collections::BTreeSet;

use super::super::dialect;
use crate::ports::nothing::Nothing;
use crate::ports::{Body, Clock, Http, HttpError, LocalBoxFuture, Request};
use time::OffsetDateTime;

use crate::settings::{Addressing, CredentialSource, Endpoint, Keys, Secret};
use serde_json::Value;

/// Answers every request with a status and a body, in turn; tells the time it was given.
struct Server {
    now: OffsetDateTime,
    answers: RefCell<Vec<(u16, String)>>,
    sent: RefCell<Vec<Request>>,
    slept: RefCell<Vec<Duration>>,
}

struct Text(Option<Vec<u8>>);

impl Body for Text {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(std::future::ready(Ok(self.0.take().filter(|bytes| !bytes.is_empty()))))
    }
}

impl Http for Server {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        self.sent.borrow_mut().push(request);
        let (status, body) = self.answers.borrow_mut().remove(0);
        let status = StatusCode::from_u16(status).unwrap();
        let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"e\""))]);
        let body = match body.strip_prefix(CHUNKED) {
            Some(body) => body.to_owned(),
            None => {
                if let Some(crc32) = body.strip_prefix(CRC_32) {
                    headers.insert("x-amz-checksum-crc32", HeaderValue::from_str(crc32).unwrap());
                }
                headers.insert(CONTENT_LENGTH, body.len().into());
                body
            }
        };
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes 0-0/{body}");
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).unwrap());
        }
        let body = Box::new(Text(Some(body.into_bytes())));
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("7"));
        }
        Box::pin(std::future::ready(Ok(Response { status, headers, body })))
    }
}

impl Clock for Server {
    fn now(&self) -> OffsetDateTime {
        self.now
    }
    fn monotonic(&self) -> Duration {
        self.slept.borrow().iter().sum()
    }
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        self.slept.borrow_mut().push(duration);
        Box::pin(std::future::ready(()))
    }
    fn random(&self) -> u64 {
        0
    }
}

/// Marks an answer that has no Content-Length.
const CHUNKED: &str = "chunked:";

/// Marks an answer that names a CRC-32.
const CRC_32: &str = "crc32:";

const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

fn server(now: OffsetDateTime, answers: &[(u16, &str)]) -> (Rc<Server>, Ports) {
    let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let server =
        Rc::new(Server { now, answers: RefCell::new(answers), sent: RefCell::default(), slept: RefCell::default() });
    let ports =
        Ports { http: server.clone(), clock: server.clone(), files: Rc::new(Nothing), console: Rc::new(Nothing) };
    (server, ports)
}

fn settings(endpoint: &str) -> S3Settings {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    S3Settings::new(Endpoint::parse(endpoint).unwrap(), "qdrant-snapshots", "AKIAIOSFODNN7EXAMPLE", secret)
}

fn with_token(source: CredentialSource, session_token: Option<Secret>) -> CredentialSource {
    match source {
        CredentialSource::Keys(keys) => CredentialSource::Keys(Keys { session_token, ..keys }),
        other => other,
    }
}

fn data(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/s3/");
    std::fs::read_to_string(format!("{folder}{name}")).unwrap()
}

/// Host and path, and the parameters whose order is free.
fn parts(url: &str) -> (String, BTreeSet<String>) {
    let (path, query) = url.split_once('?').unwrap();
    (path.to_owned(), query.split('&').map(str::to_owned).collect())
}

#[test]
fn presigned_urls_are_boto3s() {
    let mut compared = 0;
    for line in data("boto3-presigned.jsonl").lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let now = OffsetDateTime::from_unix_timestamp(entry["unix"].as_i64().unwrap()).unwrap();
        let (_, ports) = server(now, &[(200, EMPTY)]);
        let mut settings = settings(&text("endpoint"));
        settings.region = Some(text("region"));
        let token = entry["token"].as_str().map(Secret::new);
        settings.credentials = with_token(settings.credentials, token);
        settings.addressing = if entry["virtual"] == true { Addressing::Virtual } else { Addressing::Path };
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings)).unwrap();
        let validity = Duration::from_secs(entry["expires"].as_u64().unwrap());
        let url = futures_executor::block_on(bucket.presigned_get(&text("key"), validity)).unwrap();
        // boto3 writes a port that is the scheme's own; it is not signed, and means the same.
        let theirs = if text("endpoint").starts_with("https") {
            text("url").replacen(":443/", "/", 1)
        } else {
            text("url").replacen(":80/", "/", 1)
        };
        assert_eq!(parts(url.reveal()), parts(&theirs), "{line}");
        compared += 1;
    }
    assert_eq!(compared, 300);
}

/// Headers and links, for odd keys, hosts, dates and bodies.
#[test]
fn signatures_are_botocores() {
    let mut compared = 0;
    for line in data("botocore-signatures.jsonl").lines() {
        let (call, key, endpoint, is_virtual, region, token, expires, unix, body, signature): (
            String,
            String,
            String,
            bool,
            String,
            Option<String>,
            u64,
            i64,
            String,
            String,
        ) = serde_json::from_str(line).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(unix).unwrap();
        let (seen, ports) = server(now, &[(200, EMPTY), (200, EMPTY)]);
        let mut settings = settings(&endpoint);
        settings.region = Some(region);
        settings.credentials = with_token(settings.credentials, token.map(Secret::new));
        settings.addressing = if is_virtual { Addressing::Virtual } else { Addressing::Path };
        let bucket = futures_executor::block_on(Bucket::open(&ports, &settings)).unwrap();
        futures_executor::block_on(async {
            match call.as_str() {
                "put" => bucket.put(&key, "application/json", body.into_bytes()).await.unwrap(),
                "list" => bucket.list(&key, &mut |_| {}).await.unwrap(),
                // The answer is not the range; the request is what is looked at.
                "range" => drop(bucket.range(&key, 5, 5).await.unwrap_err()),
                _ => {}
            }
        });
        let signed = match call.as_str() {
            "link" => {
                let link = bucket.presigned_get(&key, Duration::from_secs(expires));
                futures_executor::block_on(link).unwrap().reveal().to_owned()
            }
            _ => seen.sent.borrow()[1].headers["authorization"].to_str().unwrap().to_owned(),
        };
        assert!(signed.contains(&format!("Signature={signature}")), "{line}: {signed}");
        compared += 1;
    }
    assert_eq!(compared, 4000);
}

#[test]
fn a_server_that_says_when_to_come_back_is_obeyed() {
    let (seen, ports) = server(OffsetDateTime::UNIX_EPOCH, &[(429, ""), (503, ""), (200, EMPTY)]);
    futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
    assert_eq!(*seen.slept.borrow(), [Duration::from_secs(7), Duration::from_millis(500)]);
}

#[test]
fn what_comes_with_another_size_than_listed_is_not_the_object() {
    let page = "<html>Down for maintenance</html>";
    let answers = [(200, EMPTY), (200, page), (200, page)];
    let (_, ports) = server(OffsetDateTime::UNIX_EPOCH, &answers);
    let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
    let read = |bytes| futures_executor::block_on(bucket.get_listed("key", bytes, 1000));
    assert!(read(1234).unwrap_err().to_string().contains("listed with 1234"));
    assert_eq!(read(page.len() as u64).unwrap().unwrap(), page.as_bytes());
}

fn code(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>A header you provided</Message></Error>")
}

/// A bucket whose service gives `answers` after the one to the first listing, and all its requests.
fn opened(answers: &[(u16, &str)], settings: &S3Settings) -> (Rc<Server>, Bucket) {
    let answers: Vec<(u16, &str)> = [(200, EMPTY)].into_iter().chain(answers.iter().copied()).collect();
    let (server, ports) = server(OffsetDateTime::UNIX_EPOCH, &answers);
    let bucket = futures_executor::block_on(Bucket::open(&ports, settings)).unwrap();
    server.sent.borrow_mut().clear();
    (server, bucket)
}

fn methods(server: &Server) -> Vec<String> {
    let sent = server.sent.borrow();
    let shown = |request: &Request| {
        let condition = if request.headers.contains_key(IF_NONE_MATCH) { " if new" } else { "" };
        format!("{}{condition}", request.method)
    };
    sent.iter().map(shown).collect()
}

#[test]
fn conditions_that_are_refused_are_done_without() {
    let put_new =
        |bucket: &Bucket| futures_executor::block_on(bucket.put_new("key", "text/plain", b"body".to_vec())).unwrap();
    let (not_implemented, missing) = (code("NotImplemented"), code("NoSuchKey"));
    let unsupported =
        "<Error><Code>InvalidArgument</Code><Message>Unsupported header 'if-none-match'</Message></Error>";
    let absent = [(404, ""), (404, missing.as_str())];
    let stored = [(200, ""), (200, "body"), (200, "body")];
    for (refusal, remembered) in [
        ((501, ""), true),
        ((501, not_implemented.as_str()), true),
        ((400, not_implemented.as_str()), true),
        ((400, unsupported), true),
        ((404, missing.as_str()), false),
    ] {
        let answers = [&[refusal][..], &absent, &stored].concat();
        let (server, bucket) = opened(&answers, &settings("http://s3"));
        assert!(put_new(&bucket), "{refusal:?}");
        assert_eq!(methods(&server), ["PUT if new", "HEAD", "GET", "PUT", "HEAD", "GET"], "{refusal:?}");
        assert_eq!(bucket.dialect.has_conditions(), !remembered, "{refusal:?}");
    }
    // Over a delete marker.
    let answers = [&[(412, "")][..], &absent, &absent, &stored].concat();
    let (server, bucket) = opened(&answers, &settings("http://s3"));
    assert!(put_new(&bucket));
    assert_eq!(methods(&server), ["PUT if new", "HEAD", "GET", "HEAD", "GET", "PUT", "HEAD", "GET"]);
    // Another object, and what an earlier attempt stored.
    for (there, ours) in [("bodY", false), ("other", false), ("body", true)] {
        let (_, bucket) = opened(&[(412, ""), (200, there), (200, there)], &settings("http://s3"));
        assert_eq!(put_new(&bucket), ours, "{there}");
    }
    // It was accepted, and there is nothing.
    let answers = [&[(501, "")][..], &absent, &stored[..1], &absent].concat();
    let (_, bucket) = opened(&answers, &settings("http://s3"));
    let error = futures_executor::block_on(bucket.put_new("key", "text/plain", b"body".to_vec())).unwrap_err();
    assert!(error.to_string().contains("is not there afterwards"), "{error}");
}

#[test]
fn what_a_bucket_asks_of_a_put_is_sent_with_it() {
    let settings = S3Settings {
        encryption: Some(crate::settings::Encryption {
            algorithm: crate::settings::Algorithm::Kms,
            kms_key: Some("alias/backups".to_owned()),
        }),
        ..settings("http://s3")
    };
    let asks = "<Error><Code>InvalidRequest</Code><Message>x-amz-checksum- HTTP header is required</Message></Error>";
    let (server, bucket) = opened(&[(200, ""), (400, asks), (200, ""), (200, "")], &settings);
    let put = || futures_executor::block_on(bucket.put("key", "text/plain", b"body".to_vec())).unwrap();
    put();
    put();
    put();
    let sent = server.sent.borrow();
    let header = |request: &Request, name: &str| {
        request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    for request in sent.iter() {
        assert_eq!(header(request, "content-md5"), "hBotaJrYa9FhFEdFPCLG/A==");
        assert_eq!(header(request, "x-amz-server-side-encryption"), "aws:kms");
        assert_eq!(header(request, "x-amz-server-side-encryption-aws-kms-key-id"), "alias/backups");
        assert_eq!(header(request, "accept-encoding"), "identity");
        assert!(header(request, "authorization").contains("x-amz-server-side-encryption;"));
    }
    let checksums: Vec<String> = sent.iter().map(|request| header(request, "x-amz-checksum-sha256")).collect();
    let checksum = "Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU=".to_owned();
    assert_eq!(checksums[..2], [String::new(), String::new()]);
    assert_eq!(checksums[2..], [checksum.clone(), checksum], "asked for once, it is sent with all");
}

#[test]
fn an_upload_is_begun_without_a_checksum_where_that_is_refused() {
    let begun = "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>";
    let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
    for (status, name) in [(400, "InvalidArgument"), (403, "SignatureDoesNotMatch"), (501, "")] {
        let (server, bucket) = opened(&[(status, &code(name)), (200, begun), (200, none)], &settings("https://s3"));
        let upload = futures_executor::block_on(bucket.begin_upload("key")).unwrap();
        let sent = server.sent.borrow();
        let asks = |request: &Request| request.headers.contains_key("x-amz-checksum-algorithm");
        assert_eq!((upload.crc32, asks(&sent[0]), asks(&sent[1])), (false, true, false), "{status}");
        assert_eq!(bucket.dialect.crc32(), dialect::Crc32::Refused);
    }
    // Where it is not about that, nothing is learnt of it.
    let (_, bucket) =
        opened(&[(403, &code("AccessDenied")), (403, &code("AccessDenied")), (200, none)], &settings("https://s3"));
    assert!(futures_executor::block_on(bucket.begin_upload("key")).is_err());
    assert_eq!(bucket.dialect.crc32(), dialect::Crc32::Alone);
}

#[test]
fn a_part_counts_as_stored_where_its_crc_32_is_confirmed() {
    let upload = Upload { key: "key".to_owned(), id: "id".to_owned(), begun: None, crc32: true };
    let put = |answers: &[(u16, &str)]| {
        let (server, bucket) = opened(answers, &settings("https://s3"));
        let part = futures_executor::block_on(bucket.put_part(&upload, 1, b"123456789"));
        (part.map(|part| part.crc32), server.sent.borrow().len())
    };
    // The check value of CRC-32 ("CRC-32/ISO-HDLC" in the catalogue of CRCs), in Base64.
    assert_eq!(put(&[(200, "crc32:y/Q5Jg==")]), (Ok(Some(0xcbf4_3926)), 1));
    // Not said: sent again with its MD5.
    assert_eq!(put(&[(200, ""), (200, "")]), (Ok(None), 2));
    let (other, sent) = put(&[(200, "crc32:AAAAAA==")]);
    assert!(other.unwrap_err().to_string().contains("has the CRC-32 AAAAAA=="));
    assert_eq!(sent, 1);
}

#[test]
fn what_is_not_about_the_way_of_a_part_is_not_tried_otherwise() {
    let upload = Upload { key: "key".to_owned(), id: "id".to_owned(), begun: None, crc32: true };
    for (status, name) in [(400, "BadDigest"), (400, "IncompleteBody"), (404, "NoSuchUpload"), (409, "BucketNotEmpty")]
    {
        let (server, bucket) = opened(&[(status, &code(name))], &settings("https://s3"));
        futures_executor::block_on(bucket.put_part(&upload, 1, b"body")).unwrap_err();
        assert_eq!(server.sent.borrow().len(), 1, "{name}");
    }
}

#[test]
fn an_object_is_missing_only_where_s3_says_so() {
    let stat = |answers: &[(u16, &str)]| {
        let (_, bucket) = opened(answers, &settings("http://s3"));
        futures_executor::block_on(bucket.stat("key")).map(|stat| stat.map(|stat| stat.bytes))
    };
    let (missing, bucket) = (code("NoSuchKey"), code("NoSuchBucket"));
    assert_eq!(stat(&[(404, ""), (404, &missing)]), Ok(None));
    assert!(stat(&[(404, ""), (404, "<html>no such page</html>")]).unwrap_err().is_unknown());
    assert!(stat(&[(404, ""), (404, "")]).unwrap_err().to_string().contains("lack its path"));
    assert!(stat(&[(404, ""), (404, &bucket)]).unwrap_err().to_string().contains("QDRANT_S3_BUCKET_NAME"));
    // A HEAD is wrong, or does not tell.
    assert_eq!(stat(&[(404, ""), (206, "4711")]), Ok(Some(4711)));
    assert_eq!(stat(&[(200, CHUNKED), (206, "4711")]), Ok(Some(4711)));
    assert_eq!(stat(&[(200, CHUNKED), (416, "")]), Ok(Some(0)));
    assert!(stat(&[(200, CHUNKED), (200, CHUNKED)]).unwrap_err().to_string().contains("does not tell"));
    let get = |answers: &[(u16, &str)]| {
        let (_, bucket) = opened(answers, &settings("http://s3"));
        futures_executor::block_on(bucket.get("key", 100))
    };
    assert_eq!(get(&[(404, &missing)]), Ok(None));
    assert!(get(&[(404, "<html>")]).is_err());
    // What broke off looks like an empty object.
    assert_eq!(get(&[(200, "chunked:body"), (206, "4")]), Ok(Some(b"body".to_vec())));
    assert!(get(&[(200, CHUNKED), (206, "4")]).unwrap_err().to_string().contains("without Content-Length"));
}

#[test]
fn a_body_that_drips_is_given_up() {
    struct Drips(Rc<Server>);
    impl Body for Drips {
        fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
            self.0.slept.borrow_mut().push(Duration::from_secs(50));
            Box::pin(std::future::ready(Ok(Some(vec![0]))))
        }
    }
    let (server, _) = opened(&[], &settings("http://s3"));
    let dripping = |server: &Rc<Server>| Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Box::new(Drips(server.clone())),
    };
    let read = futures_executor::block_on(dripping(&server).read_all(1000, server.as_ref()));
    assert_eq!(read, Err(Some(HttpError::Timeout(crate::ports::Phase::Body))));
}

#[test]
fn clocks_that_are_far_apart_are_told() {
    let now = time::macros::datetime!(2026-01-29 12:00 UTC);
    let check = |minutes: i64| {
        let (_, ports) = server(now, &[(200, EMPTY)]);
        let mut bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
        assert!(bucket.check_clock().is_ok(), "a store that doesn't tell");
        bucket.ahead = Some(time::Duration::minutes(minutes));
        bucket.check_clock()
    };
    assert!(check(14).is_ok() && check(-14).is_ok());
    assert!(check(16).unwrap_err().to_string().contains("960 s ahead of"));
    assert!(check(-60).unwrap_err().to_string().contains("3600 s behind"));
}

#[test]
fn endpoints_with_paths_and_tenants_are_asked_there() {
    let url = |endpoint: &str, bucket: &str| {
        let settings = S3Settings { bucket: bucket.to_owned(), ..settings(endpoint) };
        let (server, bucket) = opened(&[(404, &code("NoSuchKey"))], &settings);
        futures_executor::block_on(bucket.get("a/b", 10)).unwrap();
        let sent = server.sent.borrow();
        let link = bucket.presigned_get("a/b", Duration::from_secs(60));
        (sent[0].uri.to_string(), futures_executor::block_on(link).unwrap())
    };
    let (asked, link) = url("https://p.example.co/storage/v1/s3", "b");
    assert_eq!(asked, "https://p.example.co/storage/v1/s3/b/a/b");
    assert!(link.reveal().starts_with("https://p.example.co/storage/v1/s3/b/a/b?X-Amz-"));
    assert_eq!(url("http://ceph", "tenant:b").0, "http://ceph/tenant%3Ab/a/b");
}

/// Garage's recorded answers to a wrong region, with a body and without.
#[test]
fn the_region_is_learnt_from_a_strict_server() {
    let recorded = data("garage-2.5.jsonl");
    let recorded: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = |note: &str| {
        let entry = recorded.iter().find(|entry| entry["note"] == note).unwrap();
        (entry["response"]["status"].as_u64().unwrap() as u16, entry["response"]["body"].as_str().unwrap().to_owned())
    };
    let (wrong, listing) = (answer("list, wrong region"), answer("list v2"));
    let now = OffsetDateTime::UNIX_EPOCH;
    let (seen, ports) = server(now, &[(wrong.0, &wrong.1), (listing.0, &listing.1), (listing.0, &listing.1)]);
    let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://127.0.0.1:3900"))).unwrap();
    let mut keys = Vec::new();
    futures_executor::block_on(bucket.list("snapshots/", &mut |object| keys.push(object.key))).unwrap();
    assert_eq!(keys.len(), 6);
    assert!(keys.iter().any(|key| key.starts_with("snapshots/ge %C3%BCn%25,odd/")), "{keys:?}");
    let scope = |request: &Request| request.headers["authorization"].to_str().unwrap().to_owned();
    let scopes: Vec<String> = seen.sent.borrow().iter().map(scope).collect();
    assert!(
        scopes[0].contains("/us-east-1/s3/") && scopes[1].contains("/garage/s3/") && scopes[2].contains("/garage/s3/")
    );

    let (missing, secret) = (answer("missing bucket"), answer("wrong secret"));
    for (answer, advice) in [(missing, "QDRANT_S3_BUCKET_NAME"), (secret, "QDRANT_S3_SECRET_ACCESS_KEY")] {
        // Once more with the region that the error names, and once for the other folder that may be listed.
        let (_, ports) = server(now, &[(answer.0, &answer.1), (answer.0, &answer.1), (answer.0, &answer.1)]);
        let error = futures_executor::block_on(Bucket::open(&ports, &settings("http://127.0.0.1:3900"))).err().unwrap();
        assert!(error.to_string().contains(advice), "{error}");
    }
}

/// Keys that may list some prefixes and not the root are enough, and what they may not list is not looked at.
#[test]
fn keys_for_some_prefixes_are_enough() {
    let denied = "<Error><Code>AccessDenied</Code><Message>no s3:ListBucket</Message></Error>";
    let open = |prefix: &str, answers: &[(u16, &str)]| {
        let (seen, ports) = server(OffsetDateTime::UNIX_EPOCH, answers);
        let settings = S3Settings { backup_prefix: prefix.to_owned(), ..settings("http://s3") };
        let opened = futures_executor::block_on(Bucket::open(&ports, &settings));
        let asked: Vec<String> = seen.sent.borrow().iter().map(|sent| sent.uri.to_string()).collect();
        (opened, asked)
    };
    let (opened, asked) = open("", &[(200, EMPTY)]);
    assert!(opened.is_ok() && asked.len() == 1 && asked[0].ends_with("&prefix=snapshots%2F"), "{asked:?}");
    let (opened, asked) = open("", &[(403, denied), (200, EMPTY)]);
    assert!(opened.is_ok() && asked[1].ends_with("&prefix=backup_manifests%2F"), "{asked:?}");
    let (opened, asked) = open("team/a", &[(200, EMPTY), (403, denied)]);
    assert!(!opened.unwrap().places().is_whole() && asked[0].ends_with("&prefix=team%2Fa%2F"), "{asked:?}");
    let (opened, _) = open("team/a", &[(200, EMPTY), (200, EMPTY)]);
    assert!(opened.unwrap().places().is_whole());
    let (opened, _) = open("team/a", &[(403, denied)]);
    assert!(opened.err().unwrap().is_denied());
}

#[test]
fn a_listing_follows_tokens_and_never_runs_in_circles() {
    let page = |token: &str| {
        format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        )
    };
    let (first, second) = (page("a/b+c="), page("d"));
    let now = OffsetDateTime::UNIX_EPOCH;
    let (seen, ports) = server(now, &[(200, EMPTY), (200, &first), (200, &second), (200, EMPTY)]);
    let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
    futures_executor::block_on(bucket.list("p", &mut |_| {})).unwrap();
    assert!(seen.sent.borrow()[2].uri.query().unwrap().contains("continuation-token=a%2Fb%2Bc%3D"));
    let (_, ports) = server(now, &[(200, EMPTY), (200, &first), (200, &first)]);
    let bucket = futures_executor::block_on(Bucket::open(&ports, &settings("http://s3"))).unwrap();
    let error = futures_executor::block_on(bucket.list("p", &mut |_| {})).unwrap_err();
    assert!(error.to_string().contains("says there is more and not where"), "{error}");
}
