//! Servers, buckets, files and work directories that mean harm.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qdrant_backup_tests::canary::Canaries;
use qdrant_backup_tests::fixtures::sets;
use qdrant_backup_tests::http_client;
use qdrant_backup_tests::impostor::{Impostor, envelope};
use qdrant_backup_tests::qdrant::PORT;
use qdrant_backup_tests::site::{API_KEY, Site};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A work directory within a folder that nothing but it may be in.
fn nested() -> (TempDir, std::path::PathBuf) {
    let around = TempDir::new().unwrap();
    let work = around.path().join("work");
    std::fs::create_dir(&work).unwrap();
    (around, work)
}

fn names(folder: &std::path::Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_a_hostile_cluster_names_are_not_asked() {
    let victim = Impostor::start(|_| async { envelope(&json!({"collections": []})) }).await;
    let ip = victim.ip().to_owned();
    let [a, b, c, d] = ip.split('.').map(|part| part.parse::<u8>().unwrap()).collect::<Vec<_>>().try_into().unwrap();
    let number = u32::from_be_bytes([a, b, c, d]);
    let uris = [
        format!("http://{ip}:6335/"),
        format!("http://{ip}.:6335/"),
        format!("http://127.0.0.1:{PORT}@{ip}:{PORT}/"),
        format!("http://[::ffff:{ip}]:6335/"),
        format!("http://[::ffff:{a:02x}{b:02x}:{c:02x}{d:02x}]:6335/"),
        format!("http://{number}:6335/"),
        format!("http://0x{number:x}:6335/"),
        format!("http://0{a:o}.{b}.{c}.{d}:6335/"),
        "http://localhost:6335/".to_owned(),
        "http://[::1]:6335/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("//{ip}:6335"),
        format!("http://{ip}:6335/\r\nx: y"),
    ];
    let peers: serde_json::Map<String, Value> =
        uris.iter().enumerate().map(|(id, uri)| ((id + 10).to_string(), json!({"uri": uri}))).collect();
    let cluster = json!({"status": "enabled", "peer_id": 9, "peers": peers});
    let liar = Impostor::start(move |asked| {
        let answer = match asked.path.split('?').next() {
            Some("/") => (200, br#"{"title":"qdrant","version":"1.18.3"}"#.to_vec()),
            Some("/cluster") => envelope(&cluster),
            Some("/collections") => envelope(&json!({"collections": [{"name": "docs"}]})),
            Some("/aliases") => envelope(&json!({"aliases": []})),
            _ => (404, b"{}".to_vec()),
        };
        async move { answer }
    })
    .await;
    let site = Site::cluster(1).await;
    for task in ["get_coll", "create_snap", "create_snap_shards", "recover_snap", "recover_colla"] {
        let host = liar.host();
        let more = [
            ("QDRANT_SOURCE_HOSTS", host.as_str()),
            ("QDRANT_RESTORE_HOSTS", host.as_str()),
            ("QDRANT_ALLOW_HOSTS", ""),
            ("CURL_TIMEOUT", "5"),
        ];
        let (around, work) = nested();
        let run = site.run_in(&work, &[task], &more).await;
        assert_ne!(run.code, 0, "{task}: {}", run.stderr);
        assert_eq!(names(around.path()), BTreeSet::from(["work".to_owned()]));
    }
    assert!(liar.connections() > 0);
    assert_eq!(victim.connections(), 0);
    // The same answer does reach it where a person allows that.
    let host = liar.host();
    let more = [("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_ALLOW_HOSTS", ip.as_str()), ("CURL_TIMEOUT", "5")];
    site.run_with(&["create_snap"], &more).await;
    assert!(victim.connections() > 0, "this has to be able to fail");
}

/// As a debugging proxy does, or a server that is none of Qdrant's.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_repeats_what_it_was_sent_gives_nothing_away() {
    let site = Site::standalone().await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    site.run(&["create_snap"]).await.expect(0);
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    site.run(&["reset"]).await.expect(0);
    let behind = site.source.hosts()[0].clone();
    let seen = Arc::new(AtomicUsize::new(0));
    let said = Arc::clone(&seen);
    // All of it goes through, but for the recoveries: their bodies have the links.
    let proxy = Impostor::start(move |asked| {
        let (behind, said) = (behind.clone(), Arc::clone(&said));
        async move {
            if asked.path.contains("/recover") {
                said.fetch_add(1, Ordering::SeqCst);
                let headers: String = asked.headers.iter().map(|(name, value)| format!("{name}: {value}; ")).collect();
                let error = format!("Wrong input: {headers}{}", String::from_utf8_lossy(&asked.body));
                return (400, json!({"status": {"error": error}, "time": 0.1}).to_string().into_bytes());
            }
            let headers: Vec<(&str, &str)> =
                asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (status, body) =
                http_client::send(asked.method, &format!("{behind}{}", asked.path), &headers, asked.body)
                    .await
                    .unwrap();
            (status.as_u16(), body)
        }
    })
    .await;
    for task in ["recover_snap", "recover_snap_shards"] {
        for format in ["text", "json"] {
            let more = [
                ("QDRANT_RESTORE_HOSTS", proxy.host()),
                ("QDRANT_RESTORE_FORCE", "true".to_owned()),
                ("QDRANT_REPORT_FILE", "report".to_owned()),
                ("QDRANT_REPORT_ON_S3", "true".to_owned()),
                ("QDRANT_METRICS_FILE", "metrics".to_owned()),
                ("LOG_FORMAT", format.to_owned()),
            ];
            let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
            // Everything is searched for the key, the links' signatures and the rest: see `canary`.
            let run = site.run_with(&[task], &more).await.expect(1).says(&["***", "Wrong input"]);
            assert!(!run.stderr.contains("(\"&%41") && !run.stderr.contains("%28%22"), "{}", run.stderr);
        }
    }
    assert!(seen.load(Ordering::SeqCst) >= 4);
    // Nor where there is nothing to report item by item.
    let echo = Impostor::start(|asked| async move {
        let headers: String = asked.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        (500, headers.into_bytes())
    })
    .await;
    for task in ["get_coll", "recover_colla", "create_snap"] {
        let host = echo.host();
        let more =
            [("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_RESTORE_HOSTS", host.as_str()), ("CURL_TIMEOUT", "5")];
        let run = site.run_with(&[task], &more).await;
        assert!(run.code != 0 && run.stderr.contains("***"), "{}", run.stderr);
        assert!(!run.stderr.contains("(\"&%41"), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_bucket_make_no_files_and_no_lines_of_their_own() {
    let site = Site::cluster(1).await;
    let snapshot = |collection: &str| format!("{collection}-1-2026-01-29-11-44-22.snapshot");
    let hostile = [
        "..",
        ".",
        "../../../../tmp/x",
        "a\",\"b",
        "a\nsnapshots",
        "x\r\nhttp://evil,y,y-1-2026-01-29-11-44-22.snapshot",
        "#comment",
        "=cmd|' /C calc'!A0",
        "\u{1b}[31mred",
        "\u{202e}txt",
        " ",
        "%2e%2e",
    ];
    for collection in hostile {
        site.s3.put(
            &qdrant_backup_core::naming::snapshot_key("snapshots", collection, &snapshot(collection)),
            vec![0; 2048],
        );
    }
    for key in [
        "snapshots/../../x",
        "snapshots//docs/docs-1-2026-01-29-11-44-22.snapshot",
        "/etc/passwd",
        "snapshots/../docs/docs-1-2026-01-29-11-44-22.snapshot",
        "backup_manifests/../x.json",
        "backup_manifests/../../x.json",
        "backup_manifests/%2E%2E/x.json",
        "snapshot_manifests/../x.json",
    ] {
        site.s3.put(key, b"{}".to_vec());
    }
    let (around, work) = nested();
    let run = site.run_in(&work, &["get_snap_s3"], &[]).await.expect(0);
    let file = std::fs::read_to_string(work.join("snapshots")).unwrap();
    assert_eq!(run.stdout, file);
    // Those of two names that no collection can have are left alone; each of the others is one line.
    assert_eq!(file.lines().count(), hostile.len() - 2, "{file}");
    let lines = qdrant_backup_core::state_files::parse_snapshots("snapshots", file.as_bytes()).unwrap();
    assert_eq!(lines.len(), hostile.len() - 2);
    assert!(lines.iter().all(|line| line.host.is_none()), "{lines:?}");
    for line in &lines {
        let known = |name: &&str| line.collection == name.replace(['\n', '\r'], " ") || line.collection == name.trim();
        assert!(hostile.iter().any(known), "{line:?}");
    }
    // None is a snapshot: every restore of them is refused, each in lines of the log's own form.
    let run = site.run_in(&work, &["recover_snap"], &[]).await.expect(1);
    for line in run.stderr.lines() {
        assert!(line.starts_with('['), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    for task in ["verify", "prune_snap", "list_sets", "recover_snap_shards"] {
        site.run_in(&work, &[task], &[]).await;
    }
    assert_eq!(names(around.path()), BTreeSet::from(["work".to_owned()]));
    let files = names(&work);
    let known = |name: &String| qdrant_backup_core::state_files::STATE_FILES.contains(&name.as_str());
    assert!(files.iter().all(known), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_another_one_s_snapshot_deletes_nothing() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    for name in ["docs", "other"] {
        client.create(name, json!({})).await;
        client.fill(name, 0, 10).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    let other = sets(&site, "other")[0].shards[0].s3_key.clone();
    let key = site.s3.keys("backup_manifests/docs/")[0].clone();
    let honest = site.s3.get(&key).unwrap();
    let own = sets(&site, "docs")[0].shards[0].s3_key.clone();
    let file = own.rsplit('/').next().unwrap();
    for place in [
        other.clone(),
        format!("snapshots/docs/shards/../../other/shards/0/{file}"),
        format!("snapshots/docs/shards/0/../../../other/{file}"),
        "snapshots/docs/shards/0/..".to_owned(),
        format!("snapshots/docs/shards//{file}"),
        format!("/{own}"),
        "collection_aliases_store/collection_aliases".to_owned(),
        String::new(),
    ] {
        let mut manifest: Value = serde_json::from_slice(&honest).unwrap();
        manifest["shards"][0]["s3_key"] = json!(place);
        site.s3.put(&key, manifest.to_string().into_bytes());
        let before = site.s3.keys("");
        let only = [("QDRANT_COLLECTIONS", "docs"), ("QDRANT_RESTORE_FORCE", "true")];
        site.run_with(&["recover_snap_shards"], &only).await.expect(1).says(&["is not one below"]);
        site.run_with(&["verify"], &only).await.expect(1).says(&["is not one below"]);
        let none = [
            ("QDRANT_BACKUP_RETENTION_SETS", "1"),
            ("QDRANT_SWEEP_GRACE_SECONDS", "1"),
            ("QDRANT_SWEEP_DELETE_CAP_PCT", "1000"),
        ];
        site.run_with(&["prune_snap"], &none).await;
        let after = site.s3.keys("");
        assert!(before.iter().all(|key| after.contains(key)), "{place}: {before:?} {after:?}");
        assert_eq!(client.count(0, "docs").await, 10, "{place}");
    }
    site.s3.put(&key, honest);
    site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_FORCE", "true")]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_work_directory_lead_nowhere() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({})).await;
    client.fill("docs", 0, 10).await;
    client.alias("live", "docs").await;
    let (around, work) = nested();
    let outside = around.path().join("outside");
    let prepare = |files: &[&str]| {
        for name in names(&work) {
            std::fs::remove_file(work.join(name)).unwrap();
        }
        std::fs::write(&outside, "precious").unwrap();
        for name in files {
            symlink(&outside, work.join(name)).unwrap();
        }
    };
    let untouched = |task: &str| assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious", "{task}");
    prepare(&[]);
    site.run_in(&work, &["create_snap"], &[]).await.expect(0);
    client.wipe().await;
    for (task, files, says) in [
        ("recover_snap", &["snapshots"][..], "can't read the file `snapshots`"),
        ("recover_snap", &["snapshot_recovery_history"], "snapshot_recovery_history"),
        ("create_snap", &["collections"], "can't read the file `collections`"),
        ("get_snap_s3", &["snapshots"], "can't read the file `snapshots`"),
        ("get_snap", &[".snapshots.new"], "can't write the file `snapshots`"),
    ] {
        prepare(files);
        let run = site.run_in(&work, &[task], &[]).await;
        assert_ne!(run.code, 0, "{task} {files:?}: {}", run.stderr);
        run.says(&[says]);
        untouched(task);
    }
    prepare(&[".snapshots.new"]);
    site.run_in(&work, &["get_snap_s3"], &[]).await.expect(0);
    untouched("an unfinished list");
    // To write in place of a link replaces the link; to remove one leaves what it leads to.
    prepare(&["report", "failed_snapshot_recovery"]);
    site.run_in(&work, &["get_coll"], &[("QDRANT_REPORT_FILE", "report")]).await;
    untouched("a report");
    site.run_in(&work, &["reset"], &[]).await.expect(0);
    untouched("reset");
    for name in ["../outside", "..", "/tmp/x", "a/b"] {
        let run = site.run_in(&work, &["get_coll"], &[("QDRANT_REPORT_FILE", name)]).await.expect(2);
        run.says(&["QDRANT_REPORT_FILE"]);
    }
    // A path of the snapshots file is the host's business; one that the component is told is within its sandbox.
    assert_eq!(names(around.path()), BTreeSet::from(["outside".to_owned(), "work".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_a_file_is_told_before_anything_is_sent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Impostor::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { (500, Vec::new()) }
    })
    .await;
    let site = Site::cluster(1).await;
    let many: String = (0..100_000).map(|number| format!(",docs,docs-{number}.snapshot\n")).collect();
    let cases = [
        (",docs\n".to_owned(), "line 1: column 3 is missing"),
        (
            "\u{feff}host,collection,snapshot_name\r\n\r\n# a comment\r\n,docs\r\n".to_owned(),
            "line 4: column 3 is missing",
        ),
        (",a,b,docs-1.snapshot\n".to_owned(), "line 1: column 4 is one too many"),
        (
            ",docs,docs-1.snapshot\n,\"docs,docs-1.snapshot\n,c,c\n".to_owned(),
            "line 2: column 2: its quote is not closed",
        ),
        (",docs,docs-1.snapshot\n\n,,docs-1.snapshot\n".to_owned(), "line 3: column 2 (collection) is empty"),
        (",docs,\n".to_owned(), "line 1: column 3 (snapshot) is empty"),
        (format!("{many},docs\n"), "line 100001: column 3 is missing"),
        ("# ,docs,docs-1.snapshot\n".to_owned(), "names no snapshot"),
        ("host,collection,snapshot\n".to_owned(), "names no snapshot"),
    ];
    let host = server.host();
    let more = |name: &'static str, value: String| {
        let mut more = vec![
            ("QDRANT_RESTORE_HOSTS", host.clone()),
            ("QDRANT_SOURCE_HOSTS", host.clone()),
            ("QDRANT_S3_ENDPOINT_URL", host.clone()),
        ];
        more.push((name, value));
        more
    };
    for (text, says) in cases {
        let (_around, work) = nested();
        let list = work.join("chosen");
        std::fs::write(&list, &text).unwrap();
        std::fs::write(work.join("snapshots"), &text).unwrap();
        for more in
            [more("QDRANT_SNAPSHOTS_FILE", list.display().to_string()), more("QDRANT_SNAPSHOTS_FILE", String::new())]
        {
            let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
            site.run_in(&work, &["recover_snap"], &more).await.expect(1).says(&[says]);
        }
    }
    for task in ["recover_snap", "recover_snap_shards", "create_snap", "create_snap_shards", "get_coll", "prune_snap"] {
        let (_around, work) = nested();
        std::fs::write(work.join("collections"), "host,collection\n,docs\n,a,b\n").unwrap();
        let more = more("QDRANT_COLLECTIONS", "*".to_owned());
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.run_in(&work, &[task], &more).await.expect(1).says(&["`collections`", "line 3: column 3 is one too many"]);
    }
    assert_eq!((asked.load(Ordering::SeqCst), site.s3.requests().len()), (0, 0));
}

/// The canaries are found where they are: else all the searches would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_secrets_finds_them() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let site = Site::cluster(1).await;
    site.run(&["list_sets"]).await.expect(0);
    let settings = site.settings();
    let canaries =
        Canaries::among(settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))).and_signatures(&site.s3);
    let signature = site.s3.requests().iter().find_map(|request| {
        let header = request.headers.get("authorization")?.to_str().ok()?;
        header.split_once("Signature=").map(|(_, signature)| signature.to_owned())
    });
    let signature = signature.expect("a signed request");
    let secret = settings.iter().find(|(name, _)| name == "QDRANT_S3_SECRET_ACCESS_KEY").unwrap().1.clone();
    let encoded = percent_encoding::utf8_percent_encode(&secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    for text in [
        API_KEY.to_owned(),
        format!("x{secret}y"),
        encoded.clone(),
        encoded.to_lowercase(),
        json!({"cause": secret}).to_string(),
        STANDARD.encode(&secret),
        STANDARD.encode(format!("user:{secret}")),
        STANDARD.encode(format!("u:{API_KEY}\n")),
        STANDARD.encode(format!("ab{API_KEY}, and more")),
        signature.clone(),
        format!("Signature={signature}"),
        format!("0a{signature}f9"),
    ] {
        let found =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| canaries.are_not_in("a text", text.as_bytes())));
        assert!(found.is_err(), "{text}");
    }
    canaries.are_not_in("a text", b"nothing of it");
    canaries.are_not_in("a text", &signature.as_bytes()[1..]);
}
