//! Keys that are lent for a while: renewed in the midst of a run, told where they can't be, never shown.

use std::time::Duration;

use http::Method;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::{Chosen, Fault, Wrong};
use qdrant_backup_tests::lender::{Lender, ROLE};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3::{self, S3};
use qdrant_backup_tests::site::{Run, Site};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

/// No keys among the settings.
const NO_KEYS: [(&str, &str); 3] =
    [("QDRANT_S3_ACCESS_KEY_ID", ""), ("QDRANT_S3_SECRET_ACCESS_KEY", ""), ("QDRANT_S3_SESSION_TOKEN", "")];

/// A place whose bucket takes lent keys only while they are good, and who lends them.
struct Place {
    site: Site,
    lender: Lender,
    token_file: tempfile::NamedTempFile,
}

/// A collection of six shards on two peers.
async fn place(lasts: Duration) -> Place {
    let lender = Lender::start(true, lasts).await;
    let options = s3::Options { memory: true, loans: Some(lender.loans().clone()), ..s3::Options::default() };
    let site = Site::with(S3::with(options).await, Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 6})).await;
    client.fill("docs", 0, 60).await;
    let place = Place { site, lender, token_file: tempfile::NamedTempFile::new().unwrap() };
    place.identify_by("canary-identity-1");
    place
}

impl Place {
    /// The platform writes a new token into its file.
    fn identify_by(&self, token: &str) {
        std::fs::write(self.token_file.path(), format!("{token}\n")).unwrap();
        self.lender.identify_by(token);
    }

    fn settings(&self, source: &str) -> Vec<(&'static str, String)> {
        let file = self.token_file.path().display().to_string();
        match source {
            "web-identity" => vec![
                ("AWS_ROLE_ARN", ROLE.to_owned()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
                ("AWS_ENDPOINT_URL_STS", self.lender.endpoint()),
            ],
            "container" => vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/keys", self.lender.endpoint())),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
            ],
            "container-token" => vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/keys", self.lender.endpoint())),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-identity-1".to_owned()),
            ],
            _ => vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.lender.endpoint())],
        }
    }

    async fn run(&self, task: &str, source: &str, more: &[(&str, &str)]) -> Run {
        let settings = self.settings(source);
        let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = NO_KEYS.into_iter().chain(settings).chain(more.iter().copied()).collect();
        let run = self.site.run_with(&[task], &all).await;
        let texts = [&run.stdout, &run.stderr].into_iter().cloned();
        let files = std::fs::read_dir(self.site.work.path()).unwrap();
        let files = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        for text in texts.chain(files) {
            assert!(!text.contains("canary-lent") && !text.contains("canary-identity"), "{text}");
        }
        run
    }

    /// Whatever Qdrant is asked for at such an address takes `time`.
    fn slow(&self, method: Method, uri: &str, time: Duration) {
        let wrong = Wrong::Stall(time);
        let fault = Fault { method: Some(method), uri: uri.to_owned(), skip: 0, times: usize::MAX, wrong };
        self.site.s3.faults().add(Chosen::Program, fault);
    }
}

/// For how many seconds the links were good by which Qdrant has read.
fn links(place: &Place) -> Vec<u64> {
    let links = place.site.s3.requests().into_iter().filter_map(|request| {
        let query = request.uri.query()?.to_owned();
        query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Expires=")?.parse().ok())
    });
    links.collect()
}

const SOURCES: [&str; 4] = ["web-identity", "container", "container-token", "instance"];

#[tokio::test(start_paused = true)]
async fn every_source_of_keys_backs_up_and_restores() {
    for source in SOURCES {
        let place = place(60 * MINUTE).await;
        let client = place.site.source.client();
        let before = client.content("docs").await;
        for task in ["create_snap_shards", "verify", "list_sets"] {
            place.run(task, source, &[]).await.expect(0);
        }
        client.wipe().await;
        place.run("recover_snap_shards", source, &[]).await.expect(0);
        assert_eq!(client.content("docs").await.points, before.points, "{source}");
        assert_eq!(place.lender.loans().tokens().len(), 4, "{source}: asked once a run");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_an_hour_gets_by_with_keys_of_15_minutes() {
    for source in SOURCES {
        let place = place(15 * MINUTE).await;
        let client = place.site.source.client();
        let before = client.content("docs").await;
        let long = [("CURL_TIMEOUT", "2h"), ("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", "2h")];
        place.slow(Method::POST, "/snapshots", 20 * MINUTE);
        let begun = clock::now();
        place.run("create_snap_shards", source, &long).await.expect(0);
        assert!(clock::now() - begun >= time::Duration::HOUR, "{}", clock::now() - begun);
        assert!(place.lender.loans().tokens().len() >= 4, "{source}: {:?}", place.lender.asked());
        place.site.s3.heal();
        client.wipe().await;
        // Three a peer; a link that is used after seven minutes is good.
        place.slow(Method::PUT, "/snapshots/recover", 7 * MINUTE);
        if source == "web-identity" {
            place.identify_by("canary-identity-2");
        }
        let run = place.run("recover_snap_shards", source, &long).await.expect(0);
        let cut = run.stderr.lines().filter(|line| line.contains("QDRANT_S3_LINK_EXPIRY_DURATION")).count();
        assert_eq!(cut, 1, "{source}: said once\n{}", run.stderr);
        assert_eq!(client.content("docs").await.points, before.points, "{source}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_never_outlives_the_keys_it_is_signed_with() {
    let place = place(15 * MINUTE).await;
    place.run("create_snap_shards", "instance", &[]).await.expect(0);
    place.site.source.client().wipe().await;
    place.run("recover_snap_shards", "instance", &[]).await.expect(0).says(&["links to snapshots are valid for"]);
    let links = links(&place);
    assert!(links.len() >= 6 && links.iter().all(|seconds| (60..=15 * 60).contains(seconds)), "{links:?}");
    // Where the keys last longer, it is as long as it was asked for.
    let place = self::place(120 * MINUTE).await;
    place.run("create_snap_shards", "instance", &[]).await.expect(0);
    place.site.source.client().wipe().await;
    let run = place.run("recover_snap_shards", "instance", &[]).await.expect(0);
    assert!(!run.stderr.contains("links to snapshots are valid for"), "{}", run.stderr);
    let whole = |request: &s3::Request| request.uri.query().is_some_and(|query| query.contains("X-Amz-Expires=3600"));
    assert!(place.site.s3.requests().iter().any(whole));
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_renewed_are_used_while_they_last() {
    let place = place(30 * MINUTE).await;
    place.slow(Method::POST, "/snapshots", 9 * MINUTE);
    let long = [("CURL_TIMEOUT", "2h"), ("QDRANT_RETRY_MAX_DURATION", "5m")];
    // From the tenth minute on nobody lends any more.
    let failing = async || {
        let fails = async {
            tokio::time::sleep(10 * MINUTE).await;
            place.lender.fail(Wrong::Status(500, String::new()));
            std::future::pending::<Run>().await
        };
        tokio::select! {
            run = place.run("create_snap_shards", "instance", &long) => run,
            run = fails => run,
        }
    };
    let run = failing().await;
    let run = run.expect(0).says(&["it answered 500", "are used until then"]);
    assert!(run.stderr.matches("are used until then").count() <= 8, "not at each request:\n{}", run.stderr);
    // An hour of it is too long, and no set is called good.
    place.lender.heal();
    let before = place.site.s3.keys("backup_manifests/").len();
    place.site.s3.heal();
    place.slow(Method::POST, "/snapshots", 20 * MINUTE);
    let run = failing().await;
    run.expect(1).says(&["the bucket's keys from the machine's metadata service", "it answered 500"]);
    assert_eq!(place.site.s3.keys("backup_manifests/").len(), before);
    // The next run finds nothing in its way.
    place.lender.heal();
    place.site.s3.heal();
    place.run("create_snap_shards", "instance", &[]).await.expect(0);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_withdrawn_are_replaced_at_once() {
    let place = place(60 * MINUTE).await;
    let loans = place.lender.loans().clone();
    place.slow(Method::POST, "/snapshots", MINUTE);
    let withdrawing = async {
        tokio::time::sleep(2 * MINUTE).await;
        loans.withdraw();
        std::future::pending::<Run>().await
    };
    let run = tokio::select! {
        run = place.run("create_snap_shards", "container", &[("CURL_TIMEOUT", "10m")]) => run,
        run = withdrawing => run,
    };
    run.expect(0);
    assert!(loans.tokens().len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_keys_is_told_why_and_nothing_is_made() {
    for (source, advice) in [
        ("web-identity", "trust policy"),
        ("container", "is a role associated"),
        ("instance", "AWS_EC2_METADATA_DISABLED"),
    ] {
        let place = place(60 * MINUTE).await;
        place.lender.identify_by("canary-identity-of-somebody-else");
        let disabled = [("AWS_EC2_METADATA_DISABLED", if source == "instance" { "true" } else { "false" })];
        let more = [disabled[0], ("QDRANT_S3_CREDENTIALS", source)];
        let run = place.run("create_snap_shards", source, &more).await;
        let run = if source == "instance" { run.expect(2) } else { run.expect(1) };
        run.says(&[advice]);
        assert!(place.site.s3.keys("").is_empty(), "{source}");
    }
    // A machine without a role, and a service that is not there.
    let place = place(60 * MINUTE).await;
    place.lender.fail(Wrong::Status(404, String::new()));
    place.run("create_snap_shards", "instance", &[]).await.expect(1).says(&["no role is attached"]);
    let nowhere = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.255.255.1:1")];
    let run = place.run("create_snap_shards", "instance", &nowhere).await;
    run.expect(1).says(&["hop limit", "QDRANT_S3_ACCESS_KEY_ID"]);
}

#[tokio::test(start_paused = true)]
async fn keys_in_settings_win_and_nobody_is_asked() {
    let place = place(60 * MINUTE).await;
    let settings = place.settings("web-identity");
    let more: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let more = [&more[..], &[("QDRANT_S3_SESSION_TOKEN", "")]].concat();
    place.site.run_with(&["create_snap_shards"], &more).await.expect(0);
    assert!(place.lender.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_for_links_at_half_of_their_time() {
    let place = place(60 * MINUTE).await;
    place.run("create_snap_shards", "instance", &[]).await.expect(0);
    place.site.source.client().wipe().await;
    // Three a peer: the last links are made when the keys are 40 minutes old.
    place.slow(Method::PUT, "/snapshots/recover", 20 * MINUTE);
    let long = [("CURL_TIMEOUT", "2h"), ("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS", "2h")];
    place.run("recover_snap_shards", "instance", &long).await.expect(0);
    let links = links(&place);
    assert!(links.len() >= 6 && links.iter().all(|seconds| *seconds >= 30 * 60), "{links:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_hardly_last_are_no_good_for_a_link() {
    let place = place(60 * MINUTE).await;
    place.run("create_snap_shards", "instance", &[]).await.expect(0);
    place.site.source.client().wipe().await;
    place.lender.lend_for(Duration::from_secs(50));
    place.run("recover_snap_shards", "instance", &[]).await.expect(1).says(&["too soon for a link"]);
    assert_eq!(links(&place), Vec::<u64>::new());
    // Nor are those that have ended when they come.
    place.lender.lend_for(Duration::from_secs(5));
    place.run("verify", "instance", &[]).await.expect(1).says(&["ended at", "clock"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_says_of_a_token_is_not_shown() {
    let place = place(60 * MINUTE).await;
    let said = "<Error><Code>AccessDenied</Code><Message>no, canary-lent-token-0/+== may not</Message></Error>";
    let denied = Fault {
        method: Some(Method::PUT),
        uri: "/qdrant-snapshots/backup_manifests/".to_owned(),
        skip: 0,
        times: usize::MAX,
        wrong: Wrong::Status(403, said.to_owned()),
    };
    place.site.s3.faults().add(Chosen::Program, denied);
    place.run("create_snap_shards", "instance", &[]).await.expect(1).says(&["no, *** may not"]);
}
