//! Pods on this machine: runc runs what a manifest says, as the kubelet would have it run.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::manifests;
use crate::site::Run;
use crate::tools;

/// The target of static programs.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Why pods can't be run here: they need root for runc, an image builder, a C compiler for static programs.
fn missing() -> Option<String> {
    let programs = tools::missing(&["runc", "buildah", "musl-gcc", "make"]);
    if programs.is_some() {
        return programs;
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        return Some("runc needs root".to_owned());
    }
    let libraries = tools::output(Command::new("rustc").args(["--print", "target-libdir", "--target", STATIC]));
    (!Path::new(libraries.trim()).is_dir()).then(|| format!("not installed: the target {STATIC}"))
}

/// A store of images of its own, so that the machine's is left alone.
pub struct Images {
    folder: PathBuf,
}

/// An image, unpacked.
pub struct Image {
    root: PathBuf,
    config: Value,
}

impl Images {
    /// An empty one in `folder`; what an earlier run left there goes.
    ///
    /// # Errors
    /// Why there can be no images and no pods on this machine.
    pub fn new(folder: &Path) -> Result<Self, String> {
        if let Some(why) = missing() {
            return Err(why);
        }
        if folder.exists() {
            std::fs::remove_dir_all(folder).unwrap();
        }
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// The command `buildah` on this store.
    pub fn buildah(&self) -> Vec<String> {
        let folder = |name: &str| self.folder.join(name).display().to_string();
        ["buildah", "--root", &folder("store"), "--runroot", &folder("run"), "--storage-driver", "vfs"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Builds `name` with the `sh` and `unxz` of this machine's static busybox.
    pub fn busybox(&self, name: &str) {
        let folder = TempDir::new().unwrap();
        let programs = folder.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        let path = tools::output(Command::new("sh").args(["-c", "command -v busybox"]));
        std::fs::copy(path.trim(), programs.join("busybox")).unwrap();
        for applet in ["sh", "unxz"] {
            symlink("busybox", programs.join(applet)).unwrap();
        }
        let file = folder.path().join("Containerfile");
        std::fs::write(&file, "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n").unwrap();
        self.run(&["build", "-f", &file.display().to_string(), "-t", name, &folder.path().display().to_string()]);
    }

    /// Runs `make TARGET` of the project with this store. The program in the images is one for all of them, so that it has
    /// the compiler, too, and it is not optimised as the shipped one is: that takes ten times as long.
    pub fn make(&self, target: &str) {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        let settings = [
            format!("BUILDER={}", self.buildah().join(" ")),
            format!("STATIC={STATIC}"),
            "PROFILE=dev".to_owned(),
            "VARIANT=compiler".to_owned(),
            format!("PROGRAM={}", built.join(STATIC).join("debug/qdrant-backup").display()),
        ];
        let mut make = Command::new("make");
        // What cargo tells this test of itself is not for the cargo in there; what a person has set is.
        let ours =
            |name: &str| name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            make.env_remove(name);
        }
        tools::output(make.current_dir(project).arg(target).args(settings));
    }

    fn run(&self, arguments: &[&str]) -> String {
        let buildah = self.buildah();
        tools::output(Command::new(&buildah[0]).args(&buildah[1..]).args(arguments)).trim().to_owned()
    }

    fn inspect(&self, name: &str) -> Value {
        serde_json::from_str(&self.run(&["inspect", "--type", "image", name])).unwrap()
    }

    /// The digest of an image's manifest.
    pub fn digest(&self, name: &str) -> String {
        text(&self.inspect(name)["FromImageDigest"])
    }

    /// Unpacks an image.
    pub fn unpack(&self, name: &str) -> Image {
        let container = self.run(&["from", name]);
        let root = PathBuf::from(self.run(&["mount", &container]));
        Image { root, config: self.inspect(name)["OCIv1"]["config"].clone() }
    }
}

/// What a pod's spec refers to.
#[derive(Default)]
pub struct Objects {
    /// Images by the name that the spec uses.
    pub images: BTreeMap<String, Image>,
    /// Secrets by name, then key.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// ConfigMaps by name, then key.
    pub config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl Objects {
    /// The entries of a ConfigMap or Secret as variables.
    fn entries(&self, kind: &str, name: &str) -> Option<BTreeMap<String, String>> {
        if kind == "Secret" {
            return self.secrets.get(name).cloned();
        }
        let entries = self.config_maps.get(name)?.iter();
        Some(entries.map(|(key, value)| (key.clone(), String::from_utf8(value.clone()).unwrap())).collect())
    }
}

/// The label by which Kubernetes names the Job of a pod.
const JOB: &str = "batch.kubernetes.io/controller-uid";

/// A pod: its volumes last, its containers come and go.
pub struct Pod {
    spec: Value,
    /// The uid of its Job.
    job: String,
    folder: TempDir,
    /// How many containers were started.
    started: u32,
}

/// A container at work.
pub struct Running {
    name: String,
    state: PathBuf,
    process: Child,
    log: BufReader<tokio::process::ChildStderr>,
    read: String,
    stdout: ChildStdout,
    _bundle: TempDir,
}

impl Pod {
    /// A pod of a new Job by `spec`. Its first container is the one that is run.
    ///
    /// # Panics
    /// The spec has a field that would have to be obeyed and is not understood here.
    pub fn new(spec: &Value, objects: &Objects) -> Self {
        Self::of_job(spec, objects, uuid::Uuid::new_v4().to_string())
    }

    /// The pod that takes this one's place in its Job.
    pub fn successor(&self, objects: &Objects) -> Self {
        Self::of_job(&self.spec, objects, self.job.clone())
    }

    fn of_job(spec: &Value, objects: &Objects, job: String) -> Self {
        understood(
            spec,
            "pod",
            &[
                "initContainers",
                "containers",
                "volumes",
                "securityContext",
                // The kubelet's: nothing is mounted or set here that they could turn off; who restarts is the test.
                "automountServiceAccountToken",
                "enableServiceLinks",
                "restartPolicy",
                "terminationGracePeriodSeconds",
            ],
        );
        understood(
            &spec["securityContext"],
            "pod's securityContext",
            &[
                "runAsNonRoot",
                // The profile is the container runtime's own file.
                "seccompProfile",
            ],
        );
        let pod = Self { spec: spec.clone(), job, folder: TempDir::new().unwrap(), started: 0 };
        // TempDir is the owner's alone; containers are other users.
        std::fs::set_permissions(pod.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for volume in list(&spec["volumes"]) {
            pod.make_volume(volume, objects);
        }
        pod
    }

    fn make_volume(&self, volume: &Value, objects: &Objects) {
        let folder = self.volume(&text(&volume["name"]));
        std::fs::create_dir_all(&folder).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        if volume.get("emptyDir").is_some() {
            mode(&folder, 0o777);
        } else if let Some(config_map) = volume.get("configMap") {
            // As the kubelet writes them: files in a folder behind a link, so that they can be exchanged at once.
            let data = folder.join("..2026");
            std::fs::create_dir(&data).unwrap();
            symlink("..2026", folder.join("..data")).unwrap();
            let name = text(&config_map["name"]);
            let files = objects.config_maps.get(&name).unwrap_or_else(|| panic!("there is no ConfigMap {name}"));
            let of_key = |item: &Value| (text(&item["path"]), &files[&text(&item["key"])]);
            let chosen: BTreeMap<String, &Vec<u8>> = match config_map.get("items") {
                Some(items) => list(items).map(of_key).collect(),
                None => files.iter().map(|(key, bytes)| (key.clone(), bytes)).collect(),
            };
            for (path, bytes) in chosen {
                std::fs::write(data.join(&path), bytes).unwrap();
                mode(&data.join(&path), u32::try_from(config_map["defaultMode"].as_u64().unwrap_or(0o644)).unwrap());
                symlink(format!("..data/{path}"), folder.join(&path)).unwrap();
            }
        } else {
            assert!(volume.get("image").is_some(), "{volume}");
        }
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the container to its end; in a new pod its init containers first, one after another. Where one of these fails
    /// its end is the pod's.
    pub async fn run(&mut self, objects: &Objects) -> Run {
        if self.started == 0 {
            for container in list(&self.spec["initContainers"]).cloned().collect::<Vec<_>>() {
                let run = self.launch(&container, objects).end().await;
                if run.code != 0 {
                    return run;
                }
            }
        }
        self.launch(&self.spec["containers"][0].clone(), objects).end().await
    }

    /// Starts the container, once more after it has ended.
    ///
    /// # Panics
    /// As for [`Pod::new`]; the pod has init containers.
    pub fn start(&mut self, objects: &Objects) -> Running {
        assert!(self.spec.get("initContainers").is_none(), "init containers have to end before");
        self.launch(&self.spec["containers"][0].clone(), objects)
    }

    fn launch(&mut self, container: &Value, objects: &Objects) -> Running {
        understood(
            container,
            "container",
            &[
                "name",
                "image",
                "imagePullPolicy",
                "command",
                "args",
                "workingDir",
                "env",
                "envFrom",
                "securityContext",
                "resources",
                "volumeMounts",
                // The kubelet's.
                "terminationMessagePolicy",
            ],
        );
        let image = &objects.images[&text(&container["image"])];
        let bundle = TempDir::new().unwrap();
        let config = self.config(container, image, objects);
        std::fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
        self.started += 1;
        let name = format!("qdrant-backup-test-{}-{}", uuid::Uuid::new_v4().simple(), self.started);
        let state = self.folder.path().join("runc");
        let mut process = tokio::process::Command::new("runc")
            .arg("--root")
            .arg(&state)
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let stdout = process.stdout.take().unwrap();
        Running { name, state, process, log, read: String::new(), stdout, _bundle: bundle }
    }

    /// runc's configuration (OCI runtime-spec, config.md) for the container.
    fn config(&self, container: &Value, image: &Image, objects: &Objects) -> Value {
        let security = &container["securityContext"];
        understood(
            security,
            "container's securityContext",
            &["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "runAsUser"],
        );
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "other capabilities are not understood here");
        // That of the container, else the image's.
        let of_image = image.config.get("User").map(text).unwrap_or_default();
        let (user, group) = of_image.split_once(':').unwrap_or((&of_image, "0"));
        let user = security["runAsUser"].as_u64().unwrap_or_else(|| user.parse().unwrap_or_default());
        let group: u64 = group.parse().unwrap_or_default();
        assert!(self.spec["securityContext"]["runAsNonRoot"] == true && user != 0, "the container would run as root");
        let command = container.get("command").or_else(|| image.config.get("Entrypoint"));
        let arguments: Vec<Value> = command.into_iter().chain(container.get("args")).flat_map(list).cloned().collect();
        let mut environment: Vec<String> = list(&image.config["Env"]).map(text).collect();
        let label = |name: &str| (name == JOB).then(|| self.job.clone());
        let variables = manifests::environment(container, |kind, name| objects.entries(kind, name), label);
        environment.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]}),
        ];
        // As the kubelet mounts it: a file on the node that anybody may write.
        std::fs::write(self.termination_log(), "").unwrap();
        std::fs::set_permissions(self.termination_log(), std::fs::Permissions::from_mode(0o666)).unwrap();
        mounts.push(json!({
            "destination": "/dev/termination-log", "type": "bind", "source": self.termination_log(), "options": ["rbind", "rw"],
        }));
        mounts.extend(list(&container["volumeMounts"]).map(|mount| self.mount(mount, objects)));
        let limit = text(&container["resources"]["limits"]["memory"]);
        let limit: u64 = limit.strip_suffix("Mi").and_then(|mebibytes| mebibytes.parse().ok()).expect("a limit in Mi");
        let cwd = container.get("workingDir").or_else(|| image.config.get("WorkingDir")).map_or("/".to_owned(), text);
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": image.root, "readonly": security["readOnlyRootFilesystem"]},
            "hostname": "pod",
            "process": {
                "args": arguments,
                "env": environment,
                "cwd": cwd,
                "user": {"uid": user, "gid": group},
                "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
                "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
            },
            "mounts": mounts,
            "linux": {
                "resources": {"memory": {"limit": limit << 20, "swap": limit << 20}},
                "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            },
        })
    }

    fn mount(&self, mount: &Value, objects: &Objects) -> Value {
        understood(mount, "volumeMount", &["name", "mountPath", "subPath", "readOnly"]);
        let name = text(&mount["name"]);
        let volume = list(&self.spec["volumes"]).find(|volume| volume["name"] == mount["name"]);
        let volume = volume.unwrap_or_else(|| panic!("there is no volume {name}"));
        let mut options = vec!["rbind"];
        let source = match volume.get("image") {
            Some(image) => {
                options.push("noexec");
                objects.images[&text(&image["reference"])].root.clone()
            }
            None => self.volume(&name),
        };
        // A subPath is one file, not the link to it.
        let source = match mount["subPath"].as_str() {
            Some(path) => source.join(path).canonicalize().unwrap(),
            None => source,
        };
        let read_only = mount["readOnly"] == true || volume.get("emptyDir").is_none();
        options.push(if read_only { "ro" } else { "rw" });
        json!({"destination": mount["mountPath"], "type": "bind", "source": source, "options": options})
    }

    fn termination_log(&self) -> PathBuf {
        self.folder.path().join("termination-log")
    }

    /// What its status says of how the last container ended.
    pub fn termination_message(&self) -> String {
        std::fs::read_to_string(self.termination_log()).unwrap_or_default()
    }

    /// A file in one of its volumes.
    pub fn file(&self, volume: &str, name: &str) -> String {
        std::fs::read_to_string(self.volume(volume).join(name)).unwrap_or_default()
    }

    /// As [`Pod::file`], for what is no text.
    pub fn bytes(&self, volume: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.volume(volume).join(name)).unwrap_or_default()
    }
}

impl Running {
    /// Waits until the log says `text`.
    ///
    /// # Panics
    /// The container ends before.
    pub async fn says(&mut self, text: &str) {
        while !self.read.contains(text) {
            let before = self.read.len();
            self.log.read_line(&mut self.read).await.unwrap();
            assert!(self.read.len() > before, "it ended without `{text}`:\n{}", self.read);
        }
    }

    /// Sends a signal to the container's process 1, as the kubelet does when the pod is deleted.
    pub fn signal(&self, signal: &str) {
        tools::output(Command::new("runc").arg("--root").arg(&self.state).args(["kill", &self.name, signal]));
    }

    /// The most memory that the container has used so far, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        let mut runc = Command::new("runc");
        let events = runc.arg("--root").arg(&self.state).args(["events", "--stats", &self.name]).output().ok()?;
        let stats: Value = serde_json::from_slice(&events.stdout).ok()?;
        stats.pointer("/data/memory/usage/max")?.as_u64()
    }

    /// Waits for the end.
    pub async fn end(mut self) -> Run {
        let mut stdout = String::new();
        let (log, out) = tokio::join!(self.log.read_to_string(&mut self.read), self.stdout.read_to_string(&mut stdout));
        log.and(out).unwrap();
        let status = self.process.wait().await.unwrap();
        Run { code: u8::try_from(status.code().unwrap_or(255)).unwrap_or(255), stdout, stderr: self.read.clone() }
    }

    /// Waits for the end, but not longer than `limit`.
    ///
    /// # Panics
    /// It takes longer.
    pub async fn end_within(self, limit: Duration) -> Run {
        tokio::time::timeout(limit, self.end()).await.expect("it does not end")
    }
}

fn understood(value: &Value, what: &str, fields: &[&str]) {
    for field in value.as_object().into_iter().flat_map(|object| object.keys()) {
        assert!(fields.contains(&field.as_str()), "the {what} has `{field}`, which is not obeyed here");
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
