//! The source: its clusters, and the collections a task is about.

use crate::context::Context;
use crate::error::Error;
use crate::qdrant::{Cluster, Missing, discover_source};
use crate::report::{Item, Outcome};
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
        self.missing
            .iter()
            .map(|missing| Item {
                host: Some(missing.host.clone()),
                cause: Some(missing.cause.clone()),
                ..Item::new("cluster", Outcome::Failed)
            })
            .collect()
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
        return Err(format!("no peer of the source can be used: {}", causes.join("; ")).into());
    }
    for cluster in &discovered.clusters {
        for peer in &cluster.peers {
            let id = peer.id.map_or_else(|| "without clustering".to_owned(), |id| format!("peer {id}"));
            context.log.info(Some(&peer.address()), &format!("Qdrant {}, {id}", peer.version));
        }
        if let Some(warning) = cluster.mixed_versions() {
            context.log.warn(Some(&cluster.host.to_string()), &warning);
        }
    }
    Ok(Source { clusters: discovered.clusters, missing: discovered.missing })
}

/// A cluster that could not be worked on.
pub(crate) fn failed(cluster: &Cluster, cause: impl ToString) -> Item {
    Item {
        host: Some(cluster.host.to_string()),
        cause: Some(cause.to_string()),
        ..Item::new("cluster", Outcome::Failed)
    }
}

/// The names of a cluster's collections.
///
/// # Errors
/// No peer answers; says why.
pub(crate) async fn collections(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let mut causes = Vec::new();
    for peer in &cluster.peers {
        match peer.client.collections().await {
            Ok(mut names) => {
                names.sort();
                return Ok(names);
            }
            Err(error) => causes.push(error.to_string()),
        }
    }
    causes.extend(cluster.missing.iter().map(|missing| missing.cause.clone()));
    Err(causes.join("; ").into())
}

/// The collections of `cluster` that a task is about: those in the file `collections` where there is one (so
/// that a person can choose), else all; of these the share of this run, where there are shares. The file's host,
/// where given, has to be the cluster's.
///
/// # Errors
/// The file can't be read, or no peer answers.
pub(crate) async fn selected(context: &Context, cluster: &Cluster) -> Result<Vec<String>, Error> {
    let lines = state_files::read_collections(context.ports.files.as_ref())?;
    let settings = &context.settings;
    let mine = |name: &String| settings.collections.takes(name) && settings.share.is_none_or(|share| share.takes(name));
    let mut all = collections(cluster).await?;
    all.retain(mine);
    if lines.is_empty() {
        return Ok(all);
    }
    let hosts: BTreeSet<String> =
        cluster.peers.iter().map(|peer| peer.address()).chain([cluster.host.to_string()]).collect();
    let mut names = BTreeSet::new();
    for line in lines {
        if line.host.as_ref().is_none_or(|host| names_host(host, &hosts)) {
            names.insert(line.collection);
        }
    }
    // The file may be an old one: what came since would quietly never be backed up.
    let mut left_out = all;
    left_out.retain(|collection| !names.contains(collection));
    if !left_out.is_empty() {
        context.log.warn(
            Some(&cluster.host.to_string()),
            &format!(
                "the file `{}` leaves out {} collections: {}; without the file (`reset` removes it) all are taken",
                state_files::COLLECTIONS,
                left_out.len(),
                shortened(&left_out),
            ),
        );
    }
    Ok(names.into_iter().filter(mine).collect())
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
