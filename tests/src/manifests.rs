//! The manifests of `k8s/`, as kubectl reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools;

/// The oldest and the newest version of Kubernetes in support.
const VERSIONS: &str = "1.35,1.37";

/// A manifest and the name of its file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file's name, without its folders.
    pub file: String,
    /// What is in it.
    pub content: Value,
}

/// The folder `k8s`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s")
}

/// Every manifest in `folder`, validated strictly by Kubernetes' schemas. `None` where there is no Python to do it.
pub fn all(folder: &Path) -> Option<Vec<Manifest>> {
    validated(files(folder))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    // Kustomize's files and Helm's values are no manifests.
    const OTHERS: [&str; 3] = ["kustomization.yaml", "qdrant-values.yaml", "qdrant-env.yaml"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".yaml") && !OTHERS.contains(&name.as_str()) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The manifests in a text of several YAML documents, validated as those of [`all`].
pub fn of_text(text: &str) -> Option<Vec<Manifest>> {
    let built = TempDir::new().unwrap();
    let file = built.path().join("built.yaml");
    std::fs::write(&file, text).unwrap();
    validated(vec![file])
}

fn validated(files: Vec<PathBuf>) -> Option<Vec<Manifest>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/validate.py");
    let json = tools::output(Command::new(tools::python()?).arg(script).arg(VERSIONS).args(files));
    let all: Vec<Value> = serde_json::from_str(&json).unwrap();
    let manifest = |mut entry: Value| Manifest {
        file: entry["file"].as_str().unwrap().to_owned(),
        content: entry["manifest"].take(),
    };
    Some(all.into_iter().map(manifest).collect())
}

/// A copy of `k8s/` in which a user has set things.
pub struct Overlay {
    folder: TempDir,
}

impl Overlay {
    /// The folder as it is.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        copy(&self::folder(), folder.path());
        Self { folder }
    }

    /// Where a file of it is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Replaces text in one file, as an editor does.
    #[must_use]
    pub fn edit(self, file: &str, from: &str, to: &str) -> Self {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(path, text.replace(from, to)).unwrap();
        self
    }

    /// Turns lines on that are there as comments.
    #[must_use]
    pub fn turn_on(self, file: &str, line: &str) -> Self {
        self.edit(file, &format!("# - {line}\n"), &format!("- {line}\n"))
    }

    /// Another file in it.
    #[must_use]
    pub fn add(self, file: &str, text: &str) -> Self {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// What `kubectl apply -k` would apply of a folder of it, validated; the same by every version of kubectl.
    pub fn build(&self, folder: &str) -> Option<Vec<Manifest>> {
        let built = self.text(folder)?.unwrap_or_else(|why| panic!("{folder}: {why}"));
        of_text(&built)
    }

    /// As [`Overlay::build`], of several folders by a kustomization of a person's own over them.
    pub fn build_together(self, folders: &[&str]) -> Option<Vec<Manifest>> {
        let all: String = folders.iter().map(|folder| format!("- ../{folder}\n")).collect();
        self.add("own/kustomization.yaml", &format!("resources:\n{all}")).build("own")
    }

    /// What `kubectl kustomize` prints of a folder, or why it does not.
    pub fn text(&self, folder: &str) -> Option<Result<String, String>> {
        let mut built: Vec<Result<String, String>> = Vec::new();
        for version in tools::Kubernetes::versions() {
            let run = version.kubectl().arg("kustomize").arg(self.path(folder)).output().unwrap();
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            built.push(if run.status.success() { Ok(text(&run.stdout)) } else { Err(text(&run.stderr)) });
        }
        if let (Some(Ok(first)), Some(Ok(last))) = (built.first(), built.last()) {
            assert_eq!(first, last, "{folder}: versions of kubectl build different things");
        }
        built.pop()
    }
}

impl Default for Overlay {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            std::fs::copy(&path, copied).unwrap();
        }
    }
}

/// The variables of a container, as the kubelet sets them: those of `envFrom`, in whose place those of `env` come. `object`
/// gives the entries of a ConfigMap or Secret, `label` those of the pod.
///
/// # Panics
/// Something in it is not understood here, or an object is missing.
pub fn environment(
    container: &Value,
    object: impl Fn(&str, &str) -> Option<BTreeMap<String, String>>,
    label: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
    let of = |kind: &str, name: &Value| {
        let name = text(name);
        object(kind, &name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    };
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        variables.extend(match (source.get("configMapRef"), source.get("secretRef")) {
            (Some(config_map), None) => of("ConfigMap", &config_map["name"]),
            (None, Some(secret)) => of("Secret", &secret["name"]),
            _ => panic!("{source} is not understood here"),
        });
    }
    for entry in container["env"].as_array().into_iter().flatten() {
        let value = match entry.get("valueFrom") {
            None => text(&entry["value"]),
            Some(from) if from.get("secretKeyRef").is_some() => {
                let secret = &from["secretKeyRef"];
                of("Secret", &secret["name"])[secret["key"].as_str().unwrap()].clone()
            }
            Some(from) => {
                let path = text(&from["fieldRef"]["fieldPath"]);
                let name = path.strip_prefix("metadata.labels['").and_then(|rest| rest.strip_suffix("']"));
                name.and_then(&label).unwrap_or_else(|| panic!("the pod has no {path}"))
            }
        };
        variables.insert(text(&entry["name"]), value);
    }
    variables
}

/// The spec of a Job, or of a CronJob's Jobs.
pub fn job(manifest: &Value) -> &Value {
    let job = if manifest["kind"] == "CronJob" { &manifest["spec"]["jobTemplate"] } else { manifest };
    &job["spec"]
}

/// The spec of a Job's or CronJob's pods.
pub fn pod(manifest: &Value) -> &Value {
    &job(manifest)["template"]["spec"]
}

/// Whether it is a Job or a CronJob.
pub fn is_job(manifest: &Value) -> bool {
    matches!(manifest["kind"].as_str(), Some("Job" | "CronJob"))
}
