//! Versions of Qdrant: all that are supported work without a word, others with one.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use qdrant_backup_core::qdrant::version::unsupported;
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

async fn site(version: &str) -> Site {
    let site = Site::native(Options { peers: 2, version: version.to_owned(), ..Options::default() }).await;
    site.source.client().create("docs", json!({"shard_number": 2})).await;
    site.source.client().fill("docs", 0, 20).await;
    site
}

/// The minor versions of docs/versions.md: `1.18`, and what its row says of recordings.
fn documented() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/versions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("\n\n").find(|part| part.starts_with("| Qdrant |")).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| 1."));
    rows.map(|row| row.split_once(" |").unwrap()).map(|(minor, row)| (format!("1.{minor}"), row.to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn every_supported_version_is_worked_with_without_a_word() {
    let documented = documented();
    assert!(documented.len() >= 5, "{documented:?}");
    for (minor, _) in &documented {
        let site = site(&format!("{minor}.3")).await;
        let before = site.source.client().contents().await;
        for (backup, restore) in [("create_snap_shards", "recover_snap_shards"), ("create_snap", "recover_snap")] {
            let made = site.run(&[backup]).await.expect(0);
            site.source.client().wipe().await;
            let restored = site.run(&[restore]).await.expect(0);
            assert_same(&site.source.client().contents().await, &before);
            for run in [made, restored] {
                assert!(!run.stderr.contains("warning"), "{minor}: {}", run.stderr);
            }
        }
    }
}

/// docs/versions.md, the recordings and the check name the same versions.
#[test]
fn the_table_of_versions_is_what_is_recorded_and_checked() {
    let documented = documented();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let folders = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let recorded: BTreeSet<String> =
        folders.filter_map(|name| name.strip_prefix("qdrant-").map(str::to_owned)).collect();
    for version in &recorded {
        let minor = version.rsplit_once('.').unwrap().0;
        let row = documented.iter().find(|(documented, _)| documented == minor);
        assert!(row.is_some_and(|(_, row)| row.contains(version.as_str())), "{version} has no row");
    }
    for (minor, row) in &documented {
        assert_eq!(unsupported(&format!("{minor}.0")), None);
        let has = recorded.iter().any(|version| version.starts_with(&format!("{minor}.")));
        assert_eq!(row.contains("recordings of"), has, "{minor}: {row}");
    }
    let number = |minor: &str| minor.rsplit_once('.').unwrap().1.parse::<u32>().unwrap();
    let numbers: Vec<u32> = documented.iter().map(|(minor, _)| number(minor)).collect();
    for other in [numbers.iter().min().unwrap() - 1, numbers.iter().max().unwrap() + 1] {
        assert!(unsupported(&format!("1.{other}.0")).is_some(), "1.{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_version_is_told_at_once() {
    for (version, said) in [("1.15.5", "older than 1.16"), ("1.21.0", "newer than 1.20"), ("master", "can't be read")] {
        let site = site(version).await;
        for task in ["create_snap_shards", "drill"] {
            let run = site.run(&[task]).await.says(&[said]);
            let line = run.stderr.lines().find(|line| line.contains(said)).unwrap();
            assert!(line.contains("warning"), "{line}");
        }
    }
}

/// Of a version that is not known here: carried as it is, compared, and told where the target does not take it.
#[tokio::test(start_paused = true)]
async fn a_part_of_a_configuration_that_nobody_knows_is_carried() {
    let later = || Options {
        peers: 1,
        version: "1.20.0".to_owned(),
        later: vec!["id_tracker".to_owned()],
        ..Options::default()
    };
    let site = Site::native(later()).await;
    let client = site.source.client();
    let body = json!({"shard_number": 1, "id_tracker": {"on_disk": true, "deep": {"x": [1, 2]}}});
    client.create("docs", body).await;
    client.fill("docs", 0, 20).await;
    let tracker = async || client.ok(Method::GET, "/collections/docs", None).await["config"]["id_tracker"].clone();
    let before = tracker().await;
    assert!(before.is_object());
    for (backup, restore) in [("create_snap_shards", "recover_snap_shards"), ("create_snap", "recover_snap")] {
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        site.run(&[restore]).await.expect(0).says(&["verified"]);
        assert_eq!(tracker().await, before);
    }
    // One that ignores it is no success.
    let target = site.more(Options { later: Vec::new(), ..later() }).await;
    let host = target.hosts().remove(0);
    let work = tempfile::tempdir().unwrap();
    let run = site.run_in(work.path(), &["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", host.as_str())]).await;
    crate::failed(run).says(&["`id_tracker` is null and was"]);
}

/// Whoever says so restores it anyway, and is told.
#[tokio::test(start_paused = true)]
async fn a_version_that_may_not_read_it_is_refused_unless_asked() {
    let site = site("1.19.0").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let target = site.more(Options { peers: 2, version: "1.18.3".to_owned(), ..Options::default() }).await;
    let host = target.hosts().remove(0);
    for skip in ["false", "true"] {
        let work = tempfile::tempdir().unwrap();
        let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), ("QDRANT_SKIP_VERSION_CHECK", skip)];
        let run = site.run_in(work.path(), &["recover_snap_shards"], &settings).await;
        let run = run.says(&["is older than 1.19.0, which made the snapshots"]);
        if skip == "true" {
            run.expect(0).says(&["restoring anyway"]);
            assert_eq!(target.client().count(0, "docs").await, 20);
        } else {
            crate::failed(run).says(&["QDRANT_SKIP_VERSION_CHECK"]);
            assert!(target.client().collections().await.is_empty());
        }
    }
}

/// One of another version may have it from the start, and the backup could not say; of the same version the target's service
/// has filled it in.
#[tokio::test(start_paused = true)]
async fn what_only_another_version_knows_is_no_difference() {
    let site = site("1.18.3").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    for (version, differs) in [("1.18.9", true), ("1.19.0", false)] {
        let service = json!({"id_tracker": {"on_disk": true}});
        let later = vec!["id_tracker".to_owned()];
        let options = Options { peers: 2, version: version.to_owned(), service, later, ..Options::default() };
        let target = site.more(options).await;
        let host = target.hosts().remove(0);
        let work = tempfile::tempdir().unwrap();
        let run = site.run_in(work.path(), &["recover_snap_shards"], &[("QDRANT_RESTORE_HOSTS", host.as_str())]).await;
        if differs {
            crate::failed(run).says(&["`id_tracker` is {\"on_disk\":true} and was null"]);
        } else {
            run.expect(0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_without_marks_is_asked_to_take_none_away() {
    for (version, marked) in [("1.15.5", false), ("1.16.3", true)] {
        let site = site(version).await;
        site.run(&["create_snap_shards"]).await.expect(0);
        site.source.client().wipe().await;
        site.s3.faults().clear();
        site.run(&["recover_snap_shards"]).await.expect(0);
        let requests = site.s3.faults().requests();
        assert_eq!(requests.iter().any(|one| one.method == Method::PATCH), marked, "{version}");
    }
}
