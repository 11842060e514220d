//! For tests of what has no business with files or the console.

use super::{Console, FileError, Files};

/// No files at all, and nobody who listens.
pub(crate) struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>, FileError> {
        unreachable!()
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

impl Console for Nothing {
    fn data(&self, _: &str) {}
    fn log(&self, _: &str) {}
}
