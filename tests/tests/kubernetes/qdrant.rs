//! What Qdrant's own chart makes of our values.

use std::path::{Path, PathBuf};
use std::process::Output;

use qdrant_backup_tests::manifests::{self, Manifest};
use qdrant_backup_tests::tools::Kubernetes;
use serde_json::Value;
use tempfile::TempDir;

/// Values as somebody has them who uses the chart already.
const OWN: &str = "env:\n  - name: QDRANT__LOG_LEVEL\n    value: DEBUG\nconfig:\n  service:\n    enable_tls: true\n  storage:\n    on_disk_payload: true\n";

fn in_k8s(file: &str) -> PathBuf {
    manifests::folder().join(file)
}

fn template(helm: &Kubernetes, values: &[&Path]) -> Output {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/qdrant-chart");
    let files = values.iter().flat_map(|file| [Path::new("-f"), file]);
    helm.helm().args(["template", "qdrant"]).arg(chart).args(files).output().unwrap()
}

fn variables(manifests: &[Manifest]) -> Vec<&str> {
    let set = manifests.iter().find(|manifest| manifest.content["kind"] == "StatefulSet").unwrap();
    let env = set.content.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
    env.iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

/// The snippet below `env:` of one's own values, as the README says, and the rest as a file before or after them.
#[test]
fn the_values_leave_what_a_person_has_of_their_own() {
    let folder = TempDir::new().unwrap();
    let own = folder.path().join("your-values.yaml");
    let snippet = std::fs::read_to_string(in_k8s("qdrant-env.yaml")).unwrap();
    let pasted: String = snippet.lines().map(|line| format!("  {line}\n")).collect();
    std::fs::write(&own, OWN.replacen("env:\n", &format!("env:\n{pasted}"), 1)).unwrap();
    let ours = in_k8s("qdrant-values.yaml");
    for helm in Kubernetes::versions() {
        for order in [[own.as_path(), &ours], [&ours, &own]] {
            let run = template(&helm, &order);
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let Some(built) = manifests::of_text(&String::from_utf8_lossy(&run.stdout)) else { return };
            let names = variables(&built);
            assert!(names.contains(&"QDRANT__LOG_LEVEL"), "{names:?}");
            for name in ["ACCESS_KEY", "SECRET_KEY", "BUCKET"] {
                let name = format!("QDRANT__STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__{name}");
                assert!(names.contains(&name.as_str()), "{names:?}");
            }
            let config = built.iter().find(|manifest| manifest.content["kind"] == "ConfigMap").unwrap();
            let config = config.content["data"]["production.yaml"].as_str().unwrap();
            for line in
                ["enable_tls: true", "on_disk_payload: true", "snapshots_storage: s3", "endpoint_url: http://minio"]
            {
                assert!(config.contains(line), "{config}");
            }
        }
    }
}

/// As a file of values it would take the place of somebody's `env`; it is none.
#[test]
fn the_snippet_is_no_file_of_values() {
    for helm in Kubernetes::versions() {
        let run = template(&helm, &[&in_k8s("qdrant-env.yaml")]);
        let why = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && why.contains("qdrant-env.yaml"), "{why}");
    }
}

/// Qdrant and the backup read the same Secret and speak to the same service.
#[test]
fn qdrant_and_the_backup_have_the_same_bucket() {
    let Some(all) = manifests::all(&manifests::folder()) else { return };
    let named = |file: &str| &all.iter().find(|manifest| manifest.file == file).unwrap().content;
    let secret = named("config-secret.yaml");
    let snippet = std::fs::read_to_string(in_k8s("qdrant-env.yaml")).unwrap();
    let after = |label: &str| -> Vec<String> {
        let lines = snippet.lines().filter_map(|line| line.trim().strip_prefix(label));
        lines.map(str::to_owned).collect()
    };
    let keys = after("key: ");
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| secret["stringData"].get(key).is_some()), "{keys:?}");
    let name = secret["metadata"]["name"].as_str().unwrap();
    assert_eq!(after("name: ").iter().filter(|it| *it == name).count(), 3, "{snippet}");
    let endpoint: &Value = &named("settings.yaml")["data"]["QDRANT_S3_ENDPOINT_URL"];
    let values = std::fs::read_to_string(in_k8s("qdrant-values.yaml")).unwrap();
    assert!(values.contains(&format!("endpoint_url: {}", endpoint.as_str().unwrap())), "{values}");
}
