//! Which collections are to be restored from sets, and which of their sets may be taken.

use crate::error::{Code, Error};
use std::collections::{BTreeMap, BTreeSet};

use crate::context::Context;
use crate::sets::Found;
use crate::state_files;

/// The collections to restore, each with the sets that may be taken.
pub(crate) fn wanted(
    context: &Context,
    mut all: BTreeMap<String, Vec<Found>>,
) -> Result<BTreeMap<String, Vec<Found>>, Error> {
    let settings = &context.settings;
    if all.is_empty() {
        return Err("the bucket holds no sets; check QDRANT_S3_BUCKET_NAME. `create_snap_shards` makes them, and \
                    `recover_snap` restores archives of whole collections"
            .to_owned()
            .into());
    }
    let named = state_files::read_collections(context.ports.files.as_ref())?;
    let named: BTreeSet<String> = named.into_iter().map(|line| line.collection).collect();
    let renamed = settings.rename.iter().map(|(old, _)| old);
    for collection in named.iter().chain(renamed) {
        // A name without a set is told as one that fails.
        all.entry(collection.clone()).or_default();
    }
    all.retain(|collection, sets| {
        sets.retain(|set| {
            let begins = set.id.as_str().starts_with(settings.snapshot_filter.as_str());
            let before =
                settings.restore_before.is_none_or(|before| set.id.started().is_some_and(|started| started < before));
            begins && before
        });
        (named.is_empty() || named.contains(collection)) && settings.collections.takes(collection)
    });
    if all.is_empty() {
        return Err("no collection with a set is meant (QDRANT_COLLECTIONS, the file `collections`)".to_owned().into());
    }
    Ok(all)
}

pub(crate) fn no_set(context: &Context) -> Error {
    let settings = &context.settings;
    let cause = match (settings.snapshot_filter.is_empty(), settings.restore_before.is_none()) {
        (true, true) => "there is no set of it; `list_sets` lists what there is".to_owned(),
        (false, _) => format!(
            "no set of it begins with QDRANT_SNAPSHOT_DATETIME_FILTER={}; `list_sets` lists all",
            settings.snapshot_filter
        ),
        (true, false) => "no set of it was begun before QDRANT_RESTORE_BEFORE; `list_sets` lists all".to_owned(),
    };
    Error::new(Code::NothingSelected, "", cause)
}
