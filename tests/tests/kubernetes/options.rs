//! What can be turned on in `common/kustomization.yaml` besides the component.

use qdrant_backup_contract::settings::{VARIABLES, unknown_names};
use qdrant_backup_tests::manifests::{self, Overlay};
use serde_json::{Value, json};

use crate::checks;

/// Every option there is, by its folder.
fn options() -> Vec<String> {
    let folder = manifests::folder().join("options");
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn jobs_with(parts: &[&str]) -> Vec<Value> {
    let turn_on = |overlay: Overlay, part: &&str| overlay.turn_on("common/kustomization.yaml", &format!("../{part}"));
    let every_job = Overlay::new().edit("backup/kustomization.yaml", "# - backup-", "- backup-");
    let overlay = parts.iter().fold(every_job, turn_on);
    let built = overlay.build_together(&["backup", "restore", "sets"]).unwrap_or_default();
    built.into_iter().map(|manifest| manifest.content).collect()
}

fn value<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array().unwrap().iter().find(|entry| entry["name"] == name)?["value"].as_str()
}

/// Each by itself and all together, also where a component is mounted.
#[test]
fn options_fit_every_pod_and_one_another() {
    let all: Vec<String> = options().iter().map(|name| format!("options/{name}")).collect();
    assert!(all.len() >= 8, "{all:?}");
    let mut sets: Vec<Vec<&str>> = all.iter().map(|option| vec![option.as_str()]).collect();
    sets.push(all.iter().map(String::as_str).collect());
    let mounted = ["component/configmap", "component/unpack", "component/wasmtime"];
    sets.push(all.iter().map(String::as_str).chain(mounted).collect());
    for parts in sets {
        for content in jobs_with(&parts) {
            checks::is_labelled(&content);
            checks::is_tried_again_by_cause(&content);
            let container = &manifests::pod(&content)["containers"][0];
            let names = container["env"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap());
            assert_eq!(unknown_names(names), Vec::<String>::new(), "{parts:?}");
        }
    }
}

/// Files that settings name are mounted where they say.
#[test]
fn a_private_ca_is_mounted_where_its_variable_says() {
    for content in jobs_with(&["options/private-ca"]) {
        let pod = manifests::pod(&content);
        assert_eq!(value(&pod["containers"][0], "QDRANT_EXTRA_CA_FILE"), Some("/ca/ca.crt"));
        assert!(VARIABLES.iter().any(|variable| variable.name == "QDRANT_EXTRA_CA_FILE"));
        let mount = pod["containers"][0]["volumeMounts"].as_array().unwrap().last().unwrap();
        assert_eq!(*mount, json!({"name": "ca", "mountPath": "/ca", "readOnly": true}));
        let volume = pod["volumes"].as_array().unwrap().last().unwrap();
        assert_eq!(volume["configMap"]["items"], json!([{"key": "ca.crt", "path": "ca.crt"}]));
    }
}

/// The token is for S3's provider: the pod still has none for Kubernetes' API.
#[test]
fn a_web_identity_is_none_for_kubernetes() {
    for content in jobs_with(&["options/web-identity"]) {
        let pod = manifests::pod(&content);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["serviceAccountName"], "qdrant-backup");
        assert_eq!(value(&pod["containers"][0], "AWS_WEB_IDENTITY_TOKEN_FILE"), Some("/identity/token"));
        for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
            assert!(VARIABLES.iter().any(|variable| variable.name == name), "the program knows no {name}");
        }
        let volume = pod["volumes"].as_array().unwrap().last().unwrap();
        let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
        assert_eq!((&token["audience"], &token["path"]), (&json!("sts.amazonaws.com"), &json!("token")));
    }
}

#[test]
fn the_secret_may_have_another_name() {
    for content in jobs_with(&["options/secret-name"]) {
        let text = content.to_string();
        assert!(text.contains("my-credentials") && !text.contains("qdrant-credentials"), "{text}");
    }
}

/// A restore that was killed goes on in its pod; a backup is a new one.
#[test]
fn a_killed_restore_is_started_again() {
    for content in jobs_with(&["options/restart-killed"]) {
        let container = &manifests::pod(&content)["containers"][0];
        let rule = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]);
        let expected = checks::is_restore(&content).then_some(rule);
        assert_eq!(container.get("restartPolicyRules"), expected.as_ref());
        assert_eq!(container.get("restartPolicy").is_some(), expected.is_some());
    }
}

/// Two tasks in one work directory would read each other's files: a restore would restore what a backup has just listed.
#[test]
fn work_directories_on_a_node_are_one_task_s_each() {
    for content in jobs_with(&["options/textfile-metrics"]) {
        let pod = manifests::pod(&content);
        let mount = &pod["containers"][0]["volumeMounts"][0];
        if content["kind"] == "Job" {
            assert_eq!(*mount, json!({"name": "scripts", "mountPath": "/scripts"}));
            continue;
        }
        assert_eq!(*mount, json!({"name": "metrics", "mountPath": "/scripts", "subPathExpr": "$(COMPONENT)"}));
        assert!(value(&pod["containers"][0], "QDRANT_METRICS_FILE").is_some_and(|file| file.ends_with(".prom")));
    }
}
