//! Getting the component to where it runs other than in this program: a file, a ConfigMap, an OCI artifact.

use std::io::Write;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::sandbox::COMPONENT;

mod configmap;
mod oci;

/// The name of the component as a file, and as a ConfigMap's key.
const NAME: &str = "qdrant-backup.wasm";

/// One of the program's own commands: they write files and touch nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `component FILE`: writes the built-in component.
    Component {
        /// Where to.
        file: PathBuf,
    },
    /// `configmap MANIFEST [COMPONENT [KEY]]`: puts a component into a manifest's `binaryData`.
    ConfigMap {
        /// The YAML file, changed in place.
        manifest: PathBuf,
        /// The component; the built-in one by default.
        component: Option<PathBuf>,
        /// The key in `binaryData`; the component's file name by default.
        key: Option<String>,
    },
    /// `oci DIR [COMPONENT]`: writes an OCI image layout with a component as wasm artifact.
    Oci {
        /// A directory that doesn't exist, is empty, or is such a layout.
        directory: PathBuf,
        /// The component; the built-in one by default.
        component: Option<PathBuf>,
    },
}

/// The commands for the help.
pub const HELP: &str = "\
Delivery of the component (these commands write files and connect to nothing):
  component FILE
          write the built-in component to FILE
  configmap MANIFEST [COMPONENT [KEY]]
          put the component (the built-in one, or the file COMPONENT) into the ConfigMap in the YAML file MANIFEST,
          as binaryData KEY (the name of the file by default); all else in MANIFEST stays as it is
  oci DIR [COMPONENT]
          write the component as a wasm OCI artifact: an image layout in DIR, ready to be pushed
";

impl Delivery {
    /// Understands `arguments`; `None` when they ask for something else.
    ///
    /// # Errors
    /// Arguments are missing or too many; says how to call it.
    pub fn parse(arguments: &[String]) -> Option<Result<Self, String>> {
        let (command, rest) = arguments.split_first()?;
        let path = |text: &String| PathBuf::from(text);
        Some(match (command.as_str(), rest) {
            ("component", [file]) => Ok(Self::Component { file: path(file) }),
            ("component", _) => Err("usage: qdrant-backup component FILE".to_owned()),
            ("configmap", [manifest, more @ ..]) if more.len() <= 2 => Ok(Self::ConfigMap {
                manifest: path(manifest),
                component: more.first().map(path),
                key: more.get(1).cloned(),
            }),
            ("configmap", _) => Err("usage: qdrant-backup configmap MANIFEST [COMPONENT [KEY]]".to_owned()),
            ("oci", [directory, more @ ..]) if more.len() <= 1 => {
                Ok(Self::Oci { directory: path(directory), component: more.first().map(path) })
            }
            ("oci", _) => Err("usage: qdrant-backup oci DIR [COMPONENT]".to_owned()),
            _ => return None,
        })
    }

    /// Does it; returns what to tell the user.
    ///
    /// # Errors
    /// What could not be read, understood or written, by name.
    pub fn run(&self) -> Result<String, String> {
        match self {
            Self::Component { file } => {
                write(file, COMPONENT)?;
                Ok(format!("{}: {}", file.display(), described(COMPONENT)))
            }
            Self::ConfigMap { manifest, component, key } => {
                let wasm = load(component.as_deref())?;
                let name = component.as_ref().and_then(|file| file.file_name()).and_then(|name| name.to_str());
                let key = key.as_deref().or(name).unwrap_or(NAME);
                let text = read(manifest)?;
                let text = String::from_utf8(text).map_err(|_| format!("{} is not UTF-8 text", manifest.display()))?;
                let filled =
                    configmap::fill(&text, key, &wasm).map_err(|why| format!("{}: {why}", manifest.display()))?;
                write(manifest, filled.text.as_bytes())?;
                Ok(format!(
                    "{file}: `{key}` is {}; the ConfigMap has {} of the {} bytes that Kubernetes accepts\n\
                     apply it by `kubectl apply --server-side -f {file}`: a client-side apply takes no more than 262144 bytes",
                    described(&wasm),
                    filled.size,
                    configmap::LIMIT,
                    file = manifest.display(),
                ))
            }
            Self::Oci { directory, component } => {
                let wasm = load(component.as_deref())?;
                let reference = oci::write(directory, &wasm)?;
                Ok(format!("{}: {}, manifest {reference}", directory.display(), described(&wasm)))
            }
        }
    }
}

/// The component in `file`, or the built-in one.
fn load(file: Option<&Path>) -> Result<Vec<u8>, String> {
    let Some(file) = file else { return Ok(COMPONENT.to_vec()) };
    let bytes = read(file)?;
    // Layer 1 in the second half of the version tells a component from a core module (component model, Binary.md).
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(bytes),
        Some([0, b'a', b's', b'm', ..]) => Err(format!("{} is a core wasm module and no component", file.display())),
        _ => Err(format!("{} is no wasm component", file.display())),
    }
}

fn described(wasm: &[u8]) -> String {
    format!("a component of {} bytes, sha256 {}", wasm.len(), sha256(wasm))
}

/// As hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("can't read {}: {error}", file.display()))
}

/// Writes all of it or nothing: beside `file` first, then in its place. A link stays one.
fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("can't write {}: {error}", file.display());
    let file = if file.is_symlink() { std::fs::canonicalize(file).map_err(failed)? } else { file.to_path_buf() };
    let name = file.file_name().ok_or_else(|| format!("can't write {}: it is no file", file.display()))?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(beside);
    let written = std::fs::File::create_new(&beside)
        .and_then(|mut new| new.write_all(bytes).and_then(|()| new.sync_all()))
        .and_then(|()| match std::fs::metadata(&file) {
            Ok(old) => std::fs::set_permissions(&beside, old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&beside, &file));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Option<Result<Delivery, String>> {
        Delivery::parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn commands_and_their_arguments() {
        let configmap = parse(&["configmap", "m.yaml", "c.wasm", "key"]).unwrap().unwrap();
        let expected = Delivery::ConfigMap {
            manifest: "m.yaml".into(),
            component: Some("c.wasm".into()),
            key: Some("key".into()),
        };
        assert_eq!(configmap, expected);
        for wrong in [&["configmap"][..], &["configmap", "a", "b", "c", "d"], &["oci"], &["component"]] {
            assert!(parse(wrong).unwrap().unwrap_err().starts_with("usage: qdrant-backup"), "{wrong:?}");
        }
        assert!(parse(&["create_snap"]).is_none() && parse(&[]).is_none());
    }

    #[test]
    fn the_component_is_written_whole_and_only_components_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.wasm");
        let said = Delivery::Component { file: file.clone() }.run().unwrap();
        assert!(said.contains(&sha256(COMPONENT)), "{said}");
        assert_eq!(load(Some(&file)).unwrap(), COMPONENT);
        for (bytes, why) in [(&b"\0asm\x01\0\0\0"[..], "core wasm module"), (b"#!/bin/sh\n", "no wasm component")] {
            write(&file, bytes).unwrap();
            assert!(load(Some(&file)).unwrap_err().contains(why));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(write(&directory.path().join("no/such/folder"), b"x").is_err());
    }
}
