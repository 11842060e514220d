//! The mark on a collection that a restore has created and not finished: an entry in its `metadata` (Qdrant 1.16 and
//! later). It is what tells this very collection from another one of the same name. It is taken away when the restore
//! has ended; that of a drill stays until the collection is dropped.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The entry's name.
pub const NAME: &str = "qdrant_backup_restore";

/// What the name of every collection begins with that a drill makes. The name alone says nothing: a user may have given
/// it, too.
pub const SCRATCH: &str = "qdrant-backup-drill-";

/// What the name of every collection begins with that is kept beside another until that is replaced.
pub const BESIDE: &str = "qdrant-backup-beside-";

/// Whose a collection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The id of the restore that created it.
    pub restore: String,
    /// What it is restored from: see `Plan::backup`.
    pub backup: String,
    /// True where a drill made it, to be dropped again.
    #[serde(default)]
    pub drill: bool,
    /// The collection that it is kept beside until that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

impl Marker {
    /// The mark in `config`, as `GET /collections/{c}` shows it.
    pub fn of(config: &Value) -> Option<Self> {
        crate::decode::from_value(config.get("metadata")?.get(NAME)?.clone()).ok()
    }

    /// True for a collection that is dropped again: no backup's subject.
    pub fn is_passing(&self) -> bool {
        self.drill || self.beside.is_some()
    }

    /// The entry as a field of `metadata`.
    pub fn entry(&self) -> Value {
        let mut fields = Map::from_iter([
            ("restore".to_owned(), Value::from(self.restore.as_str())),
            ("backup".to_owned(), Value::from(self.backup.as_str())),
            ("drill".to_owned(), Value::from(self.drill)),
        ]);
        if let Some(beside) = &self.beside {
            fields.insert("beside".to_owned(), Value::from(beside.as_str()));
        }
        Value::Object(Map::from_iter([(NAME.to_owned(), Value::Object(fields))]))
    }
}

/// `metadata` without a mark: what a backup of a half restored collection has of it is nobody's.
pub fn without(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove(NAME);
    }
    metadata
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_taken_away() {
        let marker = Marker { restore: "r".to_owned(), backup: "b".to_owned(), drill: true, beside: None };
        let mut metadata = marker.entry();
        metadata.as_object_mut().unwrap().insert("owner".to_owned(), Value::Null);
        assert_eq!(Marker::of(&json!({ "metadata": metadata })), Some(marker));
        assert_eq!(without(&metadata), json!({"owner": null}));
        assert_eq!(Marker::of(&json!({"metadata": {NAME: "by hand"}})), None);
        assert_eq!(Marker::of(&json!({})), None);
    }
}
