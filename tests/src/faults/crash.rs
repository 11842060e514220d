//! The program killed at every request it makes, before the server does anything and when it is done; then run again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Notify;

use super::bench::{Bench, COLLECTIONS, JOBS, Job, PATIENT, Start};
use super::fault::{Chosen, Event, Fault, Who, Wrong};
use super::oracle::{self, Clean};
use crate::clock::another_second;
use crate::site::Run;

/// The tasks that are killed.
const TASKS: [&str; 6] =
    ["create_snap", "recover_snap", "create_snap_shards", "recover_snap_shards", "prune_snap", "drill"];

/// What is killed, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, with arguments that come before the task's.
    pub program: Vec<OsString>,
    /// No kill is begun after this time.
    pub budget: Duration,
    /// Every so many requests; 1 for each.
    pub every: usize,
    /// How many run at the same time.
    pub workers: usize,
    /// Only the task of this name.
    pub task: Option<String>,
    /// Says each kill.
    pub verbose: bool,
}

/// When, at a request, the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The request has come, nothing is done.
    Before,
    /// The work is done, the answer not given.
    After,
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    job: Job,
    request: usize,
    moment: Moment,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = if self.moment == Moment::Before { "before" } else { "after" };
        write!(f, "{} killed {moment} request {}", self.job.name, self.request)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: usize,
    before: usize,
    after: usize,
    completed: usize,
    wrong: usize,
    missed: usize,
    left: usize,
}

/// What the kills led to.
#[derive(Debug, Default)]
pub struct Summary {
    by_task: BTreeMap<&'static str, Counts>,
    wrong: Vec<String>,
    seconds: u64,
}

impl Summary {
    /// How often the program was killed.
    pub fn killed(&self) -> usize {
        self.by_task.values().map(|counts| counts.before + counts.after).sum()
    }

    /// What must not be, kill by kill.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn note(&mut self, kill: Kill, ended: &Result<bool, String>) {
        let counts = self.by_task.entry(kill.job.name).or_default();
        match ended {
            Ok(false) => {
                counts.missed += 1;
                return;
            }
            Ok(true) => counts.completed += 1,
            Err(why) => {
                counts.wrong += 1;
                self.wrong.push(format!("{kill}: {why}"));
            }
        }
        match kill.moment {
            Moment::Before => counts.before += 1,
            Moment::After => counts.after += 1,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}", "killed")?;
        let head = ["requests", "before work", "after work", "completed", "WRONG", "ended first", "not tried"];
        head.iter().try_for_each(|name| write!(f, "{name:>13}"))?;
        for (task, counts) in &self.by_task {
            let Counts { requests, before, after, completed, wrong, missed, left } = *counts;
            write!(f, "\n{task:<20}")?;
            [requests, before, after, completed, wrong, missed, left]
                .iter()
                .try_for_each(|count| write!(f, "{count:>13}"))?;
        }
        writeln!(f, "\n\n{} kills in {} s", self.killed(), self.seconds)?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "\nWRONG {wrong}"))
    }
}

/// Kills as the options say.
pub async fn run(options: &Options) -> Summary {
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut bench = Bench::new().await;
    let mut kills = Vec::new();
    let jobs = JOBS.into_iter().filter(|job| TASKS.contains(&job.task));
    for job in jobs.filter(|job| options.task.as_ref().is_none_or(|task| *task == job.name)) {
        let work = bench.reset(job.start).await;
        bench.run(job, work.path()).await.expect(0);
        let requests = bench.site.s3.faults().requests().iter().filter(|request| request.who() == Who::Program).count();
        summary.by_task.entry(job.name).or_default().requests = requests;
        for request in (0..requests).step_by(options.every.max(1)) {
            // A part of all requests has each moment in turn.
            let both = options.every <= 1;
            let turn = (request / options.every.max(1)).is_multiple_of(2);
            kills.extend((both || turn).then_some(Kill { job, request, moment: Moment::After }));
            kills.extend((both || !turn).then_some(Kill { job, request, moment: Moment::Before }));
        }
    }
    // Where the time does not suffice, all tasks and all parts of them have their share.
    kills.sort_by_key(|kill| (kill.request * 7919 + usize::from(kill.moment == Moment::Before) * 31) % 101);
    let kills = Arc::new(std::sync::Mutex::new((kills, summary)));
    let mut workers = tokio::task::JoinSet::new();
    let mut first = Some(bench);
    for number in 0..options.workers.max(1) {
        let (kills, options, mut bench) = (Arc::clone(&kills), options.clone(), first.take());
        workers.spawn(async move {
            let mut clean = BTreeMap::new();
            loop {
                let next = {
                    let mut shared = kills.lock().expect("the kills");
                    let wiped = number % 2 == 0;
                    let at = shared.0.iter().position(|kill| (kill.job.start == Start::Wiped) == wiped).unwrap_or(0);
                    if shared.0.is_empty() { None } else { Some(shared.0.remove(at)) }
                };
                let Some(kill) = next else { break };
                if started.elapsed() > options.budget {
                    kills.lock().expect("the kills").1.by_task.entry(kill.job.name).or_default().left += 1;
                    continue;
                }
                let mut there = match bench.take() {
                    Some(bench) => bench,
                    None => Bench::new().await,
                };
                let begun = Instant::now();
                let tried = AssertUnwindSafe(attempt(&mut there, &options, kill, &mut clean)).catch_unwind().await;
                let ended = tried.unwrap_or_else(|panic| {
                    Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()))
                });
                if options.verbose {
                    eprintln!("{:>6} ms {kill}: {ended:?}", begun.elapsed().as_millis());
                }
                match ended {
                    Ok(_) => bench = Some(there),
                    // What went wrong may have left anything behind.
                    Err(_) => clean.clear(),
                }
                kills.lock().expect("the kills").1.note(kill, &ended);
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker ends");
    }
    let mut summary = std::mem::take(&mut kills.lock().expect("the kills").1);
    summary.seconds = started.elapsed().as_secs();
    summary
}

/// One kill; false where the program ended before.
async fn attempt(
    bench: &mut Bench,
    options: &Options,
    kill: Kill,
    clean: &mut BTreeMap<&'static str, Clean>,
) -> Result<bool, String> {
    let job = kill.job;
    if !clean.contains_key(job.name) {
        let work = bench.reset(job.start).await;
        let run = bench.run(job, work.path()).await.expect(0);
        clean.insert(job.name, Clean::of(bench, &run, work.path()));
    }
    let work = bench.reset(job.start).await;
    let met = Arc::new(Notify::new());
    let event = {
        let met = Arc::clone(&met);
        Event::new(move || {
            met.notify_one();
            std::future::pending()
        })
    };
    let wrong = if kill.moment == Moment::Before { Wrong::Before(event) } else { Wrong::After(event) };
    let fault = Fault { method: None, uri: String::new(), skip: kill.request, times: 1, wrong };
    bench.site.s3.faults().add(Chosen::Program, fault);
    let log = TempDir::new().map_err(|error| error.to_string())?;
    let log = log.path().join("log");
    let mut child = command(bench, options, job, &work, &log).spawn().map_err(|error| error.to_string())?;
    let killed = tokio::select! {
        () = met.notified() => {
            // What is written to files meanwhile is cut anywhere.
            tokio::time::sleep(Duration::from_micros((kill.request as u64 * 613) % 4000)).await;
            child.kill().await.map_err(|error| error.to_string())?;
            true
        }
        ended = child.wait() => {
            ended.map_err(|error| error.to_string())?;
            false
        }
    };
    bench.site.s3.faults().clear();
    if !killed {
        return Ok(false);
    }
    bench.settled().await;
    let stderr = std::fs::read_to_string(&log).unwrap_or_default();
    let dead = Run { code: 137, stdout: String::new(), stderr };
    let shown = |why: String, run: &Run| {
        let lines: Vec<&str> = run.stderr.lines().collect();
        let from = lines.len().saturating_sub(12);
        format!("{why}\n   exit code {}\n   | {}", run.code, lines[from..].join("\n   | "))
    };
    oracle::always(bench, job, &dead, work.path(), Duration::ZERO).await.map_err(|why| shown(why, &dead))?;
    another_second().await;
    let begun = Instant::now();
    let next = bench.run(job, work.path()).await;
    let took = begun.elapsed();
    bench.settled().await;
    let failed = |why: String| shown(format!("{}\nthe next run: {why}", shown("killed".to_owned(), &dead)), &next);
    if next.code != 0 {
        return Err(failed("it does not complete what was cut off".to_owned()));
    }
    oracle::always(bench, job, &next, work.path(), took).await.map_err(failed)?;
    oracle::complete(bench, job, &next, work.path(), &clean[job.name], true).await.map_err(failed)?;
    if job.task != "drill" {
        oracle::nothing_twice(&bench.work(), true).map_err(failed)?;
    }
    if job.start == Start::Filled {
        restored(bench, job).await?;
    }
    Ok(true)
}

fn command(bench: &Bench, options: &Options, job: Job, work: &TempDir, log: &std::path::Path) -> Command {
    let mut command = Command::new(&options.program[0]);
    let stderr = std::fs::File::create(log).map_or_else(|_| Stdio::null(), Stdio::from);
    command
        .args(&options.program[1..])
        .args(bench.arguments(job))
        .env_clear()
        .envs(bench.site.settings())
        .envs(Bench::settings(PATIENT))
        .env("QDRANT_WORK_DIR", work.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true);
    command
}

/// What was backed up after a kill comes back whole.
async fn restored(bench: &Bench, job: Job) -> Result<(), String> {
    let client = bench.site.source.client();
    client.wipe().await;
    let task = if job.task == "create_snap" { "recover_snap" } else { "recover_snap_shards" };
    let work = TempDir::new().map_err(|error| error.to_string())?;
    let run = bench.site.run_in(work.path(), &[task], &Bench::settings(PATIENT)).await;
    if run.code != 0 {
        return Err(format!("what was backed up can't be restored: {}", run.stderr));
    }
    if client.contents().await == bench.contents && client.collections().await.len() == COLLECTIONS.len() {
        return Ok(());
    }
    Err("what was backed up comes back as something else".to_owned())
}
