//! `list_sources`: whose backups there are.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::context::Context;
use crate::error::Error;
use crate::printable;
use crate::reporter::age;
use crate::restore::{self, OfSource};
use crate::settings::Output;
use crate::table;
use crate::timestamp;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let bucket = context.store()?;
    let survey = restore::all_sources(context, bucket).await?;
    let listed: Vec<OfSource<'_>> = survey.sources().collect();
    let text = if context.settings.output == Output::Json {
        format!("{}\n", printable::json(&Value::Array(listed.iter().map(fields).collect())))
    } else {
        let heads = ["SOURCE", "NAME", "PEERS", "COLLECTIONS", "SETS", "SNAPSHOTS", "NEWEST", "AGE", "SEEN"];
        let now = context.ports.clock.now();
        table::columns(&heads, listed.iter().map(|listed| row(listed, now)).collect())
    };
    context.ports.console.data(&text);
    if listed.is_empty() {
        context.log.info(None, "there are no backups; `create_snap_shards` makes them");
    }
    Ok(())
}

/// The fields of `--output json`; docs/schemas/list_sources.json.
fn fields(listed: &OfSource<'_>) -> Value {
    json!({
        "version": 1,
        "source_id": listed.entry.source.id.as_str(),
        "source_name": listed.entry.source.name,
        "recorded": listed.entry.recorded,
        // As text: JSON readers lose digits of large numbers.
        "peers": listed.entry.peers.iter().map(u64::to_string).collect::<Vec<_>>(),
        "collections": listed.collections,
        "sets": listed.sets,
        "snapshots": listed.snapshots,
        "newest": listed.newest.map(|at| timestamp::RFC3339.write(at)),
        "seen_at": listed.seen_at,
    })
}

fn row(listed: &OfSource<'_>, now: OffsetDateTime) -> Vec<String> {
    [
        listed.entry.source.id.to_string(),
        listed.entry.source.name.clone(),
        listed.entry.peers.len().to_string(),
        listed.collections.len().to_string(),
        listed.sets.to_string(),
        listed.snapshots.to_string(),
        listed.newest.map(|at| timestamp::RFC3339.write(at)).unwrap_or_else(|| "-".to_owned()),
        listed.newest.map(|at| age(now - at)).unwrap_or_default(),
        listed.seen_at.unwrap_or("no record").to_owned(),
    ]
    .to_vec()
}
