//! A component as a file: as it is, or compressed by xz (the .xz file format, 1.2.1) or gzip (RFC 1952). Which of them is
//! told by the first bytes, never by the name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use lzma_rust2::{CheckType, XzOptions, XzReader, XzWriter};

use crate::units::show_size;

/// The largest component that is taken, in bytes and unpacked: 64 MiB, so that neither a file that was named by mistake nor
/// one that is made to unpack without end fills the memory.
pub const LIMIT: usize = 64 << 20;

/// How many bytes are read at a time. [`LIMIT`] is this doubled some times, and so is the room that is made for a growing
/// component: it never exceeds the limit.
const BUFFER: usize = 64 << 10;

/// As many of the first bytes as tell the kinds of files apart.
const HEAD: u64 = 8;

/// What unpacking xz may take of memory, in KiB: `xz -9` asks for 64 MiB and a little.
const XZ_MEMORY: u32 = 80 << 10;

/// How far back [`compress`] refers, in bytes; whoever unpacks needs as much memory.
const XZ_WINDOW: u32 = 4 << 20;

/// Other compressed formats by their first bytes, and what unpacks them.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
];

/// What the first bytes of a file say it is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Component,
    Packed(Packing),
    /// Nothing that can be run: `it is ...`, and what to do.
    Other(String),
}

/// A compression that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Xz,
}

impl Packing {
    const ALL: [Self; 2] = [Self::Gzip, Self::Xz];

    /// The first bytes of such a file.
    fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b],
            Self::Xz => &[0xfd, b'7', b'z', b'X', b'Z', 0],
        }
    }

    /// The command that packs and, with `-d`, unpacks such files.
    fn program(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
        }
    }
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
        if let Some(packing) = Packing::ALL.into_iter().find(|packing| head.starts_with(packing.magic())) {
            return Self::Packed(packing);
        }
        if head.is_empty() {
            return Self::Other(
                "empty; put a component into it, by `qdrant-backup configmap` into a ConfigMap".to_owned(),
            );
        }
        Self::Other(match OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
            Some((_, name, unpack)) => format!(
                "compressed by {name}, and xz and gzip are the compressions that are known here; unpack it (`{unpack}`), \
                 and use it as it is or compress it by `xz -9`"
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
        Kind::Packed(packing) => unpack(packing, whole, limit),
        Kind::Other(what) => Err(format!("it is {what}")),
    }
}

fn unpack(packing: Packing, packed: impl BufRead, limit: usize) -> Result<Vec<u8>, String> {
    let (bytes, mut rest) = match packing {
        Packing::Gzip => {
            let mut decoder = GzDecoder::new(packed);
            (read_within(&mut decoder, limit), decoder.into_inner())
        }
        Packing::Xz => {
            let mut decoder = XzReader::new_mem_limit(packed, false, XZ_MEMORY);
            (read_within(&mut decoder, limit), decoder.into_inner())
        }
    };
    let bytes = bytes.map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => format!("it unpacks to more than {}", show_size(limit as u64)),
        ErrorKind::OutOfMemory => {
            let most = show_size(u64::from(XZ_MEMORY) << 10);
            format!("to unpack it takes more than {most} of memory; compress it by `xz -9` or less")
        }
        ErrorKind::UnexpectedEof => {
            "it is cut off in the middle of its compressed data; copy or make it again".to_owned()
        }
        _ if error.raw_os_error().is_some() => error.to_string(),
        _ => format!("its compressed data is damaged ({error}); copy or make it again"),
    })?;
    let program = packing.program();
    if !rest.fill_buf().map_err(|error| error.to_string())?.is_empty() {
        return Err(format!("it goes on after the end of its compressed data; make it again by `{program} -9`"));
    }
    match Kind::of(bytes.get(..HEAD as usize).unwrap_or(&bytes)) {
        Kind::Component => Ok(bytes),
        Kind::Packed(inner) => Err(format!(
            "it is compressed twice; unpack it once (`{program} -d`), which gives one by {}",
            inner.program()
        )),
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

/// `component`, compressed by xz: a quarter smaller than by gzip, as a ConfigMap holds 1 MiB. The same component gives the
/// same bytes. The check sum is the one that every program for xz knows, as the small one of busybox.
///
/// # Errors
/// None that is known: it is written to memory.
pub fn compress(component: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(9);
    options.lzma_options.dict_size = XZ_WINDOW;
    options.set_check_sum_type(CheckType::Crc32);
    let mut writer = XzWriter::new(Vec::new(), options)?;
    writer.write_all(component)?;
    writer.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

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

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// `bytes` in each compression that is known.
    fn packed(bytes: &[u8]) -> [Vec<u8>; 2] {
        [compress(bytes).unwrap(), gzip(bytes)]
    }

    #[test]
    fn a_component_is_the_same_compressed_or_not() {
        assert_eq!(taken(part()), part());
        let [xz, gzip] = packed(part());
        assert!(xz.starts_with(Packing::Xz.magic()) && gzip.starts_with(Packing::Gzip.magic()));
        assert!(xz.len() < gzip.len() && gzip.len() < part().len(), "{} and {}", xz.len(), gzip.len());
        for packed in [xz, gzip] {
            assert_eq!(taken(&packed), part());
            // In drops, as a pipe gives them.
            let drops = BufReader::with_capacity(1, packed.as_slice());
            assert_eq!(read_from(drops, SMALL).unwrap(), part());
        }
    }

    /// As `xz` itself writes them, with the check sums and windows that it can have.
    #[test]
    fn other_ways_to_use_xz_are_understood() {
        let with = |window: u32, check: CheckType| {
            let mut options = XzOptions::with_preset(1);
            options.lzma_options.dict_size = window;
            options.set_check_sum_type(check);
            let mut writer = XzWriter::new(Vec::new(), options).unwrap();
            writer.write_all(START).unwrap();
            writer.finish().unwrap()
        };
        for check in [CheckType::None, CheckType::Crc64, CheckType::Sha256] {
            assert_eq!(taken(&with(64 << 20, check)), START);
        }
        let large = with(256 << 20, CheckType::Crc32);
        assert!(refused(&large).contains("more than 80MiB of memory"), "{}", refused(&large));
    }

    #[test]
    fn the_name_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("c.wasm", compress(START).unwrap()), ("c.gz", compress(START).unwrap()), ("c.xz", START.to_vec())]
        {
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
        // The .xz file format, 2.1.1.2: CRC32 is what every implementation has to know.
        assert_eq!(packed[6..8], [0, 1]);
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused() {
        for packed in packed(&zeros(SMALL)) {
            let unpacked = taken(&packed);
            assert_eq!((unpacked.len(), unpacked.capacity()), (SMALL, SMALL));
        }
        for bomb in packed(&zeros(SMALL + 1)) {
            assert!(bomb.len() < SMALL / 100, "{}", bomb.len());
            assert_eq!(refused(&bomb), "it unpacks to more than 1MiB");
        }
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
        for packed in packed(part()) {
            for length in [6, 9, 10, 12, 100, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
                let why = refused(&packed[..length]);
                assert!(why.starts_with("it is cut off"), "{length}: {why}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        for packed in packed(part()) {
            for place in [12, packed.len() / 2, packed.len() - 6, packed.len() - 1] {
                let mut damaged = packed.clone();
                damaged[place] ^= 1;
                let why = read_from(damaged.as_slice(), SMALL).map(|unpacked| unpacked.len()).unwrap_err();
                assert!(why.contains("is damaged") || why.contains("is cut off"), "{place}: {why}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_refused() {
        for packed in packed(START) {
            for rest in [&b"x"[..], &[0; 512], &packed] {
                assert!(refused(&[&packed[..], rest].concat()).starts_with("it goes on after the end"));
            }
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b"\0asm\x01\0\0\0", "a core wasm module"),
            (b"#!/bin/sh\n", "no wasm component"),
            (b"\0as", "no wasm component"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0], "compressed by zstd, and xz and gzip are the"),
            (b"BZh91AY", "(`bzip2 -d`)"),
            (&[0x04, 0x22, 0x4d, 0x18, 0x64], "(`lz4 -d`)"),
            (b"PK\x03\x04\x14", "(`unzip`)"),
        ] {
            let error = refused(bytes);
            assert!(error.starts_with("it is ") && error.contains(why), "{error}");
            for packed in packed(bytes) {
                let error = refused(&packed);
                assert!(error.starts_with("unpacked, it is ") && error.contains(why), "{error}");
            }
        }
        for (program, packed) in ["xz", "gzip"].into_iter().zip(packed(&gzip(START))) {
            let advice = format!("compressed twice; unpack it once (`{program} -d`), which gives one by gzip");
            assert!(refused(&packed).contains(&advice), "{}", refused(&packed));
        }
        assert!(refused(&[0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0, 0]).contains("is damaged"));
    }
}
