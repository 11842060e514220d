//! Folders for a while.

use std::path::Path;

use tempfile::TempDir;

/// An empty folder; what is small is in memory, where the machine has a place for that.
pub fn folder(small: bool) -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if small && memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.or_else(|_| TempDir::new()).expect("a temporary folder")
}
