//! What holds for every Job and CronJob, whoever has made its manifest.

use std::collections::BTreeMap;

use qdrant_backup_contract::command_line::{Invocation, parse};
use qdrant_backup_contract::settings::{VARIABLES, from_variables, unknown_names};
use qdrant_backup_contract::tasks::Task;
use qdrant_backup_tests::manifests::{self, Manifest};
use serde_json::{Value, json};

/// What a pod refers to.
pub struct Objects<'a>(pub &'a [Manifest]);

impl Objects<'_> {
    fn entries(&self, kind: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let mut all = self.0.iter().map(|manifest| &manifest.content);
        let object = all.find(|object| object["kind"] == kind && object["metadata"]["name"] == name)?;
        let data = if kind == "Secret" { &object["stringData"] } else { &object["data"] };
        // What a person fills in.
        let filled = |value: &str| if value.starts_with('<') { "filled-in" } else { value }.to_owned();
        let entries = data.as_object()?.iter();
        Some(entries.map(|(key, value)| (key.clone(), filled(value.as_str().unwrap()))).collect())
    }

    /// The variables of a container, in a pod of a Job with the uid `job`.
    pub fn environment(&self, pod_labels: &Value, container: &Value) -> BTreeMap<String, String> {
        let label = |name: &str| match pod_labels[name].as_str() {
            None if name == "batch.kubernetes.io/controller-uid" => Some("job".to_owned()),
            value => value.map(str::to_owned),
        };
        manifests::environment(container, |kind, name| self.entries(kind, name), label)
    }
}

/// Whether it restores, which a person asks for.
pub fn is_restore(manifest: &Value) -> bool {
    matches!(task(manifest), Task::RecoverSnapshots | Task::RecoverSets)
}

/// What its container is asked to do.
pub fn task(manifest: &Value) -> Task {
    let arguments = manifests::pod(manifest)["containers"][0]["args"].as_array().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect();
    // The component is named before the task, where one is mounted.
    let of_component = |argument: &&String| *argument == "--component" || argument.starts_with("/component/");
    let arguments: Vec<String> = arguments.iter().skip_while(of_component).cloned().collect();
    match parse(&arguments) {
        Ok(Invocation::Run { task, .. }) => task,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

/// Pod Security `restricted`, OpenShift's `restricted-v2`, and limits.
pub fn is_locked_down(manifest: &Value) {
    let what = &manifest["metadata"]["name"];
    let pod = manifests::pod(manifest);
    for (path, expected) in [
        ("/automountServiceAccountToken", json!(false)),
        ("/enableServiceLinks", json!(false)),
        ("/restartPolicy", json!("Never")),
        // No fixed ids: OpenShift refuses them.
        ("/securityContext", json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})),
    ] {
        assert_eq!(pod.pointer(path), Some(&expected), "{what}: {path}");
    }
    let containers = ["containers", "initContainers"].map(|field| pod[field].as_array().cloned().unwrap_or_default());
    for container in containers.iter().flatten() {
        for (path, expected) in [
            ("/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/securityContext/readOnlyRootFilesystem", json!(true)),
            ("/securityContext/capabilities", json!({"drop": ["ALL"]})),
            ("/terminationMessagePolicy", json!("FallbackToLogsOnError")),
        ] {
            assert_eq!(container.pointer(path), Some(&expected), "{what}: {path}");
        }
        for path in ["/resources/requests/memory", "/resources/limits/memory", "/resources/requests/cpu"] {
            assert!(container.pointer(path).is_some(), "{what}: {path}");
        }
    }
    assert_eq!(containers[0][0]["workingDir"], "/scripts", "{what}");
}

/// Labels of the guide and of everybody, on the object and on its pods.
pub fn is_labelled(manifest: &Value) {
    let app = if is_restore(manifest) { "qdrant-restore" } else { "qdrant-backup" };
    let labels = &manifest["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["app.kubernetes.io/name"]), (&json!(app), &json!("qdrant-backup")));
    let of_pod = &manifests::job(manifest)["template"]["metadata"]["labels"];
    for name in ["app", "app.kubernetes.io/name", "app.kubernetes.io/component"] {
        assert_eq!(of_pod[name], labels[name], "{labels}");
        assert!(labels[name].is_string(), "{labels}");
    }
}

/// Who is tried again, and who leaves a trace.
pub fn is_tried_again_by_cause(manifest: &Value) {
    let what = &manifest["metadata"]["name"];
    let job = manifests::job(manifest);
    let rules = job["podFailurePolicy"]["rules"].as_array().unwrap();
    let of_codes = |code: u64| {
        let has =
            |rule: &&Value| rule["onExitCodes"]["values"].as_array().is_some_and(|all| all.contains(&json!(code)));
        rules.iter().find(has).map(|rule| rule["action"].as_str().unwrap())
    };
    let evicted = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    assert!(rules.contains(&evicted), "{what}: an eviction counts");
    assert_eq!(of_codes(2), Some("FailJob"), "{what}");
    assert_eq!((of_codes(1), of_codes(143), of_codes(137)), (None, None, None), "{what}");
    if is_restore(manifest) {
        assert_eq!(job["backoffLimit"], 0, "{what}");
        assert!(
            job.get("ttlSecondsAfterFinished").is_none(),
            "{what} is collected, and then made again by a reconciler"
        );
        let id = "QDRANT_RESTORE_ID";
        let token =
            manifests::pod(manifest)["containers"][0]["env"].as_array().unwrap().iter().find(|it| it["name"] == id);
        let path = "metadata.labels['batch.kubernetes.io/controller-uid']";
        assert_eq!(token.unwrap().pointer("/valueFrom/fieldRef/fieldPath"), Some(&json!(path)), "{what}");
    } else {
        let indexed = job["completionMode"] == "Indexed";
        assert_eq!(job[if indexed { "backoffLimitPerIndex" } else { "backoffLimit" }], 2, "{what}");
        assert_eq!(of_codes(3), Some(if indexed { "FailIndex" } else { "FailJob" }), "{what}");
        assert!(job["ttlSecondsAfterFinished"].is_u64(), "{what}");
    }
}

/// The clock of a CronJob is not moved by the season.
pub fn is_scheduled_by_utc(manifest: &Value) {
    if manifest["kind"] == "CronJob" {
        assert_eq!(manifest["spec"]["timeZone"], "Etc/UTC");
        assert_eq!(manifest["spec"]["concurrencyPolicy"], "Forbid");
    }
}

/// The program knows every variable, takes its value for this task, and ends before Kubernetes ends it.
pub fn has_settings_that_are_accepted(manifest: &Value, objects: &Objects<'_>) {
    let what = &manifest["metadata"]["name"];
    let job = manifests::job(manifest);
    let container = &manifests::pod(manifest)["containers"][0];
    let mut variables = objects.environment(&job["template"]["metadata"]["labels"], container);
    let none: Vec<&String> = variables.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    let in_the_pod = container["env"].as_array().unwrap().iter().filter(|entry| entry["value"] == "");
    assert_eq!(in_the_pod.count(), 0, "{what}: an empty value never settles in server-side apply");
    // The Secret's, for a Qdrant without a key.
    assert!(none.is_empty() || none == ["QDRANT_API_KEY"], "{what}: {none:?}");
    assert_eq!(unknown_names(variables.keys().map(String::as_str)), Vec::<String>::new(), "{what}");
    let deadline = qdrant_backup_contract::settings::parse_duration(&variables["QDRANT_RUN_DEADLINE"]).unwrap();
    assert!(deadline.as_secs() < job["activeDeadlineSeconds"].as_u64().unwrap(), "{what}: its log would be lost");
    if job["completionMode"] == "Indexed" {
        assert_eq!(variables["QDRANT_BACKUP_SHARES"], job["completions"].to_string(), "{what}");
        assert_eq!(job["parallelism"], job["completions"], "{what}");
        variables.insert("JOB_COMPLETION_INDEX".to_owned(), "0".to_owned());
    }
    let known = |name: &String| VARIABLES.iter().any(|variable| variable.name == name);
    let variables: Vec<(String, String)> = variables.into_iter().filter(|(name, _)| known(name)).collect();
    let (_, notes) =
        from_variables(&variables, task(manifest).row().needs).unwrap_or_else(|why| panic!("{what}: {why:?}"));
    assert!(notes.is_empty(), "{what}: {notes:?}");
}

/// All of it.
pub fn is_as_it_should_be(manifest: &Value, objects: &Objects<'_>) {
    is_locked_down(manifest);
    is_labelled(manifest);
    is_tried_again_by_cause(manifest);
    is_scheduled_by_utc(manifest);
    has_settings_that_are_accepted(manifest, objects);
}
