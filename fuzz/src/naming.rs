//! Names of collections and snapshots, keys, and the globs that choose among them.

use qdrant_backup_contract::settings::Choice;
use qdrant_backup_core::naming::{
    ShardSnapshotName, SnapshotFilter, SnapshotName, escape_segment, shard_snapshot_key, shards_folder, snapshot_key,
    snapshot_of_key, unescape_segment,
};
use qdrant_backup_core::sets::SetId;
use time::OffsetDateTime;

use crate::{texts, two};

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        "docs\ndocs-567156434043892-2026-01-29-11-44-27.snapshot",
        "ge ün%,odd\nge ün%,odd-1-2026-01-29-11-44-27.snapshot",
        "..\n../../etc/passwd",
        "a/b\n%2e%2e",
        "-shard-1-\n-shard-1--shard-0-2026-01-29-11-44-27.snapshot",
        "\u{1}\n\u{7f}",
    ])
}

pub fn check(bytes: &[u8]) {
    let Some((collection, other)) = two(bytes) else { return };
    for text in [collection, other] {
        let escaped = escape_segment(text);
        assert_eq!(unescape_segment(&escaped), text);
        assert!(escaped.is_ascii() && !escaped.contains(['/', '\\']) && escaped != "." && escaped != "..");
        let _ = unescape_segment(text);
    }
    // No collection has these names, and keys of them are left alone.
    if matches!(collection, "" | "." | "..") {
        return;
    }
    let started = OffsetDateTime::UNIX_EPOCH;
    let name = SnapshotName { collection: collection.to_owned(), peer: bytes.len() as u64, started };
    for prefix in ["snapshots", "", "a/b"] {
        let key = snapshot_key(prefix, collection, &name.to_string());
        assert_eq!(snapshot_of_key(prefix, &key).as_ref(), Some(&name), "{key}");
        if let Some(found) = snapshot_of_key(prefix, other) {
            let ours = snapshot_key(prefix, &found.collection, &found.to_string());
            assert_eq!(snapshot_of_key(prefix, &ours), Some(found));
        }
        let file = format!("{collection}-shard-7-1970-01-01-00-00-00.snapshot");
        assert_eq!(ShardSnapshotName::parse(collection, &file).map(|name| name.shard), Some(7));
        let key = shard_snapshot_key(prefix, collection, 7, &file);
        assert!(key.starts_with(&shards_folder(prefix, collection)));
        assert_eq!(snapshot_of_key(prefix, &key), None, "the snapshot of a shard is not a collection's");
    }
    let id = SetId::new(started, other);
    assert_eq!(SetId::of_key(&id.key(collection)), Some((collection.to_owned(), id.clone())));
    assert_eq!(SetId::of_pin(&id.pin_key(collection)), Some(id.as_str()));
    assert_eq!(id.started(), Some(started));
    let _ = (SnapshotName::parse(collection, other), ShardSnapshotName::parse(collection, other), SetId::of_key(other));
}

pub fn glob_examples() -> Vec<Vec<u8>> {
    texts(&[
        "2026-01-29\nmidlib-567156434043892-2026-01-29-11-44-27.snapshot",
        "midlib-*\nmidlib-1.snapshot",
        "*-2026-01-{28,29}-*.snapshot\na",
        "*2026-01-2[0-9]*\na",
        "[\n[",
        "{{a,b},{c,[!d-f]}}**?\\*\nabc",
        "{a,{b,{c,{d,{e,{f,{g,{h,{i,{j,{k,{l}}}}}}}}}}}}\nl",
    ])
}

pub fn check_globs(bytes: &[u8]) {
    let Some((pattern, name)) = two(bytes) else { return };
    // People write patterns, and nobody one of this length.
    if pattern.len() > 200 || name.len() > 200 {
        return;
    }
    let filter = SnapshotFilter::new(pattern);
    let matches = filter.matches(name);
    let pattern = pattern.trim();
    if !pattern.contains(['*', '?', '[', '{']) {
        assert_eq!(matches, name.contains(pattern));
    }
    assert!(SnapshotFilter::new("").matches(name));
    let choice = |include: &[&str], exclude: &[&str]| Choice {
        include: include.iter().map(ToString::to_string).collect(),
        exclude: exclude.iter().map(ToString::to_string).collect(),
    };
    // What is excluded is never taken, and what is taken is in what is included.
    let only = choice(&[pattern], &[]).takes(name);
    assert_ne!(only, choice(&[], &[pattern]).takes(name));
    assert!(!choice(&[pattern], &[pattern]).takes(name));
}
