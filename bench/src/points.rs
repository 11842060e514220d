//! The figures, one function each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::measure::{self, Run};
use crate::stub::{Options, Stub};
use crate::table::{Figures, Goal, Table, count, seconds, size, time, times};

/// What is measured, and how often.
pub struct Bench {
    pub quick: bool,
    program: PathBuf,
    component: Option<PathBuf>,
    pub runtime: Handle,
}

/// How the script that this program replaces did on these servers, measured once, per collection on three peers at 20 ms:
/// nearly all of it starts processes.
const SCRIPT_WALL: f64 = 0.43;
const SCRIPT_CPU: f64 = 0.32;

/// A shard's snapshot in a request.
const UPLOAD: &str = "POST /collections/{c}/shards/{s}/snapshots/upload";

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Program,
    Native,
}

/// A run, and what the servers saw of it.
pub struct Seen {
    pub run: Run,
    requests: u64,
    connections: u64,
    most_working: usize,
    pub kinds: std::collections::BTreeMap<String, u64>,
}

/// Three peers and a few small collections.
pub const PEERS: Options = Options {
    peers: 3,
    collections: 10,
    spread: 3,
    latency: Duration::from_millis(20),
    source: true,
    settle: Duration::ZERO,
    data: 4096,
    links: true,
    tls: false,
    points: 0,
};

/// A short time.
fn micros(seconds: f64) -> String {
    format!("{:.0} µs", seconds * 1e6)
}

/// So many collections, each on three of N peers that answer after so many milliseconds.
fn at(milliseconds: u64, peers: usize, collections: usize) -> Options {
    let latency = Duration::from_millis(milliseconds);
    Options { peers, spread: peers.min(3), collections, latency, ..PEERS }
}

impl Bench {
    pub fn new(quick: bool, program: PathBuf, component: Option<PathBuf>, runtime: Handle) -> Self {
        Self { quick, program, component, runtime }
    }

    /// `full` times, or once when it has to be quick.
    pub fn times(&self, full: usize) -> usize {
        if self.quick { 1 } else { full }
    }

    /// So many collections, or fewer when it has to be quick.
    fn collections(&self, full: usize) -> usize {
        if self.quick { full.min(100) } else { full }
    }

    fn stub(&self, options: Options) -> Stub {
        self.runtime.block_on(Stub::start(options))
    }

    pub fn command(&self, who: Who, task: &str) -> Vec<String> {
        let own = std::env::current_exe().unwrap();
        match who {
            Who::Program => vec![self.program.display().to_string(), task.to_owned()],
            Who::Native => vec![own.display().to_string(), "native".to_owned(), task.to_owned()],
        }
    }

    fn once(&self, who: Who, task: &str, options: Options, per_peer: usize) -> Seen {
        self.with(&self.command(who, task), options, per_peer, &[])
    }

    pub fn with(&self, command: &[String], options: Options, per_peer: usize, more: &[(&'static str, String)]) -> Seen {
        let stub = self.stub(options);
        let folder = TempDir::new().unwrap();
        let mut settings = stub.settings(per_peer);
        settings.extend_from_slice(more);
        let run = measure::run(command, &settings, folder.path());
        Seen {
            run,
            requests: stub.requests(),
            connections: stub.connections(),
            most_working: stub.most_working(),
            kinds: stub.kinds(),
        }
    }

    /// Sizes of what is shipped.
    pub fn sizes(&self, table: &mut Table) {
        let bytes = |file: &Path| Figures::new([std::fs::metadata(file).unwrap().len() as f64]);
        table.add(
            "size of the program with the component",
            &bytes(&self.program),
            size,
            Goal::AtMost(10.0 * 1_048_576.0),
        );
        if let Some(component) = &self.component {
            table.add("size of the component", &bytes(component), size, Goal::None);
            let compressed = Figures::new([self.in_a_config_map() as f64]);
            table.add("the same compressed, as in a ConfigMap", &compressed, size, Goal::AtMost(640.0 * 1024.0));
        }
    }

    /// How many bytes of a ConfigMap the built-in component takes.
    fn in_a_config_map(&self) -> u64 {
        let folder = TempDir::new().unwrap();
        let manifest = folder.path().join("configmap.yaml");
        std::fs::write(&manifest, "kind: ConfigMap\n").unwrap();
        let filled = std::process::Command::new(&self.program).arg("configmap").arg(&manifest).output().unwrap();
        let said = String::from_utf8_lossy(&filled.stdout).into_owned();
        let bytes = said.split(" bytes compressed").next().and_then(|text| text.rsplit(' ').next());
        bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no size in: {said}"))
    }

    /// From the start of the process to the first byte on the wire.
    pub fn start(&self, table: &mut Table) {
        let first = |who, task| {
            let runs = (0..self.times(20)).map(|_| {
                let stub = self.stub(Options { latency: Duration::ZERO, ..PEERS });
                let folder = TempDir::new().unwrap();
                let command = self.command(who, task);
                let mut process = std::process::Command::new(&command[0]);
                process.args(&command[1..]).env_clear().envs(stub.settings(1)).current_dir(folder.path());
                let process = process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                let started = Instant::now();
                assert!(process.status().unwrap().success());
                seconds(stub.first_request().unwrap() - started)
            });
            Figures::new(runs.collect::<Vec<_>>())
        };
        let own = first(Who::Program, "create_snap");
        let native = first(Who::Native, "hello");
        table.add("start to the first byte sent", &own, time, Goal::AtMost(0.010));
        table.add("the same of a native hello", &native, time, Goal::None);
        table.add("ratio of the two", &Figures::new([own.median() / native.median()]), times, Goal::AtMost(2.0));
    }

    /// Against the same calls by a plain native client, under the same limit for each peer.
    pub fn limit(&self, table: &mut Table) {
        let mut cases = vec![(at(1, 3, 10), 3), (at(20, 3, 10), 3), (at(200, 3, 10), 1)];
        cases.push((at(20, 3, self.collections(1000)), 2));
        if !self.quick {
            cases.extend([(at(1, 3, 1000), 2), (at(1, 3, 10_000), 1)]);
        }
        self.beside_native(table, &cases);
    }

    /// The same with more peers.
    pub fn peers(&self, table: &mut Table) {
        self.beside_native(table, &[10, 50].map(|peers| (at(20, peers, self.collections(1000)), 1)));
    }

    fn beside_native(&self, table: &mut Table, cases: &[(Options, usize)]) {
        for task in ["create_snap", "recover_snap"] {
            for (options, runs) in cases {
                let options = Options { source: task == "create_snap", ..*options };
                let pairs: Vec<(Seen, Seen)> = (0..self.times(*runs))
                    .map(|_| (self.once(Who::Program, task, options, 1), self.once(Who::Native, task, options, 1)))
                    .collect();
                let ratios =
                    Figures::new(pairs.iter().map(|(own, native)| seconds(own.run.wall) / seconds(native.run.wall)));
                let walls = Figures::new(pairs.iter().map(|(own, _)| seconds(own.run.wall)));
                let Options { peers, collections, latency, .. } = options;
                let case = format!("{task}, {collections} collections × {peers} peers, {} ms", latency.as_millis());
                let is_goal = collections >= 100 && peers == 3 && latency.as_millis() == 20;
                let goal = if is_goal { Goal::AtMost(1.10) } else { Goal::None };
                table.add(&format!("{case}: wall"), &walls, time, Goal::None);
                table.add(&format!("{case}: to the native client's"), &ratios, times, goal);
                let each = Figures::new(pairs.iter().map(|(own, _)| seconds(own.run.cpu) / own.requests as f64));
                table.add(&format!("{case}: CPU for each request"), &each, micros, Goal::None);
                let (own, native) = &pairs[0];
                assert!(own.most_working <= 1, "the limit of one at a time was not kept");
                for (kind, times) in &own.kinds {
                    let other = native.kinds.get(kind).copied().unwrap_or_default();
                    if times.abs_diff(other) > 20 {
                        table.note(
                            &format!("{case}: {kind}"),
                            format!("{times} calls, the native client makes {other}"),
                        );
                    }
                }
            }
        }
    }

    /// Against the script that it replaces, and against any other command.
    pub fn other(&self, table: &mut Table) {
        let collections = 200;
        let options = Options { collections, ..PEERS };
        for (per_peer, goal) in [(1, 18.0), (4, 60.0)] {
            let runs: Vec<Seen> =
                (0..self.times(5)).map(|_| self.once(Who::Program, "create_snap", options, per_peer)).collect();
            let case = format!("create_snap, {collections} collections × 3 peers, 20 ms, {per_peer} a peer");
            let script = SCRIPT_WALL * collections as f64;
            let walls = Figures::new(runs.iter().map(|seen| script / seconds(seen.run.wall)));
            table.add(&format!("{case}: wall, the script's to ours"), &walls, times, Goal::AtLeast(goal));
            let script = SCRIPT_CPU * collections as f64;
            let cpus = Figures::new(runs.iter().map(|seen| script / seconds(seen.run.cpu)));
            table.add(&format!("{case}: CPU, the script's to ours"), &cpus, times, Goal::AtLeast(100.0));
            let each = Figures::new(runs.iter().map(|seen| seconds(seen.run.cpu) / seen.requests as f64));
            table.add(&format!("{case}: CPU for each request"), &each, micros, Goal::None);
        }
        let Ok(baseline) = std::env::var("BASELINE") else { return };
        let options = Options { collections: if self.quick { 10 } else { 50 }, ..PEERS };
        let command = ["sh", "-c", &baseline].map(str::to_owned);
        let path = std::env::var("PATH").unwrap_or_default();
        let pairs: Vec<(Seen, Seen)> = (0..self.times(3))
            .map(|_| {
                let other = self.with(&command, options, 1, &[("PATH", path.clone())]);
                (self.once(Who::Program, "create_snap", options, 1), other)
            })
            .collect();
        let ratio =
            |of: &dyn Fn(&Run) -> f64| Figures::new(pairs.iter().map(|(own, other)| of(&other.run) / of(&own.run)));
        let case = format!("`{baseline}` to create_snap, {} collections × 3 peers, 20 ms", options.collections);
        table.add(&format!("{case}: wall"), &ratio(&|run| seconds(run.wall)), times, Goal::None);
        table.add(&format!("{case}: CPU"), &ratio(&|run| seconds(run.cpu)), times, Goal::None);
        table.add(
            &format!("{case}: memory of the largest process"),
            &ratio(&|run| run.memory as f64),
            times,
            Goal::None,
        );
    }

    /// Memory and connections.
    pub fn memory(&self, table: &mut Table) {
        let at = |collections| Options { collections, latency: Duration::from_millis(1), ..PEERS };
        let runs = |task, options: Options, times| -> Vec<Seen> {
            let options = Options { source: task != "recover_snap" && options.source, ..options };
            (0..times).map(|_| self.once(Who::Program, task, options, 1)).collect()
        };
        let peak = |seen: &[Seen]| Figures::new(seen.iter().map(|seen| seen.run.memory as f64));
        for task in ["create_snap", "recover_snap"] {
            let few = runs(task, at(10), self.times(3));
            table.add(
                &format!("peak memory, {task}, 10 collections × 3 peers"),
                &peak(&few),
                size,
                Goal::AtMost(24.0 * 1_048_576.0),
            );
            let many_collections = if self.quick { 1000 } else { 10_000 };
            let many = runs(task, at(many_collections), 1);
            let goal = if self.quick { Goal::None } else { Goal::AtMost(40.0 * 1_048_576.0) };
            table.add(
                &format!("peak memory, {task}, {many_collections} collections × 3 peers"),
                &peak(&many),
                size,
                goal,
            );
            table.add(
                &format!("connections, {task}, {} requests", many[0].requests),
                &Figures::new([many[0].connections as f64]),
                count,
                Goal::None,
            );
        }
        let listing = |objects: usize| {
            let options = Options { collections: objects / 3, source: false, ..at(0) };
            self.once(Who::Program, "get_snap_s3", Options { latency: Duration::ZERO, ..options }, 1).run.memory as f64
        };
        let objects = if self.quick { 30_000 } else { 99_999 };
        let (few, many) = (listing(999), listing(objects));
        table.add(&format!("peak memory, get_snap_s3, {objects} objects"), &Figures::new([many]), size, Goal::None);
        let each = (many - few) / (objects - 999) as f64;
        table.add("memory for each further object of a listing", &Figures::new([each]), size, Goal::None);
    }

    /// One restore of many collections on many peers.
    pub fn scale(&self, table: &mut Table) {
        let collections = self.collections(1000);
        let options =
            Options { peers: 10, spread: 2, collections, source: false, settle: Duration::from_millis(500), ..PEERS };
        let seen = self.once(Who::Program, "recover_snap", options, 1);
        let native = self.once(Who::Native, "recover_snap", options, 1);
        let case = format!("recover_snap, {collections} collections, 2 of 10 peers each, 0.5 s to settle");
        table.add(&format!("{case}: wall"), &Figures::new([seconds(seen.run.wall)]), time, Goal::None);
        let ratio = seconds(seen.run.wall) / seconds(native.run.wall);
        table.add(&format!("{case}: to the native client's"), &Figures::new([ratio]), times, Goal::None);
        let each = seen.requests as f64 / collections as f64;
        table.add(&format!("{case}: requests for each collection"), &Figures::new([each]), count, Goal::None);
        let looks = seen.kinds.get("GET /collections/{c}/cluster").copied().unwrap_or_default() as f64;
        let looks = looks / collections as f64 / 10.0;
        table.add(
            &format!("{case}: of these, looks from each peer whether it has settled"),
            &Figures::new([looks]),
            count,
            Goal::None,
        );
        for (kind, times) in seen.kinds.iter().filter(|(_, times)| **times >= collections as u64) {
            table.note(&format!("{case}: {kind}"), format!("{:.1} a collection", *times as f64 / collections as f64));
        }
    }

    /// What streams through the component: a snapshot that is read for its checksum.
    pub fn throughput(&self, table: &mut Table) {
        let data = if self.quick { 32 << 20 } else { 512 << 20 };
        let options = Options { peers: 1, spread: 1, collections: 1, latency: Duration::ZERO, data, ..PEERS };
        let mib = data as f64 / 1_048_576.0;
        let rows = |table: &mut Table, case: &str, native: &str, pairs: Vec<(Run, Run)>| {
            let rate = Figures::new(pairs.iter().map(|(own, _)| mib / seconds(own.wall)));
            table.add(&format!("{case} of {mib:.0} MiB"), &rate, |rate| format!("{rate:.0} MiB/s"), Goal::None);
            let ratio = Figures::new(pairs.iter().map(|(own, native)| seconds(own.wall) / seconds(native.wall)));
            table.add(&format!("its wall to that of a native {native}"), &ratio, times, Goal::None);
            let memory = Figures::new(pairs.iter().map(|(own, _)| own.memory as f64));
            table.add("its peak memory", &memory, size, Goal::None);
        };
        let object = [("BENCH_OBJECT", format!("snapshots/{}", crate::stub::first_archive()))];
        let pairs: Vec<(Run, Run)> = (0..self.times(3))
            .map(|_| {
                let own = self.once(Who::Program, "create_snap_shards", options, 1).run;
                let options = Options { source: false, ..options };
                (own, self.with(&self.command(Who::Native, "read"), options, 1, &object).run)
            })
            .collect();
        rows(table, "create_snap_shards, an archive", "read with SHA-256", pairs);
        let options = Options { source: false, links: false, ..options };
        let pairs: Vec<(Run, Run)> = (0..self.times(3))
            .map(|_| {
                let own = self.once(Who::Program, "recover_snap", options, 1);
                assert_eq!(own.kinds.get(UPLOAD), Some(&1), "the archive was not sent");
                let native = self.with(&self.command(Who::Native, "copy"), options, 1, &object);
                assert_eq!(native.kinds.get(UPLOAD), Some(&1), "the archive was not copied");
                (own.run, native.run)
            })
            .collect();
        rows(table, "recover_snap that sends an archive", "copy", pairs);
    }

    /// What a comparison of content costs: every point is read on both sides, which are one server here.
    pub fn content(&self, table: &mut Table) {
        let points = if self.quick { 20_000 } else { 1_000_000 };
        let options = Options { peers: 1, spread: 1, collections: 2, latency: Duration::ZERO, points, ..PEERS };
        let pairs: Vec<(Run, Run)> = (0..1)
            .map(|_| {
                let other =
                    [("QDRANT_COLLECTIONS", "*-00000"), ("QDRANT_RESTORE_RENAME", "collection-00000=collection-00001")];
                let other = other.map(|(name, value)| (name, value.to_owned()));
                let own = self.with(&self.command(Who::Program, "compare"), options, 1, &other).run;
                (own, self.once(Who::Native, "scroll", options, 1).run)
            })
            .collect();
        let case = format!("compare, {points} points of 384 dimensions");
        let each = Figures::new(pairs.iter().map(|(own, _)| 2.0 * points as f64 / seconds(own.wall)));
        table.add(&case, &each, |rate| format!("{rate:.0} points/s"), Goal::None);
        let ratio = Figures::new(pairs.iter().map(|(own, native)| seconds(own.wall) / seconds(native.wall)));
        table.add("its wall to that of a native scroll", &ratio, times, Goal::None);
        let memory = Figures::new(pairs.iter().map(|(own, _)| own.memory as f64));
        table.add("its peak memory", &memory, size, Goal::None);
    }
}
