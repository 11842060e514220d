//! What the work directory has of earlier restores: a line for each record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::ports::FileError;

/// The lines as they were when the first of them was asked for, by the collection that they are about: each collection is
/// looked at before anything is written of it, and the file is as long as there are collections.
#[derive(Default)]
pub(super) struct Noted(RefCell<Option<BTreeMap<String, Rc<Lines>>>>);

/// Lines, in the order in which they were written.
type Lines = Vec<Vec<u8>>;

impl Noted {
    /// Those of a collection; `read` gives the whole file where it was not read yet.
    ///
    /// # Errors
    /// The file can't be read: what is not known is not taken for none.
    pub(super) fn of(
        &self,
        read: impl FnOnce() -> Result<Option<Vec<u8>>, FileError>,
        collection: &str,
    ) -> Result<Rc<Lines>, FileError> {
        let mut noted = self.0.borrow_mut();
        let noted = match &mut *noted {
            Some(noted) => noted,
            none => none.insert(by_collection(&read()?.unwrap_or_default())),
        };
        Ok(noted.get(collection).cloned().unwrap_or_default())
    }
}

fn by_collection(text: &[u8]) -> BTreeMap<String, Rc<Lines>> {
    let mut found: BTreeMap<String, Lines> = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let record: Option<Value> = serde_json::from_slice(line).ok();
        if let Some(collection) = record.as_ref().and_then(|record| record.get("collection")).and_then(Value::as_str) {
            found.entry(collection.to_owned()).or_default().push(line.to_vec());
        }
    }
    found.into_iter().map(|(collection, lines)| (collection, Rc::new(lines))).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_file_is_read_once_for_all_collections() {
        let (one, other, last) =
            (r#"{"collection":"docs","n":1}"#, r#"{"collection":"other"}"#, r#"{"collection":"docs","n":2}"#);
        let text = format!("{one}\n{other}\n{{\"version\":1}}\n{last}\n{{\"collection\":\"do");
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            Ok(Some(text.clone().into_bytes()))
        };
        let noted = Noted::default();
        for (collection, expected) in [("docs", vec![one, last]), ("other", vec![other]), ("none", vec![])] {
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!(noted.of(read, collection).map(|lines| lines.to_vec()), Ok(expected));
        }
        assert_eq!(reads.get(), 1);
    }
}
