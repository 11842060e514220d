//! The manifests in `k8s/`: valid by Kubernetes' own schemas, locked down, and with settings that the program takes.
//!
//! Needs `QDRANT_BACKUP_PYTHON`, as `foreign_runtime.rs` does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use qdrant_backup_core::settings::{Needs, VARIABLES, from_variables};
use qdrant_backup_core::task::{Invocation, Task, parse};
use serde_json::{Value, json};

/// The oldest and the newest version of Kubernetes in support.
const VERSIONS: &str = "1.35,1.37";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s")
}

/// Every manifest by its file's name, validated; none where there is no Python to do it.
fn manifests() -> BTreeMap<String, Value> {
    let Some(python) = std::env::var_os("QDRANT_BACKUP_PYTHON") else {
        assert!(std::env::var_os("QDRANT_BACKUP_REQUIRE_FOREIGN").is_none(), "QDRANT_BACKUP_PYTHON is not set");
        eprintln!("skipped: QDRANT_BACKUP_PYTHON is not set");
        return BTreeMap::new();
    };
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    // Helm's values are no manifest.
    let files =
        files.filter(|file| file.extension().is_some_and(|end| end == "yaml") && !file.ends_with("qdrant-values.yaml"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/validate.py");
    let output = Command::new(python).arg(script).arg(VERSIONS).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    all.into_iter().map(|entry| (entry["file"].as_str().unwrap().to_owned(), entry["manifest"].clone())).collect()
}

/// Jobs with their pods' specs.
fn pods(manifests: &BTreeMap<String, Value>) -> Vec<(&str, &Value, &Value)> {
    let job = |manifest: &'_ Value| if manifest["kind"] == "CronJob" { "/spec/jobTemplate/spec" } else { "/spec" };
    let jobs = manifests.iter().filter(|(_, manifest)| matches!(manifest["kind"].as_str(), Some("Job" | "CronJob")));
    jobs.map(|(file, manifest)| {
        let spec = manifest.pointer(job(manifest)).unwrap();
        (file.as_str(), spec, &spec["template"]["spec"])
    })
    .collect()
}

#[test]
fn all_of_the_guides_manifests_are_there_and_valid() {
    let manifests = manifests();
    if manifests.is_empty() {
        return;
    }
    for (file, kind, name) in [
        ("config-secret.yaml", "Secret", "qdrant-credentials"),
        ("configmap-snapshots.yaml", "ConfigMap", "qdrant-snapshots-file"),
        ("backup-job.yaml", "Job", "qdrant-backup"),
        ("backup-cronjob.yaml", "CronJob", "qdrant-backup"),
        ("restore-job.yaml", "Job", "qdrant-restore"),
        ("restore-specific-job.yaml", "Job", "qdrant-restore-specific"),
        ("network-policy.yaml", "NetworkPolicy", "qdrant-backup"),
    ] {
        let manifest = &manifests[file];
        assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&json!(kind), &json!(name)), "{file}");
        assert_eq!(manifest["metadata"]["namespace"], "pharia-ai", "{file}");
    }
    let keys: Vec<_> = manifests["config-secret.yaml"]["stringData"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
}

#[test]
fn every_pod_is_locked_down_and_bounded() {
    let manifests = manifests();
    for (file, job, pod) in pods(&manifests) {
        let container = &pod["containers"][0];
        for (place, path, expected) in [
            (pod, "/automountServiceAccountToken", json!(false)),
            (pod, "/enableServiceLinks", json!(false)),
            (pod, "/securityContext/runAsNonRoot", json!(true)),
            (pod, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
            (container, "/securityContext/allowPrivilegeEscalation", json!(false)),
            (container, "/securityContext/readOnlyRootFilesystem", json!(true)),
            (container, "/securityContext/capabilities/drop", json!(["ALL"])),
            (container, "/workingDir", json!("/scripts")),
        ] {
            assert_eq!(place.pointer(path), Some(&expected), "{file}: {path}");
        }
        for path in ["/resources/requests/memory", "/resources/limits/memory", "/resources/requests/cpu"] {
            assert!(container.pointer(path).is_some(), "{file}: {path}");
        }
        assert!(job["activeDeadlineSeconds"].is_u64() && job["ttlSecondsAfterFinished"].is_u64(), "{file}");
        let label = if file.starts_with("restore") { "qdrant-restore" } else { "qdrant-backup" };
        assert_eq!(job["template"]["metadata"]["labels"]["app"], label, "{file}");
    }
}

#[test]
fn every_setting_is_known_and_accepted_by_the_task() {
    let manifests = manifests();
    let mut checked = 0;
    for (file, _, pod) in pods(&manifests) {
        let container = &pod["containers"][0];
        let arguments: Vec<String> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| argument.as_str().unwrap().to_owned())
            .collect();
        let Ok(Invocation::Run(task)) = parse(&arguments) else { panic!("{file}: {arguments:?}") };
        let expected = if file.starts_with("restore") { Task::RecoverSnapshots } else { Task::CreateSnapshots };
        assert_eq!(task, expected, "{file}");
        let mut variables = Vec::new();
        for entry in container["env"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            assert!(VARIABLES.iter().any(|variable| variable.name == name), "{file}: {name}");
            let from_secret = entry.pointer("/valueFrom/secretKeyRef");
            if let Some(secret) = from_secret {
                assert_eq!(secret["name"], "qdrant-credentials", "{file}: {name}");
                assert!(manifests["config-secret.yaml"]["stringData"].get(secret["key"].as_str().unwrap()).is_some());
            }
            let value = from_secret.map_or_else(|| entry["value"].as_str().unwrap(), |_| "from-the-secret");
            variables.push((name.to_owned(), value.to_owned()));
        }
        let (_, notes) =
            from_variables(&variables, Needs::of(&task)).unwrap_or_else(|problems| panic!("{file}: {problems:?}"));
        assert!(notes.is_empty(), "{file}: {notes:?}");
        checked += 1;
    }
    assert!(manifests.is_empty() || checked == 4);
}

#[test]
fn the_snapshots_file_is_mounted_where_the_program_looks() {
    let manifests = manifests();
    let Some((_, _, pod)) = pods(&manifests).into_iter().find(|(file, ..)| *file == "restore-specific-job.yaml") else {
        return;
    };
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["subPath"] == "snapshots").unwrap();
    assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&json!("/scripts/snapshots"), &json!(true)));
    let text = manifests["configmap-snapshots.yaml"]["data"]["snapshots"].as_str().unwrap();
    let lines = qdrant_backup_core::records::parse_snapshots("snapshots", text.as_bytes()).unwrap();
    assert_eq!(lines.len(), 2);
}
