//! Saving the aliases: into the file `collection_aliases` and, if asked, into the bucket.

use std::collections::BTreeMap;

use crate::clusters::source::Source;
use crate::context::Context;
use crate::places;
use crate::qdrant::{Client, Cluster};
use crate::report::Item;
use crate::source::SourceId;
use crate::state_files::{self, Alias};
use crate::timestamp;

/// The folder of alias files in the bucket.
pub(crate) const FOLDER: &str = places::ALIASES;

/// The aliases of one source, as its restores read them. The object right in the folder is shared by all sources of the
/// bucket, and is the last one's: it decides only where a source has none of its own.
pub(super) fn own(source: &SourceId, name: &str) -> String {
    format!("{FOLDER}/{source}/{name}")
}

/// The prefix of the keys of the aliases of each run of a source; the run's id follows.
pub(crate) fn of_runs(source: &SourceId) -> String {
    own(source, &format!("{}-", state_files::ALIASES))
}

/// Saves the aliases of all clusters of the source; those that were found.
pub(crate) async fn save(context: &Context, source: &Source) -> Vec<Alias> {
    let mut aliases = BTreeMap::new();
    let mut whole = true;
    for cluster in &source.clusters {
        match cluster.first_answer(Client::aliases).await {
            Ok(found) => {
                if context.settings.aliases_on_s3 {
                    upload_own(context, cluster, state_files::aliases_csv(&lines(&found))).await;
                }
                aliases.extend(found);
            }
            Err(error) => {
                whole = false;
                let item = Item::failed("file", error).host(&cluster.host).name(state_files::ALIASES);
                context.reporter.report(item);
            }
        }
    }
    let found = lines(&aliases);
    if !whole {
        // A file with some of the aliases would pass for all of them.
        let what = format!("the file `{}` is not written, as the list is incomplete", state_files::ALIASES);
        context.log.warn(None, &what);
        return found;
    }
    if context.settings.dry_run {
        let what = format!("{} aliases would be saved", aliases.len());
        context.plan(&["aliases", state_files::ALIASES, &what]);
        context.reporter.report(Item::skipped("file", what).name(state_files::ALIASES));
        return found;
    }
    let text = state_files::aliases_csv(&found);
    context.reporter.report(match context.ports.files.replace(state_files::ALIASES, text.as_bytes()) {
        Ok(()) => Item::done("file").name(state_files::ALIASES).cause(format!("{} aliases", aliases.len())),
        Err(error) => Item::failed("file", error).name(state_files::ALIASES),
    });
    if context.settings.aliases_on_s3 {
        let time = timestamp::COPY.write(context.ports.clock.now());
        let versioned = format!("{FOLDER}/{}-{time}", state_files::ALIASES);
        upload(context, [versioned, format!("{FOLDER}/{}", state_files::ALIASES)], &text).await;
    }
    found
}

/// Uploads the aliases of one cluster as its source's own: those of this run, and the ones that a restore reads.
async fn upload_own(context: &Context, cluster: &Cluster, csv: String) {
    let (Some(source), Some(_)) = (context.source_of(&cluster.host), context.notes()) else { return };
    let of_run = format!("{}{}", of_runs(&source.id), context.run);
    upload(context, [of_run, own(&source.id, state_files::ALIASES)], &csv).await;
}

fn lines(aliases: &BTreeMap<String, String>) -> Vec<Alias> {
    let line = |(alias, collection): (&String, &String)| Alias { collection: collection.clone(), alias: alias.clone() };
    aliases.iter().map(line).collect()
}

/// Uploads a version of its own first, then the stable object that a restore reads.
async fn upload(context: &Context, keys: [String; 2], csv: &str) {
    let Some(bucket) = &context.store else { return };
    for key in keys.map(|key| bucket.places().ours(&key)) {
        match bucket.put(&key, "text/csv", csv.as_bytes().to_vec()).await {
            Ok(()) => context.reporter.report(Item::done("file").name(key).bytes(csv.len() as u64)),
            Err(error) => {
                context.reporter.report(Item::failed("file", error).name(key));
                break;
            }
        }
    }
}
