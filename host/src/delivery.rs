//! Getting the component to where it runs other than in this program: a file, a ConfigMap, an OCI artifact.

use std::path::{Path, PathBuf};

use lexopt::Arg;

use crate::component_file;
use crate::sandbox::COMPONENT;

mod configmap;
mod files;
mod oci;

use configmap::Entry;
pub use files::sha256;
use files::{read, write};

/// The name of the component as a file.
const NAME: &str = "qdrant-backup.wasm";

/// One of the program's own commands: they write files and touch nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `component FILE`: writes the built-in component.
    Component {
        /// Where to.
        file: PathBuf,
    },
    /// `configmap MANIFEST [COMPONENT [KEY]]`: puts a component into a manifest's `binaryData`, compressed.
    ConfigMap {
        /// The YAML file, changed in place.
        manifest: PathBuf,
        /// The component; the built-in one by default.
        component: Option<PathBuf>,
        /// The key in `binaryData`; the component's file name and `.xz` by default.
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

/// What the arguments of one of the commands ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Do it.
    Do(Delivery),
    /// Print this text on standard output and succeed.
    Print(String),
}

/// A command as the command line and its help know it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    /// What to do with so many arguments, if they are neither too few nor too many.
    of: fn(&[PathBuf]) -> Option<Delivery>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "component",
        arguments: "FILE",
        help: "write the built-in component to FILE",
        of: |arguments| match arguments {
            [file] => Some(Delivery::Component { file: file.clone() }),
            _ => None,
        },
    },
    Command {
        name: "configmap",
        arguments: "MANIFEST [COMPONENT [KEY]]",
        help: "put the component (the built-in one, or the file COMPONENT) into the ConfigMap in the YAML file MANIFEST,\n\
               compressed by xz, as binaryData KEY (by default the name of the file and .xz, in place of a key without\n\
               .xz); all else in MANIFEST stays as it is",
        of: |arguments| match arguments {
            [manifest, more @ ..] if more.len() <= 2 => Some(Delivery::ConfigMap {
                manifest: manifest.clone(),
                component: more.first().cloned(),
                key: more.get(1).map(|key| key.display().to_string()),
            }),
            _ => None,
        },
    },
    Command {
        name: "oci",
        arguments: "DIR [COMPONENT]",
        help: "write the component as a wasm OCI artifact: an image layout in DIR, ready to be pushed",
        of: |arguments| match arguments {
            [directory, more @ ..] if more.len() <= 1 => {
                Some(Delivery::Oci { directory: directory.clone(), component: more.first().cloned() })
            }
            _ => None,
        },
    },
];

/// Understands `arguments`; `None` when they are not for one of the commands.
///
/// # Errors
/// Arguments are missing, too many or options; says how to call it.
pub fn parse(arguments: &[String]) -> Option<Result<Asked, String>> {
    let of_name = |name: &String| COMMANDS.iter().find(|command| command.name == name);
    match arguments {
        [help, name] if matches!(help.as_str(), "help" | "--help" | "-h") => {
            of_name(name).map(|command| Ok(Asked::Print(command.help())))
        }
        [name, arguments @ ..] => of_name(name).map(|command| command.parse(arguments)),
        [] => None,
    }
}

/// The commands for the program's help.
pub fn help() -> String {
    let mut text = "Delivery of the component (these commands write files and connect to nothing):\n".to_owned();
    for command in COMMANDS {
        text.push_str(&format!("  {} {}\n", command.name, command.arguments));
        for line in command.help.lines() {
            text.push_str(&format!("          {line}\n"));
        }
    }
    text
}

impl Command {
    fn parse(&self, arguments: &[String]) -> Result<Asked, String> {
        let mut values = Vec::new();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|error| self.wrong(&error))? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(Asked::Print(self.help())),
                Arg::Value(value) => values.push(PathBuf::from(value)),
                option => return Err(self.wrong(&option.unexpected())),
            }
        }
        (self.of)(&values).map(Asked::Do).ok_or_else(|| self.usage())
    }

    fn usage(&self) -> String {
        format!("usage: qdrant-backup {} {}", self.name, self.arguments)
    }

    fn wrong(&self, error: &lexopt::Error) -> String {
        format!("{error}\n{}", self.usage())
    }

    fn help(&self) -> String {
        format!("{}\n\n{}\n", self.usage(), self.help)
    }
}

impl Delivery {
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
                fill_config_map(manifest, component.as_deref(), key.as_deref())
            }
            Self::Oci { directory, component } => {
                let wasm = load(component.as_deref())?;
                let reference = oci::write(directory, &wasm)?;
                Ok(format!("{}: {}, manifest {reference}", directory.display(), described(&wasm)))
            }
        }
    }
}

/// Puts the component of `component`, or the built-in one, into the ConfigMap of `manifest`.
fn fill_config_map(manifest: &Path, component: Option<&Path>, key: Option<&str>) -> Result<String, String> {
    let file = manifest.display();
    let wasm = load(component)?;
    let packed = component_file::compress(&wasm).map_err(|error| format!("can't compress the component: {error}"))?;
    let usual = component.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or(NAME);
    let usual = [".xz", ".gz"].iter().find_map(|ending| usual.strip_suffix(ending)).unwrap_or(usual);
    let entry = match key {
        Some(key) => Entry { key: key.to_owned(), replaces: None, value: &packed },
        // Earlier versions wrote it as it is, under a name without `.xz`.
        None => Entry { key: format!("{usual}.xz"), replaces: Some(usual), value: &packed },
    };
    let text = String::from_utf8(read(manifest)?).map_err(|_| format!("{file} is not UTF-8 text"))?;
    let filled = configmap::fill(&text, &entry).map_err(|why| format!("{file}: {why}"))?;
    write(manifest, filled.text.as_bytes())?;
    let replaced = filled.replaced.map_or_else(String::new, |old| {
        format!(
            "\n`{old}`, which an earlier version wrote, is gone: name the new key in every pod that names the old one"
        )
    });
    Ok(format!(
        "{file}: `{key}` is {}, {} bytes compressed by xz; the ConfigMap has {} of the {} bytes that Kubernetes accepts\n\
         a pod that mounts the ConfigMap at /component runs it by `--component /component/{key}`{replaced}\n\
         apply it by `kubectl apply --server-side -f {file}`: a client-side apply takes no more than 262144 bytes",
        described(&wasm),
        packed.len(),
        filled.size,
        configmap::LIMIT,
        key = entry.key,
    ))
}

/// The component in `file`, unpacked, or the built-in one.
fn load(file: Option<&Path>) -> Result<Vec<u8>, String> {
    let Some(file) = file else { return Ok(COMPONENT.to_vec()) };
    component_file::read(file).map_err(|why| format!("{} can't be used: {why}", file.display()))
}

fn described(wasm: &[u8]) -> String {
    format!("a component of {} bytes, sha256 {}", wasm.len(), sha256(wasm))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The first bytes of every component, which are one.
    const SMALLEST: &[u8] = b"\0asm\x0d\0\x01\0";

    fn parse(arguments: &[&str]) -> Option<Result<Asked, String>> {
        super::parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn commands_and_their_arguments() {
        let configmap = parse(&["configmap", "m.yaml", "c.wasm", "key"]).unwrap().unwrap();
        let expected = Delivery::ConfigMap {
            manifest: "m.yaml".into(),
            component: Some("c.wasm".into()),
            key: Some("key".into()),
        };
        assert_eq!(configmap, Asked::Do(expected));
        for wrong in
            [&["configmap"][..], &["configmap", "a", "b", "c", "d"], &["oci"], &["oci", "a", "b", "c"], &["component"]]
        {
            assert!(parse(wrong).unwrap().unwrap_err().starts_with("usage: qdrant-backup"), "{wrong:?}");
        }
        assert!(parse(&["create_snap"]).is_none() && parse(&[]).is_none());
    }

    #[test]
    fn an_option_is_no_file() {
        for wrong in [&["component", "--file=x"][..], &["configmap", "m.yaml", "--key"], &["oci", "-f", "x"]] {
            let why = parse(wrong).unwrap().unwrap_err();
            assert!(why.contains("option") && why.contains("\nusage: qdrant-backup"), "{wrong:?}: {why}");
        }
        let dashed = Asked::Do(Delivery::Component { file: "--file".into() });
        assert_eq!(parse(&["component", "--", "--file"]), Some(Ok(dashed)));
    }

    #[test]
    fn each_command_has_its_help() {
        for command in COMMANDS {
            let asked = Some(Ok(Asked::Print(command.help())));
            for arguments in [[command.name, "--help"], [command.name, "-h"], ["help", command.name]] {
                assert_eq!(parse(&arguments), asked, "{arguments:?}");
            }
            assert!(command.help().contains(command.arguments) && help().contains(command.arguments));
        }
        assert_eq!((parse(&["help"]), parse(&["help", "create_snap"])), (None, None));
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

    #[test]
    fn a_config_map_gets_the_component_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write(&path("own.wasm"), SMALLEST).unwrap();
        write(&path("packed.wasm.gz"), &component_file::compress(SMALLEST).unwrap()).unwrap();
        for (component, key, expected) in [
            (None, None, "qdrant-backup.wasm.xz"),
            (Some("own.wasm"), None, "own.wasm.xz"),
            (Some("packed.wasm.gz"), None, "packed.wasm.xz"),
            (Some("own.wasm"), Some("any"), "any"),
        ] {
            let manifest = path("m.yaml");
            write(&manifest, b"kind: ConfigMap\n").unwrap();
            let said = fill_config_map(&manifest, component.map(path).as_deref(), key).unwrap();
            let text = std::fs::read_to_string(&manifest).unwrap();
            let value = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{expected}: "))).unwrap();
            write(&path("written"), &STANDARD.decode(value).unwrap()).unwrap();
            let (packed, unpacked) = (read(&path("written")).unwrap(), load(Some(&path("written"))).unwrap());
            assert!(packed != unpacked && unpacked == load(component.map(path).as_deref()).unwrap(), "{expected}");
            for text in [
                format!("`{expected}` is a component of {} bytes", unpacked.len()),
                sha256(&unpacked),
                format!("{} bytes compressed by xz", packed.len()),
                format!("--component /component/{expected}`\n"),
            ] {
                assert!(said.contains(&text), "{text} is missing in {said}");
            }
        }
    }

    #[test]
    fn the_key_of_an_older_version_is_replaced_unless_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, component) = (directory.path().join("m.yaml"), directory.path().join("c.wasm"));
        write(&component, SMALLEST).unwrap();
        let fill = |key| {
            write(&manifest, b"kind: ConfigMap\nbinaryData:\n  c.wasm: AGFzbQ== # ours\n").unwrap();
            (fill_config_map(&manifest, Some(&component), key).unwrap(), std::fs::read_to_string(&manifest).unwrap())
        };
        let (said, text) = fill(None);
        assert!(said.contains("`c.wasm`, which an earlier version wrote, is gone"), "{said}");
        assert!(
            text.contains("  c.wasm.xz: /Td6") && text.contains(" # ours\n") && !text.contains("c.wasm: "),
            "{text}"
        );
        let (said, text) = fill(Some("c.wasm"));
        assert!(!said.contains("earlier version") && said.contains("--component /component/c.wasm`"), "{said}");
        assert!(text.contains("  c.wasm: /Td6") && !text.contains(".xz"), "{text}");
    }
}
