//! The files of the guide, each by itself.

use std::collections::BTreeSet;

use qdrant_backup_contract::tasks::Task;
use qdrant_backup_tests::manifests::{self, Manifest};
use serde_json::{Value, json};

use crate::checks::{self, Objects};

/// Every manifest, validated; none where there is no Python to do it.
pub fn manifests() -> Vec<Manifest> {
    manifests::all(&manifests::folder()).unwrap_or_default()
}

fn named<'a>(manifests: &'a [Manifest], file: &str) -> &'a Value {
    &manifests.iter().find(|manifest| manifest.file == file).unwrap_or_else(|| panic!("no {file}")).content
}

#[test]
fn all_of_the_guides_manifests_are_there_and_valid() {
    let manifests = manifests();
    if manifests.is_empty() {
        return;
    }
    for (file, kind, name) in [
        ("config-secret.yaml", "Secret", "qdrant-credentials"),
        ("settings.yaml", "ConfigMap", "qdrant-backup-settings"),
        ("configmap-snapshots.yaml", "ConfigMap", "qdrant-snapshots-file"),
        ("backup-job.yaml", "Job", "qdrant-backup"),
        ("backup-cronjob.yaml", "CronJob", "qdrant-backup"),
        ("backup-indexed-job.yaml", "Job", "qdrant-backup-indexed"),
        ("configmap-component.yaml", "ConfigMap", "qdrant-backup-component"),
        ("restore-job.yaml", "Job", "qdrant-restore"),
        ("restore-specific-job.yaml", "Job", "qdrant-restore-specific"),
        ("network-policy.yaml", "NetworkPolicy", "qdrant-backup"),
        ("sets-backup-cronjob.yaml", "CronJob", "qdrant-backup-sets"),
        ("sets-prune-cronjob.yaml", "CronJob", "qdrant-backup-prune"),
        ("sets-verify-cronjob.yaml", "CronJob", "qdrant-backup-verify"),
        ("sets-drill-cronjob.yaml", "CronJob", "qdrant-backup-drill"),
        ("sets-restore-job.yaml", "Job", "qdrant-restore-sets"),
        ("configmap-alerts.yaml", "ConfigMap", "qdrant-backup-alerts"),
    ] {
        let manifest = named(&manifests, file);
        assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&json!(kind), &json!(name)), "{file}");
    }
    for Manifest { file, content } in &manifests {
        // `-n` is refused where the object names another one.
        assert!(content["metadata"].get("namespace").is_none(), "{file}");
    }
    let keys: Vec<_> = named(&manifests, "config-secret.yaml")["stringData"].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
}

#[test]
fn every_pod_is_as_it_should_be() {
    let manifests = manifests();
    let objects = Objects(&manifests);
    let mut checked = 0;
    for Manifest { file, content } in manifests.iter().filter(|manifest| manifests::is_job(&manifest.content)) {
        checks::is_as_it_should_be(content, &objects);
        let expected = match file.as_str() {
            "sets-backup-cronjob.yaml" => Task::CreateSets,
            "sets-prune-cronjob.yaml" => Task::Prune { legacy: false },
            "sets-verify-cronjob.yaml" => Task::Verify,
            "sets-drill-cronjob.yaml" => Task::Drill,
            "sets-restore-job.yaml" => Task::RecoverSets,
            file if file.starts_with("restore") => Task::RecoverSnapshots,
            _ => Task::CreateSnapshots,
        };
        assert_eq!(checks::task(content), expected, "{file}");
        checked += 1;
    }
    assert!(manifests.is_empty() || checked == 10);
}

/// What is not its own is the same in all of them, so that what is seen of one holds for each.
#[test]
fn the_pods_differ_in_what_is_their_own_alone() {
    let manifests = manifests();
    let of_all = |manifest: &Manifest| {
        let mut pod = manifests::pod(&manifest.content).clone();
        let container = pod["containers"][0].as_object_mut().unwrap();
        ["name", "args", "env"].into_iter().for_each(|own| drop(container.remove(own)));
        if manifest.file == "restore-specific-job.yaml" {
            pod["volumes"].as_array_mut().unwrap().truncate(1);
            pod["containers"][0]["volumeMounts"].as_array_mut().unwrap().truncate(1);
        }
        pod.to_string()
    };
    let jobs = manifests.iter().filter(|manifest| manifests::is_job(&manifest.content));
    let different: BTreeSet<String> = jobs.map(of_all).collect();
    assert!(manifests.is_empty() || different.len() == 1, "{different:#?}");
}

/// Logs are asked for by label: two kinds of backup have two.
#[test]
fn every_task_has_a_label_of_its_own() {
    let manifests = manifests();
    let jobs = manifests.iter().map(|it| &it.content).filter(|manifest| manifests::is_job(manifest));
    let mut labels: Vec<(String, String)> = jobs
        .map(|manifest| {
            let label = manifest["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap();
            (label.to_owned(), format!("{:?}", checks::task(manifest)))
        })
        .collect();
    labels.sort();
    labels.dedup();
    let names: BTreeSet<&String> = labels.iter().map(|(label, _)| label).collect();
    assert_eq!(names.len(), labels.len(), "{labels:?}");
}

/// A reconciler that makes a restore again and again would overwrite what was written since.
#[test]
fn reconcilers_leave_restores_alone() {
    for Manifest { content, .. } in manifests().iter().filter(|it| manifests::is_job(&it.content)) {
        let annotations = &content["metadata"]["annotations"];
        let skipped = annotations["argocd.argoproj.io/hook"] == "Skip"
            && annotations["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled";
        assert_eq!(skipped, checks::is_restore(content), "{content:#}");
    }
}

#[test]
fn the_snapshots_file_is_mounted_where_the_program_looks() {
    let manifests = manifests();
    if manifests.is_empty() {
        return;
    }
    let pod = manifests::pod(named(&manifests, "restore-specific-job.yaml"));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["subPath"] == "snapshots").unwrap();
    assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&json!("/scripts/snapshots"), &json!(true)));
    let text = named(&manifests, "configmap-snapshots.yaml")["data"]["snapshots"].as_str().unwrap();
    let lines = qdrant_backup_core::state_files::parse_snapshots("snapshots", text.as_bytes()).unwrap();
    assert_eq!(lines.len(), 2);
}

/// A schedule that never comes, or a pod that differs from the one that is tested, would be found too late.
#[test]
fn the_scheduled_backup_is_the_tested_one_and_fires_every_week() {
    let manifests = manifests();
    if manifests.is_empty() {
        return;
    }
    let (cron, job) = (named(&manifests, "backup-cronjob.yaml"), named(&manifests, "backup-job.yaml"));
    assert_eq!(cron["spec"]["jobTemplate"]["spec"], job["spec"]);
    assert_eq!(cron["spec"]["schedule"], "0 0 * * 0");
}

/// A label's value has at most 63 characters, and a CronJob's name 11 less than a Job's, which gets a number behind it.
#[test]
fn names_leave_room_for_what_kubernetes_adds() {
    for Manifest { file, content } in manifests() {
        let name = content["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 52, "{file}: {name}");
    }
}
