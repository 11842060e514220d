//! Components that mean harm: what they ask for is refused, and nobody outside notices them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::command_line::RESTORE;
use crate::component::{ANSWER, ComponentFile};
use crate::process::{Ended, run};

/// What a component's exit code tells of its attempt.
const DENIED: i32 = 0;
const FAILED: i32 = 1;
const SUCCEEDED: i32 = 3;

/// Ends the component with one of the statuses above: 0 done, 1 failed, 2 partial.
fn end(status: &str) -> String {
    format!("(i32.store offset=8 (i32.const {ANSWER}) {status}) (return (i32.const {ANSWER}))")
}

/// Text at 4096, where the components below read it.
fn text(text: &str) -> String {
    let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const 4096) \"{bytes}\")")
}

/// Sends `GET /` to `authority`.
fn requesting(authority: &str) -> ComponentFile {
    /// `HTTP-request-denied` among the error codes of `wasi:http/types`.
    const REQUEST_DENIED: u32 = 15;
    let core = format!(
        r#"(import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
           (import "wasi:http/types@0.2.12" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
           (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-scheme"
               (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
           (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-authority"
               (func $authority (param i32 i32 i32 i32) (result i32)))
           (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-path-with-query"
               (func $path (param i32 i32 i32 i32) (result i32)))
           (import "wasi:http/types@0.2.12" "[method]future-incoming-response.subscribe"
               (func $subscribe (param i32) (result i32)))
           (import "wasi:http/types@0.2.12" "[method]future-incoming-response.get" (func $get (param i32 i32)))
           (import "wasi:http/outgoing-handler@0.2.12" "handle" (func $handle (param i32 i32 i32 i32)))
           (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
           (data (i32.const 4000) "/")
           {}"#,
        text(authority)
    );
    let denied_if = |code: &str| end(&format!("(i32.ne {code} (i32.const {REQUEST_DENIED}))"));
    let body = format!(
        "(local $it i32)
         (local.set $it (call $request (call $fields)))
         (if (call $scheme (local.get $it) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)) (then {failed}))
         (if (call $authority (local.get $it) (i32.const 1) (i32.const 4096) (i32.const {length})) (then {failed}))
         (if (call $path (local.get $it) (i32.const 1) (i32.const 4000) (i32.const 1)) (then {failed}))
         (call $handle (local.get $it) (i32.const 0) (i32.const 0) (i32.const 512))
         (if (i32.load8_u (i32.const 512)) (then {at_once}))
         (local.set $it (i32.load (i32.const 520)))
         (call $block (call $subscribe (local.get $it)))
         (call $get (local.get $it) (i32.const 640))
         (if (i32.load8_u (i32.const 656)) (then {later}))
         {succeeded}
         unreachable",
        length = authority.len(),
        failed = end("(i32.const 1)"),
        at_once = denied_if("(i32.load8_u (i32.const 520))"),
        later = denied_if("(i32.load8_u (i32.const 664))"),
        succeeded = end("(i32.const 2)"),
    );
    let wit = "import wasi:http/types@0.2.12; import wasi:http/outgoing-handler@0.2.12; import wasi:io/poll@0.2.12;";
    ComponentFile::importing(wit, &core, &body)
}

/// Answers every request; counts the connections.
fn server(answer: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, connections)
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
}

/// Runs a component where `127.0.0.1` may be reached on `port` only.
fn attempt(file: &ComponentFile, port: u16, work: &Path, more: &[&str]) -> Ended {
    let path = file.path();
    let own = ["create_snap", "--component", path.to_str().unwrap(), "--work-dir", work.to_str().unwrap()];
    let port = port.to_string();
    let host = format!("http://127.0.0.1:{port}");
    run(&[&own, more].concat(), &[("QDRANT_SOURCE_HOSTS", host.as_str()), ("QDRANT_HTTP_PORT", port.as_str())])
}

#[test]
fn no_spelling_of_an_address_leads_past_the_allow_list() {
    let work = tempfile::tempdir().unwrap();
    let (allowed, welcome) = server(ok());
    let (other, intruders) = server(ok());
    for authority in [
        format!("127.0.0.1:{other}"),
        format!("localhost:{other}"),
        format!("LOCALHOST.:{other}"),
        // The right port of a name that was not given.
        format!("localhost:{allowed}"),
        format!("[::ffff:127.0.0.1]:{other}"),
        format!("[::ffff:7f00:1]:{other}"),
        format!("[::1]:{allowed}"),
        format!("127.0.0.1:{allowed}@127.0.0.1:{other}"),
        format!("127.0.0.1@localhost:{other}"),
        format!("user:password@127.0.0.1:{allowed}"),
        format!("127.1:{allowed}"),
        format!("0x7f.1:{other}"),
        format!("0x7f000001:{allowed}"),
        format!("2130706433:{other}"),
        format!("0177.0.0.1:{allowed}"),
        format!("127.0.0.1.:{other}"),
        format!("0:{other}"),
        "127.0.0.1".to_owned(),
    ] {
        let ended = attempt(&requesting(&authority), allowed, work.path(), &[]);
        assert_eq!(ended.code, Some(DENIED), "{authority}: {ended:?}");
        assert!(ended.stderr.contains("denied: "), "{authority}: {ended:?}");
    }
    // What is no authority at all does not even become a request.
    for authority in [
        format!("127.0.0.1:{allowed}/@127.0.0.1:{other}"),
        format!("127.0.0.1:{allowed}#@127.0.0.1:{other}"),
        format!("127.0.0.1:{allowed}?@127.0.0.1:{other}"),
        format!("127.0.0.1:{other}\r\nHost: x"),
        format!("127.0.0.1:{other} "),
        format!("[::1%25lo]:{other}x"),
    ] {
        let ended = attempt(&requesting(&authority), allowed, work.path(), &[]);
        assert!(matches!(ended.code, Some(DENIED | FAILED)), "{authority}: {ended:?}");
    }
    assert_eq!(welcome.load(Ordering::SeqCst) + intruders.load(Ordering::SeqCst), 0);

    // The same component gets through where it may.
    let ended = attempt(&requesting(&format!("127.0.0.1:{allowed}")), allowed, work.path(), &[]);
    assert_eq!((ended.code, welcome.load(Ordering::SeqCst)), (Some(SUCCEEDED), 1), "{ended:?}");
    // An IPv4 address mapped into IPv6 is the same address.
    let ended = attempt(&requesting(&format!("[::ffff:127.0.0.1]:{allowed}")), allowed, work.path(), &[]);
    assert_eq!(ended.code, Some(SUCCEEDED), "{ended:?}");
    let rule = format!("127.0.0.0/8:{other}");
    let ended =
        attempt(&requesting(&format!("127.0.0.1:{other}")), allowed, work.path(), &["--allow-host", rule.as_str()]);
    assert_eq!((ended.code, intruders.load(Ordering::SeqCst)), (Some(SUCCEEDED), 1), "{ended:?}");
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let work = tempfile::tempdir().unwrap();
    let (other, intruders) = server(ok());
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (allowed, asked) = server(redirect);
        let ended = attempt(&requesting(&format!("127.0.0.1:{allowed}")), allowed, work.path(), &[]);
        assert_eq!((ended.code, asked.load(Ordering::SeqCst)), (Some(SUCCEEDED), 1), "{ended:?}");
    }
    assert_eq!(intruders.load(Ordering::SeqCst), 0);
}

/// Opens `path` below the work directory, to write it where `create`; before that it makes a link `made` to `target`.
fn opening(path: &str, create: bool, target: Option<&str>) -> ComponentFile {
    let target = target.unwrap_or_default();
    let core = format!(
        r#"(import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
           (import "wasi:filesystem/types@0.2.12" "[method]descriptor.symlink-at"
               (func $link (param i32 i32 i32 i32 i32 i32)))
           (import "wasi:filesystem/types@0.2.12" "[method]descriptor.open-at"
               (func $open (param i32 i32 i32 i32 i32 i32 i32)))
           {} {}"#,
        text(&format!("{path}{target}")),
        "(data (i32.const 4000) \"made\")",
    );
    let (open_flags, flags) = if create { (1, 3) } else { (0, 1) };
    let body = format!(
        "(local $work i32)
         (call $directories (i32.const 512))
         (local.set $work (i32.load (i32.load (i32.const 512))))
         (if (i32.const {target_length}) (then
             (call $link (local.get $work) (i32.const {target_at}) (i32.const {target_length})
                 (i32.const 4000) (i32.const 4) (i32.const 600))))
         (call $open (local.get $work) (i32.const 1) (i32.const 4096) (i32.const {length})
             (i32.const {open_flags}) (i32.const {flags}) (i32.const 640))
         (if (i32.load8_u (i32.const 640)) (then {denied}))
         {succeeded}
         unreachable",
        length = path.len(),
        target_at = 4096 + path.len(),
        target_length = target.len(),
        denied = end("(i32.const 0)"),
        succeeded = end("(i32.const 2)"),
    );
    let wit = "import wasi:filesystem/preopens@0.2.12; import wasi:filesystem/types@0.2.12;";
    ComponentFile::importing(wit, &core, &body)
}

#[test]
fn no_path_leads_out_of_the_work_directory() {
    use std::os::unix::fs::symlink;
    let around = tempfile::tempdir().unwrap();
    let secret = around.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let work = around.path().join("work");
    std::fs::create_dir_all(work.join("inner")).unwrap();
    std::fs::write(work.join("state"), "state").unwrap();
    symlink("../secret", work.join("relative")).unwrap();
    symlink(&secret, work.join("absolute")).unwrap();
    symlink("..", work.join("up")).unwrap();
    symlink("/proc/self", work.join("process")).unwrap();
    let reading = |path: &str| attempt(&opening(path, false, None), 1, &work, &[]);
    for path in [
        "../secret",
        "inner/../../secret",
        "./inner/./../../secret",
        "relative",
        "absolute",
        "up/secret",
        "up/work/../secret",
        "process/environ",
        "/etc/passwd",
        secret.to_str().unwrap(),
        "..",
        "",
    ] {
        assert_eq!(reading(path).code, Some(DENIED), "{path}");
    }
    for path in ["../new", "up/new", "relative", "absolute", "inner/../../new", "/tmp/qdrant-backup-new"] {
        let ended = attempt(&opening(path, true, None), 1, &work, &[]);
        assert_eq!(ended.code, Some(DENIED), "{path}: {ended:?}");
    }
    // Nor by a link that it makes itself.
    for target in ["..", "/", "../secret", around.path().to_str().unwrap()] {
        for path in ["made/secret", "made/etc/passwd", "made"] {
            let ended = attempt(&opening(path, false, Some(target)), 1, &work, &[]);
            assert_eq!(ended.code, Some(DENIED), "{path} by {target}: {ended:?}");
            let _ = std::fs::remove_file(work.join("made"));
        }
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(around.path()).unwrap().count(), 2, "nothing new outside");

    for path in ["state", "inner/../state", "up/work/state"] {
        let expected = if path.starts_with("up") { DENIED } else { SUCCEEDED };
        assert_eq!(reading(path).code, Some(expected), "{path}: this has to be able to succeed");
    }
    assert_eq!(attempt(&opening("new", true, None), 1, &work, &[]).code, Some(SUCCEEDED));
    assert_eq!(attempt(&opening("made", false, Some("state")), 1, &work, &[]).code, Some(SUCCEEDED));
}

#[test]
fn the_snapshots_file_stays_as_it_is() {
    let around = tempfile::tempdir().unwrap();
    let work = around.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let list = around.path().join("list");
    std::fs::write(&list, ",docs,docs-1.snapshot\n").unwrap();
    std::os::unix::fs::symlink(&list, work.join("snapshots")).unwrap();
    // Its name and its place are not to be had, only its text; a link to it is a way out like any other.
    for (path, create) in [("../list", true), ("snapshots", true), ("snapshots", false)] {
        let file = opening(path, create, None);
        let (component, directory) = (file.path(), work.to_str().unwrap());
        let own = ["recover_snap", "--component", component.to_str().unwrap(), "--work-dir", directory];
        let ended = run(&[&own[..], &["--snapshots", list.to_str().unwrap()]].concat(), RESTORE);
        assert_eq!(ended.code, Some(DENIED), "{path}: {ended:?}");
    }
    assert_eq!(std::fs::read_to_string(&list).unwrap(), ",docs,docs-1.snapshot\n");
}

#[test]
fn a_deadline_ends_a_run_that_waits_without_end() {
    let file = ComponentFile::importing(
        "import wasi:clocks/monotonic-clock@0.2.12; import wasi:io/poll@0.2.12;",
        r#"(import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $after (param i64) (result i32)))
           (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))"#,
        "(call $block (call $after (i64.const 1000000000000000))) unreachable",
    );
    let work = tempfile::tempdir().unwrap();
    let ended = attempt(&file, 1, work.path(), &["--deadline", "1s"]);
    assert_eq!(ended.code, Some(124), "{ended:?}");
}

/// The host's own memory is not the component's to fill, either.
#[test]
fn handles_without_end_are_refused() {
    let file = ComponentFile::importing(
        "import wasi:http/types@0.2.12;",
        r#"(import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))"#,
        "(loop (drop (call $fields)) (br 0)) unreachable",
    );
    let work = tempfile::tempdir().unwrap();
    let ended = attempt(&file, 1, work.path(), &["--deadline", "60s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the component crashed"), "{ended:?}");
}
