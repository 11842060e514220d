//! The project's own words: phrases that may not come back, and names of tests that can be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use qdrant_backup_tests::test_names;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file of the project with one of these extensions, by its path from the root.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            let path_of = path.strip_prefix(root()).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                // Recordings of servers, and what the bucket of an older version holds.
                if !["target", "dist", ".git"].contains(&name.as_str()) && path_of != "tests/data" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|end| extensions.iter().any(|known| end == *known)) {
                found.push((path_of, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// What nobody who runs databases says, and what to say in its place.
const PHRASES: &[(&str, &str)] = &[
    ("has proven it", "verified, or what was compared"),
    ("a slip is told", "a mistake is reported"),
    ("the last so many", "keep-last N"),
    ("newest so many", "keep-last N"),
    ("so many hours", "keep-hourly N"),
    ("of so many", "N"),
    ("the time it wishes", "Retry-After"),
    ("half as often each time", "twice as long each time"),
    ("archives of no set", "orphaned snapshots"),
    ("snapshot of no set", "orphaned snapshot"),
    ("in ipv6 clothes", "IPv4-mapped IPv6 address"),
    ("clothes of ipv6", "IPv4-mapped IPv6 address"),
    ("port that is none", "an invalid port"),
    ("comes to rest", "settles"),
    ("come to rest", "settle"),
    ("came to rest", "settled"),
    ("at rest", "settled"),
    ("looking whether", "checking whether"),
    ("looks whether", "checks whether"),
    ("all of the bucket is not meant", "without the file, the whole bucket"),
    ("written_by_people", "a name that says what it is"),
    ("genuine", "what was checked"),
    ("without further ado", "without further settings"),
    ("slip of the pen", "a typing error"),
    ("honest limits", "limitations"),
];

#[test]
fn no_phrase_that_was_replaced_comes_back() {
    let mut found = Vec::new();
    for (path, text) in files(&["md", "rs", "toml", "yaml", "yml", "sh", "py", "txt", "wit"]) {
        // The list itself.
        if path.ends_with("tests/words.rs") {
            continue;
        }
        // Phrases go on over the ends of lines, and the signs of comments there.
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split_whitespace().filter(|word| !["//", "///", "//!", "#", "|"].contains(word)).collect();
        let text = words.join(" ");
        for (phrase, better) in PHRASES {
            for (at, _) in text.match_indices(phrase) {
                let part_of_a_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                let before = text[..at].chars().next_back();
                let after = text[at + phrase.len()..].chars().next();
                if !part_of_a_word(before) && !part_of_a_word(after) {
                    found.push(format!("{path}: \"{phrase}\": say {better}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let (mut tests, mut long) = (0, Vec::new());
    for (path, text) in files(&["rs"]) {
        let names = test_names::of(&text);
        tests += names.len();
        long.extend(names.iter().filter(|name| name.chars().count() > 60).map(|name| format!("{path}: {name}")));
    }
    assert!(long.is_empty(), "{long:#?}");
    assert!(tests > 700, "{tests}");
}
