//! `qdrant-backup-drill`: snapshots in Qdrant's own engine.

use std::path::Path;

use http::Method;
use qdrant_backup_core::sets::SetId;
use qdrant_backup_tests::client::point;
use qdrant_backup_tests::fixtures::{fill_every_kind, sets};
use qdrant_backup_tests::qdrant::{Options, sha256};
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};

/// Runs the drill at the site; the exit code and the report.
pub async fn drill(site: &Site, arguments: &[&str], more: &[(&str, &str)]) -> (u8, Value) {
    let mut variables = site.settings();
    variables.push(("QDRANT_WORK_DIR".to_owned(), site.work.path().display().to_string()));
    variables.push(("QDRANT_REPORT_FILE".to_owned(), "drill.json".to_owned()));
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let code = tokio::task::spawn_blocking(move || qdrant_backup_drill::command_line(&arguments, variables));
    let code = code.await.unwrap();
    let left = std::fs::read_dir(site.work.path()).unwrap().map(Result::unwrap).map(|entry| entry.file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("drill-")), "a snapshot was left behind");
    (code, serde_json::from_str(&site.file("drill.json")).unwrap_or_default())
}

/// The causes of what failed.
fn failures(report: &Value) -> Vec<&str> {
    let items = report["items"].as_array().unwrap().iter();
    items.filter(|item| item["outcome"] == "failed").map(|item| item["cause"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_every_kind_of_collection_are_opened_and_read() {
    let site = Site::cluster(3).await;
    assert_eq!(drill(&site, &[], &[]).await.0, 1, "no set is no proof");
    fill_every_kind(&site.source.client()).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!((code, failures(&report)), (0, Vec::new()), "{report:#}");
    let sets: Vec<&Value> = report["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "set").collect();
    assert_eq!(sets.len(), 5);
    let rf1 = sets.iter().find(|item| item["collection"] == "rf1").unwrap();
    assert_eq!(rf1["cause"], "300 points in 3 shards; their content is noted beside the set");
    assert_eq!(drill(&site, &["--al"], &[]).await.0, 2);
    let chosen = drill(&site, &[], &[("QDRANT_COLLECTIONS", "tenants")]).await.1;
    assert_eq!(chosen["done"], 5, "four snapshots and their set");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_or_the_manifest_contradicts_is_found() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 60).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let [manifest] = sets(&site, "docs").try_into().unwrap();
    let [key] = site.s3.keys(&SetId::folder("docs")).try_into().unwrap();
    let written: Value = serde_json::from_slice(&site.s3.get(&key).unwrap()).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest = written.clone();
        change(&mut manifest);
        site.s3.put(&key, serde_json::to_vec(&manifest).unwrap());
    };
    changed(&|manifest| manifest["shards"][0]["points"] = json!({"before": 7, "after": 7}));
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!(code, 3);
    assert!(failures(&report)[0].contains("its manifest says 7"), "{report:#}");
    changed(&|manifest| manifest["collection_config"]["payload_schema"]["never"] = json!({"data_type": "keyword"}));
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!(code, 1);
    assert!(failures(&report)[0].contains("no payload index on `never`"), "{report:#}");

    // A tar that is whole, with a segment that is not: only the engine can tell.
    let snapshot = &manifest.shards[0].s3_key;
    let bytes = site.s3.get(snapshot).unwrap();
    let mut broken = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        if path.starts_with(Path::new("segments")) {
            content.truncate(1024);
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.header().entry_type());
        if !entry.header().entry_type().is_dir() {
            header.set_entry_type(tar::EntryType::Regular);
        }
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        broken.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    let broken = broken.into_inner().unwrap();
    let as_broken = |manifest: &mut Value| {
        manifest["shards"][0]["size"] = json!(broken.len());
        manifest["shards"][0]["checksum"] = json!(sha256(&broken));
    };
    changed(&as_broken);
    site.s3.put_with_etag(snapshot, broken.clone(), &manifest.shards[0].etag);
    site.run(&["verify"]).await.expect(0);
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!(code, 3, "{report:#}");
    assert!(failures(&report)[0].contains("Qdrant's engine"), "{report:#}");
    // Bytes that changed are found before the engine sees them.
    changed(&|manifest| {
        as_broken(manifest);
        manifest["shards"][1]["checksum"] = json!("0".repeat(64));
    });
    let (_, report) = drill(&site, &[], &[]).await;
    assert!(failures(&report).iter().any(|cause| cause.contains("its SHA-256 is")), "{report:#}");
}

/// A snapshot as a real 1.18.3 wrote it: opened, restored into what runs here, and every point of it compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_an_older_server_is_opened_and_restored() {
    let site = Site::cluster(1).await;
    let name = "docs-shard-0-2026-11-22-09-32-18.snapshot";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/qdrant-1.18.3/archives").join(name);
    let bytes = std::fs::read(file).unwrap();
    let key = format!("snapshots/docs/shards/0/{name}");
    let manifest = json!({
        "schema_version": 2, "backup_set_id": "2026-11-22T09-32-18Z-a", "collection": "docs", "shard_count": 1,
        "qdrant_version": "1.18.3",
        "collection_config": {
            "config": {"params": {
                "vectors": {"size": 8, "distance": "Cosine"}, "shard_number": 1, "replication_factor": 1,
                "write_consistency_factor": 1,
            }},
            "payload_schema": {"city": {"data_type": "keyword", "points": 53}},
        },
        "shards": [{
            "id": 0, "snapshot_name": name, "s3_key": key, "size": bytes.len(), "etag": "e", "checksum": sha256(&bytes),
            "points": {"before": 53, "after": 53},
        }],
    });
    site.s3.put_with_etag(&key, bytes, "e");
    site.s3.put("backup_manifests/docs/2026-11-22T09-32-18Z-a.json", serde_json::to_vec(&manifest).unwrap());
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!((code, failures(&report)), (0, Vec::new()), "{report:#}");
    let full = [("QDRANT_VERIFY_CONTENT", "full")];
    let run = site.run_with(&["recover_snap_shards"], &full).await.expect(0);
    run.says(&["53 points, restored", "content verified against the backup"]);
    let with = ["--with", &site.source.hosts()[0]];
    let (code, report) = drill(&site, &with, &[]).await;
    assert_eq!((code, compared(&report)[0].1), (0, "equal"), "{report:#}");
}

/// What is said of the collections that were compared: the outcome, what `content` says, and the cause.
fn compared(report: &Value) -> Vec<(&str, &str, &str)> {
    let items = report["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "collection");
    items
        .map(|item| {
            (
                item["outcome"].as_str().unwrap(),
                item["content"].as_str().unwrap_or("-"),
                item["cause"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_compared_with_what_a_cluster_holds() {
    let site = Site::cluster(3).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 3, "replication_factor": 2})).await;
    client.fill("docs", 0, 90).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let with = ["--with", &site.source.hosts()[0]];
    let (code, report) = drill(&site, &with, &[]).await;
    let [(outcome, content, cause)] = compared(&report).try_into().unwrap();
    assert_eq!((code, outcome, content), (0, "done", "equal"), "{report:#}");
    assert!(cause.starts_with("90 points are equal on every replica to those of the set "), "{cause}");

    // Other shards on another cluster, under another name: what counts is the points.
    let more = site.more(Options { peers: 2, ..Options::default() }).await;
    let there = more.client();
    there.create("papers", json!({"shard_number": 2})).await;
    there.fill("papers", 0, 90).await;
    let with = ["--with".to_owned(), more.hosts()[0].clone()];
    let with: Vec<&str> = with.iter().map(String::as_str).collect();
    let renamed = [("QDRANT_RESTORE_RENAME", "docs=papers")];
    let (code, report) = drill(&site, &with, &renamed).await;
    assert_eq!((code, compared(&report)[0].1), (0, "equal"), "{report:#}");

    // Changed, gone, and new.
    let mut changed = point(17);
    changed["payload"]["city"] = json!("Nairobj");
    let body = json!({ "points": [changed] });
    there.ok(Method::PUT, "/collections/papers/points?wait=true", Some(&body)).await;
    there.delete_points("papers", 40, 41).await;
    there.fill("papers", 90, 91).await;
    let (code, report) = drill(&site, &with, &renamed).await;
    let [(outcome, content, cause)] = compared(&report).try_into().unwrap();
    assert_eq!((code, outcome, content), (3, "failed", "different"), "{report:#}");
    for named in ["point 17 in payload.city", "point 40 is not on the target", "point 90 is not in the set"] {
        assert!(cause.contains(named), "{named}: {cause}");
    }

    // A collection that is not there is not equal.
    let (code, report) = drill(&site, &with, &[]).await;
    assert_eq!((code, compared(&report)[0].0), (3, "failed"), "{report:#}");
    assert!(compared(&report)[0].2.contains("is not there"), "{report:#}");
    assert_eq!(drill(&site, &["--with"], &[]).await.0, 2);
}

/// Two clusters may have collections of one name in one bucket: neither's newest set stands for the other's.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_set_of_each_source_is_opened() {
    let site = Site::cluster(1).await;
    let more = site.more(Options { peers: 1, ..Options::default() }).await;
    let (own, other) = (site.source.hosts()[0].clone(), more.hosts()[0].clone());
    for (client, points, host, name) in [(site.source.client(), 20, &own, "blue"), (more.client(), 30, &other, "green")]
    {
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, points).await;
        let of = [("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_SOURCE_NAME", name)];
        site.run_with(&["create_snap_shards"], &of).await.expect(0);
    }
    let opened = |report: &Value| -> Vec<String> {
        let sets = report["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "set").cloned();
        let causes = sets.map(|item| item["cause"].as_str().unwrap()[..9].to_owned());
        let mut causes: Vec<String> = causes.collect();
        causes.sort();
        causes
    };
    let (code, report) = drill(&site, &[], &[]).await;
    assert_eq!((code, opened(&report)), (0, vec!["20 points".to_owned(), "30 points".to_owned()]), "{report:#}");
    let (_, report) = drill(&site, &[], &[("QDRANT_RESTORE_SOURCE", "blue")]).await;
    assert_eq!(opened(&report), ["20 points"]);
    assert_eq!(drill(&site, &[], &[("QDRANT_RESTORE_SOURCE", "red")]).await.0, 1);

    // Each cluster is compared with its own, whichever was made last; with the other's only where it is named.
    for host in [&own, &other] {
        let (code, report) = drill(&site, &["--with", host], &[]).await;
        assert_eq!((code, compared(&report).len(), compared(&report)[0].1), (0, 1, "equal"), "{report:#}");
    }
    let (code, report) = drill(&site, &["--with", &own], &[("QDRANT_RESTORE_SOURCE", "green")]).await;
    assert_eq!((code, compared(&report)[0].1), (3, "different"), "{report:#}");
    // What no source is gets none of several.
    let stranger = site.more(Options { peers: 1, ..Options::default() }).await;
    stranger.client().create("docs", json!({"shard_number": 1})).await;
    let (code, report) = drill(&site, &["--with", &stranger.hosts()[0]], &[]).await;
    assert_eq!(code, 1, "{report:#}");
    assert!(failures(&report)[0].contains("set QDRANT_RESTORE_SOURCE"), "{report:#}");
}

/// That another cluster has backups of the other kind counts, too, as it does for a restore.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_compared_with_what_a_restore_would_take() {
    let site = Site::cluster(1).await;
    let [more, stranger] = [
        site.more(Options { peers: 1, ..Options::default() }).await,
        site.more(Options { peers: 1, ..Options::default() }).await,
    ];
    for client in [site.source.client(), more.client(), stranger.client()] {
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, 20).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    let with = ["--with", &stranger.hosts()[0]];
    let (code, report) = drill(&site, &with, &[]).await;
    assert_eq!((code, compared(&report)[0].1), (0, "equal"), "the only source: {report:#}");
    site.run_with(&["create_snap"], &[("QDRANT_SOURCE_HOSTS", &more.hosts()[0])]).await.expect(0);
    let (code, report) = drill(&site, &with, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    assert!(failures(&report)[0].contains("set QDRANT_RESTORE_SOURCE"), "{report:#}");
}

/// What lies below another prefix of Qdrant's is another cluster's, and no failure of this one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_below_another_prefix_is_skipped() {
    let site = Site::cluster(1).await;
    let more = site.more(Options { peers: 1, ..Options::default() }).await;
    for (client, host) in [(site.source.client(), &site.source.hosts()[0]), (more.client(), &more.hosts()[0])] {
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, 20).await;
        site.run_with(&["create_snap_shards"], &[("QDRANT_SOURCE_HOSTS", host)]).await.expect(0);
    }
    // As if the second one's Qdrant had a prefix of its own.
    let theirs = sets(&site, "docs").remove(1);
    let (key, etag) = (&theirs.shards[0].s3_key, &theirs.shards[0].etag);
    site.s3.put_with_etag(&format!("theirs/{key}"), site.s3.get(key).unwrap(), etag);
    site.s3.delete(key);
    let manifest = theirs.id().key("docs");
    let mut written: Value = serde_json::from_slice(&site.s3.get(&manifest).unwrap()).unwrap();
    written["shards"][0]["s3_key"] = json!(format!("theirs/{key}"));
    site.s3.put(&manifest, serde_json::to_vec(&written).unwrap());
    for prefix in ["snapshots", "theirs/snapshots"] {
        let (code, report) = drill(&site, &[], &[("QDRANT_S3_KEY_PREFIX", prefix)]).await;
        assert_eq!((code, &report["done"], &report["skipped"]), (0, &json!(2), &json!(1)), "{report:#}");
    }
}

/// One replica that is not as the others is found, and not averaged away.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(real_servers, ignore = "replicas of real servers are equal")]
async fn a_set_is_compared_with_every_replica() {
    let mut site = Site::cluster(2).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 1, "replication_factor": 2})).await;
    client.fill("docs", 0, 20).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let with = ["--with".to_owned(), site.source.hosts()[0].clone()];
    let with: Vec<&str> = with.iter().map(String::as_str).collect();
    site.source.stand_in().write_to_one_replica(
        "docs",
        0,
        1,
        &[json!({"id": 7, "vector": [1, 0, 0, 0], "payload": {}})],
    );
    let (code, report) = drill(&site, &with, &[]).await;
    assert_eq!(code, 3, "{report:#}");
    assert!(compared(&report)[0].2.contains("the replicas of shard 0 on peers"), "{report:#}");

    // There is no sandbox around this program: it keeps to the servers that it was given by itself.
    let one = [("QDRANT_SOURCE_HOSTS", ""), ("QDRANT_ALLOW_HOSTS", "")];
    let (code, report) = drill(&site, &with, &one).await;
    assert_ne!(code, 0, "{report:#}");
    let failures = failures(&report);
    assert!(failures.iter().any(|cause| cause.contains("are not allowed")), "{failures:?}");
    let other = site.source.hosts()[1].trim_start_matches("http://").to_owned();
    let allowed = [one[0], ("QDRANT_ALLOW_HOSTS", other.as_str())];
    let (_, report) = drill(&site, &with, &allowed).await;
    assert!(compared(&report)[0].2.contains("the replicas of shard 0 on peers"), "{report:#}");
}
