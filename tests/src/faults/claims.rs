//! Whether what a run claims was looked at: each claim in its log is held against the requests that it has made.

use std::collections::BTreeSet;

use http::Method;
use qdrant_backup_core::places::Places;
use qdrant_backup_core::sets::{SetId, SetManifest};

use super::bench::Bench;
use super::fault::{Place, Request, Who};
use crate::site::Run;

/// What a run has asked.
struct Asked<'a> {
    requests: Vec<&'a Request>,
}

impl Asked<'_> {
    /// How many replicas of `collection` were asked to do `what` (`count`, `scroll`), each on a peer of its own.
    fn replicas_asked(&self, collection: &str, what: &str) -> usize {
        let (of_shards, what) = (format!("/collections/{collection}/shards/"), format!("/points/{what}"));
        let counts = self.requests.iter().filter(|request| {
            let path = request.uri.path();
            request.method == Method::POST && path.starts_with(&of_shards) && path.ends_with(&what)
        });
        counts.map(|request| (request.place, request.uri.path())).collect::<BTreeSet<(Place, &str)>>().len()
    }

    /// Whether a request of this method went to this path of Qdrant.
    fn has(&self, method: &Method, path: &str) -> bool {
        self.requests
            .iter()
            .any(|request| request.place != Place::S3 && request.method == *method && request.uri.path() == path)
    }

    /// Whether the object was asked for by this method.
    fn object(&self, method: &Method, key: &str) -> bool {
        let escaped = key.replace(':', "%3A");
        self.requests.iter().any(|request| {
            let path = request.uri.path();
            request.place == Place::S3 && request.method == *method && (path.ends_with(key) || path.ends_with(&escaped))
        })
    }
}

/// Holds what a run says against what it has asked.
///
/// # Errors
/// Names a claim of which something was not looked at.
pub fn looked_at(bench: &Bench, run: &Run, requests: &[Request]) -> Result<(), String> {
    let asked = Asked { requests: requests.iter().filter(|request| request.who() == Who::Program).collect() };
    for line in run.stderr.lines().filter(|line| line.contains("done: ")) {
        restored(&asked, line).map_err(|why| format!("{why}, and the log says\n   | {line}"))?;
        checked(bench, &asked, line).map_err(|why| format!("{why}, and the log says\n   | {line}"))?;
    }
    Ok(())
}

/// The number before `word` in a line.
fn number(line: &str, word: &str) -> Option<usize> {
    line.split_once(word)?.0.rsplit(|c: char| !c.is_ascii_digit()).find(|text| !text.is_empty())?.parse().ok()
}

/// What is between this and the next backquote.
fn quoted<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split_once('`')?.1.split('`').next()
}

/// A restored collection: what the line says was counted, read back and compared.
fn restored(asked: &Asked<'_>, line: &str) -> Result<(), String> {
    let Some(collection) = quoted(line, "done: collection ") else { return Ok(()) };
    if line.contains("verified on every replica") && !line.contains("counts of ") {
        return Err("it is not said what was compared".to_owned());
    }
    let Some(replicas) = number(line, " replicas)") else { return Ok(()) };
    let counted = asked.replicas_asked(collection, "count");
    if counted < replicas {
        return Err(format!("{counted} replicas of `{collection}` were counted"));
    }
    let read = asked.replicas_asked(collection, "scroll");
    if (line.contains("replicas equal") || line.contains("content verified")) && read < replicas {
        return Err(format!("{read} replicas of `{collection}` were read"));
    }
    let path = format!("/collections/{collection}");
    if !asked.has(&Method::GET, &path) {
        return Err(format!("the configuration of `{collection}` was not looked at"));
    }
    if number(line, " points read back") > Some(0) && !asked.has(&Method::POST, &format!("{path}/points/query")) {
        return Err(format!("no point of `{collection}` was read back"));
    }
    Ok(())
}

/// A set that was made or verified: each of its snapshots was read, and looked up.
fn checked(bench: &Bench, asked: &Asked<'_>, line: &str) -> Result<(), String> {
    let (Some(collection), Some((_, rest))) = (quoted(line, "done: set of "), line.split_once("done: set of ")) else {
        return Ok(());
    };
    let made = line.contains(" shards, ");
    let verified = line.contains(" snapshots complete");
    let Some(id) =
        rest.split_once("` ").and_then(|(_, rest)| rest.split([',', ':']).next()).filter(|_| made || verified)
    else {
        return Ok(());
    };
    let key = SetId::from_text(id).key(collection);
    let json = bench.site.s3.get(&key).ok_or_else(|| format!("there is no `{key}`"))?;
    let manifest = SetManifest::parse(&json, collection, &SetId::from_text(id), "snapshots", &Places::default())?;
    for shard in &manifest.shards {
        for method in [Method::HEAD, Method::GET] {
            if !asked.object(&method, &shard.s3_key) {
                return Err(format!("`{}` was not asked for by {method}", shard.s3_key));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_lines() {
        let line = "[x] [http://h] done: collection `docs`, 0.2 s: 40 points, verified on every replica: counts of 2 of 2 \
                    shards (4 replicas), 2 indexes, configuration, 10 points read back";
        assert_eq!((number(line, " replicas)"), number(line, " points read back")), (Some(4), Some(10)));
        assert_eq!(quoted(line, "done: collection "), Some("docs"));
        let nothing = Asked { requests: Vec::new() };
        assert_eq!(restored(&nothing, line).unwrap_err(), "0 replicas of `docs` were counted");
        assert!(restored(&nothing, "done: collection `docs`: 40 points, verified on every replica").is_err());
    }
}
