//! The work directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use qdrant_backup_core::ports::{FileError, Files};

/// Where the work directory is mounted.
const WORK: &str = "/work";

/// A directory of state files.
pub struct WorkDirectory(PathBuf);

impl WorkDirectory {
    /// `/work` where it is mounted, else the current directory.
    pub fn find() -> Self {
        let mounted = fs::metadata(WORK).is_ok_and(|metadata| metadata.is_dir());
        Self(PathBuf::from(if mounted { WORK } else { "." }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Files for WorkDirectory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        match fs::read(self.path(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(name, "read", &error)),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let new = self.path(&format!(".{name}.new"));
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, self.path(name)));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(name, "write", &error)
        })
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        append(&self.path(name), content).map_err(|error| failed(name, "write", &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        fs::rename(self.path(from), self.path(to)).map_err(|error| failed(from, "rename", &error))
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        match fs::remove_file(self.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(name, "remove", &error)),
        }
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| failed(path, "read", &error))
    }
}

/// Writes `content` at the end, after a line end where a crash left half a line.
fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut lines = Vec::new();
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            lines.push(b'\n');
        }
    }
    lines.extend_from_slice(content);
    file.write_all(&lines)?;
    file.sync_all()
}

fn failed(name: &str, action: &'static str, error: &io::Error) -> FileError {
    FileError { name: name.to_owned(), action, cause: error.to_string() }
}
