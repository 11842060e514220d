//! What has to hold for any input at all.
//!
//! Each target takes bytes, makes of them what a hostile or broken server, file or person could send, and panics where
//! something does not hold that has to. `make fuzz` lets libFuzzer look for such bytes, led by coverage; `cargo test`
//! tries the examples and a few thousand changes of them. What is fuzzed is the public interface of the logic, through
//! the same ports as everywhere else.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod content;
mod csv;
mod manifest;
mod naming;
mod plan;
mod ports;
mod qdrant;
mod redact;
mod s3;
mod settings;
mod snapshot_file;

/// A kind of input.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub check: fn(&[u8]),
    /// Examples to begin with.
    pub examples: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "content", check: content::check, examples: content::examples },
    Target { name: "csv", check: csv::check, examples: csv::examples },
    Target { name: "s3-answers", check: s3::check, examples: s3::examples },
    Target { name: "s3-keys", check: s3::check_keys, examples: naming::examples },
    Target { name: "qdrant-answers", check: qdrant::check, examples: qdrant::examples },
    Target { name: "hosts", check: settings::check_hosts, examples: settings::host_examples },
    Target { name: "settings", check: settings::check, examples: settings::examples },
    Target { name: "times", check: settings::check_times, examples: settings::time_examples },
    Target { name: "globs", check: naming::check_globs, examples: naming::glob_examples },
    Target { name: "names", check: naming::check, examples: naming::examples },
    Target { name: "snapshots", check: snapshot_file::check, examples: snapshot_file::examples },
    Target { name: "manifests", check: manifest::check, examples: manifest::examples },
    Target { name: "sets", check: manifest::check_set, examples: manifest::set_examples },
    Target { name: "plans", check: plan::check, examples: plan::examples },
    Target { name: "secrets", check: redact::check, examples: redact::examples },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Texts as examples.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The first line and the rest of a text.
fn two(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.split_once('\n').unwrap_or((text, "")))
}
