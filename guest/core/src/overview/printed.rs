//! The same in short: a table for people, and JSON for programs.

use serde_json::{Value, json};

use super::risk::{self, Kind};
use super::{CollectionRow, Overview};
use crate::reporter::{age, size};
use crate::table;
use crate::timestamp;

const HEADS: [&str; 8] = ["COLLECTION", "SOURCE", "NEWEST GOOD", "SETS", "SIZE", "KEEPS", "LAST DRILL", "AT RISK"];

/// A line for each collection, and what is not known.
pub(crate) fn table(all: &Overview) -> String {
    let rows = all.collections.iter().map(|collection| {
        let risks = risk::of_collection(collection, all);
        let keeps =
            if collection.unknown.is_some() { "not known".to_owned() } else { collection.judged(true).0.to_string() };
        vec![
            collection.name.clone(),
            collection.source_name().to_owned(),
            collection.newest_at(all.made_at).map_or("none".to_owned(), |at| age(all.made_at - at)),
            collection.sets.len().to_string(),
            size(collection.bytes()),
            keeps,
            collection.drilled_at().unwrap_or("never").to_owned(),
            risks.iter().map(|(kind, _)| kind.name()).collect::<Vec<_>>().join(", "),
        ]
    });
    let mut text = table::columns(&HEADS, rows.collect());
    for unknown in &all.not_known {
        let line = qdrant_backup_contract::printable::in_one_line(unknown);
        text.push_str(&format!("not known: {line}\n"));
    }
    text
}

/// docs/schemas/report.json.
pub(crate) fn as_json(all: &Overview) -> Value {
    let sources = all.sources.iter().map(|source| {
        json!({
            "source_id": source.id,
            "source_name": source.name,
            "sets": source.sets,
            "snapshots": source.snapshots,
            "newest": source.newest.map(|at| timestamp::RFC3339.write(at)),
        })
    });
    json!({
        "version": 1,
        "made_at": timestamp::RFC3339.write(all.made_at),
        "bucket": all.bucket,
        "max_age_seconds": all.max_age.whole_seconds(),
        "verified_at": all.verified_at,
        "sources": sources.collect::<Vec<_>>(),
        "collections": all.collections.iter().map(|collection| of_collection(collection, all)).collect::<Vec<_>>(),
        "not_known": all.not_known,
    })
}

fn of_collection(collection: &CollectionRow, all: &Overview) -> Value {
    let source = collection.source.as_ref();
    let newest = collection.newest_good(all.made_at);
    let judged = |keep: bool| collection.unknown.is_none().then(|| collection.judged(keep).0);
    let risk = |(kind, finding): (Kind, String)| json!({"kind": kind.name(), "finding": finding});
    json!({
        "collection": collection.name,
        "source_id": source.map(|(id, _)| id),
        "source_name": source.map(|(_, name)| name),
        "newest_good": newest.map(|set| &set.id),
        "newest_good_at": newest.and_then(|set| set.started).map(|at| timestamp::RFC3339.write(at)),
        "sets": collection.sets.len(),
        "snapshots": collection.whole.unwrap_or_default().count,
        "bytes": collection.bytes(),
        "keeps": judged(true),
        "removes": judged(false),
        "drilled_at": collection.drilled_at(),
        "dropped": collection.dropped,
        "risks": risk::of_collection(collection, all).into_iter().map(risk).collect::<Vec<_>>(),
    })
}
