//! The program on a terminal: what a person sees while it runs, and what is left when it has ended.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use qdrant_backup_tests::faults::{Fault, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_program");

/// Wide enough for every log line, and high enough for all of them.
const LARGE: (u16, u16) = (400, 200);

/// A terminal in which the program runs.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    /// Is kept: where it is dropped, the end of input is typed after a line break.
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

/// What came to it.
struct Seen {
    bytes: Vec<u8>,
    parser: vt100::Parser,
    /// What it showed, one after another.
    frames: Vec<String>,
}

/// What is left.
struct Left {
    code: u32,
    text: String,
    frames: Vec<String>,
    bytes: String,
    is_cursor_hidden: bool,
}

impl Terminal {
    /// Runs the program as a person does, in a terminal of (columns, rows).
    fn run(site: &Site, arguments: &[&str], more: &[(&str, &str)], (cols, rows): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(PtySize { rows, cols, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(PROGRAM);
        command.args(arguments);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("QDRANT_WORK_DIR", site.work.path());
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        site.settings().into_iter().chain(more).for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        let seen = Seen { bytes: Vec::new(), parser: vt100::Parser::new(rows, cols, 0), frames: Vec::new() };
        let seen = Arc::new(Mutex::new(seen));
        let (mut from, to) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&seen));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 64 << 10];
            // The end of a pseudo-terminal is an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().take(&buffer[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, keys, seen, reader }
    }

    /// Waits until it shows this.
    async fn shows(&self, text: &str) {
        let begun = Instant::now();
        while !self.seen.lock().unwrap().parser.screen().contents().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(30), "`{text}` is not shown");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses keys.
    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the program.
    async fn end(self) -> Left {
        let Self { mut child, master, keys, seen, reader } = self;
        let code = tokio::task::spawn_blocking(move || {
            let code = child.wait().unwrap().exit_code();
            drop((keys, master));
            reader.join().unwrap();
            code
        });
        let code = code.await.unwrap();
        let seen = seen.lock().unwrap();
        let screen = seen.parser.screen();
        Left {
            code,
            text: screen.contents(),
            frames: seen.frames.clone(),
            bytes: String::from_utf8_lossy(&seen.bytes).into_owned(),
            is_cursor_hidden: screen.hide_cursor(),
        }
    }
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.parser.process(bytes);
        let frame = self.parser.screen().contents();
        if self.frames.last() != Some(&frame) {
            self.frames.push(frame);
        }
    }
}

impl Left {
    #[track_caller]
    fn expect(self, code: u32) -> Self {
        assert_eq!(self.code, code, "\n{}", self.text);
        self
    }

    /// The lines that were there at some moment, and not at the end.
    fn passed(&self) -> Vec<&str> {
        let mut passed: Vec<&str> = self.frames.iter().flat_map(|frame| frame.lines()).collect();
        passed.sort_unstable();
        passed.dedup();
        passed.retain(|line| !self.text.lines().any(|left| left == *line));
        passed
    }

    #[track_caller]
    fn showed(&self, parts: &[&str]) {
        let found = self.passed().iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} in none of\n{}", self.passed().join("\n"));
    }
}

/// Three peers with this many collections, each snapshot of which takes so long.
async fn site(collections: usize, work: Duration) -> Site {
    let site = Site::start(Options { peers: 3, work, ..Options::default() }).await;
    let client = site.source.client();
    for number in 0..collections {
        let name = format!("docs-{number}");
        client.create(&name, json!({"shard_number": 2})).await;
        client.fill(&name, 0, 10).await;
    }
    site
}

const NOT_LONG: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(real_servers, ignore = "real servers take no longer for a snapshot than they need")]
async fn a_terminal_shows_what_is_at_work() {
    let site = site(6, NOT_LONG).await;
    let left = Terminal::run(&site, &["backup"], &[], LARGE).end().await.expect(0);
    left.showed(&["backup  [=", "] ", " of 6 collections  "]);
    left.showed(&["  docs-", "  shard ", ": a snapshot at http://127."]);
    assert!(left.bytes.contains("\x1b[32m") && !left.is_cursor_hidden, "{}", left.text);
    // The log is whole, and nothing but the log and the summary is left.
    let (log, summary) = left.text.split_once("\n\n").unwrap();
    for number in 0..6 {
        let done = format!("done: set of `docs-{number}` ");
        assert_eq!(log.lines().filter(|line| line.contains(&done)).count(), 1, "{log}");
    }
    let is_log = |line: &str| line.starts_with("[20") && line.matches("] [20").count() == 0;
    assert!(log.lines().all(is_log) && log.lines().last().unwrap().contains("] all done: "), "{log}");
    let first: Vec<_> = summary.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first[..3], ["done", "sets", "snapshots"], "{summary}");
    assert!(!left.text.contains("[="), "{}", left.text);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(real_servers, ignore = "real servers take no longer for a snapshot than they need")]
async fn a_restore_on_80_columns_has_whole_lines() {
    let site = site(4, NOT_LONG).await;
    site.run(&["backup"]).await.expect(0);
    site.source.client().wipe().await;
    let left = Terminal::run(&site, &["recover_snap_shards"], &[], (80, 200)).end().await.expect(0);
    left.showed(&["recover_snap_shards  ", " of 4 collections"]);
    left.showed(&["  docs-", "  recovering at http://127."]);
    // A line of the log that is longer than the terminal goes on in the next one, without a gap.
    let text: String = left.text.replace('\n', "");
    for number in 0..4 {
        let done = format!("collection `docs-{number}`");
        assert!(text.contains(&done), "{}", left.text);
    }
    assert!(text.contains("10 points, verified on every replica"), "{}", left.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_color_leaves_lines_without_colours() {
    let site = site(2, NOT_LONG).await;
    let left = Terminal::run(&site, &["backup"], &[("NO_COLOR", "1")], LARGE).end().await.expect(0);
    left.showed(&["backup  ", " of 2 collections"]);
    // A colour is `ESC [ numbers m`.
    for code in left.bytes.split("\x1b[").skip(1) {
        let rest = code.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';');
        assert!(!rest.starts_with('m'), "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wanted_on_a_terminal_is_not_there() {
    let site = site(2, NOT_LONG).await;
    let cases: [(&[&str], (&str, &str)); 3] = [
        (&["backup", "--no-progress"], ("X", "x")),
        (&["backup"], ("TERM", "dumb")),
        (&["backup"], ("LOG_FORMAT", "json")),
    ];
    for (arguments, setting) in cases {
        let left = Terminal::run(&site, arguments, &[setting], LARGE).end().await.expect(0);
        assert!(!left.bytes.contains('\x1b') && left.text.contains("all done: "), "{setting:?}: {:?}", left.bytes);
        assert!(!left.text.contains("snapshots     "), "{setting:?}: {}", left.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_gets_the_log_alone() {
    let site = site(2, NOT_LONG).await;
    let mut command = Command::new(PROGRAM);
    command.arg("backup").env_clear().env("TERM", "xterm-256color").env("QDRANT_WORK_DIR", site.work.path());
    command.envs(site.settings()).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && log.lines().all(|line| line.starts_with("[20")), "{log}");
    assert!(!log.contains('\x1b') && log.lines().last().unwrap().contains("all done: "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(real_servers, ignore = "real servers take no longer for a snapshot than they need")]
async fn ctrl_c_leaves_the_terminal_as_it_was() {
    let site = site(3, Duration::from_secs(20)).await;
    let mut terminal = Terminal::run(&site, &["backup"], &[], LARGE);
    terminal.shows("0 of 3 collections").await;
    terminal.shows("docs-2  shard 1: a snapshot").await;
    // The kernel drops what was written and not yet read when Ctrl-C is pressed (termios(3), NOFLSH).
    tokio::time::sleep(Duration::from_millis(500)).await;
    terminal.types("\x03");
    let left = terminal.end().await.expect(130);
    assert!(left.text.trim_end().lines().last().unwrap().contains("stopped by SIGINT"), "{}", left.text);
    assert!(!left.is_cursor_hidden && !left.text.contains("of 3 collections"), "{}", left.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_a_terminal_is_whole() {
    let site = site(30, Duration::ZERO).await;
    site.run(&["backup"]).await.expect(0);
    let in_pipe = site.run(&["list"]).await.expect(0).stdout;
    let left = Terminal::run(&site, &["list"], &[], LARGE).end().await.expect(0);
    for line in in_pipe.lines() {
        // An age is another one by then.
        let name = line.split("  ").next().unwrap();
        assert!(left.text.lines().any(|shown| shown.starts_with(name)), "{line}\n{}", left.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_followed_by_what_to_type_next() {
    let site = site(3, Duration::ZERO).await;
    let denied = Wrong::Status(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned());
    let uri = "backup_manifests/docs-1/".to_owned();
    site.s3.fail(Fault { method: Some(http::Method::PUT), uri, skip: 0, times: 100, wrong: denied });
    let left = Terminal::run(&site, &["backup"], &[], LARGE).end().await.expect(3);
    let expected = [
        "FAILED  store-unauthorized  docs-1",
        "  next:  qdrant-backup check",
        "  about: docs/troubleshooting.md#store-unauthorized",
    ];
    for line in expected {
        assert!(left.text.lines().any(|shown| shown == line), "`{line}` is not in\n{}", left.text);
    }
    // A run that could not begin says so, too.
    let wrong = [("QDRANT_S3_SECRET_ACCESS_KEY", "wrong")];
    let left = Terminal::run(&site, &["backup"], &wrong, LARGE).end().await.expect(1);
    assert!(left.text.contains("  next:  qdrant-backup check\n"), "{}", left.text);
}
