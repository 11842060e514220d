//! The folder of one shard in a snapshot of a collection, as a snapshot of that shard: the same files without
//! `<shard>/` before their names. Nothing is unpacked: the headers are written anew, all else is copied.

use tar::{EntryType, Header};

use super::error::SnapshotFileError;
use super::walk::{BLOCK, Entry};

/// A piece of a snapshot that is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of the object from `start` until before `end`.
    Copy {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
}

impl Piece {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Copy { start, end } => end - start,
        }
    }
}

/// The snapshot of `shard`, from the entries of a snapshot of its collection.
///
/// # Errors
/// It has no data of the shard, or a name that can't be shortened.
pub(super) fn pieces(entries: &[Entry], shard: u32) -> Result<Vec<Piece>, SnapshotFileError> {
    let folder = format!("{shard}/");
    let mut pieces = Vec::new();
    let mut has_data = false;
    for entry in entries {
        let Some(name) = entry.path.strip_prefix(&folder).filter(|name| !name.is_empty()) else { continue };
        has_data |= name.starts_with("segments/");
        let header = entry.header.as_deref().ok_or_else(|| broken(&format!("`{}` without a header", entry.path)))?;
        pieces.push(Piece::Bytes(renamed(header, name, entry.size)?));
        if entry.data < entry.end {
            pieces.push(Piece::Copy { start: entry.data, end: entry.end });
        }
    }
    if !has_data {
        return Err(broken(&format!("it has no data of shard {shard}")));
    }
    // The end of a tar.
    pieces.push(Piece::Bytes(vec![0; 2 * BLOCK as usize]));
    Ok(pieces)
}

/// The header with another name; a name that does not fit into it is written before it, as GNU tar does.
fn renamed(header: &[u8], name: &str, size: u64) -> Result<Vec<u8>, SnapshotFileError> {
    let impossible = |what: &str| broken(&format!("`{name}`: {what}"));
    let mut header = Header::from_byte_slice(header).clone();
    let mut bytes = Vec::new();
    let fits = header.as_old().name.len();
    if name.len() > fits {
        let mut before = Header::new_gnu();
        before.set_path("././@LongLink").map_err(|error| impossible(&error.to_string()))?;
        before.set_entry_type(EntryType::GNULongName);
        before.set_mode(0o644);
        let text = [name.as_bytes(), b"\0"].concat();
        before.set_size(text.len() as u64);
        before.set_cksum();
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend_from_slice(&text);
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
    }
    let field = &mut header.as_old_mut().name;
    field.fill(0);
    for (to, from) in field.iter_mut().zip(name.as_bytes()) {
        *to = *from;
    }
    // A POSIX header may have the beginning of the name in a field of its own.
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.prefix.fill(0);
    }
    // An extended header may have said the size before.
    if header.entry_type() != EntryType::GNUSparse {
        header.set_size(size);
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    Ok(bytes)
}

fn broken(what: &str) -> SnapshotFileError {
    SnapshotFileError::Broken(what.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Read;

    use super::super::error::SnapshotFileError;
    use super::super::source::Source;
    use super::super::walk::{Keep, walk};
    use super::*;
    use crate::ports::LocalBoxFuture;

    struct Memory<'a>(&'a [u8]);

    impl Source for Memory<'_> {
        fn total(&self) -> Option<u64> {
            Some(self.0.len() as u64)
        }

        fn read(&self, start: u64, _: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
            let rest = &self.0[usize::try_from(start).unwrap()..];
            Box::pin(std::future::ready(Ok(rest.iter().take(most).copied().collect())))
        }
    }

    fn shard_snapshot(whole: &[u8], shard: u32) -> Result<Vec<u8>, SnapshotFileError> {
        let wanted = |_: &str| Keep::Header;
        let entries = futures_executor::block_on(walk(&Memory(whole), &wanted)).unwrap();
        let mut snapshot = Vec::new();
        for piece in pieces(&entries, shard)? {
            let before = snapshot.len() as u64;
            match &piece {
                Piece::Bytes(bytes) => snapshot.extend_from_slice(bytes),
                Piece::Copy { start, end } => snapshot.extend_from_slice(&whole[*start as usize..*end as usize]),
            }
            assert_eq!(snapshot.len() as u64 - before, piece.length());
            assert_ne!(piece.length(), 0);
        }
        Ok(snapshot)
    }

    /// Path and content of every file, holes filled.
    fn files(snapshot: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut snapshot = tar::Archive::new(snapshot);
        let entries = snapshot.entries().unwrap();
        entries
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (path, content)
            })
            .collect()
    }

    #[test]
    fn a_real_snapshot_gives_its_shard_with_every_file_as_it_was() {
        let path = "../../tests/data/qdrant-1.18.3/archives/one-5766752262420808-2026-11-22-09-33-14.snapshot";
        let whole = std::fs::read(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let within = |(path, content): (String, Vec<u8>)| Some((path.strip_prefix("0/")?.to_owned(), content));
        let expected: Vec<_> = files(&whole).into_iter().filter_map(within).collect();
        let expected: Vec<_> = expected.into_iter().filter(|(path, _)| !path.is_empty()).collect();
        let snapshot = shard_snapshot(&whole, 0).unwrap();
        let found = files(&snapshot);
        assert!(found.iter().any(|(path, _)| path.starts_with("segments/")), "{found:?}");
        assert!(found.iter().any(|(_, content)| content.len() > 1_000_000), "a file with holes");
        assert_eq!(found, expected);
        // What was put together is whole, too.
        let memory = Memory(&snapshot);
        let walked = walk(&memory, &|_| Keep::Place);
        assert_eq!(futures_executor::block_on(walked).unwrap().len(), found.len());
    }

    #[test]
    fn names_of_any_length_lose_the_folder_and_nothing_else() {
        let long = format!("segments/{}/a", "x".repeat(140));
        // With the folder too long for a header, without it just short enough.
        let edge = format!("segments/{}", "y".repeat(91));
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("12/shard_config.json", "{}"),
            (&format!("1/{long}"), "long"),
            (&format!("1/{edge}"), "edge"),
            ("1/replica_state.json", "state"),
            ("1/wal/empty", ""),
            ("config.json", "whole"),
        ] {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let whole = builder.into_inner().unwrap();
        let snapshot = shard_snapshot(&whole, 1).unwrap();
        let before = snapshot.windows(9).filter(|bytes| bytes == b"@LongLink").count();
        assert_eq!(before, 1, "the long one alone is written before its header");
        let expected =
            [(long, "long"), (edge, "edge"), ("replica_state.json".to_owned(), "state"), ("wal/empty".to_owned(), "")]
                .map(|(path, content)| (path, content.as_bytes().to_vec()));
        assert_eq!(files(&snapshot), expected);
        for absent in [0, 2, 12] {
            let error = shard_snapshot(&whole, absent).unwrap_err().to_string();
            assert!(error.contains(&format!("no data of shard {absent}")), "{error}");
        }
    }

    /// A size that has no room in a header stands in the extended one before it, which stays behind.
    #[test]
    fn a_size_from_an_extended_header_comes_into_the_header() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", b"700".as_slice())]).unwrap();
        let mut header = Header::new_ustar();
        header.set_path("1/segments/a").unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        let mut whole = builder.into_inner().unwrap();
        whole.truncate(1024);
        whole.extend([header.as_bytes().to_vec(), vec![b'x'; 700], vec![0; 324 + 1024]].concat());
        assert_eq!(files(&shard_snapshot(&whole, 1).unwrap()), [("segments/a".to_owned(), vec![b'x'; 700])]);
    }
}
