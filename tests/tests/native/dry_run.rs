//! A dry run changes nothing, whatever it is a dry run of.

use std::collections::BTreeMap;

use http::Method;
use qdrant_backup_contract::tasks::Task;
use qdrant_backup_tests::clock;
use qdrant_backup_tests::faults::Who;
use qdrant_backup_tests::site::Site;
use serde_json::json;

use crate::{filled, manifests};

const DRY: (&str, &str) = ("QDRANT_DRY_RUN", "true");

/// Every file of the work directory with its content.
fn files(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(site.work.path()).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

/// The requests of the program since the first `before` that may have changed something.
fn changes(site: &Site, before: usize) -> Vec<String> {
    let requests = site.s3.faults().requests().into_iter().skip(before).filter(|one| one.who() == Who::Program);
    let reads = |method: &Method, path: &str| {
        *method == Method::GET
            || *method == Method::HEAD
            || ["/points/count", "/points/scroll", "/points/query"].iter().any(|end| path.ends_with(end))
    };
    requests
        .filter(|one| !reads(&one.method, one.uri.path()))
        .map(|one| format!("{} {}", one.method, one.uri))
        .collect()
}

/// A place where every task has something to change: two sets and two generations, the older ones to be pruned, a
/// orphaned snapshot, aliases, and lists of what is to be restored.
async fn site() -> Site {
    let site = filled(1).await;
    let client = site.source.client();
    client.alias("docs-alias", "docs").await;
    for _ in 0..2 {
        site.run(&["create_snap"]).await.expect(0);
        site.run(&["create_snap_shards"]).await.expect(0);
        tokio::time::sleep(std::time::Duration::from_secs(7 * 86_400)).await;
    }
    site.run(&["get_snap"]).await.expect(0);
    let orphan = manifests(&site)[0].shards[0].s3_key.replace("shards/0/", "shards/0/orphan-");
    site.s3.put(&orphan, b"x".to_vec());
    site.s3.age(&orphan, std::time::Duration::from_secs(30 * 86_400));
    clock::another_second().await;
    site
}

/// The ports see to it and not the tasks, so that one which forgets what it is in does no harm.
#[tokio::test(start_paused = true)]
async fn a_dry_run_of_every_task_changes_nothing() {
    let site = site().await;
    let set = manifests(&site)[0].backup_set_id.clone();
    let settings = [
        DRY,
        ("QDRANT_BACKUP_RETENTION_SETS", "1"),
        ("QDRANT_LEGACY_KEEP_RUNS", "1"),
        ("QDRANT_SWEEP_DELETE_CAP_PCT", "100"),
        ("QDRANT_RESTORE_FORCE", "true"),
        ("QDRANT_REPORT_FILE", "report.json"),
        ("QDRANT_REPORT_ON_S3", "true"),
        ("QDRANT_METRICS_FILE", "metrics.prom"),
    ];
    let mut refused = Vec::new();
    for task in Task::all() {
        let name = task.row().name;
        let more: &[&str] = match task {
            Task::Pin { .. } => &[&set],
            Task::Prune { .. } => &["--legacy"],
            _ => &[],
        };
        let lists = files(&site);
        if name.starts_with("get_") {
            // They write their list only where there is none.
            site.forget_lists();
        }
        let (objects, state, before) = (site.s3.objects(), files(&site), site.s3.faults().requests().len());
        let collections = site.source.client().collections().await;
        let run = site.run_with(&[&[name], more].concat(), &settings).await;
        assert_eq!(changes(&site, before), Vec::<String>::new(), "{name}");
        assert!(site.s3.objects() == objects && files(&site) == state, "{name}:\n{}", run.stderr);
        assert_eq!(site.source.client().collections().await, collections, "{name}");
        for (file, content) in lists {
            std::fs::write(site.work.path().join(file), content).unwrap();
        }
        if run.stderr.contains("a dry run changes nothing") {
            assert_ne!(run.code, 0, "{name}");
            refused.push(name);
        } else {
            // Source and target are one here, which can't be compared.
            let refusal = u8::from(matches!(task, Task::Compare));
            assert_eq!(run.code, refusal, "{name}:\n{}", run.stderr);
        }
    }
    // These have no dry run. All others know what they are in, and say what they would do.
    refused.sort_unstable();
    assert_eq!(refused, ["get_coll", "get_snap", "get_snap_s3", "pin_set", "reset"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_done() {
    let site = site().await;
    let plan = |arguments: &'static [&'static str], more: &'static [(&'static str, &'static str)]| {
        let site = &site;
        async move { site.run_with(arguments, &[&[DRY], more].concat()).await.expect(0).stdout }
    };
    let lines = |plan: &str, kind: &str| plan.lines().filter(|line| line.starts_with(&format!("{kind}\t"))).count();
    let backup = plan(&["create_snap"], &[]).await;
    assert_eq!((lines(&backup, "snapshot"), lines(&backup, "aliases")), (2, 1), "{backup}");
    let renamed = [
        ("QDRANT_RESTORE_RENAME", "docs=docs-2"),
        ("QDRANT_RESTORE_DROP_OLD", "true"),
        ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
    ];
    let restore = site.run_with(&["recover_snap_shards"], &[&[DRY], &renamed[..]].concat()).await.expect(0).stdout;
    assert_eq!((lines(&restore, "restore"), lines(&restore, "alias"), lines(&restore, "drop")), (1, 1, 1), "{restore}");
    // What a killed drill has left.
    let mark = json!({"qdrant_backup_restore": {"restore": "r", "backup": "b", "drill": true}});
    site.source.client().create("qdrant-backup-drill-old", json!({"metadata": mark})).await;
    let drill = plan(&["drill"], &[]).await;
    assert_eq!((lines(&drill, "restore"), lines(&drill, "drop")), (1, 1), "{drill}");
    assert!(site.source.client().collections().await.contains("qdrant-backup-drill-old"));
}

/// Where Qdrant chooses the peers of a shard, each snapshot is named once; else with every peer that gets it.
#[tokio::test(start_paused = true)]
async fn a_plan_names_the_peers_where_they_are_known() {
    let site = filled(2).await;
    site.run(&["create_snap_shards"]).await.expect(0);
    site.source.client().wipe().await;
    for (placement, peer, lines) in [("auto", "each of its peers", 2), ("as-backed-up", "peer ", 4)] {
        let settings = [DRY, ("QDRANT_RESTORE_PLACEMENT", placement)];
        let plan = site.run_with(&["recover_snap_shards"], &settings).await.expect(0).stdout;
        let recoveries: Vec<&str> = plan.lines().filter(|line| line.starts_with("recover\t")).collect();
        assert_eq!(recoveries.len(), lines, "{placement}: {plan}");
        assert!(recoveries.iter().all(|line| line.starts_with(&format!("recover\tdocs\t{peer}"))), "{plan}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_to_replace_says_whether_beside_or_not() {
    let site = site().await;
    for (beside, says) in [("false", "deleted, created and restored"), ("true", "restored beside and verified, then")] {
        let settings = [DRY, ("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_BESIDE", beside)];
        let run = site.run_with(&["recover_snap_shards"], &settings).await.expect(0);
        assert!(run.stdout.contains(&format!("\t{says}")), "{}", run.stdout);
    }
}
