//! `get_colla`: the aliases of the source, into the file `collection_aliases` and, if asked, into the bucket.

use super::Context;
use super::source::{self, Source};
use crate::moment;
use crate::qdrant::Cluster;
use crate::records;
use crate::report::{Item, Outcome};
use std::collections::BTreeMap;

/// The folder of alias files in the bucket.
pub(super) const FOLDER: &str = "collection_aliases_store";

pub(super) async fn run(context: &Context) -> Result<(), String> {
    let source = source::find(context).await?;
    context.report_all(source.missing_items());
    save(context, &source).await;
    if let Ok(Some(csv)) = context.ports.files.read(records::ALIASES) {
        context.ports.console.data(&String::from_utf8_lossy(&csv));
    }
    Ok(())
}

/// Saves the aliases of all clusters of the source.
pub(super) async fn save(context: &Context, source: &Source) {
    let mut aliases = BTreeMap::new();
    let mut whole = true;
    for cluster in &source.clusters {
        match read(cluster).await {
            Ok(found) => aliases.extend(found),
            Err(cause) => {
                whole = false;
                context.report(failed(Some(cluster.host.to_string()), records::ALIASES, cause));
            }
        }
    }
    if !whole {
        // A file with some of the aliases would pass for all of them.
        return;
    }
    let lines: Vec<records::Alias> =
        aliases.into_iter().map(|(alias, collection)| records::Alias { collection, alias }).collect();
    let csv = records::aliases_csv(&lines);
    match context.ports.files.replace(records::ALIASES, csv.as_bytes()) {
        Ok(()) => context.report(Item {
            name: Some(records::ALIASES.to_owned()),
            cause: Some(format!("{} aliases", lines.len())),
            ..Item::new("file", Outcome::Done)
        }),
        Err(error) => context.report(failed(None, records::ALIASES, error.to_string())),
    }
    if context.settings.aliases_on_s3 {
        upload(context, csv).await;
    }
}

/// Uploads a version of its own first, then the stable object that a restore reads.
async fn upload(context: &Context, csv: String) {
    let Some(bucket) = &context.bucket else { return };
    let time = moment::COPY.write(context.ports.clock.now());
    let versioned = format!("{FOLDER}/{}-{}", records::ALIASES, time);
    let stable = format!("{FOLDER}/{}", records::ALIASES);
    for key in [versioned, stable] {
        let bytes = csv.len() as u64;
        match bucket.put(&key, "text/csv", csv.clone().into_bytes()).await {
            Ok(()) => context.report(Item { name: Some(key), bytes: Some(bytes), ..Item::new("file", Outcome::Done) }),
            Err(error) => {
                context.report(failed(None, &key, error.to_string()));
                break;
            }
        }
    }
}

async fn read(cluster: &Cluster) -> Result<BTreeMap<String, String>, String> {
    let mut causes = Vec::new();
    for peer in &cluster.peers {
        match peer.client.aliases().await {
            Ok(aliases) => return Ok(aliases),
            Err(error) => causes.push(error.to_string()),
        }
    }
    causes.extend(cluster.missing.iter().map(|missing| missing.cause.clone()));
    Err(causes.join("; "))
}

fn failed(host: Option<String>, name: &str, cause: String) -> Item {
    Item { host, name: Some(name.to_owned()), cause: Some(cause), ..Item::new("file", Outcome::Failed) }
}
