//! The manifests of `k8s/`, as kubectl reads them.

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
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path));
        // Kustomize's files and Helm's values are no manifests.
        } else if name.ends_with(".yaml") && name != "kustomization.yaml" && name != "qdrant-values.yaml" {
            found.push(path);
        }
    }
    found.sort();
    found
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

    /// What `kubectl apply -k` would apply of a folder of it, validated.
    pub fn build(&self, folder: &str) -> Option<Vec<Manifest>> {
        if let Some(why) = tools::missing(&["kubectl"]) {
            tools::skipped(&why);
            return None;
        }
        let text = tools::output(Command::new("kubectl").arg("kustomize").arg(self.path(folder)));
        let built = TempDir::new().unwrap();
        let file = built.path().join("built.yaml");
        std::fs::write(&file, text).unwrap();
        validated(vec![file])
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

/// The spec of a Job's or CronJob's pods.
pub fn pod(manifest: &Value) -> &Value {
    let job = if manifest["kind"] == "CronJob" { &manifest["spec"]["jobTemplate"] } else { manifest };
    &job["spec"]["template"]["spec"]
}
