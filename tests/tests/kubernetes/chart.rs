//! The Helm chart: what it makes of a dozen files of values, and that its pods are those of kustomize.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use qdrant_backup_tests::manifests::{self, Manifest};
use qdrant_backup_tests::tools::Kubernetes;
use serde_json::{Value, json};

use crate::checks::{self, Objects};
use crate::guide;

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/qdrant-backup")
}

fn values(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("kubernetes/values/{name}.yaml"))
}

/// The names of the files of values.
fn all_values() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/values");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn helm(helm: &Kubernetes, command: &[&str], arguments: &[&str]) -> Output {
    helm.helm().args(command).arg(chart()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the chart makes of `arguments`, validated; the same by every version of helm. None without helm.
fn built(arguments: &[&str]) -> Option<Vec<Manifest>> {
    let mut texts = Vec::new();
    for version in Kubernetes::versions() {
        let run = helm(&version, &["template", "qdrant-backup"], arguments);
        assert!(run.status.success(), "{arguments:?}: {}", text(&run.stderr));
        texts.push(text(&run.stdout));
    }
    // They differ in blank lines.
    let lines =
        |text: &String| text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>();
    assert!(texts.windows(2).all(|pair| lines(&pair[0]) == lines(&pair[1])), "{arguments:?}: versions of helm differ");
    manifests::of_text(&texts.pop()?)
}

fn built_of(name: &str) -> Option<Vec<Manifest>> {
    built(&["-f", values(name).to_str().unwrap()])
}

fn named<'a>(manifests: &'a [Manifest], kind: &str, suffix: &str) -> Option<&'a Value> {
    let is =
        |content: &&Value| content["kind"] == kind && content["metadata"]["name"].as_str().unwrap().ends_with(suffix);
    manifests.iter().map(|manifest| &manifest.content).find(is)
}

/// The Secrets and ConfigMaps that a person makes, under the names of these values.
fn with_what_a_person_makes(mut manifests: Vec<Manifest>) -> Vec<Manifest> {
    let secret = guide::manifests().into_iter().find(|manifest| manifest.file == "config-secret.yaml").unwrap();
    for name in ["company-qdrant", "more"] {
        let mut another = secret.clone();
        another.content["metadata"]["name"] = json!(name);
        manifests.push(another);
    }
    manifests.push(secret);
    manifests
}

#[test]
fn the_chart_passes_helm_s_own_check() {
    for version in Kubernetes::versions() {
        for name in all_values() {
            let run = helm(&version, &["lint", "--strict"], &["-f", values(&name).to_str().unwrap()]);
            assert!(run.status.success(), "{name}: {}{}", text(&run.stdout), text(&run.stderr));
        }
    }
}

#[test]
fn every_pod_of_the_chart_is_as_it_should_be() {
    let names = all_values();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let Some(built) = built_of(&name) else { return };
        let all = with_what_a_person_makes(built);
        let jobs: Vec<&Value> = all.iter().map(|it| &it.content).filter(|it| manifests::is_job(it)).collect();
        assert!(!jobs.is_empty(), "{name}");
        for job in jobs {
            assert!(job["metadata"]["name"].as_str().unwrap().len() <= 52, "{name}: {}", job["metadata"]["name"]);
            let mut job = job.clone();
            // Stock wasmtime's image may have no user of its own, nor has busybox.
            if name.starts_with("wasmtime") {
                let pod = &mut job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
                for kind in ["containers", "initContainers"] {
                    for container in pod[kind].as_array_mut().into_iter().flatten() {
                        let security = container["securityContext"].as_object_mut().unwrap();
                        assert_eq!(security.remove("runAsUser"), Some(json!(65532)), "{name}");
                    }
                }
            }
            checks::is_locked_down(&job);
            checks::is_tried_again_by_cause(&job);
            checks::is_scheduled_by_utc(&job);
            checks::has_settings_that_are_accepted(&job, &Objects(&all));
            if name != "names" {
                checks::is_labelled(&job);
            }
        }
    }
}

/// The spec of a Job without what names the release.
fn spec(manifest: &Value) -> Value {
    let mut job = manifests::job(manifest).clone();
    job["template"].as_object_mut().unwrap().remove("metadata");
    job
}

/// Whoever changes from one to the other changes nothing of what runs.
#[test]
fn chart_and_kustomize_give_the_same_pods() {
    let files: BTreeMap<String, Value> =
        guide::manifests().into_iter().map(|manifest| (manifest.file, manifest.content)).collect();
    for (arguments, suffix, file) in [
        (&[][..], "qdrant-backup-sets", "sets-backup-cronjob.yaml"),
        (&[], "qdrant-backup-prune", "sets-prune-cronjob.yaml"),
        (&[], "qdrant-backup-verify", "sets-verify-cronjob.yaml"),
        (&["--set", "drill.enabled=true"], "qdrant-backup-drill", "sets-drill-cronjob.yaml"),
        (&["--set", "backup.enabled=true"], "qdrant-backup", "backup-cronjob.yaml"),
        (&["--set", "restore.enabled=true"], "qdrant-backup-restore", "sets-restore-job.yaml"),
        (&["--set", "restore.enabled=true,restore.from=snapshots"], "qdrant-backup-restore", "restore-job.yaml"),
    ] {
        let Some(built) = built(arguments) else { return };
        let ours = named(&built, "CronJob", suffix).unwrap_or_else(|| panic!("no {suffix}"));
        assert_eq!(spec(ours), spec(&files[file]), "{file}");
        if suffix != "qdrant-backup-restore" {
            for field in ["schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds"] {
                assert_eq!(ours["spec"][field], files[file]["spec"][field], "{file}: {field}");
            }
        }
        let settings = named(&built, "ConfigMap", "qdrant-backup-settings").unwrap();
        assert_eq!(settings["data"], files["settings.yaml"]["data"]);
    }
}

/// The component's ways, too.
#[test]
fn chart_and_kustomize_mount_the_component_alike() {
    use qdrant_backup_tests::manifests::Overlay;
    for (parts, set) in [
        (&["configmap"][..], "component.source=configMap,image.repository=qdrant-backup-compiler"),
        (&["configmap", "unpack", "wasmtime"], "component.source=configMap,component.runtime=wasmtime"),
        (&["image-volume"], "component.source=imageVolume,image.repository=qdrant-backup-compiler"),
        (&["image-volume", "wasmtime"], "component.source=imageVolume,component.runtime=wasmtime"),
    ] {
        let turn_on = |overlay: Overlay, part: &&str| {
            overlay.turn_on("common/kustomization.yaml", &format!("../component/{part}"))
        };
        let (Some(theirs), Some(ours)) =
            (parts.iter().fold(Overlay::new(), turn_on).build("sets"), built(&["--set", set]))
        else {
            return;
        };
        for suffix in ["-sets", "-prune", "-verify"] {
            let (ours, theirs) = (named(&ours, "CronJob", suffix).unwrap(), named(&theirs, "CronJob", suffix).unwrap());
            assert_eq!(spec(ours), spec(theirs), "{parts:?}: {suffix}");
        }
    }
}

/// An upgrade runs no restore: the template is suspended, and a Job of it is nobody's but the person's who made it.
#[test]
fn a_restore_is_a_template_that_never_fires() {
    let Some(plain) = built(&[]) else { return };
    assert!(plain.iter().all(|manifest| !manifest.content.to_string().contains("recover_snap")));
    let with = built(&["--set", "restore.enabled=true"]).unwrap();
    let template = named(&with, "CronJob", "-restore").unwrap();
    assert_eq!(template["spec"]["suspend"], true);
    assert!(with.iter().all(|manifest| manifest.content["kind"] != "Job"));
    // The controller of CronJobs removes old Jobs of it, with their logs.
    assert!(template["spec"]["failedJobsHistoryLimit"].as_u64().unwrap() >= 100);
}

#[test]
fn the_network_policy_is_made_from_the_settings() {
    let egress = |name: &str| -> Option<Option<Vec<Value>>> {
        let built = built_of(name)?;
        let policy = named(&built, "NetworkPolicy", "");
        Some(policy.map(|policy| policy["spec"]["egress"].as_array().unwrap().clone()))
    };
    let port = |rule: &Value| rule["ports"][0]["port"].as_u64().unwrap();
    let Some(of_the_image) = egress("configmap") else { return };
    assert!(of_the_image.is_none(), "the program has a list of allowed hosts itself");
    let wasmtime = egress("wasmtime").unwrap().expect("stock wasmtime has no list of allowed hosts");
    assert_eq!(wasmtime.iter().map(port).collect::<Vec<_>>(), [6333, 9000, 53]);
    let openshift = egress("openshift").unwrap().unwrap();
    assert_eq!(port(&openshift[2]), 5353);
    let outside = egress("outside").unwrap().unwrap();
    assert_eq!(port(&outside[1]), 443);
    assert_eq!(outside[1]["to"][0]["ipBlock"]["cidr"], "203.0.113.0/24");
    let namespace = &outside[0]["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    assert_eq!(namespace, "search");
    assert_eq!(egress("everything").unwrap().unwrap().len(), 4);
}

/// Mistakes are told before anything is installed, by the name of the value.
#[test]
fn wrong_values_are_told_by_name() {
    for (set, why) in [
        ("sets.enabld=true", "enabld"),
        ("sets.check=most", "sets/check"),
        ("backup.schedule=daily", "backup/schedule"),
        ("verify.percent=200", "verify/percent"),
        ("s3.endpoint=minio:9000", "s3/endpoint"),
        ("image.digest=latest", "image/digest"),
        ("networkPolicy.enabled=maybe", "networkPolicy/enabled"),
        ("existingSecret=", "existingSecret"),
        ("settings.qdrant_hosts=x", "qdrant_hosts"),
        ("settings.QDRANT_API_KEY=x", "existingSecret"),
        ("component.runtime=wasmtime", "component.source"),
        (
            "image.tag=v1,image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "set one",
        ),
    ] {
        for version in Kubernetes::versions() {
            let run = helm(&version, &["template", "qdrant-backup"], &["--set", set]);
            let said = text(&run.stderr);
            assert!(!run.status.success() && said.contains(why), "{set}: {said}");
        }
    }
}

/// Every value has its line in the schema, and in the README.
#[test]
fn values_are_in_the_schema_and_in_the_readme() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    let Some(version) = Kubernetes::versions().pop() else { return };
    let values = text(&helm(&version, &["show", "values"], &[]).stdout);
    let mut checked = 0;
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in values.lines() {
        let (depth, line) = (line.len() - line.trim_start().len(), line.trim_start());
        let Some((key, _)) = line.split_once(':').filter(|_| !line.starts_with(['#', '-'])) else { continue };
        path.retain(|(other, _)| *other < depth);
        path.push((depth, key.to_owned()));
        let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
        let mut node = &schema;
        for (at, key) in keys.iter().enumerate() {
            match node["properties"].get(*key) {
                Some(next) => node = next,
                // Free, such as labels.
                None if node["additionalProperties"] != json!(false) => break,
                None => panic!("{keys:?} is not in the schema"),
            }
            if node["properties"].is_null() {
                let value = format!("`{}`", keys[..=at].join("."));
                assert!(readme.contains(&value), "README.md lacks {value}");
            }
        }
        checked += 1;
    }
    assert!(checked > 80, "{checked}");
}

/// `helm test` asks for something that the program does, and changes nothing.
#[test]
fn helm_test_lists_the_sets() {
    let Some(built) = built(&[]) else { return };
    let pod = named(&built, "Pod", "-test-list-sets").unwrap();
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    assert_eq!(pod["spec"]["containers"][0]["args"], json!(["list_sets"]));
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
}

/// NOTES name objects that are there.
#[test]
fn the_notes_say_the_next_command() {
    for version in Kubernetes::versions() {
        let install = ["install", "--dry-run=client", "qdrant-backup", "-n", "search"];
        for (set, expected) in [
            ("restore.enabled=true", &["cronjob/qdrant-backup-sets", "cronjob/qdrant-backup-restore"][..]),
            ("sets.enabled=false,backup.enabled=true", &["--from=cronjob/qdrant-backup\n", "set restore.enabled"]),
            ("sets.enabled=false", &["No backup is enabled"]),
            ("component.source=configMap,component.runtime=wasmtime,networkPolicy.enabled=false", &["WARNING"]),
        ] {
            let run = helm(&version, &install, &["--set", set]);
            let said = text(&run.stdout);
            let notes = said.split("NOTES:").nth(1).unwrap_or_else(|| panic!("{set}: {said}{}", text(&run.stderr)));
            for expected in expected {
                assert!(notes.contains(expected), "{set}: {notes}");
            }
        }
    }
}
