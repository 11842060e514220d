//! The commands of k8s/README.md, those that need no cluster.

use std::io::Write;
use std::process::{Command, Stdio};

use qdrant_backup_tests::manifests::{self, Overlay};
use qdrant_backup_tests::tools::Kubernetes;
use serde_json::json;

fn readme() -> String {
    std::fs::read_to_string(manifests::folder().join("README.md")).unwrap()
}

/// The settings of one restore are put in on the way, and Kubernetes makes its name.
#[test]
fn a_restore_gets_its_settings_and_name_on_the_way() {
    let sed = r"s/^  name: \(qdrant-restore.*\)/  generateName: \1-/";
    assert!(readme().contains(sed));
    for version in Kubernetes::versions() {
        let built = Overlay::new().text("restore").unwrap().unwrap();
        let mut set = version.kubectl();
        set.args(["set", "env", "--local", "-f", "-", "-o", "yaml"]);
        let text = piped(set.args(["QDRANT_SNAPSHOT_DATETIME_FILTER=2026-01-29", "QDRANT_DRY_RUN=true"]), &built);
        let text = piped(Command::new("sed").arg(sed), &text);
        let Some(manifests) = manifests::of_text(&text) else { return };
        let job = &manifests[0].content;
        assert_eq!(job["metadata"]["generateName"], "qdrant-restore-");
        assert!(job["metadata"].get("name").is_none());
        let env = manifests::pod(job)["containers"][0]["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "QDRANT_DRY_RUN", "value": "true"})), "{env:?}");
        assert!(env.iter().any(|entry| entry["name"] == "QDRANT_RESTORE_ID"), "{env:?}");
    }
}

fn piped(command: &mut Command, input: &str) -> String {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let run = process.wait_with_output().unwrap();
    assert!(run.status.success());
    String::from_utf8(run.stdout).unwrap()
}

/// Every path in a command is there, nothing that names an image is applied past `common/`, and nothing is applied with a
/// second owner of its lists.
#[test]
fn every_command_is_of_files_that_are_there() {
    let text = readme();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let of_kubectl: Vec<&&str> = commands.iter().filter(|command| command.starts_with("kubectl")).collect();
    assert!(of_kubectl.len() > 10, "{of_kubectl:?}");
    for command in of_kubectl {
        let words: Vec<&str> = command.split_whitespace().collect();
        for path in words.iter().filter_map(|word| word.strip_prefix("k8s/")) {
            assert!(manifests::folder().join(path).exists(), "{command}");
        }
        let file = words.iter().position(|word| *word == "-f").and_then(|at| words.get(at + 1));
        assert!(!file.is_some_and(|file| file.ends_with("job.yaml")), "{command}: past the image of common/");
        if words.contains(&"-k") && words.contains(&"apply") {
            assert!(words.contains(&"--server-side"), "{command}");
        }
        if words.contains(&"-l") && words.contains(&"-f") {
            assert!(command.contains("--max-log-requests"), "{command}: fails above five pods");
        }
    }
}

/// The quick start of the main README: `helm install` makes the CronJobs of which its Jobs are created.
#[test]
fn the_quick_start_s_chart_makes_the_jobs_that_it_runs() {
    let root = manifests::folder().join("..");
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let joined = text.replace("\\\n", " ");
    let commands: Vec<Vec<&str>> = joined
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let install = commands.iter().find(|words| words.starts_with(&["helm", "install"])).unwrap();
    let jobs: Vec<&str> = commands
        .iter()
        .filter(|words| words.contains(&"create") && words.contains(&"job"))
        .flat_map(|words| words.iter().filter_map(|word| word.strip_prefix("--from=cronjob/")))
        .collect();
    assert!(jobs.len() >= 2, "{jobs:?}");
    for version in Kubernetes::versions() {
        let run = version.helm().arg("template").args(&install[2..]).current_dir(&root).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let Some(made) = manifests::of_text(&String::from_utf8(run.stdout).unwrap()) else { return };
        for name in &jobs {
            let is =
                |content: &serde_json::Value| content["kind"] == "CronJob" && content["metadata"]["name"] == **name;
            assert!(made.iter().any(|manifest| is(&manifest.content)), "there is no CronJob {name}");
        }
    }
}
