//! Saving the aliases: into the file `collection_aliases` and, if asked, into the bucket.

use crate::error::Error;
use std::collections::BTreeMap;

use crate::clusters::source::Source;
use crate::context::Context;
use crate::places;
use crate::qdrant::Cluster;
use crate::report::{Item, Outcome};
use crate::state_files;
use crate::timestamp;

/// The folder of alias files in the bucket.
pub(crate) const FOLDER: &str = places::ALIASES;

/// Saves the aliases of all clusters of the source.
pub(crate) async fn save(context: &Context, source: &Source) {
    let mut aliases = BTreeMap::new();
    let mut whole = true;
    for cluster in &source.clusters {
        match read(cluster).await {
            Ok(found) => aliases.extend(found),
            Err(cause) => {
                whole = false;
                context.reporter.report(failed(
                    Some(cluster.host.to_string()),
                    state_files::ALIASES,
                    cause.to_string(),
                ));
            }
        }
    }
    if !whole {
        // A file with some of the aliases would pass for all of them.
        return;
    }
    let lines: Vec<state_files::Alias> =
        aliases.into_iter().map(|(alias, collection)| state_files::Alias { collection, alias }).collect();
    let csv = state_files::aliases_csv(&lines);
    match context.ports.files.replace(state_files::ALIASES, csv.as_bytes()) {
        Ok(()) => context.reporter.report(Item {
            name: Some(state_files::ALIASES.to_owned()),
            cause: Some(format!("{} aliases", lines.len())),
            ..Item::new("file", Outcome::Done)
        }),
        Err(error) => context.reporter.report(failed(None, state_files::ALIASES, error.to_string())),
    }
    if context.settings.aliases_on_s3 {
        upload(context, csv).await;
    }
}

/// Uploads a version of its own first, then the stable object that a restore reads.
async fn upload(context: &Context, csv: String) {
    let Some(bucket) = &context.store else { return };
    let time = timestamp::COPY.write(context.ports.clock.now());
    let versioned = format!("{FOLDER}/{}-{}", state_files::ALIASES, time);
    let stable = format!("{FOLDER}/{}", state_files::ALIASES);
    for key in [versioned, stable].map(|key| bucket.places().ours(&key)) {
        let bytes = csv.len() as u64;
        match bucket.put(&key, "text/csv", csv.clone().into_bytes()).await {
            Ok(()) => context.reporter.report(Item {
                name: Some(key),
                bytes: Some(bytes),
                ..Item::new("file", Outcome::Done)
            }),
            Err(error) => {
                context.reporter.report(failed(None, &key, error.to_string()));
                break;
            }
        }
    }
}

async fn read(cluster: &Cluster) -> Result<BTreeMap<String, String>, Error> {
    let mut causes = Vec::new();
    for peer in &cluster.peers {
        match peer.client.aliases().await {
            Ok(aliases) => return Ok(aliases),
            Err(error) => causes.push(error.to_string()),
        }
    }
    causes.extend(cluster.missing.iter().map(|missing| missing.cause.clone()));
    Err(causes.join("; ").into())
}

fn failed(host: Option<String>, name: &str, cause: String) -> Item {
    Item { host, name: Some(name.to_owned()), cause: Some(cause), ..Item::new("file", Outcome::Failed) }
}
