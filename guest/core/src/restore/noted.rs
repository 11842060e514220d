//! What the work directory has of earlier restores: a line for each record.

use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ports::{FileError, Files};
use crate::state_files;

/// The lines as they were when the first of them was asked for, by the collection that they are about: each collection is
/// looked at before anything is written of it, and the file is as long as there are collections.
#[derive(Default)]
pub(super) struct Noted(RefCell<Option<BTreeMap<String, Rc<Lines>>>>);

/// Lines, in the order in which they were written.
type Lines = Vec<Vec<u8>>;

impl Noted {
    /// Those of a collection.
    ///
    /// # Errors
    /// The work directory can't be read: what is not known is not taken for none.
    pub(super) fn of(&self, files: &dyn Files, collection: &str) -> Result<Rc<Lines>, FileError> {
        let mut noted = self.0.borrow_mut();
        let noted = match &mut *noted {
            Some(noted) => noted,
            none => none.insert(read(files)?),
        };
        Ok(noted.get(collection).cloned().unwrap_or_default())
    }
}

fn read(files: &dyn Files) -> Result<BTreeMap<String, Rc<Lines>>, FileError> {
    let mut found: BTreeMap<String, Lines> = BTreeMap::new();
    let text = files.read(state_files::RESTORE_RECORDS)?.unwrap_or_default();
    for line in text.split(|byte| *byte == b'\n') {
        let record: Option<Value> = serde_json::from_slice(line).ok();
        if let Some(collection) = record.as_ref().and_then(|record| record.get("collection")).and_then(Value::as_str) {
            found.entry(collection.to_owned()).or_default().push(line.to_vec());
        }
    }
    Ok(found.into_iter().map(|(collection, lines)| (collection, Rc::new(lines))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A work directory with these records, which is read once.
    struct Read(Cell<usize>, Vec<u8>);

    impl Files for Read {
        fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
            self.0.set(self.0.get() + 1);
            Ok((name == state_files::RESTORE_RECORDS).then(|| self.1.clone()))
        }
        fn replace(&self, _: &str, _: &[u8]) -> Result<(), FileError> {
            unreachable!()
        }
        fn append(&self, _: &str, _: &[u8]) -> Result<(), FileError> {
            unreachable!()
        }
        fn rename(&self, _: &str, _: &str) -> Result<(), FileError> {
            unreachable!()
        }
        fn remove(&self, _: &str) -> Result<bool, FileError> {
            unreachable!()
        }
        fn read_path(&self, _: &str) -> Result<Vec<u8>, FileError> {
            unreachable!()
        }
    }

    #[test]
    fn the_file_is_read_once_for_all_collections() {
        let (one, other, last) =
            (r#"{"collection":"docs","n":1}"#, r#"{"collection":"other"}"#, r#"{"collection":"docs","n":2}"#);
        let text = format!("{one}\n{other}\n{{\"version\":1}}\n{last}\n{{\"collection\":\"do");
        let files = Read(Cell::default(), text.into_bytes());
        let noted = Noted::default();
        for (collection, expected) in [("docs", vec![one, last]), ("other", vec![other]), ("none", vec![])] {
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!(noted.of(&files, collection).map(|lines| lines.to_vec()), Ok(expected));
        }
        assert_eq!(files.0.get(), 1);
    }
}
