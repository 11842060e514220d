//! From header to header through a tar of any size, to its very end.

use tar::{EntryType, Header, PaxExtensions};

use super::error::SnapshotFileError;
use super::source::Source;

/// A tar is made of blocks of this size.
pub(super) const BLOCK: u64 = 512;

/// How much is read at a time: the tables of a snapshot lie close together.
const WINDOW: usize = 32 << 10;

/// The largest table, and the largest extended header.
const TABLE_LIMIT: u64 = 16 << 20;

/// More entries than any snapshot has: a shard has a few for each segment and each piece of its WAL.
const ENTRY_LIMIT: usize = 1_000_000;

/// A file in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path, without a leading `./`.
    pub path: String,
    /// The bytes it takes in the snapshot, which are fewer than its own for a file with holes.
    pub size: u64,
    /// Its header, where it was wanted.
    pub header: Option<Vec<u8>>,
    /// What follows the header begins here: the map of its holes, then its content.
    pub data: u64,
    /// Where the next entry begins.
    pub end: u64,
    /// Its content, where it was wanted.
    pub content: Option<Vec<u8>>,
}

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Where it is.
    Place,
    /// Its header.
    Header,
    /// All of it.
    Content,
}

/// Lists a snapshot; of each path what `wanted` says is kept.
///
/// # Errors
/// It can't be read, is damaged, or does not end as a tar has to.
pub(super) async fn walk(source: &dyn Source, wanted: &dyn Fn(&str) -> Keep) -> Result<Vec<Entry>, SnapshotFileError> {
    let mut window = Window::new(source);
    let (entries, at) = entries(&mut window, wanted, None).await?;
    check_end(&mut window, at).await?;
    Ok(entries)
}

/// Lists the tar of a segment in a snapshot of `bytes` bytes: Qdrant writes no end to it.
///
/// # Errors
/// It can't be read, or is damaged.
pub(super) async fn walk_segment(source: &dyn Source, bytes: u64) -> Result<Vec<Entry>, SnapshotFileError> {
    Ok(entries(&mut Window::new(source), &|_| Keep::Place, Some(bytes)).await?.0)
}

/// The entries up to a block of zeros, or up to `end`; and where that is.
async fn entries(
    window: &mut Window<'_>,
    wanted: &dyn Fn(&str) -> Keep,
    end: Option<u64>,
) -> Result<(Vec<Entry>, u64), SnapshotFileError> {
    let mut extension = Extension::default();
    let mut entries = Vec::new();
    let mut at = 0;
    while end != Some(at) {
        let Some(member) = Member::read(window, at, &mut extension).await? else { break };
        at = member.end;
        if member.is_extension {
            extension.take(window, &member).await?;
        } else if entries.len() == ENTRY_LIMIT {
            return Err(broken(member.start, "too many entries"));
        } else {
            entries.push(member.entry(window, &mut extension, wanted).await?);
        }
    }
    Ok((entries, at))
}

/// A member of a tar: a file, or an extended header, which says something of the file after it.
struct Member {
    start: u64,
    block: Vec<u8>,
    is_extension: bool,
    /// The bytes of its content in the tar.
    size: u64,
    /// Its content begins here, behind the map of its holes.
    content: u64,
    end: u64,
}

impl Member {
    /// Reads the header at `at`; `None` for a block of zeros, which is the end.
    async fn read(
        window: &mut Window<'_>,
        at: u64,
        extension: &mut Extension,
    ) -> Result<Option<Self>, SnapshotFileError> {
        let block = window.read(at, BLOCK).await?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        check(header).map_err(|what| broken(at, what))?;
        let own_size = header.entry_size().map_err(|_| broken(at, "a header without a size"))?;
        let kind = header.entry_type();
        let mut content = at + BLOCK;
        if kind == EntryType::GNUSparse {
            content += sparse_blocks(window, header, content).await?;
        }
        let is_extension = kind.is_gnu_longname() || kind.is_gnu_longlink() || is_pax(kind);
        let size = if is_extension { own_size } else { extension.size.take().unwrap_or(own_size) };
        let end = size.checked_next_multiple_of(BLOCK).and_then(|padded| content.checked_add(padded));
        let end = end.ok_or_else(|| broken(at, "an impossible size"))?;
        if window.source.total().is_some_and(|total| end > total) {
            return Err(broken(at, "an entry that goes on behind the end of the object: it was not stored whole"));
        }
        Ok(Some(Self { start: at, block, is_extension, size, content, end }))
    }

    /// The file, with what is wanted of it.
    async fn entry(
        self,
        window: &mut Window<'_>,
        extension: &mut Extension,
        wanted: &dyn Fn(&str) -> Keep,
    ) -> Result<Entry, SnapshotFileError> {
        let header = Header::from_byte_slice(&self.block);
        let name = extension.name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let path = String::from_utf8_lossy(&name);
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let keep = wanted(&path);
        if keep == Keep::Content && self.size > TABLE_LIMIT {
            return Err(broken(self.start, &format!("`{path}` of impossible size")));
        }
        let content = if keep == Keep::Content { Some(window.read(self.content, self.size).await?) } else { None };
        let header = (keep == Keep::Header).then_some(self.block);
        Ok(Entry { path, size: self.size, header, data: self.start + BLOCK, end: self.end, content })
    }
}

/// What extended headers have said of the file after them.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    async fn take(&mut self, window: &mut Window<'_>, member: &Member) -> Result<(), SnapshotFileError> {
        if member.size > TABLE_LIMIT {
            return Err(broken(member.start, "an extended header of impossible size"));
        }
        let content = window.read(member.content, member.size).await?;
        let kind = Header::from_byte_slice(&member.block).entry_type();
        if kind.is_gnu_longname() {
            self.name = Some(content.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
        } else if kind.is_pax_local_extensions() {
            self.take_pax(&content);
        }
        Ok(())
    }

    fn take_pax(&mut self, content: &[u8]) {
        for extension in PaxExtensions::new(content).flatten() {
            match extension.key_bytes() {
                b"path" => self.name = Some(extension.value_bytes().to_vec()),
                b"size" => self.size = extension.value().ok().and_then(|value| value.parse().ok()),
                _ => {}
            }
        }
    }
}

/// The end of a tar is two blocks of zeros; only zeros may follow.
async fn check_end(window: &mut Window<'_>, at: u64) -> Result<(), SnapshotFileError> {
    /// GNU tar fills up to 20 blocks. What is longer than that was something else once.
    const LONGEST: u64 = 64 * BLOCK;
    let rest = match window.source.total() {
        Some(total) => total - at,
        None => {
            let more = LONGEST as usize + 1;
            window.source.read(at, more, more).await?.len() as u64
        }
    };
    if !(2 * BLOCK..=LONGEST).contains(&rest) {
        return Err(broken(at, &format!("{rest} bytes in place of the end of a tar")));
    }
    if window.read(at, rest).await?.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(broken(at, "something else than zeros after the end"))
    }
}

/// How many bytes of further sparse maps follow the header.
async fn sparse_blocks(window: &mut Window<'_>, header: &Header, start: u64) -> Result<u64, SnapshotFileError> {
    /// Where a block of a sparse map says whether another one follows (GNU tar manual, "Basic Tar Format").
    const GOES_ON: usize = 504;
    let mut goes_on = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
    let mut bytes = 0;
    while goes_on {
        let block = window.read(start + bytes, BLOCK).await?;
        goes_on = block.get(GOES_ON).is_some_and(|flag| *flag == 1);
        bytes += BLOCK;
    }
    Ok(bytes)
}

fn is_pax(kind: EntryType) -> bool {
    kind.is_pax_global_extensions() || kind.is_pax_local_extensions()
}

fn check(header: &Header) -> Result<(), &'static str> {
    let bytes = header.as_bytes();
    // The checksum is taken as if its own eight bytes were spaces.
    let own: u32 = bytes.iter().skip(148).take(8).map(|byte| u32::from(*byte)).sum();
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() - own + 8 * u32::from(b' ');
    match header.cksum() {
        Ok(said) if said == sum => Ok(()),
        _ => Err("something that is no tar header"),
    }
}

fn broken(at: u64, what: &str) -> SnapshotFileError {
    SnapshotFileError::Broken(format!("at byte {at} there is {what}"))
}

/// The piece that was read last.
struct Window<'a> {
    source: &'a dyn Source,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, start: 0, bytes: Vec::new() }
    }

    async fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>, SnapshotFileError> {
        let nothing_more = || broken(start, "nothing more: it is not whole");
        let end = start.checked_add(length).ok_or_else(nothing_more)?;
        if self.source.total().is_some_and(|total| end > total) {
            return Err(nothing_more());
        }
        let length = usize::try_from(length).map_err(|_| broken(start, "an impossible size"))?;
        if let Some(piece) = self.have(start, length) {
            return Ok(piece.to_vec());
        }
        self.bytes = self.source.read(start, length, length.max(WINDOW)).await?;
        self.start = start;
        self.have(start, length).map(<[u8]>::to_vec).ok_or_else(nothing_more)
    }

    fn have(&self, start: u64, length: usize) -> Option<&[u8]> {
        let offset = usize::try_from(start.checked_sub(self.start)?).ok()?;
        self.bytes.get(offset..offset.checked_add(length)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ports::LocalBoxFuture;
    use futures_util::FutureExt;
    use std::cell::RefCell;

    struct Memory {
        bytes: Vec<u8>,
        reads: RefCell<Vec<(u64, usize)>>,
    }

    impl Source for Memory {
        fn total(&self) -> Option<u64> {
            Some(self.bytes.len() as u64)
        }

        fn read(&self, start: u64, _: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
            self.reads.borrow_mut().push((start, most));
            let rest = self.bytes.get(usize::try_from(start).unwrap()..).unwrap();
            Box::pin(std::future::ready(Ok(rest.get(..most).unwrap_or(rest).to_vec())))
        }
    }

    fn wanted(path: &str) -> Keep {
        if path.ends_with(".json") { Keep::Content } else { Keep::Place }
    }

    /// What is found where the snapshot can be read anywhere; and the same has to be found where it comes in pieces.
    fn list(bytes: Vec<u8>) -> (Result<Vec<Entry>, SnapshotFileError>, usize) {
        let came = fed(&bytes, 700);
        let source = Memory { bytes, reads: RefCell::default() };
        let entries = futures_executor::block_on(walk(&source, &wanted));
        assert_eq!(entries.as_ref().ok(), came.as_ref().ok());
        let reads = source.reads.borrow().len();
        (entries, reads)
    }

    /// What is found where the snapshot comes in pieces of `size` bytes.
    fn fed(bytes: &[u8], size: usize) -> Result<Vec<Entry>, SnapshotFileError> {
        let feed = super::super::source::Feed::default();
        let mut walking = Box::pin(walk(&feed, &wanted));
        for piece in bytes.chunks(size) {
            feed.push(piece);
            if let Some(ended) = (&mut walking).now_or_never() {
                assert!(ended.is_err(), "the end was not there");
                return ended;
            }
        }
        feed.end();
        walking.now_or_never().unwrap()
    }

    #[test]
    fn pieces_of_any_size_make_the_same_snapshot() {
        let long = format!("0/{}/a.json", "long/".repeat(40));
        let whole = snapshot(&[("0/segments/a.tar", 100_000), ("0/empty", 0), (&long, 700), ("config.json", 3)]);
        let expected = list(whole.clone()).0.unwrap();
        for size in [1, 7, 511, 512, 513, 32 << 10, 64 << 10, 1 << 20] {
            assert_eq!(fed(&whole, size).as_ref(), Ok(&expected), "{size}");
            assert!(fed(whole.get(..whole.len() - 600).unwrap(), size).is_err(), "{size}");
        }
        let mut longer = whole.clone();
        longer.resize(whole.len() + 70 * 512, 0);
        assert!(fed(&longer, 1000).is_err(), "zeros without end");
    }

    fn snapshot(files: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, size) in files {
            let mut header = Header::new_gnu();
            header.set_size(*size as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, vec![b'x'; *size].as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn large_files_are_stepped_over() {
        let long = format!("0/{}/a.json", "long/".repeat(40));
        let (entries, reads) =
            list(snapshot(&[("0/segments/a.tar", 5_000_000), ("0/empty", 0), (&long, 700), ("config.json", 3)]));
        let entries = entries.unwrap();
        let paths: Vec<_> = entries
            .iter()
            .map(|entry| (entry.path.as_str(), entry.size, entry.content.as_ref().map(Vec::len)))
            .collect();
        assert_eq!(
            paths,
            [
                ("0/segments/a.tar", 5_000_000, None),
                ("0/empty", 0, None),
                (long.as_str(), 700, Some(700)),
                ("config.json", 3, Some(3))
            ]
        );
        assert_eq!(reads, 2);
    }

    #[test]
    fn a_snapshot_that_is_cut_anywhere_is_refused() {
        let whole = snapshot(&[("a", 1000), ("b.json", 10), ("c", 1)]);
        assert!(list(whole.clone()).0.is_ok());
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap().to_vec();
            assert!(list(cut).0.is_err(), "{length} of {}", whole.len());
        }
    }

    #[test]
    fn a_changed_header_is_refused() {
        let whole = snapshot(&[("a", 1000), ("b", 10)]);
        for at in [0, 124, 156, 600, 1536, 1536 + 100] {
            let mut changed = whole.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            let is_data = (512..1512).contains(&at);
            assert_eq!(list(changed).0.is_ok(), is_data, "{at}");
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(&[1; 512]);
        assert!(list(longer).0.is_err());
        assert!(list(b"<html>".repeat(200)).0.is_err());
    }

    /// Of a file with more holes than its header has room for, blocks of them come before the content.
    #[test]
    fn a_long_map_of_holes_is_no_content() {
        for blocks in 0..4 {
            let mut header = Header::new_gnu();
            header.set_path("a").unwrap();
            header.set_entry_type(EntryType::GNUSparse);
            header.set_size(700);
            header.as_gnu_mut().unwrap().isextended = [u8::from(blocks > 0)];
            header.set_cksum();
            let map = (1..=blocks).flat_map(|block| {
                let mut bytes = vec![b'0'; 512];
                bytes.splice(504..505, [u8::from(block < blocks)]);
                bytes
            });
            let mut bytes: Vec<u8> = header.as_bytes().iter().copied().chain(map).collect();
            bytes.extend([vec![b'x'; 700], vec![0; 324], snapshot(&[("b.json", 5)])].concat());
            let entries = list(bytes).0.unwrap();
            let found: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.size, entry.end)).collect();
            let end = 512 * (1 + blocks + 2);
            assert_eq!(found, [("a", 700, end), ("b.json", 5, end + 1024)], "{blocks} blocks");
        }
    }

    /// They say something of the file after them, or of all.
    #[test]
    fn extended_headers_are_no_files() {
        let extended = |kind: EntryType, extensions: &[(&str, &[u8])]| {
            let mut builder = tar::Builder::new(Vec::new());
            builder.append_pax_extensions(extensions.iter().copied()).unwrap();
            let mut bytes = builder.into_inner().unwrap();
            bytes.truncate(1024);
            let mut header = Header::from_byte_slice(bytes.get(..512).unwrap()).clone();
            header.set_entry_type(kind);
            header.set_cksum();
            bytes.splice(..512, header.as_bytes().iter().copied());
            bytes
        };
        let of_all = extended(EntryType::XGlobalHeader, &[("comment", b"of all")]);
        let of_one = extended(EntryType::XHeader, &[("path", b"0/a.json"), ("size", b"5")]);
        let mut file = snapshot(&[("other", 5)]);
        let mut header = Header::from_byte_slice(file.get(..512).unwrap()).clone();
        header.set_size(0);
        header.set_cksum();
        file.splice(..512, header.as_bytes().iter().copied());
        let entries = list([of_all, of_one, file].concat()).0.unwrap();
        let found: Vec<_> =
            entries.iter().map(|entry| (entry.path.as_str(), entry.size, entry.data, entry.end)).collect();
        assert_eq!(found, [("0/a.json", 5, 2560, 3072)]);
    }

    /// Whatever a header says of its size, no more than the largest table is held.
    #[test]
    fn what_is_larger_than_any_table_is_not_read() {
        for (kind, path) in [(EntryType::Regular, "a.json"), (EntryType::GNULongName, "././@LongLink")] {
            for (size, is_read) in [(TABLE_LIMIT - 1, true), (TABLE_LIMIT, true), (TABLE_LIMIT + 1, false)] {
                let mut header = Header::new_gnu();
                header.set_path(path).unwrap();
                header.set_entry_type(kind);
                header.set_size(size);
                header.set_cksum();
                let mut bytes = header.as_bytes().to_vec();
                bytes.resize(512 + size.next_multiple_of(BLOCK) as usize, 0);
                bytes.extend(snapshot(&[("b", 1)]));
                let source = Memory { bytes, reads: RefCell::default() };
                let walked = futures_executor::block_on(walk(&source, &wanted));
                assert_eq!(walked.is_ok(), is_read, "{path}, {size}: {walked:?}");
            }
        }
    }

    #[test]
    fn snapshots_of_a_real_qdrant_are_walked() {
        for (name, entries) in [
            ("one-5766752262420808-2026-11-22-09-33-14.snapshot", 12),
            ("one-4087575062899578-2026-11-22-09-32-17.snapshot", 6),
            ("docs-shard-0-2026-11-22-09-32-18.snapshot", 7),
        ] {
            let path = format!("{}/../../tests/data/qdrant-1.18.3/archives/{name}", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(list(std::fs::read(path).unwrap()).0.unwrap().len(), entries, "{name}");
        }
    }
}
