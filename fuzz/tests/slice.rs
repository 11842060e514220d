//! A slice of what `make fuzz` does: every example, and changes of them that are the same at every run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::panic::catch_unwind;

use qdrant_backup_fuzz::TARGETS;

/// How many changed inputs each target gets.
const CHANGES: usize = 600;

/// Pieces that mean something to one target or another.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b",",
    b"\"",
    b"\"\"",
    b"#",
    b"/",
    b"..",
    b"../",
    b"//",
    b"%",
    b"%2F",
    b"%2e%2e",
    b"\0",
    b"\x7f",
    b":",
    b"@",
    b"[::1]",
    b"=",
    b"&",
    b"?",
    b"-shard-",
    b".snapshot",
    b"18446744073709551615",
    b"4294967295",
    b"-1",
    b"0",
    b"1e9",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"&amp;",
    b"&#0;",
    b"&#x110000;",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"</Key>",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    "ü".as_bytes(),
    "\u{202e}".as_bytes(),
    b"*",
    b"**",
    b"{a,b}",
    b"[!a]",
    b"api-key=",
    b"X-Amz-Signature=",
    b"snapshots/",
];

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// A few changes at random places.
fn change(numbers: &mut Numbers, examples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = examples[numbers.below(examples.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let length = numbers.below(16).min(bytes.len() - at);
        match numbers.below(7) {
            0 => drop(bytes.drain(at..at + length)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, bytes[at..at + length].to_vec())),
            3 => drop(bytes.splice(at..at + length, PIECES[numbers.below(PIECES.len())].iter().copied())),
            4 => {
                let other = &examples[numbers.below(examples.len())];
                let from = numbers.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            _ if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            _ => {}
        }
    }
    bytes
}

#[test]
fn every_target_holds_for_its_examples_and_changes_of_them() {
    for target in TARGETS {
        let examples = (target.examples)();
        let mut numbers = Numbers(42);
        let changes = (0..CHANGES).map(|_| change(&mut numbers, &examples));
        for input in examples.iter().cloned().chain(changes) {
            if catch_unwind(|| (target.check)(&input)).is_err() {
                panic!("{} does not hold for b\"{}\"", target.name, input.escape_ascii());
            }
        }
    }
}
