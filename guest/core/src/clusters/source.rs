//! The source: its clusters, and the collections a task is about.

use crate::context::Context;
use crate::error::{Code, Error};
use crate::marker::{self, Marker};
use crate::qdrant::{Client, Cluster, Missing, discover_source};
use crate::report::Item;
use crate::settings;
use crate::state_files;
use std::collections::BTreeSet;

/// The source's clusters.
pub(crate) struct Source {
    pub clusters: Vec<Cluster>,
    missing: Vec<Missing>,
}

impl Source {
    /// True where every host and every peer is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.clusters.iter().all(|cluster| !cluster.peers.is_empty())
    }

    /// Configured hosts that did not answer: each a failure, since their collections are not backed up.
    pub(crate) fn missing_items(&self) -> Vec<Item> {
        let item = |missing: &Missing| Item::failed("cluster", missing.error()).host(&missing.host);
        self.missing.iter().map(item).collect()
    }
}

/// Finds the source's clusters.
///
/// # Errors
/// No configured host answers.
pub(crate) async fn find(context: &Context) -> Result<Source, Error> {
    let discovered = discover_source(&context.ports, &context.settings).await;
    let usable = discovered.clusters.iter().any(|cluster| !cluster.peers.is_empty());
    if !usable {
        let mut causes: Vec<String> = discovered.missing.iter().map(|missing| missing.cause.clone()).collect();
        causes.extend(
            discovered.clusters.iter().flat_map(|cluster| &cluster.missing).map(|missing| missing.cause.clone()),
        );
        let cause = format!("no peer of the source can be used: {}", causes.join("; "));
        return Err(Error::new(Code::NoPeer, "", cause).advice("look at QDRANT_SOURCE_HOSTS"));
    }
    for cluster in &discovered.clusters {
        for peer in &cluster.peers {
            let id = peer.id.map_or_else(|| "without clustering".to_owned(), |id| format!("peer {id}"));
            context.log.info(Some(&peer.address()), &format!("Qdrant {}, {id}", peer.version));
        }
        for warning in cluster.version_warnings() {
            context.log.warn(Some(&cluster.host.to_string()), &warning);
        }
    }
    Ok(Source { clusters: discovered.clusters, missing: discovered.missing })
}

/// A cluster that could not be worked on.
pub(crate) fn failed(cluster: &Cluster, error: Error) -> Item {
    Item::failed("cluster", error).host(&cluster.host)
}

/// The names of a cluster's collections.
///
/// # Errors
/// No peer answers; says why.
pub(crate) async fn collections(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let mut names = cluster.first_answer(Client::collections).await?;
    names.sort();
    Ok(names)
}

/// Those of the collections `names` that drills and restores have made to drop them again, which their marks say: they are
/// no backup's subject.
pub(crate) async fn scratch(cluster: &Cluster, names: &[String]) -> Vec<String> {
    let mut scratch = Vec::new();
    let Some(peer) = cluster.peers.first() else { return scratch };
    for name in names.iter().filter(|name| name.starts_with(marker::SCRATCH) || name.starts_with(marker::BESIDE)) {
        let info = peer.client.collection(name).await.ok().flatten();
        if info.and_then(|info| Marker::of(&info.config)).is_some_and(|marker| marker.is_passing()) {
            scratch.push(name.clone());
        }
    }
    scratch
}

/// The collections that a task is about, by cluster: those in the file `collections` where a person wrote one, else all;
/// of these what `QDRANT_COLLECTIONS` and `QDRANT_COLLECTIONS_EXCLUDE` mean, and of these the share of this run, where
/// there are shares. A line's host, where given, has to be the cluster's. A choice is reported; one that means nothing, or
/// names a collection that is not there, is a failure.
///
/// # Errors
/// The file can't be read. That a cluster can't be asked stands in its place.
pub(crate) async fn select<'a>(
    context: &Context,
    source: &'a Source,
) -> Result<Vec<(&'a Cluster, Result<Vec<String>, Error>)>, Error> {
    let lines = state_files::chosen_collections(context.ports.files.as_ref())?;
    let settings = &context.settings;
    let mut selected = Vec::new();
    let mut choice = Choice::default();
    for cluster in &source.clusters {
        let names = collections(cluster).await.map(|all| {
            let named = named_for(cluster, &lines);
            let (mut taken, left_out): (Vec<String>, Vec<String>) = all.iter().cloned().partition(|name| {
                named.as_ref().is_none_or(|named| named.contains(name)) && settings.collections.takes(name)
            });
            choice.absent.extend(named.into_iter().flatten().filter(|name| !all.contains(name)));
            choice.taken += taken.len();
            choice.left_out.extend(left_out);
            choice.all.extend(all);
            taken.retain(|name| settings.share.is_none_or(|share| share.takes(name)));
            taken
        });
        choice.is_whole &= names.is_ok();
        selected.push((cluster, names));
    }
    choice.is_whole &= source.is_whole();
    context.reporter.report_all(choice.items(&settings.collections, !lines.is_empty()));
    Ok(selected)
}

/// The names that the file has for a cluster; `None` where there is no file.
fn named_for(cluster: &Cluster, lines: &[state_files::Collection]) -> Option<BTreeSet<String>> {
    if lines.is_empty() {
        return None;
    }
    let hosts: BTreeSet<String> =
        cluster.peers.iter().map(|peer| peer.address()).chain([cluster.host.to_string()]).collect();
    let mine = lines.iter().filter(|line| line.host.as_ref().is_none_or(|host| names_host(host, &hosts)));
    Some(mine.map(|line| line.collection.clone()).collect())
}

/// What a person's choice has come to.
struct Choice {
    taken: usize,
    left_out: Vec<String>,
    /// In the file, and not at the source.
    absent: BTreeSet<String>,
    all: BTreeSet<String>,
    /// False where not all collections are known.
    is_whole: bool,
}

impl Default for Choice {
    fn default() -> Self {
        Self { taken: 0, left_out: Vec::new(), absent: BTreeSet::new(), all: BTreeSet::new(), is_whole: true }
    }
}

impl Choice {
    fn items(&self, globs: &settings::Choice, by_file: bool) -> Vec<Item> {
        let by_globs = !globs.include.is_empty() || !globs.exclude.is_empty();
        let mut by = Vec::new();
        if by_file {
            by.push("the file `collections`");
        }
        if by_globs {
            by.push("QDRANT_COLLECTIONS and QDRANT_COLLECTIONS_EXCLUDE");
        }
        if by.is_empty() {
            return Vec::new();
        }
        let by = by.join(", ");
        let mut items = Vec::new();
        if self.taken > 0 && !self.left_out.is_empty() {
            let what = format!("{by}: leaves out {} collections: {}", self.left_out.len(), shortened(&self.left_out));
            let remedy = if by_file { "; without the file (`reset` removes it) all are selected" } else { "" };
            items.push(Item::skipped("choice", format!("{what}{remedy}")));
        }
        let nothing = |cause: String| {
            let advice = "`get_coll` lists the collections that there are";
            Item::failed("choice", Error::new(Code::NothingSelected, "", cause).advice(advice))
        };
        let plain = globs.include.iter().filter(|glob| !glob.contains(['*', '?', '[', '{', '!', '\\']));
        let mut absent = self.absent.clone();
        absent.extend(plain.filter(|name| !self.all.contains(*name)).cloned());
        if self.is_whole && !absent.is_empty() {
            let names: Vec<String> = absent.into_iter().collect();
            items.push(nothing(format!("{by}: the source has no collection {}", shortened(&names))));
        } else if self.is_whole && self.taken == 0 {
            items.push(nothing(format!("{by}: selects none of the source's {} collections", self.all.len())));
        }
        items
    }
}

/// The first of many names.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    format!("{}{}", shown.join(", "), if names.len() > SHOWN { ", ..." } else { "" })
}

/// True when `text`, a host as people or the file write it, is one of `hosts`.
fn names_host(text: &str, hosts: &BTreeSet<String>) -> bool {
    let bare =
        |host: &str| host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/').to_ascii_lowercase();
    let wanted = bare(text);
    hosts.iter().any(|host| bare(host) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_with_or_without_scheme_and_slash() {
        let hosts = BTreeSet::from(["http://qdrant-headless:6333".to_owned()]);
        assert!(names_host("http://qdrant-headless:6333/", &hosts));
        assert!(names_host("Qdrant-Headless:6333", &hosts));
        assert!(!names_host("other:6333", &hosts));
    }
}
