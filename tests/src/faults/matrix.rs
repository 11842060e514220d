//! Every task × every request it makes × every fault.
//!
//! A run without faults tells the requests of a task. Then, for each of them and each fault, the task is run with it. It
//! has to end in success with everything right, or in a failure that says what failed; and then the next run, without the
//! fault, completes it and does nothing good twice.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tempfile::TempDir;

use super::bench::{Bench, IMPATIENT, JOBS, Job, PATIENT, Start};
use super::claims;
use super::fault::{Chosen, Fault, Wrong};
use super::kind::{AWAY, Api, Kind, kinds};
use super::oracle::{self, Clean};
use crate::clock::another_second;

/// How much is tried.
#[derive(Clone, Debug)]
pub struct Options {
    /// No case is begun after this time.
    pub budget: Duration,
    /// How many run at the same time.
    pub workers: usize,
    /// At most so many cases.
    pub most: usize,
    /// Only tasks whose name is this.
    pub task: Option<String>,
    /// Only classes of requests that have this in them.
    pub class: String,
    /// Only faults whose name has this in it.
    pub fault: String,
    /// Says each case that is tried.
    pub verbose: bool,
}

/// One case.
#[derive(Clone, Debug)]
struct Case {
    job: Job,
    class: String,
    /// Which of the requests of its class.
    ordinal: usize,
    kind: Kind,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, class, ordinal, kind } = self;
        write!(f, "{} × {class} #{ordinal} × {} {}", job.name, kind.group, kind.form)
    }
}

/// How a case ended.
#[derive(Clone, Debug)]
enum Verdict {
    /// The run got over it: success, and everything right.
    Survived,
    /// The run said what failed, and the next one completed it.
    Told,
    /// The request did not come.
    Missed,
    /// Something that must not be.
    Wrong(String),
}

/// Counts of cases.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    survived: usize,
    told: usize,
    missed: usize,
    wrong: usize,
    left: usize,
}

impl Counts {
    fn tried(self) -> usize {
        self.survived + self.told + self.wrong
    }
}

/// What the matrix found.
#[derive(Debug, Default)]
pub struct Summary {
    by_task: BTreeMap<&'static str, Counts>,
    by_fault: BTreeMap<&'static str, Counts>,
    requests: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
    seconds: u64,
}

impl Summary {
    fn note(&mut self, case: &Case, verdict: Option<&Verdict>) {
        for counts in
            [self.by_task.entry(case.job.name).or_default(), self.by_fault.entry(case.kind.group).or_default()]
        {
            match verdict {
                None => counts.left += 1,
                Some(Verdict::Survived) => counts.survived += 1,
                Some(Verdict::Told) => counts.told += 1,
                Some(Verdict::Missed) => counts.missed += 1,
                Some(Verdict::Wrong(_)) => counts.wrong += 1,
            }
        }
        if let Some(Verdict::Wrong(why)) = verdict {
            self.wrong.push(format!("{case}: {why}"));
        }
    }

    /// How many cases were tried.
    pub fn tried(&self) -> usize {
        self.by_task.values().map(|counts| counts.tried()).sum()
    }

    /// What must not be, case by case.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, "task", &self.by_task, &self.requests)?;
        writeln!(f)?;
        table(f, "fault", &self.by_fault, &BTreeMap::new())?;
        writeln!(f, "\n{} cases in {} s", self.tried(), self.seconds)?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "\nWRONG {wrong}"))
    }
}

/// A line for each of `rows` and one for all. `requests`: how many kinds of them a task makes.
fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: &BTreeMap<&'static str, Counts>,
    requests: &BTreeMap<&'static str, usize>,
) -> fmt::Result {
    let head = ["requests", "tried", "got over it", "told, then done", "WRONG", "not met", "not tried"];
    let from = usize::from(requests.is_empty());
    write!(f, "{title:<20}")?;
    head[from..].iter().try_for_each(|name| write!(f, "{name:>16}"))?;
    let mut sum = Counts::default();
    for counts in rows.values() {
        sum.survived += counts.survived;
        sum.told += counts.told;
        sum.missed += counts.missed;
        sum.wrong += counts.wrong;
        sum.left += counts.left;
    }
    let all = requests.values().sum();
    let rows = rows.iter().map(|(name, counts)| (*name, *counts, requests.get(name).copied().unwrap_or_default()));
    for (name, counts, kinds) in rows.chain([("all", sum, all)]) {
        let Counts { survived, told, missed, wrong, left } = counts;
        write!(f, "\n{name:<20}")?;
        [kinds, counts.tried(), survived, told, wrong, missed, left][from..]
            .iter()
            .try_for_each(|count| write!(f, "{count:>16}"))?;
    }
    writeln!(f)
}

/// Tries `each` cases of the jobs of these names, one after another in one place: for tests on a paused clock.
pub async fn run_natively(names: &[&str], each: usize) -> Summary {
    run_in_memory(names, &[""], each).await
}

/// Tries `most` cases of one job whose classes of requests end in one of these ways.
pub async fn run_class_natively(name: &str, classes: &[&str], most: usize) -> Summary {
    run_in_memory(&[name], classes, most).await
}

async fn run_in_memory(names: &[&str], ends: &[&str], each: usize) -> Summary {
    let started = Instant::now();
    let (mut summary, mut clean) = (Summary::default(), BTreeMap::new());
    let mut bench = Bench::native().await;
    for job in JOBS.into_iter().filter(|job| names.contains(&job.name)) {
        let classes = record(&mut bench, job).await;
        summary.requests.insert(job.name, classes.len());
        let mut cases = plan(job, &classes);
        cases.retain(|case| ends.iter().any(|end| case.class.ends_with(end)));
        cases.sort_by_key(|case| hash(&case.to_string()));
        for case in cases.into_iter().take(each) {
            let verdict = attempt(&mut bench, &case, &mut clean).await;
            if matches!(verdict, Verdict::Wrong(_)) {
                bench = Bench::native().await;
                clean.clear();
            }
            summary.note(&case, Some(&verdict));
        }
    }
    summary.seconds = started.elapsed().as_secs();
    summary
}

/// Tries all that the options say.
pub async fn run(options: &Options) -> Summary {
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut bench = Bench::new().await;
    let mut cases = Vec::new();
    for job in JOBS.into_iter().filter(|job| options.task.as_ref().is_none_or(|task| *task == job.name)) {
        let classes = record(&mut bench, job).await;
        summary.requests.insert(job.name, classes.len());
        cases.extend(plan(job, &classes));
    }
    cases.retain(|case| {
        let name = format!("{} {}", case.kind.group, case.kind.form);
        case.class.contains(&options.class) && name.contains(&options.fault)
    });
    // Any beginning of the list is a fair choice of all of it.
    cases.sort_by_key(|case| hash(&case.to_string()));
    let rest = cases.split_off(cases.len().min(options.most));
    rest.iter().for_each(|case| summary.note(case, None));
    let (summary, cases) = (Arc::new(Mutex::new(summary)), Arc::new(Mutex::new(cases)));
    let mut workers = tokio::task::JoinSet::new();
    let mut first = Some(bench);
    for number in 0..options.workers.max(1) {
        let (summary, cases, options) = (Arc::clone(&summary), Arc::clone(&cases), options.clone());
        let mut bench = first.take();
        workers.spawn(async move {
            let mut clean = BTreeMap::new();
            loop {
                let next = take(&cases, number % 2 == 0);
                let Some(case) = next else { break };
                if started.elapsed() > options.budget {
                    lock(&summary).note(&case, None);
                    continue;
                }
                let there = match bench.take() {
                    Some(bench) => bench,
                    None => {
                        clean.clear();
                        Bench::new().await
                    }
                };
                let mut there = there;
                let begun = Instant::now();
                let tried = AssertUnwindSafe(attempt(&mut there, &case, &mut clean)).catch_unwind().await;
                let verdict = tried.unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    Verdict::Wrong(text.unwrap_or_default())
                });
                if options.verbose {
                    eprintln!("{:>6} ms {case}: {verdict:?}", begun.elapsed().as_millis());
                }
                // What went wrong may have left anything behind.
                if !matches!(verdict, Verdict::Wrong(_)) {
                    bench = Some(there);
                }
                lock(&summary).note(&case, Some(&verdict));
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker ends");
    }
    let mut summary = std::mem::take(&mut *lock(&summary));
    summary.seconds = started.elapsed().as_secs();
    summary
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next case: half of the workers prefer those that begin with nothing, so that they need not fill it again.
fn take(cases: &Mutex<Vec<Case>>, wiped: bool) -> Option<Case> {
    let mut cases = lock(cases);
    let at = cases.iter().position(|case| (case.job.start == Start::Wiped) == wiped).unwrap_or(0);
    (at < cases.len()).then(|| cases.remove(at))
}

/// The classes of requests that a job makes, and how many of each.
async fn record(bench: &mut Bench, job: Job) -> BTreeMap<String, usize> {
    let work = bench.reset(job.start).await;
    bench.run(job, work.path()).await.expect(0);
    let mut classes = BTreeMap::new();
    for request in bench.site.s3.faults().requests() {
        if request.who() != super::Who::Test {
            *classes.entry(request.class()).or_default() += 1;
        }
    }
    classes
}

fn plan(job: Job, classes: &BTreeMap<String, usize>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (class, count) in classes {
        let api = if class.contains(" s3 ") { Api::S3 } else { Api::Qdrant };
        for kind in kinds(api) {
            let always = kind.times > 1;
            // A server that can't be read at all by Qdrant is Qdrant's to tell; one fault of each sort is enough.
            if class.ends_with("by Qdrant") && (!kind.form.is_empty() && !always) && kind.form != "own words" {
                continue;
            }
            let place = hash(&format!("{class}{}{}", kind.group, kind.form)) as usize;
            let ordinal = if always { 0 } else { place % count };
            cases.push(Case { job, class: class.clone(), ordinal, kind });
        }
    }
    cases
}

/// FNV-1a, mixed: the same order at every run.
fn hash(text: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 29;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// Tries one case.
async fn attempt(bench: &mut Bench, case: &Case, clean: &mut BTreeMap<&'static str, Clean>) -> Verdict {
    let job = case.job;
    if !clean.contains_key(job.name) {
        let work = bench.reset(job.start).await;
        let run = bench.run(job, work.path()).await.expect(0);
        clean.insert(job.name, Clean::of(bench, &run, work.path()));
    }
    let work = bench.reset(job.start).await;
    match judge(bench, case, &work, &clean[job.name]).await {
        Ok(verdict) => verdict,
        Err(why) => Verdict::Wrong(why),
    }
}

async fn judge(bench: &mut Bench, case: &Case, work: &TempDir, clean: &Clean) -> Result<Verdict, String> {
    let (job, work) = (case.job, work.path());
    let faults = bench.site.s3.faults().clone();
    let (uri, skip, times) = (String::new(), case.ordinal, case.kind.times);
    let fault = Fault { method: None, uri, skip, times, wrong: case.kind.wrong.clone() };
    faults.add(Chosen::Class(case.class.clone()), fault);
    let begun = Instant::now();
    let seconds = if matches!(case.kind.wrong, Wrong::Stall(_)) { IMPATIENT } else { PATIENT };
    let first = bench.run_within(seconds, job, work).await;
    let took = begun.elapsed();
    let met = faults.hits() > 0;
    let asked = faults.requests();
    faults.clear();
    if matches!(case.kind.wrong, Wrong::Refuse(_)) {
        tokio::time::sleep(AWAY).await;
    }
    let shown =
        |why: String, run: &crate::site::Run| format!("{why}\n   exit code {}\n{}", run.code, indented(&run.stderr));
    bench.settled().await;
    oracle::always(bench, job, &first, work, took).await.map_err(|why| shown(why, &first))?;
    // An answer that the fault has made up is looked at as any other.
    claims::looked_at(bench, &first, &asked).map_err(|why| shown(why, &first))?;
    let work_done = bench.work();
    // Who is asked twice by somebody in between does it twice.
    let counted = !case.kind.is_twice() && job.task != "drill";
    if counted {
        oracle::nothing_twice(&work_done, false).map_err(|why| shown(why, &first))?;
        oracle::nothing_twice(&work_done, true).map_err(|why| shown(why, &first))?;
    }
    if first.code == 0 {
        oracle::complete(bench, job, &first, work, clean, false).await.map_err(|why| shown(why, &first))?;
        return Ok(if met { Verdict::Survived } else { Verdict::Missed });
    }
    oracle::truthful(bench, &first).map_err(|why| shown(why, &first))?;
    // The names of sets tell the runs of one pod by the second, and no pod is started again within one.
    another_second().await;
    let begun = Instant::now();
    let second = bench.run(job, work).await;
    let took = begun.elapsed();
    let shown = |why: String| {
        let second = shown(format!("the next run: {why}"), &second);
        format!("{second}\n   after exit code {}\n{}", first.code, indented(&first.stderr))
    };
    if second.code != 0 {
        return Err(shown("it fails without any fault".to_owned()));
    }
    bench.settled().await;
    claims::looked_at(bench, &second, &faults.requests()).map_err(shown)?;
    oracle::always(bench, job, &second, work, took).await.map_err(shown)?;
    oracle::complete(bench, job, &second, work, clean, true).await.map_err(shown)?;
    if counted {
        oracle::nothing_twice(&bench.work(), true).map_err(shown)?;
    }
    Ok(if met { Verdict::Told } else { Verdict::Missed })
}

fn indented(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(14);
    lines[from..]
        .iter()
        .map(|line| format!("   | {}", line.chars().take(400).collect::<String>()))
        .collect::<Vec<_>>()
        .join("\n")
}
