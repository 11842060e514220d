//! The built component asks for what the worlds in `wit/` say and for nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wit_parser::{Resolve, WorldId};

fn world(version: &str, change: impl FnOnce(String) -> String) -> (Resolve, WorldId) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit").join(version);
    let mut resolve = Resolve::default();
    let folder = tempfile::TempDir::new().unwrap();
    copy(&wit, folder.path());
    let text = std::fs::read_to_string(wit.join("world.wit")).unwrap();
    std::fs::write(folder.path().join("world.wit"), change(text)).unwrap();
    let (package, _) = resolve.push_dir(folder.path()).unwrap();
    let world = resolve.select_world(&[package], Some("backup")).unwrap();
    (resolve, world)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn holds(version: &str, change: impl FnOnce(String) -> String) -> Result<(), String> {
    let (resolve, world) = world(version, change);
    wit_component::targets(&resolve, world, qdrant_backup::COMPONENT, true).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_component_keeps_to_the_contract() {
    holds("v0.1", |text| text).unwrap();
    holds("v0.2", |text| text).unwrap();
}

#[test]
fn an_import_too_many_or_an_export_too_few_is_noticed() {
    let without = |line: &'static str| {
        move |text: String| {
            assert!(text.contains(line), "{line}");
            text.replace(line, "")
        }
    };
    let error = holds("v0.2", without("import wasi:http/outgoing-handler@0.2.12;")).unwrap_err();
    assert!(error.contains("wasi:http/outgoing-handler"), "{error}");
    let error = holds("v0.2", |text| {
        text.replacen(
            "    export operations;",
            "    export operations;\n    export wasi:http/incoming-handler@0.2.12;",
            1,
        )
    })
    .unwrap_err();
    assert!(error.contains("incoming-handler"), "{error}");
}

#[test]
fn there_are_no_sockets_and_nothing_but_wasi() {
    let decoded = wit_component::decode(qdrant_backup::COMPONENT).unwrap();
    let resolve = decoded.resolve();
    let world = resolve.worlds.iter().next().unwrap().1;
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    assert!(imports.len() > 10, "{imports:?}");
    for import in imports {
        assert!(import.starts_with("wasi:") && !import.starts_with("wasi:sockets"), "{import}");
    }
}

/// The content of the component's own custom section of this name.
fn custom(name: &str) -> Option<String> {
    let mut depth = 0;
    for payload in wasmparser::Parser::new(0).parse_all(qdrant_backup::COMPONENT) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            wasmparser::Payload::CustomSection(section) if depth == 0 && section.name() == name => {
                return Some(String::from_utf8_lossy(section.data()).into_owned());
            }
            _ => {}
        }
    }
    None
}

#[test]
fn the_component_says_what_it_is() {
    assert_eq!(custom("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(custom("licenses").as_deref(), Some("Apache-2.0"));
    assert_eq!(custom("description").as_deref(), Some("Backs up Qdrant to S3 and restores it"));
    assert_eq!(custom("component-name").as_deref(), Some("\0\u{e}\rqdrant-backup"));
}

#[test]
fn everything_in_the_contract_is_documented() {
    let (resolve, world) = world("v0.2", |text| text);
    assert!(resolve.worlds[world].docs.contents.is_some());
    let (_, interface) = resolve.interfaces.iter().find(|(_, one)| one.name.as_deref() == Some("operations")).unwrap();
    assert!(interface.docs.contents.is_some());
    let silent = interface.functions.values().filter(|function| function.docs.contents.is_none());
    let mut silent: Vec<String> = silent.map(|function| function.name.clone()).collect();
    for (name, id) in &interface.types {
        if resolve.types[*id].docs.contents.is_none() {
            silent.push(name.clone());
        }
    }
    assert!(silent.is_empty(), "no words on {silent:?}");
}

/// A ConfigMap takes 1,048,576 bytes in all, with what else is in it.
#[test]
fn the_component_fits_a_config_map() {
    let folder = tempfile::TempDir::new().unwrap();
    let manifest = folder.path().join("configmap.yaml");
    std::fs::write(&manifest, "kind: ConfigMap\n").unwrap();
    let (io, captured) = qdrant_backup::Io::capture();
    let arguments = ["configmap".to_owned(), manifest.display().to_string()];
    let code = qdrant_backup::command_line(&arguments, &qdrant_backup::Environment::default(), &io);
    assert_eq!(code, 0, "{}", captured.stderr());
    let text = std::fs::read_to_string(&manifest).unwrap();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("qdrant-backup.wasm.xz: ")).unwrap();
    let compressed = STANDARD.decode(value).unwrap().len();
    println!("the component has {} bytes, {compressed} compressed", qdrant_backup::COMPONENT.len());
    assert!(compressed <= 820_000, "{compressed} bytes");
}
