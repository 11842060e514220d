use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::component::{Answer, ComponentFile, Status};
use crate::process::{Ended, run};

const SOURCE: (&str, &str) = ("QDRANT_SOURCE_HOSTS", "http://127.0.0.1:1");
pub const RESTORE: &[(&str, &str)] = &[
    ("QDRANT_RESTORE_HOSTS", "127.0.0.1:1"),
    ("QDRANT_S3_ENDPOINT_URL", "http://127.0.0.1:1"),
    ("QDRANT_S3_BUCKET_NAME", "bucket"),
    ("QDRANT_S3_ACCESS_KEY_ID", "id"),
    ("QDRANT_S3_SECRET_ACCESS_KEY", "key"),
];

#[track_caller]
fn check(ended: &Ended, code: i32, stderr: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for text in stderr {
        assert!(ended.stderr.contains(text), "{text:?} is missing in {ended:?}");
    }
}

fn with_component(file: &ComponentFile, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let path = file.path();
    let directory = tempfile::tempdir().unwrap();
    let own = ["--component", path.to_str().unwrap(), "--work-dir", directory.path().to_str().unwrap()];
    run(&[&own, arguments].concat(), environment)
}

#[test]
fn help_is_data_and_names_tasks_and_options() {
    let ended = run(&["--help"], &[]);
    check(&ended, 0, &[]);
    for text in ["create_snap", "recover_snap", "--allow-host", "QDRANT_RUN_DEADLINE", "124"] {
        assert!(ended.stdout.contains(text), "{text:?} is missing in {ended:?}");
    }
    assert_eq!(ended.stderr, "");
}

#[test]
fn help_for_one_task() {
    let ended = run(&["recover_snap", "--help"], &[]);
    check(&ended, 0, &[]);
    assert!(ended.stdout.contains("recover_snap") && ended.stdout.contains("--snapshots"), "{ended:?}");
}

#[test]
fn the_version_is_one_line() {
    let ended = run(&["--version"], &[]);
    check(&ended, 0, &[]);
    assert!(ended.stdout.contains(env!("CARGO_PKG_VERSION")), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
}

#[test]
fn a_wrong_command_line_is_2_with_the_usage_on_stderr() {
    for arguments in [&["make_coffee"][..], &[], &["create_snap", "--no-such-option"], &["create_snap", "--work-dir"]] {
        let ended = run(arguments, &[SOURCE]);
        check(&ended, 2, &[]);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{ended:?}");
    }
}

#[test]
fn wrong_settings_are_2_and_listed_together() {
    let environment = [("QDRANT_RUN_DEADLINE", "soon"), ("QDRANT_MEMORY_LIMIT", "1"), ("QDRANT_HTTP_PORT", "0")];
    let ended = run(&["create_snap"], &environment);
    check(
        &ended,
        2,
        &["QDRANT_RUN_DEADLINE: ", "QDRANT_MEMORY_LIMIT: ", "QDRANT_HTTP_PORT: ", "QDRANT_SOURCE_HOSTS: "],
    );
}

#[test]
fn what_only_the_component_checks_is_2_as_well() {
    let ended = run(&["create_snap"], &[("QDRANT_HTTP_PORT", "0")]);
    check(&ended, 2, &["QDRANT_SOURCE_HOSTS: ", "QDRANT_HTTP_PORT: "]);
}

#[test]
fn files_that_are_not_there_are_2_and_listed_together() {
    let arguments = ["recover_snap", "--work-dir", "/no/dir", "--ca-file", "/no/ca.pem", "--snapshots", "/no/list"];
    let ended = run(&arguments, RESTORE);
    check(&ended, 2, &["--work-dir", "`/no/dir` does not exist", "`/no/ca.pem`", "`/no/list`"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = run(&["create_snap", "--work-dir", file.path().to_str().unwrap()], &[SOURCE]);
    check(&ended, 2, &["is not a directory"]);
}

#[test]
fn a_ca_file_without_certificates_is_2() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello").unwrap();
    let ended = run(&["create_snap"], &[SOURCE, ("QDRANT_CA_FILE", file.path().to_str().unwrap())]);
    check(&ended, 2, &["QDRANT_CA_FILE", "holds no certificate"]);
}

#[test]
fn the_status_is_the_exit_code() {
    for (status, code) in [(Status::Done, 0), (Status::Failed, 1), (Status::Partial, 3)] {
        let ended = with_component(&ComponentFile::answering(Answer::Status(status)), &["create_snap"], &[SOURCE]);
        check(&ended, code, &[]);
        assert_eq!(ended.stderr, "", "the component tells what it did");
    }
}

#[test]
fn a_run_that_could_not_go_on_says_why() {
    let file = ComponentFile::answering(Answer::Failed("no peer answers"));
    check(&with_component(&file, &["create_snap"], &[SOURCE]), 1, &["no peer answers"]);
    let ended = with_component(&file, &["create_snap"], &[SOURCE, ("LOG_FORMAT", "json")]);
    check(&ended, 1, &[]);
    let line: serde_json::Value = serde_json::from_str(ended.stderr.trim()).unwrap();
    assert_eq!(line["message"], "no peer answers");
}

#[test]
fn a_typing_error_in_a_name_is_a_warning() {
    let file = ComponentFile::answering(Answer::Status(Status::Done));
    let ended = with_component(&file, &["create_snap"], &[SOURCE, ("QDRANT_SOURCE_HOST", "x"), ("HOSTNAME", "y")]);
    check(&ended, 0, &["QDRANT_SOURCE_HOST ", "QDRANT_SOURCE_HOSTS"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn the_snapshots_file_is_handed_over_by_its_content() {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "host,collection,snapshot").unwrap();
    let path = list.path().to_str().unwrap();
    let file = ComponentFile::repeating_the_snapshots_file();
    check(
        &with_component(&file, &["recover_snap", "--snapshots", path], RESTORE),
        1,
        &["] host,collection,snapshot\n"],
    );
    let environment = [RESTORE, &[("QDRANT_SNAPSHOTS_FILE", path)]].concat();
    check(&with_component(&file, &["recover_snap"], &environment), 1, &["] host,collection,snapshot\n"]);
    let ended = with_component(&file, &["create_snap"], &[SOURCE, ("QDRANT_SNAPSHOTS_FILE", "/no/such")]);
    check(&ended, 1, &[]);
    assert!(!ended.stderr.contains("/no/such"), "only a restore reads it: {ended:?}");
}

#[test]
fn a_component_without_the_typed_interface_is_named_and_refused() {
    let empty = ComponentFile::from_bytes(b"\0asm\x0d\0\x01\0");
    let ended = with_component(&empty, &["create_snap"], &[SOURCE]);
    check(&ended, 1, &["exports neither `vectorkeep:qdrant-backup/operations@0.2.0`", "same release"]);
}

#[test]
fn a_compressed_component_runs_whatever_its_file_is_called() {
    let file = ComponentFile::answering(Answer::Status(Status::Partial));
    let component = std::fs::read(file.path()).unwrap();
    let packed = ComponentFile::from_bytes(&compressed(&component));
    check(&with_component(&packed, &["create_snap"], &[SOURCE]), 3, &[]);
    let cut_off = ComponentFile::from_bytes(&compressed(&component)[..100]);
    let ended = with_component(&cut_off, &["create_snap"], &[SOURCE]);
    check(&ended, 1, &["component.wasm` can't be used: it is cut off"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    // An option of the program's, wherever it stands; here after the task.
    let path = packed.path();
    let ended = run(&["create_snap", &format!("--component={}", path.display())], &[SOURCE]);
    check(&ended, 3, &[]);
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn other_compressions_are_refused_with_what_to_do() {
    let zstd = ComponentFile::from_bytes(&[0x28, 0xb5, 0x2f, 0xfd, 0x24, 0, 1, 0, 0]);
    let ended = with_component(&zstd, &["create_snap"], &[SOURCE]);
    check(&ended, 1, &["component.wasm` can't be used: it is compressed by zstd", "`zstd -d`", "`xz -9`"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn the_commands_of_delivery_have_help() {
    let ended = run(&["configmap", "--help"], &[]);
    check(&ended, 0, &[]);
    assert!(ended.stdout.starts_with("usage: qdrant-backup configmap MANIFEST"), "{ended:?}");
    let ended = run(&["configmap", "--key", "k"], &[]);
    check(&ended, 2, &["--key", "usage: qdrant-backup configmap MANIFEST"]);
}

#[test]
fn a_file_that_is_no_component_is_named_and_refused() {
    let ended = with_component(&ComponentFile::from_bytes(b"hello"), &["create_snap"], &[SOURCE]);
    check(&ended, 1, &["component.wasm` can't be used"]);
    let ended = run(&["create_snap", "--component", "/no/such.wasm"], &[SOURCE]);
    check(&ended, 1, &["`/no/such.wasm` can't be used: No such file"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}
