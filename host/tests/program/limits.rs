//! What the sandbox keeps a component from, and how a run is stopped.

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use crate::component::{ANSWER, ComponentFile};
use crate::process::{Ended, command, run};

const SOURCE: (&str, &str) = ("QDRANT_SOURCE_HOSTS", "http://127.0.0.1:1");
const ENDLESS: &str = "(loop (br 0)) unreachable";

fn run_component(file: &ComponentFile, arguments: &[&str]) -> Ended {
    let path = file.path();
    let directory = tempfile::tempdir().unwrap();
    let own = ["create_snap", "--component", path.to_str().unwrap(), "--work-dir", directory.path().to_str().unwrap()];
    run(&[&own, arguments].concat(), &[SOURCE])
}

#[track_caller]
fn check_one_line(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for text in texts {
        assert!(ended.stderr.contains(text), "{text:?} is missing in {ended:?}");
    }
}

#[test]
fn memory_beyond_the_limit_says_how_to_raise_it() {
    // 16 MiB at a time.
    let hungry = ComponentFile::new("(loop (drop (memory.grow (i32.const 256))) (br 0)) unreachable");
    let ended = run_component(&hungry, &["--memory-limit", "64MiB"]);
    check_one_line(&ended, 1, &["limit of 64MiB", "--memory-limit 128MiB"]);
}

#[test]
fn a_crash_is_1_with_one_line() {
    check_one_line(
        &run_component(&ComponentFile::new("unreachable"), &[]),
        1,
        &["the component crashed", "unreachable"],
    );
}

#[test]
fn a_deadline_ends_a_run_that_computes_without_end() {
    let ended = run_component(&ComponentFile::new(ENDLESS), &["--deadline", "1s"]);
    check_one_line(&ended, 124, &["deadline of 1 s", "--deadline"]);
}

#[test]
fn sockets_are_not_to_be_had() {
    let file = ComponentFile::importing(
        "import wasi:sockets/instance-network@0.2.12;",
        r#"(import "wasi:sockets/instance-network@0.2.12" "instance-network" (func (result i32)))"#,
        "unreachable",
    );
    check_one_line(&run_component(&file, &[]), 1, &["can't be started", "wasi:sockets"]);
}

/// Gets a list from `function`, and crashes unless it has `length` entries.
fn list_of_length(interface: &str, function: &str, length: u32) -> ComponentFile {
    ComponentFile::importing(
        &format!("import {interface};"),
        &format!("(import \"{interface}\" \"{function}\" (func $list (param i32)))"),
        // The answer is a report with the status `done`: nothing but zeros.
        &format!(
            "(call $list (i32.const 512))
             (if (i32.ne (i32.load offset=4 (i32.const 512)) (i32.const {length})) (then unreachable))
             i32.const {ANSWER}"
        ),
    )
}

#[test]
fn a_component_sees_no_environment_or_arguments_and_one_folder() {
    for (interface, function, length) in [
        ("wasi:cli/environment@0.2.12", "get-environment", 0),
        ("wasi:cli/environment@0.2.12", "get-arguments", 0),
        ("wasi:filesystem/preopens@0.2.12", "get-directories", 1),
    ] {
        let ended = run_component(&list_of_length(interface, function, length), &[]);
        assert_eq!(ended.code, Some(0), "{function}: {ended:?}");
        let ended = run_component(&list_of_length(interface, function, length + 1), &[]);
        assert_eq!(ended.code, Some(1), "{function}: this has to be able to fail");
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until the process has a handler for `signal`, which the kernel shows as a bit.
fn wait_for_handler(child: &Child, signal: u32) {
    let status = format!("/proc/{}/status", child.id());
    loop {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0 {
            return;
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn secrets_are_in_no_argument_and_with_no_other_process() {
    let file = ComponentFile::new(ENDLESS);
    let path = file.path();
    let secrets = ["canary-api-key", "canary-restore-key", "canary-secret-key", "canary-token"];
    let environment = [
        SOURCE,
        ("QDRANT_API_KEY", secrets[0]),
        ("QDRANT_RESTORE_API_KEY", secrets[1]),
        ("QDRANT_S3_SECRET_ACCESS_KEY", secrets[2]),
        ("QDRANT_S3_SESSION_TOKEN", secrets[3]),
    ];
    let mut child = command(&["create_snap", "--component", path.to_str().unwrap()], &environment).spawn().unwrap();
    wait_for_handler(&child, 15);
    let of = |what: &str| std::fs::read(format!("/proc/{}/{what}", child.id())).unwrap();
    let text = |what: &str| String::from_utf8_lossy(&of(what)).into_owned();
    for secret in secrets {
        assert!(text("environ").contains(secret), "this has to be able to fail");
        for what in ["cmdline", "comm"] {
            assert!(!text(what).contains(secret), "{what}: {}", text(what));
        }
    }
    // Nobody else inherits them.
    for thread in std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap() {
        assert_eq!(std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default(), "");
    }
    child.kill().unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(secrets.iter().all(|secret| !ended.stderr.contains(secret)), "{ended:?}");
    // There is no option by which one could be an argument.
    let help = run(&["--help"], &[]).stdout;
    let options = help.lines().filter(|line| line.trim_start().starts_with("--"));
    assert!(options.clone().count() > 5, "{help}");
    for option in options.map(str::to_ascii_lowercase) {
        assert!(!["api-key", "secret", "token", "password"].iter().any(|word| option.contains(word)), "{option}");
    }
}

#[test]
fn signals_stop_a_run() {
    let file = ComponentFile::new(ENDLESS);
    let path = file.path();
    for (name, number, code) in [("TERM", 15, 143), ("INT", 2, 130)] {
        let child = command(&["create_snap", "--component", path.to_str().unwrap()], &[SOURCE]).spawn().unwrap();
        wait_for_handler(&child, number);
        signal(&child, name);
        let ended = Ended::from(child.wait_with_output().unwrap());
        check_one_line(&ended, code, &[&format!("stopped by SIG{name}"), "state files are consistent"]);
    }
}
