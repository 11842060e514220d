//! A component as a file: as it is, or compressed by gzip (RFC 1952). Which of them is told by the first bytes, never by
//! the name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::num::NonZeroU64;
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::units::show_size;

/// The largest component that is taken, in bytes and unpacked: 64 MiB, so that neither a file that was named by mistake nor
/// one that is made to unpack without end fills the memory.
pub const LIMIT: usize = 64 << 20;

/// How many bytes are read at a time. [`LIMIT`] is this doubled some times, and so is the room that is made for a growing
/// component: it never exceeds the limit.
const BUFFER: usize = 64 << 10;

/// As many of the first bytes as tell the kinds of files apart.
const HEAD: u64 = 8;

const GZIP: &[u8] = &[0x1f, 0x8b];

/// Other compressed formats by their first bytes, and what unpacks them.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -d"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
];

/// What the first bytes of a file say it is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Component,
    Gzip,
    /// Nothing that can be run: `it is ...`, and what to do.
    Other(String),
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        // Layer 1 in the second half of the version tells a component from a core module (component model, Binary.md).
        match head {
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Self::Component,
            [0, b'a', b's', b'm', _, _, 0, 0, ..] => {
                return Self::Other("a core wasm module and no component".to_owned());
            }
            _ => {}
        }
        if head.starts_with(GZIP) {
            return Self::Gzip;
        }
        if head.is_empty() {
            return Self::Other(
                "empty; put a component into it, by `qdrant-backup configmap` into a ConfigMap".to_owned(),
            );
        }
        Self::Other(match OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
            Some((_, name, unpack)) => format!(
                "compressed by {name}, and gzip is the only compression that is known here; unpack it (`{unpack}`), and \
                 use it as it is or compress it by `gzip -9`"
            ),
            None => "no wasm component".to_owned(),
        })
    }
}

/// The component in `file`, unpacked.
///
/// # Errors
/// It can't be read, is damaged, has more than [`LIMIT`] bytes, or is no component: why, without the file's name.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(file).map_err(|error| error.to_string())?;
    read_from(BufReader::new(file), LIMIT)
}

fn read_from(mut source: impl BufRead, limit: usize) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    source.by_ref().take(HEAD).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let whole = head.as_slice().chain(source);
    match Kind::of(&head) {
        Kind::Component => read_within(whole, limit).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => format!("it has more than {}", show_size(limit as u64)),
            _ => error.to_string(),
        }),
        Kind::Gzip => unpack(whole, limit),
        Kind::Other(what) => Err(format!("it is {what}")),
    }
}

fn unpack(packed: impl BufRead, limit: usize) -> Result<Vec<u8>, String> {
    let mut decoder = GzDecoder::new(packed);
    let bytes = read_within(&mut decoder, limit).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => format!("it unpacks to more than {}", show_size(limit as u64)),
        ErrorKind::UnexpectedEof => {
            "it is cut off in the middle of its compressed data; copy or make it again".to_owned()
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            format!("its compressed data is damaged ({error}); copy or make it again")
        }
        _ => error.to_string(),
    })?;
    let mut rest = decoder.into_inner();
    if !rest.fill_buf().map_err(|error| error.to_string())?.is_empty() {
        return Err("it goes on after the end of its compressed data; make it again by `gzip -9`".to_owned());
    }
    match Kind::of(bytes.get(..HEAD as usize).unwrap_or(&bytes)) {
        Kind::Component => Ok(bytes),
        Kind::Gzip => Err("it is compressed twice; unpack it once (`gzip -d`)".to_owned()),
        Kind::Other(what) => Err(format!("unpacked, it is {what}")),
    }
}

/// All of `source`; more than `limit` bytes are an error of the kind `FileTooLarge`.
fn read_within(mut source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(BUFFER);
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() + count > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// `component`, compressed by gzip as far as that goes, which takes seconds. Without a time and a name, so that the same
/// component gives the same bytes.
///
/// # Errors
/// None that is known: it is written to memory.
pub fn compress(component: &[u8]) -> io::Result<Vec<u8>> {
    // More iterations take longer and save nothing that matters.
    let options =
        zopfli::Options { iteration_count: NonZeroU64::new(5).unwrap_or(NonZeroU64::MIN), ..Default::default() };
    let mut compressed = Vec::new();
    zopfli::compress(options, zopfli::Format::Gzip, component, &mut compressed)?;
    Ok(compressed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sandbox::COMPONENT;

    /// The first bytes of every component.
    const START: &[u8] = b"\0asm\x0d\0\x01\0";

    /// A limit that tests reach soon.
    const SMALL: usize = 1 << 20;

    /// As much of a component as does not take long to compress without optimisation.
    fn part() -> &'static [u8] {
        &COMPONENT[..100_000]
    }

    fn taken(bytes: &[u8]) -> Vec<u8> {
        read_from(bytes, SMALL).unwrap()
    }

    fn refused(bytes: &[u8]) -> String {
        read_from(bytes, SMALL).unwrap_err()
    }

    /// A component's first bytes and then zeros, `length` bytes in all.
    fn zeros(length: usize) -> Vec<u8> {
        [START, &vec![0; length - START.len()]].concat()
    }

    #[test]
    fn a_component_is_the_same_compressed_or_not() {
        let packed = compress(part()).unwrap();
        assert!(packed.starts_with(GZIP) && packed.len() < part().len());
        assert_eq!(taken(part()), part());
        assert_eq!(taken(&packed), part());
        // In drops, as a pipe gives them.
        let drops = BufReader::with_capacity(1, packed.as_slice());
        assert_eq!(read_from(drops, SMALL).unwrap(), part());
    }

    #[test]
    fn the_name_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [("c.wasm", compress(START).unwrap()), ("c.wasm.gz", START.to_vec())] {
            let file = directory.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(read(&file).unwrap(), START, "{name}");
        }
        assert!(read(&directory.path().join("none")).unwrap_err().contains("No such file"));
        assert!(read(directory.path()).unwrap_err().contains("directory"));
    }

    #[test]
    fn the_same_component_gives_the_same_bytes() {
        let packed = compress(part()).unwrap();
        assert_eq!(packed, compress(part()).unwrap());
        // RFC 1952, 2.3: no name, no comment, no time.
        assert_eq!(packed[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused() {
        let unpacked = taken(&compress(&zeros(SMALL)).unwrap());
        assert_eq!((unpacked.len(), unpacked.capacity()), (SMALL, SMALL));
        let bomb = compress(&zeros(SMALL + 1)).unwrap();
        assert!(bomb.len() < SMALL / 100, "{}", bomb.len());
        assert_eq!(refused(&bomb), "it unpacks to more than 1MiB");
    }

    /// The file has no blocks on the disk.
    #[test]
    fn a_file_of_more_than_the_limit_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(START).unwrap();
        file.as_file().set_len(LIMIT as u64 + 1).unwrap();
        assert_eq!(read(file.path()).unwrap_err(), "it has more than 64MiB");
        file.as_file().set_len(LIMIT as u64).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), LIMIT);
    }

    #[test]
    fn what_is_refused_is_not_read_to_its_end() {
        let length = 4 * SMALL as u64;
        let mut long = BufReader::with_capacity(BUFFER, START.chain(io::repeat(0)).take(length));
        assert_eq!(read_from(&mut long, SMALL).unwrap_err(), "it has more than 1MiB");
        let read = length - long.get_ref().limit();
        assert!(read <= (SMALL + 2 * BUFFER) as u64, "{read}");
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused_wherever_it_ends() {
        let packed = compress(part()).unwrap();
        for length in [3, 9, 10, 100, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
            assert!(refused(&packed[..length]).starts_with("it is cut off"), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let packed = compress(part()).unwrap();
        for place in [packed.len() / 2, packed.len() - 6, packed.len() - 1] {
            let mut damaged = packed.clone();
            damaged[place] ^= 1;
            let why = refused(&damaged);
            assert!(why.contains("is damaged") || why.contains("is cut off"), "{place}: {why}");
        }
    }

    #[test]
    fn what_follows_the_end_is_refused() {
        let packed = compress(START).unwrap();
        for rest in [&b"x"[..], &[0; 512], &packed] {
            assert!(refused(&[&packed[..], rest].concat()).starts_with("it goes on after the end"));
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b"\0asm\x01\0\0\0", "a core wasm module"),
            (b"#!/bin/sh\n", "no wasm component"),
            (b"\0as", "no wasm component"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0], "compressed by zstd, and gzip is the only"),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0, 0], "(`xz -d`)"),
            (b"BZh91AY", "(`bzip2 -d`)"),
            (&[0x04, 0x22, 0x4d, 0x18, 0x64], "(`lz4 -d`)"),
            (b"PK\x03\x04\x14", "(`unzip`)"),
        ] {
            let error = refused(bytes);
            assert!(error.starts_with("it is ") && error.contains(why), "{error}");
            let error = refused(&compress(bytes).unwrap());
            assert!(error.starts_with("unpacked, it is ") && error.contains(why), "{error}");
        }
        assert!(refused(&compress(&compress(START).unwrap()).unwrap()).contains("compressed twice"));
        assert!(refused(&[0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0, 0]).contains("is damaged"));
    }
}
