//! A file that is written, through `wasi:filesystem` itself: the C library asks for the right to change a directory
//! (`mutate-directory`) with every file that it opens for writing, which not every runtime grants.

use std::io::{self, ErrorKind};

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// A folder in which files are written.
pub struct Folder {
    directory: Descriptor,
    /// Its path below the directory: empty, or with a slash at its end.
    below: String,
}

impl Folder {
    /// The folder `path`, in the directory that holds it.
    ///
    /// # Errors
    /// The component was given none.
    pub fn find(path: &str) -> io::Result<Self> {
        let wanted = bare(path);
        let mut found: Option<(usize, Self)> = None;
        for (directory, name) in get_directories() {
            let name = bare(&name);
            let below = if name.is_empty() { Some(wanted) } else { wanted.strip_prefix(name) };
            let Some(below) = below.filter(|below| name.is_empty() || below.is_empty() || below.starts_with('/'))
            else {
                continue;
            };
            // The nearest one.
            if found.as_ref().is_none_or(|(length, _)| name.len() > *length) {
                let below = below.trim_start_matches('/');
                let below = if below.is_empty() { String::new() } else { format!("{below}/") };
                found = Some((name.len(), Self { directory, below }));
            }
        }
        let missing = || io::Error::new(ErrorKind::NotFound, "the component was given no directory to write to");
        found.map(|(_, folder)| folder).ok_or_else(missing)
    }

    /// A new file in it, in the place of one that is there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn create(&self, name: &str) -> io::Result<WrittenFile> {
        self.open(name, OpenFlags::CREATE | OpenFlags::TRUNCATE)
    }

    /// A file to add to, which is made where it is not there.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn append_to(&self, name: &str) -> io::Result<WrittenFile> {
        let mut file = self.open(name, OpenFlags::CREATE)?;
        file.end = file.descriptor.stat().map_err(failed)?.size;
        Ok(file)
    }

    fn open(&self, name: &str, how: OpenFlags) -> io::Result<WrittenFile> {
        let path = format!("{}{name}", self.below);
        let access = DescriptorFlags::READ | DescriptorFlags::WRITE;
        let descriptor = self.directory.open_at(PathFlags::SYMLINK_FOLLOW, &path, how, access);
        Ok(WrittenFile { descriptor: descriptor.map_err(failed)?, end: 0 })
    }
}

/// A path as directories are compared by it: from the root, which is the current directory, too.
fn bare(path: &str) -> &str {
    let mut path = path;
    loop {
        path = match path.strip_prefix("./").or_else(|| path.strip_prefix('/')) {
            Some(rest) => rest,
            None if path == "." => "",
            None => return path.trim_end_matches('/'),
        };
    }
}

/// A file that is open.
pub struct WrittenFile {
    descriptor: Descriptor,
    /// Where the next bytes go.
    end: u64,
}

impl WrittenFile {
    /// The last byte; `None` of an empty file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn last_byte(&self) -> io::Result<Option<u8>> {
        let Some(last) = self.end.checked_sub(1) else { return Ok(None) };
        let (bytes, _) = self.descriptor.read(1, last).map_err(failed)?;
        Ok(bytes.first().copied())
    }

    /// Writes all of `content` behind what is there.
    ///
    /// # Errors
    /// It can't be written whole.
    pub fn write_all(&mut self, mut content: &[u8]) -> io::Result<()> {
        while !content.is_empty() {
            let written = self.descriptor.write(content, self.end).map_err(failed)?;
            self.end += written;
            match usize::try_from(written).ok().and_then(|written| content.get(written..)) {
                Some(rest) if written > 0 => content = rest,
                _ => return Err(ErrorKind::WriteZero.into()),
            }
        }
        Ok(())
    }

    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// It may not be.
    pub fn sync_all(&self) -> io::Result<()> {
        self.descriptor.sync().map_err(failed)
    }
}

fn failed(code: ErrorCode) -> io::Error {
    let kind = match code {
        ErrorCode::Access | ErrorCode::NotPermitted => ErrorKind::PermissionDenied,
        ErrorCode::NoEntry => ErrorKind::NotFound,
        ErrorCode::ReadOnly => ErrorKind::ReadOnlyFilesystem,
        ErrorCode::InsufficientSpace => ErrorKind::StorageFull,
        ErrorCode::Quota => ErrorKind::QuotaExceeded,
        ErrorCode::IsDirectory => ErrorKind::IsADirectory,
        ErrorCode::NotDirectory => ErrorKind::NotADirectory,
        // In the words of WASI.
        code => return io::Error::other(code.name()),
    };
    kind.into()
}
