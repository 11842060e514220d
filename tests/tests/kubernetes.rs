//! The manifests in `k8s/`: valid by Kubernetes' own schemas, locked down, and with settings that the program takes.
//!
//! Needs `QDRANT_BACKUP_PYTHON`, as `foreign_runtime.rs` does, and kubectl for what kustomize makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use qdrant_backup_contract::command_line::{Invocation, parse};
use qdrant_backup_contract::settings::{VARIABLES, from_variables};
use qdrant_backup_contract::tasks::Task;
use qdrant_backup_core::metrics;
use qdrant_backup_core::report::{Item, Report};
use qdrant_backup_tests::manifests::{self, Manifest, Overlay};
use qdrant_backup_tests::tools;
use serde_json::{Value, json};

/// Every manifest by its file's name, validated; none where there is no Python to do it.
fn manifests() -> BTreeMap<String, Value> {
    let all = manifests::all(&manifests::folder()).unwrap_or_default();
    all.into_iter().map(|manifest| (manifest.file, manifest.content)).collect()
}

/// Jobs with their pods' specs.
fn pods(manifests: &BTreeMap<String, Value>) -> Vec<(&str, &Value, &Value)> {
    let jobs = manifests.iter().filter(|(_, manifest)| matches!(manifest["kind"].as_str(), Some("Job" | "CronJob")));
    jobs.map(|(file, manifest)| {
        let job = if manifest["kind"] == "CronJob" { &manifest["spec"]["jobTemplate"] } else { manifest };
        (file.as_str(), &job["spec"], manifests::pod(manifest))
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
        let label = if file.contains("restore") { "qdrant-restore" } else { "qdrant-backup" };
        assert_eq!(job["template"]["metadata"]["labels"]["app"], label, "{file}");
    }
}

#[test]
fn every_setting_is_known_and_accepted_by_the_task() {
    let manifests = manifests();
    let mut checked = 0;
    for (file, job, pod) in pods(&manifests) {
        let container = &pod["containers"][0];
        let arguments: Vec<String> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| argument.as_str().unwrap().to_owned())
            .collect();
        let Ok(Invocation::Run { task, .. }) = parse(&arguments) else { panic!("{file}: {arguments:?}") };
        let expected = match file {
            "sets-backup-cronjob.yaml" => Task::CreateSets,
            "sets-prune-cronjob.yaml" => Task::Prune { legacy: false },
            "sets-verify-cronjob.yaml" => Task::Verify,
            "sets-drill-cronjob.yaml" => Task::Drill,
            "sets-restore-job.yaml" => Task::RecoverSets,
            file if file.starts_with("restore") => Task::RecoverSnapshots,
            _ => Task::CreateSnapshots,
        };
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
        if job["completionMode"] == "Indexed" {
            let count = job["completions"].as_u64().unwrap().to_string();
            assert!(variables.contains(&("QDRANT_BACKUP_SHARES".to_owned(), count)), "{file}: {variables:?}");
            variables.push(("JOB_COMPLETION_INDEX".to_owned(), "0".to_owned()));
        }
        let (_, notes) =
            from_variables(&variables, task.row().needs).unwrap_or_else(|problems| panic!("{file}: {problems:?}"));
        assert!(notes.is_empty(), "{file}: {notes:?}");
        checked += 1;
    }
    assert!(manifests.is_empty() || checked == 10);
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
    let lines = qdrant_backup_core::state_files::parse_snapshots("snapshots", text.as_bytes()).unwrap();
    assert_eq!(lines.len(), 2);
}

/// A rule over a metric that nobody writes never fires.
#[test]
fn every_alert_is_about_a_metric_that_is_written() {
    let manifests = manifests();
    let Some(alerts) = manifests.get("configmap-alerts.yaml") else { return };
    let report = Report { items: vec![Item::done("snapshot").collection("docs")] };
    let written = metrics::write(
        &metrics::Labels { task: "create_snap", source: None },
        &report,
        std::time::SystemTime::now().into(),
        Duration::ZERO,
        "",
    );
    let rules = alerts["data"]["qdrant-backup.rules.yaml"].as_str().unwrap();
    let mut expressions = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let names: Vec<&str> = expression
            .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .filter(|word| word.starts_with("qdrant_backup_"))
            .collect();
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(written.lines().any(|line| line.starts_with(&format!("{name}{{"))), "{name}");
        }
        expressions += 1;
    }
    assert_eq!(expressions, rules.matches("alert: ").count());
}

/// A schedule that never comes, or a pod that differs from the one that is tested, would be found too late.
#[test]
fn the_scheduled_backup_is_the_tested_one_and_fires_every_week() {
    let manifests = manifests();
    if manifests.is_empty() {
        return;
    }
    let (cron, job) = (&manifests["backup-cronjob.yaml"], &manifests["backup-job.yaml"]);
    assert_eq!(cron["spec"]["jobTemplate"]["spec"], job["spec"]);
    assert_eq!(cron["spec"]["schedule"], "0 0 * * 0");
    assert_eq!(cron["spec"]["concurrencyPolicy"], "Forbid");
}

/// Builds a folder and checks that each result is one of the validated files, and all of `expected` are there.
fn same_as_files(overlay: &Overlay, folder: &str, expected: &[&str]) {
    let Some(built) = overlay.build(folder) else { return };
    let files = manifests();
    let mut found: Vec<&str> = Vec::new();
    for Manifest { content, .. } in &built {
        let file = files.iter().find(|(_, file)| *file == content);
        found.push(file.unwrap_or_else(|| panic!("{folder}: nobody wrote {content:#}")).0);
    }
    found.sort_unstable();
    assert_eq!(found, expected, "{folder}");
}

#[test]
fn kustomize_gives_the_validated_manifests() {
    same_as_files(&Overlay::new(), "backup", &["backup-cronjob.yaml", "network-policy.yaml"]);
    same_as_files(&Overlay::new(), "restore", &["network-policy.yaml", "restore-job.yaml"]);
    let all = Overlay::new()
        .edit("backup/kustomization.yaml", "# - backup-", "- backup-")
        .edit("restore/kustomization.yaml", "# - restore-specific", "- restore-specific")
        .edit("restore/kustomization.yaml", "# - configmap-snapshots", "- configmap-snapshots");
    let jobs = ["backup-cronjob.yaml", "backup-indexed-job.yaml", "backup-job.yaml", "network-policy.yaml"];
    same_as_files(&all, "backup", &jobs);
    let jobs = ["configmap-snapshots.yaml", "network-policy.yaml", "restore-job.yaml", "restore-specific-job.yaml"];
    same_as_files(&all, "restore", &jobs);
    let usual =
        ["network-policy.yaml", "sets-backup-cronjob.yaml", "sets-prune-cronjob.yaml", "sets-verify-cronjob.yaml"];
    same_as_files(&Overlay::new(), "sets", &usual);
    let all = Overlay::new()
        .edit("sets/kustomization.yaml", "# - sets-drill", "- sets-drill")
        .edit("sets/kustomization.yaml", "# - sets-restore", "- sets-restore")
        .edit("sets/kustomization.yaml", "# - configmap-alerts", "- configmap-alerts");
    let mut more =
        [&usual[..], &["configmap-alerts.yaml", "sets-drill-cronjob.yaml", "sets-restore-job.yaml"]].concat();
    more.sort_unstable();
    same_as_files(&all, "sets", &more);
}

#[test]
fn namespace_and_image_are_set_in_one_place() {
    let overlay = Overlay::new()
        .edit("common/kustomization.yaml", "namespace: pharia-ai", "namespace: search")
        .edit("common/kustomization.yaml", "newName: qdrant-backup", "newName: registry.example/tools/qdrant-backup")
        .edit("backup/kustomization.yaml", "# - ../component/configmap", "- ../component/configmap");
    // Where a component is mounted, the image is the one that can compile it.
    for (folder, name) in [("backup", "qdrant-backup-compiler"), ("restore", "qdrant-backup")] {
        for Manifest { content, .. } in overlay.build(folder).unwrap_or_default() {
            assert_eq!(content["metadata"]["namespace"], "search", "{content:#}");
            if content["kind"] == "Job" || content["kind"] == "CronJob" {
                let image = &manifests::pod(&content)["containers"][0]["image"];
                assert_eq!(*image, format!("registry.example/tools/{name}:0.1.0"));
            }
        }
    }
}

/// Jobs of an overlay in which `parts` of `component/` are turned on, with their pods' specs.
fn jobs_with(parts: &[&str]) -> Vec<Value> {
    let mut overlay = Overlay::new().edit("backup/kustomization.yaml", "# - backup-", "- backup-");
    let folders = ["backup", "restore", "sets"];
    for file in folders.map(|folder| format!("{folder}/kustomization.yaml")) {
        for part in parts {
            let turn_on = format!("# - ../component/{part}\n");
            overlay = overlay.edit(&file, &turn_on, &turn_on[2..]);
        }
    }
    let built = folders.into_iter().flat_map(|folder| overlay.build(folder).unwrap_or_default());
    built
        .map(|manifest| manifest.content)
        .filter(|content| content["kind"] == "Job" || content["kind"] == "CronJob")
        .collect()
}

fn volume<'a>(pod: &'a Value, name: &str) -> &'a Value {
    pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == name).unwrap()
}

/// Every way to deliver the component fits every Job: what is mounted, where, and what is run of it.
#[test]
fn the_component_can_be_mounted_into_every_pod() {
    const COMPRESSED: &str = "/component/qdrant-backup.wasm.gz";
    const PLAIN: &str = "/component/qdrant-backup.wasm";
    for (parts, source, program, file) in [
        (&["configmap"][..], "configMap", None, COMPRESSED),
        (&["configmap", "unpack"], "emptyDir", None, PLAIN),
        (&["configmap", "unpack", "wasmtime"], "emptyDir", Some("/wasmtime"), PLAIN),
        (&["image-volume"], "image", None, PLAIN),
        (&["image-volume", "wasmtime"], "image", Some("/wasmtime"), PLAIN),
    ] {
        for content in jobs_with(parts) {
            let pod = manifests::pod(&content);
            let container = &pod["containers"][0];
            let mut arguments = container["args"].as_array().unwrap().iter();
            if program.is_none() {
                assert_eq!(arguments.next().unwrap(), "--component", "{content:#}");
            }
            assert_eq!(arguments.next().unwrap(), file, "{content:#}");
            assert_eq!(container["command"][0].as_str(), program);
            let component = volume(pod, "component").as_object().unwrap();
            assert!(component.len() == 2 && component.contains_key(source), "{component:?}");
            let mount = container["volumeMounts"].as_array().unwrap().last().unwrap();
            assert_eq!(mount, &json!({"name": "component", "mountPath": "/component", "readOnly": true}));
            assert_eq!(pod.get("initContainers").is_some(), parts.contains(&"unpack"), "{content:#}");
        }
    }
}

/// It reads the ConfigMap's key, writes what the container runs, and is locked down as that is.
#[test]
fn the_init_container_unpacks_what_the_container_runs() {
    for content in jobs_with(&["configmap", "unpack"]) {
        let pod = manifests::pod(&content);
        let (init, container) = (&pod["initContainers"][0], &pod["containers"][0]);
        let command = json!(["sh", "-c", "gunzip -c /packed/qdrant-backup.wasm.gz > /component/qdrant-backup.wasm"]);
        assert_eq!(init["command"], command);
        assert_eq!(init["securityContext"], container["securityContext"]);
        for path in ["/resources/requests/memory", "/resources/limits/memory", "/resources/requests/cpu"] {
            assert!(init.pointer(path).is_some(), "{path}");
        }
        let mounts = json!([
            {"name": "packed", "mountPath": "/packed", "readOnly": true},
            {"name": "component", "mountPath": "/component"},
        ]);
        assert_eq!(init["volumeMounts"], mounts);
        assert_eq!(volume(pod, "packed")["configMap"]["name"], "qdrant-backup-component");
        assert!(volume(pod, "component")["emptyDir"]["sizeLimit"].is_string());
    }
}

/// Stock wasmtime would be handed a compressed component.
#[test]
fn wasmtime_without_the_init_container_is_no_overlay() {
    if let Some(why) = tools::missing(&["kubectl"]) {
        return tools::skipped(&why);
    }
    let overlay = Overlay::new()
        .edit("backup/kustomization.yaml", "# - ../component/configmap", "- ../component/configmap")
        .edit("backup/kustomization.yaml", "# - ../component/wasmtime", "- ../component/wasmtime");
    let built = Command::new("kubectl").arg("kustomize").arg(overlay.path("backup")).output().unwrap();
    let why = String::from_utf8_lossy(&built.stderr);
    assert!(!built.status.success() && why.contains("args/1 failed: test failed"), "{why}");
}

/// The committed template and the updater fit: what the updater makes of it is a valid ConfigMap with the component.
#[test]
fn the_updater_fills_the_template() {
    let overlay = Overlay::new();
    let file = overlay.path("component/configmap/configmap-component.yaml");
    let component = overlay.path("component.wasm");
    std::fs::write(&component, qdrant_backup::COMPONENT).unwrap();
    let template = std::fs::read_to_string(&file).unwrap();
    for (arguments, key) in [
        (vec![file.display().to_string()], "qdrant-backup.wasm.gz"),
        (vec![file.display().to_string(), component.display().to_string()], "component.wasm.gz"),
        (vec![file.display().to_string(), component.display().to_string(), "own.wasm".to_owned()], "own.wasm"),
    ] {
        std::fs::write(&file, &template).unwrap();
        let (io, captured) = qdrant_backup::Io::capture();
        let arguments: Vec<String> = std::iter::once("configmap".to_owned()).chain(arguments).collect();
        let code = qdrant_backup::command_line(&arguments, &qdrant_backup::Environment::default(), &io);
        assert_eq!((code, captured.stderr().as_str()), (0, ""));
        assert!(captured.stdout().contains("kubectl apply --server-side"), "{}", captured.stdout());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# The component, for pods that mount it."), "comments stay");
        let Some(all) = manifests::all(&overlay.path("component/configmap")) else { return };
        let filled = all[0].content["binaryData"][key].as_str().unwrap();
        let mut unpacked = Vec::new();
        GzDecoder::new(STANDARD.decode(filled).unwrap().as_slice()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == qdrant_backup::COMPONENT, "{key}: {} bytes", unpacked.len());
    }
}
