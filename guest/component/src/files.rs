//! The work directory.

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qdrant_backup_core::ports::{FileError, Files};

use crate::written_file::{Folder, WrittenFile};

/// Where the work directory is mounted.
const WORK: &str = "/work";

/// How long a line that was added may be without being on the disk. To wait for the disk after each line would stop all
/// requests meanwhile: a slow disk takes longer than a small snapshot. What the program itself wrote survives its own end
/// in any case; this is for the end of the whole machine.
const SYNC: Duration = Duration::from_secs(1);

/// A directory of state files.
pub struct WorkDirectory {
    folder: PathBuf,
    /// The files that this run adds lines to.
    growing: RefCell<Vec<Growing>>,
}

/// A file that lines are added to. It ends with a whole one.
struct Growing {
    name: String,
    file: WrittenFile,
    synced: Option<Instant>,
    dirty: bool,
}

impl WorkDirectory {
    /// `/work` where it is mounted, else the current directory.
    pub fn find() -> Self {
        let mounted = fs::metadata(WORK).is_ok_and(|metadata| metadata.is_dir());
        Self { folder: PathBuf::from(if mounted { WORK } else { "." }), growing: RefCell::default() }
    }

    /// The folder, to write in.
    fn written(&self) -> io::Result<Folder> {
        Folder::find(&self.folder.to_string_lossy())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Waits until all lines are on the disk.
    pub fn sync(&self) {
        for growing in self.growing.borrow_mut().iter_mut().filter(|growing| growing.dirty) {
            // All that could be done about it is what was done: the lines are written.
            growing.dirty = growing.file.sync_all().is_err();
        }
    }

    /// Lets go of a file that will be another one.
    fn forget(&self, name: &str) {
        self.growing.borrow_mut().retain(|growing| growing.name != name);
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
        self.forget(name);
        let new = self.path(&format!(".{name}.new"));
        let written = self
            .written()
            .and_then(|folder| folder.create(&format!(".{name}.new")))
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, self.path(name)));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(name, "write", &error)
        })
    }

    fn append(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let appended = self.add(name, content);
        if appended.is_err() {
            // Half a line may be there.
            self.forget(name);
        }
        appended.map_err(|error| failed(name, "write", &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        // What gets the name of a whole file has to be whole, whatever happens to the machine.
        for growing in self.growing.borrow().iter().filter(|growing| growing.name == from) {
            growing.file.sync_all().map_err(|error| failed(from, "write", &error))?;
        }
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to)).map_err(|error| failed(from, "rename", &error))
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        self.forget(name);
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

impl WorkDirectory {
    fn add(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut all = self.growing.borrow_mut();
        let number = match all.iter().position(|growing| growing.name == name) {
            Some(number) => number,
            None => {
                let file = open(&self.written()?, name)?;
                all.push(Growing { name: name.to_owned(), file, synced: None, dirty: false });
                all.len() - 1
            }
        };
        let Some(growing) = all.get_mut(number) else { return Ok(()) };
        growing.file.write_all(content)?;
        growing.dirty = true;
        if growing.synced.is_none_or(|synced| synced.elapsed() >= SYNC) {
            growing.file.sync_all()?;
            growing.dirty = false;
            growing.synced = Some(Instant::now());
        }
        Ok(())
    }
}

/// Opens a file to add lines to, and ends the line that a crash left half.
fn open(folder: &Folder, name: &str) -> io::Result<WrittenFile> {
    let mut file = folder.append_to(name)?;
    if file.last_byte()?.is_some_and(|last| last != b'\n') {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn failed(name: &str, action: &'static str, error: &io::Error) -> FileError {
    FileError { name: name.to_owned(), action, cause: error.to_string() }
}
