//! A folder as the work directory.

use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::path::PathBuf;

use qdrant_backup_core::ports::{FileError, Files};

/// A folder.
pub struct Directory(pub PathBuf);

fn failed(name: &str, action: &'static str, error: &Error) -> FileError {
    FileError { name: name.to_owned(), action, cause: error.to_string() }
}

impl Files for Directory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        match fs::read(self.0.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(name, "read", &error)),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(self.0.join(name)).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| failed(name, "write", &error))
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let mut whole = self.read(name)?.unwrap_or_default();
        if whole.last().is_some_and(|last| *last != b'\n') {
            whole.push(b'\n');
        }
        whole.extend_from_slice(content);
        self.replace(name, &whole)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        fs::rename(self.0.join(from), self.0.join(to)).map_err(|error| failed(from, "rename", &error))
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        match fs::remove_file(self.0.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(name, "remove", &error)),
        }
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| failed(path, "read", &error))
    }
}
