//! What a process and all its children take: wall time, processor time, memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use time::OffsetDateTime;

/// One run of a command.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From its start to its end.
    pub wall: Duration,
    /// Of it and its children, user and system.
    pub cpu: Duration,
    /// The most memory that the largest of its processes held at a time, in bytes.
    pub memory: u64,
}

/// Runs `command` with only these variables besides `PATH`. The kernel's count of what children used is for all
/// children of a process together, so that another process starts just this one: see [`child`].
///
/// # Panics
/// It can't be started or fails.
pub fn run(command: &[String], settings: &[(&'static str, String)], directory: &Path) -> Run {
    let mut measured = Command::new(std::env::current_exe().unwrap());
    measured.arg("measure").args(command).env_clear().current_dir(directory);
    measured.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    measured.envs(settings.iter().map(|(name, value)| (*name, value)));
    let output = measured.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = text.lines().rev().find_map(|line| line.strip_prefix(MARK));
    let numbers: Vec<u64> = numbers.unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
    let [code, wall, cpu, memory] = numbers[..] else { panic!("{command:?}: {output:?}") };
    let log = String::from_utf8_lossy(&output.stderr);
    if let Some(folder) = std::env::var_os("BENCH_LOGS") {
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{}.log", OffsetDateTime::now_utc().unix_timestamp_nanos());
        std::fs::write(Path::new(&folder).join(name), format!("{command:?}\n{log}")).unwrap();
    }
    let last = log.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    assert_eq!(code, 0, "{command:?} failed:\n{last}");
    Run { wall: Duration::from_micros(wall), cpu: Duration::from_micros(cpu), memory }
}

/// Begins the line with the numbers.
const MARK: &str = "qdrant-backup-bench: ";

/// The process in between: starts `command`, waits, and prints its numbers.
pub fn child(command: &[String]) {
    let started = Instant::now();
    let status = Command::new(&command[0]).args(&command[1..]).stdout(Stdio::null()).status();
    let wall = started.elapsed();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu = micros(used.user_time()) + micros(used.system_time());
    if let Ok(status) = &status
        && !status.success()
    {
        eprintln!("{status}");
    }
    let code = status.ok().and_then(|status| status.code()).unwrap_or(255);
    // Linux counts in KiB.
    println!("{MARK}{code} {} {cpu} {}", wall.as_micros(), used.max_rss() * 1024);
}
