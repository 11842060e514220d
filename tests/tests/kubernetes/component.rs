//! The ways to the component in the pods.

use qdrant_backup_tests::manifests::{self, Manifest, Overlay};
use serde_json::{Value, json};

/// `k8s/` with every Job, in which `parts` of `component/` are turned on.
fn overlay_with(parts: &[&str]) -> Overlay {
    let overlay = Overlay::new()
        .edit("backup/kustomization.yaml", "# - backup-", "- backup-")
        .turn_on("sets/kustomization.yaml", "sets-drill-cronjob.yaml")
        .turn_on("restore/kustomization.yaml", "sets-restore-job.yaml")
        .turn_on("restore/kustomization.yaml", "restore-specific-job.yaml");
    let turn_on =
        |overlay: Overlay, part: &&str| overlay.turn_on("common/kustomization.yaml", &format!("../component/{part}"));
    parts.iter().fold(overlay, turn_on)
}

fn jobs(overlay: Overlay) -> Vec<Value> {
    let built = overlay.build_together(&["backup", "restore", "sets"]).unwrap_or_default().into_iter();
    built.map(|Manifest { content, .. }| content).filter(manifests::is_job).collect()
}

fn volume<'a>(pod: &'a Value, name: &str) -> &'a Value {
    pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == name).unwrap()
}

/// Every way to deliver the component fits every Job: what is mounted, where, and what is run of it.
#[test]
fn the_component_can_be_mounted_into_every_pod() {
    const COMPRESSED: &str = "/component/qdrant-backup.wasm.xz";
    const PLAIN: &str = "/component/qdrant-backup.wasm";
    for (parts, source, program, file) in [
        (&["configmap"][..], "configMap", None, COMPRESSED),
        (&["configmap", "unpack"], "emptyDir", None, PLAIN),
        (&["configmap", "unpack", "wasmtime"], "emptyDir", Some("/wasmtime"), PLAIN),
        (&["image-volume"], "image", None, PLAIN),
        (&["image-volume", "wasmtime"], "image", Some("/wasmtime"), PLAIN),
    ] {
        for content in jobs(overlay_with(parts)) {
            let pod = manifests::pod(&content);
            let container = &pod["containers"][0];
            let mut arguments = container["args"].as_array().unwrap().iter();
            if program.is_none() {
                assert_eq!(arguments.next().unwrap(), "--component", "{content:#}");
            }
            assert_eq!(arguments.next().unwrap(), file, "{content:#}");
            assert_eq!(container["command"][0].as_str(), program);
            // The image of the way that is chosen may have no user but root, and the pod would not start.
            let user = container["securityContext"]["runAsUser"].as_u64();
            assert_eq!(user, program.map(|_| 65532), "{content:#}");
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
    for content in jobs(overlay_with(&["configmap", "unpack"])) {
        let pod = manifests::pod(&content);
        let (init, container) = (&pod["initContainers"][0], &pod["containers"][0]);
        let command = json!(["sh", "-c", "unxz -c /packed/qdrant-backup.wasm.xz > /component/qdrant-backup.wasm"]);
        assert_eq!(init["command"], command);
        let mut security = container["securityContext"].clone();
        security["runAsUser"] = json!(65532);
        assert_eq!(init["securityContext"], security);
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
    if let Some(built) = overlay_with(&["configmap", "wasmtime"]).text("backup") {
        let why = built.unwrap_err();
        assert!(why.contains("args/1 failed: test failed"), "{why}");
    }
}

/// A key of one's own is mounted under the name that the program is told.
#[test]
fn another_key_is_set_where_it_is_mounted() {
    let file = "component/configmap/kustomization.yaml";
    let overlay = overlay_with(&["configmap"]).edit(file, "key: qdrant-backup.wasm.xz", "key: next.wasm.xz");
    for content in jobs(overlay) {
        let pod = manifests::pod(&content);
        let items = &volume(pod, "component")["configMap"]["items"];
        assert_eq!(*items, json!([{"key": "next.wasm.xz", "path": "qdrant-backup.wasm.xz"}]));
        assert_eq!(pod["containers"][0]["args"][1], "/component/qdrant-backup.wasm.xz");
    }
}

/// Back to the image: what `apply -k` leaves behind of the ConfigMap's way is nothing, as no list has a second owner.
#[test]
fn turned_off_again_nothing_of_it_is_left() {
    let (with, without) = (jobs(overlay_with(&["configmap"])), jobs(overlay_with(&[])));
    assert_eq!(with.len(), without.len());
    for (with, without) in with.iter().zip(&without) {
        let mounts = |manifest: &Value| manifest.to_string().contains("\"mountPath\":\"/component\"");
        assert!(mounts(with) && !mounts(without), "{without:#}");
    }
}

/// The committed template and the updater fit: what the updater makes of it is a valid ConfigMap with the component.
#[cfg(feature = "program")]
#[test]
fn the_updater_fills_the_template() {
    use std::io::Read;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use lzma_rust2::XzReader;

    let overlay = Overlay::new();
    let file = overlay.path("component/configmap/configmap-component.yaml");
    let component = overlay.path("component.wasm");
    std::fs::write(&component, qdrant_backup::COMPONENT).unwrap();
    let template = std::fs::read_to_string(&file).unwrap();
    for (arguments, key) in [
        (vec![file.display().to_string()], "qdrant-backup.wasm.xz"),
        (vec![file.display().to_string(), component.display().to_string()], "component.wasm.xz"),
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
        XzReader::new(STANDARD.decode(filled).unwrap().as_slice(), false).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == qdrant_backup::COMPONENT, "{key}: {} bytes", unpacked.len());
    }
}
