//! `scripts/set-up.sh` on a machine that has nothing: it names what is missing, and how to install it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs it with these programs on the path, besides those that every system has.
fn set_up(what: &str, programs: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for program in ["awk", "bash", "cat", "cksum", "df", "dirname", "env", "id", "sort", "uname"].iter().chain(programs)
    {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(program))
            .find(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/bin/true"));
        symlink(found, folder.path().join(program)).unwrap();
    }
    // A tree in which nothing was installed yet.
    let (from, tree) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), tempfile::tempdir().unwrap());
    for file in ["scripts/set-up.sh", "rust-toolchain.toml", "tests/requirements.txt", "tests/kubernetes/tools.txt"] {
        let copy = tree.path().join(file);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), copy).unwrap();
    }
    Command::new(folder.path().join("bash"))
        .arg(tree.path().join("scripts/set-up.sh"))
        .arg(what)
        .env("PATH", folder.path())
        .env_remove("QDRANT_BACKUP_PYTHON")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap()
}

fn said(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}

#[test]
fn a_machine_without_anything_is_told_what_to_install() {
    let run = set_up("demo", &[]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    for missing in ["https://rustup.rs", "apt-get install gcc", "apt-get install make"] {
        assert!(said(&run).contains(missing), "{}", said(&run));
    }
}

#[test]
fn what_is_there_is_not_called_missing() {
    let run = set_up("demo", &["cargo", "rustc", "rustup", "cc", "make"]);
    assert!(run.status.success(), "{}", said(&run));
    assert!(!said(&run).contains("missing"), "{}", said(&run));
}

#[test]
fn tests_that_will_be_skipped_are_named() {
    let run = set_up("test", &["cargo", "rustc", "rustup", "cc", "make"]);
    assert!(run.status.success(), "{}", said(&run));
    for skipped in ["apt-get install python3-venv", "apt-get install buildah"] {
        assert!(said(&run).contains(skipped), "{}", said(&run));
    }
}
