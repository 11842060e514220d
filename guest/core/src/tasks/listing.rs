//! What the tasks that fill state files print: the lines of the file, or the same for programs.

use serde_json::Value;

use crate::context::Context;
use crate::printable;
use crate::settings::Output;
use crate::state_files::{Alias, Collection, Snapshot};

/// Prints `csv`, or `rows` as one JSON array where that is wanted.
pub(super) fn print(context: &Context, csv: &str, rows: impl Iterator<Item = Value>) {
    if context.settings.output == Output::Json {
        let text = printable::json(&Value::Array(rows.collect()));
        context.ports.console.data(&format!("{text}\n"));
    } else {
        context.ports.console.data(csv);
    }
}

/// docs/schemas/get_coll.json.
pub(super) fn collection(line: &Collection) -> Value {
    serde_json::json!({"version": 1, "host": line.host, "collection": line.collection})
}

/// docs/schemas/get_snap.json.
pub(super) fn snapshot(line: &Snapshot) -> Value {
    serde_json::json!({"version": 1, "host": line.host, "collection": line.collection, "snapshot": line.snapshot_name})
}

/// docs/schemas/get_colla.json.
pub(super) fn alias(line: &Alias) -> Value {
    serde_json::json!({"version": 1, "collection": line.collection, "alias": line.alias})
}
