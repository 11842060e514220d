//! `docs/guarantees.md` names tests that are there, and the rules it speaks of hold for the code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use qdrant_backup_tests::test_names;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every source file below `folder`, by its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The names of all functions that have a test's attribute in front.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["guest", "host", "drill", "fuzz", "tests"] {
        for (_, text) in sources(folder) {
            names.extend(test_names::of(&text).into_iter().map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_test_that_the_promises_name_is_there() {
    let page = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let tests = tests();
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let proofs = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
        for name in proofs.split('`').skip(1).step_by(2).filter(|name| !name.starts_with("make ")) {
            assert!(tests.contains(name), "docs/guarantees.md names the test `{name}`, and there is none");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn every_promise_has_a_proof() {
    let page = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Guarantee"));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert!(matches!(cells.as_slice(), [_, _, proof] if proof.contains('`')), "{row}");
    }
}

#[test]
fn lints_are_allowed_away_only_where_it_is_argued() {
    /// What a promise stands on.
    const GUARDED: &[&str] = &[
        "unsafe_code",
        "missing_docs",
        "clippy::unwrap_used",
        "clippy::expect_used",
        "clippy::panic",
        "clippy::indexing_slicing",
    ];
    /// File and lint.
    const ARGUED: &[(&str, &str)] = &[
        // Generated: exports under fixed names.
        ("guest/component/src/embedded.rs", "unsafe_code, missing_docs"),
        ("guest/component/src/operations.rs", "unsafe_code, missing_docs"),
        // Machine code that was compiled with the program.
        ("host/src/sandbox/precompiled.rs", "unsafe_code"),
        ("host/src/sandbox/bindings.rs", "missing_docs"),
    ];
    let mut argued: BTreeSet<&(&str, &str)> = BTreeSet::new();
    for (file, text) in
        ["guest/contract/src", "guest/core/src", "guest/component/src", "host/src", "native/src", "drill/src"]
            .into_iter()
            .flat_map(sources)
    {
        if file.ends_with("/tests.rs") {
            continue;
        }
        // Tests stand at the end of a file.
        let code = text.split("#[cfg(test)]\n#[allow").next().unwrap();
        for line in code.lines().map(str::trim) {
            let lints = line.strip_prefix("#[allow(").or_else(|| line.strip_prefix("#![allow("));
            let Some(lints) = lints.or_else(|| line.strip_prefix("#[expect(")) else { continue };
            let lints = lints.trim_end_matches(")]");
            if !lints.split(", ").any(|lint| GUARDED.contains(&lint)) {
                continue;
            }
            let exception = ARGUED.iter().find(|(known, lint)| *known == file && *lint == lints);
            assert!(exception.is_some(), "{file} allows {lints}");
            argued.extend(exception);
        }
    }
    assert_eq!(argued.len(), ARGUED.len(), "an exception that nobody needs any more");
    for root in [
        "guest/contract/src/lib.rs",
        "guest/core/src/lib.rs",
        "drill/src/lib.rs",
        "native/src/lib.rs",
        "fuzz/src/lib.rs",
        "tests/src/lib.rs",
    ] {
        assert!(
            std::fs::read_to_string(self::root().join(root)).unwrap().contains("#![forbid(unsafe_code)]"),
            "{root}"
        );
    }
}
