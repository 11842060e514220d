//! Whether a snapshot of a shard has any points: what the id trackers of its segments say.

use std::collections::BTreeSet;

use super::error::SnapshotFileError;
use super::source::Source;
use super::walk::{self, Entry, Keep};
use crate::ports::LocalBoxFuture;

/// The changes of a segment that is still written to: of each point that came or went, one after another.
const CHANGES: &str = "mutable_id_tracker.mappings";

/// The points of a segment that is not written to any more.
const POINTS: &str = "id_tracker.mappings";

/// How much of the changes is read: nobody deletes so many points one by one and leaves the segment.
const LIMIT: u64 = 4 << 20;

/// A piece of a source, as one of its own: a tar within a tar.
struct Inner<'a> {
    outer: &'a dyn Source,
    start: u64,
    bytes: u64,
}

impl Source for Inner<'_> {
    fn total(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn read(&self, start: u64, least: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
        let left = usize::try_from(self.bytes.saturating_sub(start)).unwrap_or(usize::MAX);
        self.outer.read(self.start.saturating_add(start), least, most.min(left))
    }
}

/// True where a segment below `folder` (empty, or with a slash at its end) has points, false where none has; `None` where
/// the engine's format does not tell.
///
/// # Errors
/// The snapshot can't be read, or is not whole.
pub(super) async fn any(source: &dyn Source, folder: &str) -> Result<Option<bool>, SnapshotFileError> {
    let segments = format!("{folder}segments/");
    let mut known = true;
    for entry in walk::walk(source, &|_| Keep::Place).await? {
        let Some(path) = entry.path.strip_prefix(&segments) else { continue };
        let told = if path.contains('/') {
            // A streamed snapshot has the files of its segments as they are.
            in_file(source, &entry).await?
        } else {
            // A stored one has a tar of each.
            let segment = Inner { outer: source, start: entry.data, bytes: entry.size };
            in_segment(&segment).await?
        };
        match told {
            Told::Points => return Ok(Some(true)),
            Told::NotKnown => known = false,
            Told::Nothing => {}
        }
    }
    Ok(known.then_some(false))
}

/// What a file says of points.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// There are some.
    Points,
    /// There may be some.
    NotKnown,
    /// It has none.
    Nothing,
}

async fn in_segment(segment: &Inner<'_>) -> Result<Told, SnapshotFileError> {
    let files = match walk::walk_segment(segment, segment.bytes).await {
        Ok(files) => files,
        Err(SnapshotFileError::Unreadable(error)) => return Err(SnapshotFileError::Unreadable(error)),
        // An empty segment is a whole one, too.
        Err(SnapshotFileError::Broken(_)) => return Ok(Told::Points),
    };
    let mut told = Told::Nothing;
    for file in files {
        match in_file(segment, &file).await? {
            Told::Points => return Ok(Told::Points),
            Told::NotKnown => told = Told::NotKnown,
            Told::Nothing => {}
        }
    }
    Ok(told)
}

async fn in_file(source: &dyn Source, file: &Entry) -> Result<Told, SnapshotFileError> {
    Ok(match file.path.rsplit('/').next().unwrap_or_default() {
        CHANGES | POINTS if file.size == 0 => Told::Nothing,
        CHANGES if file.size > LIMIT => Told::Points,
        CHANGES => {
            let length = usize::try_from(file.size).unwrap_or_default();
            match leave_any(&source.read(file.data, length, length).await?) {
                Some(false) => Told::Nothing,
                Some(true) => Told::Points,
                None => Told::NotKnown,
            }
        }
        POINTS => Told::Points,
        // RocksDB, in which versions before 1.15 kept them.
        "CURRENT" => Told::NotKnown,
        _ => Told::Nothing,
    })
}

/// True where points are left after these changes (Qdrant, `mutable_id_tracker/change.rs`: a byte for the kind, the id,
/// and where one came, four bytes for its place).
fn leave_any(mut changes: &[u8]) -> Option<bool> {
    let mut there = BTreeSet::new();
    while let Some((kind, rest)) = changes.split_first() {
        let (length, came) = match kind {
            1 => (8, true),
            2 => (16, true),
            3 => (8, false),
            4 => (16, false),
            _ => return None,
        };
        let id = rest.get(..length)?;
        if came {
            there.insert(id);
        } else {
            there.remove(id);
        }
        changes = rest.get(length + if came { 4 } else { 0 }..)?;
    }
    Some(!there.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_executor::block_on;

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn total(&self) -> Option<u64> {
            Some(self.0.len() as u64)
        }

        fn read(&self, start: u64, _: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
            let rest = self.0.get(usize::try_from(start).unwrap()..).unwrap();
            Box::pin(std::future::ready(Ok(rest.iter().take(most).copied().collect())))
        }
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, path, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// What is found where the segments are tars, which Qdrant does not end, and where their files are as they are.
    fn any_in(files: &[(&str, &[u8])]) -> Option<bool> {
        let mut segment = tar_of(files);
        segment.truncate(segment.len() - 1024);
        let flat: Vec<(String, &[u8])> =
            files.iter().map(|(path, content)| (path.replace("snapshot/", "segments/a/"), *content)).collect();
        let flat: Vec<(&str, &[u8])> = flat.iter().map(|(path, content)| (path.as_str(), *content)).collect();
        let streamed = block_on(any(&Bytes(tar_of(&flat)), "")).unwrap();
        let bytes = tar_of(&[("1/segments/a.tar", b"no tar"), ("0/segments/a.tar", &segment), ("0/wal/open-1", b"x")]);
        let stored = block_on(any(&Bytes(bytes), "0/")).unwrap();
        assert_eq!(stored, streamed);
        stored
    }

    /// A collection without points; a shard with two points; the same after both were deleted.
    #[test]
    fn snapshots_of_a_real_server_tell_whether_they_have_points() {
        let recorded = |name: &str, folder: &str| {
            let path = format!("{}/../../tests/data/qdrant-1.19.0/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
            block_on(any(&Bytes(std::fs::read(path).unwrap()), folder)).unwrap()
        };
        assert_eq!(recorded("empty.snapshot", "0/"), Some(false));
        assert_eq!(recorded("empty-streamed.snapshot", ""), Some(false));
        assert_eq!(recorded("two-points-streamed.snapshot", ""), Some(true));
        assert_eq!(recorded("deleted-streamed.snapshot", ""), Some(false));
    }

    #[test]
    fn points_that_came_and_did_not_go_are_points() {
        let came = [[1].as_slice(), &[7; 8], &[0; 4]].concat();
        let went = [[3].as_slice(), &[7; 8]].concat();
        let uuid = [[2].as_slice(), &[9; 16], &[1; 4]].concat();
        let changes = |content: &[u8]| any_in(&[("snapshot/files/mutable_id_tracker.mappings", content)]);
        assert_eq!(changes(&came), Some(true));
        assert_eq!(changes(&uuid), Some(true));
        assert_eq!(changes(&[came.clone(), went.clone()].concat()), Some(false));
        assert_eq!(changes(&[came.clone(), went.clone(), came].concat()), Some(true));
        assert_eq!(changes(&[5, 0]), None);
        // So many that nobody reads them: said to have points rather than to have none.
        let most = [[3_u8; 9].repeat(466_030), [4; 17].repeat(2)].concat();
        assert_eq!((most.len() as u64, changes(&most)), (LIMIT, Some(false)));
        assert_eq!(changes(&[most, went].concat()), Some(true));
    }

    #[test]
    fn an_empty_segment_has_no_tracker_and_an_old_one_does_not_tell() {
        assert_eq!(any_in(&[("snapshot/files/segment.json", b"{}")]), Some(false));
        assert_eq!(any_in(&[("snapshot/files/id_tracker.mappings", b"1")]), Some(true));
        assert_eq!(any_in(&[("snapshot/files/id_tracker.mappings", b"")]), Some(false));
        assert_eq!(any_in(&[("snapshot/files/CURRENT", b"MANIFEST-1")]), None);
        let broken = tar_of(&[("segments/a.tar", b"no tar")]);
        assert_eq!(block_on(any(&Bytes(broken), "")).unwrap(), Some(true));
        // Folders, as other makers of a tar write them, and what is empty.
        for empty in ["segments/", "segments/a/", "segments/a.tar"] {
            assert_eq!(block_on(any(&Bytes(tar_of(&[(empty, b"")])), "")).unwrap(), Some(false), "{empty}");
        }
    }
}
