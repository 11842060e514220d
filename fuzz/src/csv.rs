//! The CSV files of the work directory and the bucket, as people, the script and crashes write them.

use qdrant_backup_core::state_files::{self, Alias, Begun, Collection, Recovery, Snapshot};

use crate::ports::World;
use crate::texts;

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        ",docs,docs-1-2026-01-29-11-44-22.snapshot\n",
        "\u{feff}host,collection,snapshot_name\r\n\r\n# midlib of last week\r\nhttp://q:6333, midlib , midlib-1.snapshot\r\n",
        ",\"a,b \"\"c\"\"\",\"a,b \"\"c\"\"-3.snapshot\"\n",
        "collection,alias\ncollection,alias\ndocs,live\n",
        "http://q:6333,docs-1.snapshot,ok\nhttp://q:6333,docs-2.snap",
        ",\"  \",\"  \"\n",
        "q,a,b\n q,a,b\n",
        "http://q:6333,docs\n,,\n ,\t,\n\"\n",
        "#\n\"#\",x,y\n\"two\nlines\",a,b\n",
        "a;b;c\na\tb\tc\n",
    ])
}

pub fn check(bytes: &[u8]) {
    if let Ok(lines) = state_files::parse_snapshots("file", bytes) {
        for line in &lines {
            assert!(!line.collection.is_empty() && !line.snapshot_name.is_empty(), "{line:?}");
        }
        if !lines
            .iter()
            .any(|line| breaks(&[line.host.as_deref().unwrap_or_default(), &line.collection, &line.snapshot_name]))
        {
            let again =
                state_files::parse_snapshots("file", state_files::snapshots_csv(&lines).as_bytes()).expect("our own");
            assert_eq!(again, lines);
        }
    }
    if let Ok(lines) = state_files::parse_aliases("file", bytes)
        && !lines.iter().any(|line| breaks(&[&line.collection, &line.alias]))
    {
        let again = state_files::parse_aliases("file", state_files::aliases_csv(&lines).as_bytes()).expect("our own");
        assert_eq!(again, lines);
    }
    let world = World::answering(200, b"");
    for name in state_files::STATE_FILES {
        world.write(name, bytes);
    }
    // Whatever is there, what is added is read back, and nothing that was read before is lost.
    let files = world.as_ref();
    let before = state_files::read_recovery_history(files).expect("a history of anything");
    if bytes.is_empty() || bytes.ends_with(b"\n") {
        let line = Recovery { host: "http://q".to_owned(), snapshot_name: text(bytes), outcome: "ok".to_owned() };
        state_files::append_recovery(files, &line).expect("memory");
        let after = state_files::read_recovery_history(files).expect("what was there and our own");
        assert_eq!(after, [before, vec![line]].concat());
    }
    let _ = state_files::read_begun(files).map(|lines: Vec<Begun>| lines.len());
    if let Ok(lines) = state_files::read_collections(files) {
        let lines: Vec<Collection> = lines;
        if !lines.iter().any(|line| breaks(&[line.host.as_deref().unwrap_or_default(), &line.collection])) {
            world.write(state_files::COLLECTIONS, state_files::collections_csv(&lines).as_bytes());
            assert_eq!(state_files::read_collections(files).expect("our own"), lines);
        }
    }
    // Any name at all that has no line break.
    let name = text(bytes);
    let snapshot = Snapshot { host: None, collection: name.clone(), snapshot_name: format!("{name}-1.snapshot") };
    let written = state_files::snapshots_csv(std::slice::from_ref(&snapshot));
    assert_eq!(written.lines().count(), 1, "{written:?}");
    assert_eq!(state_files::parse_snapshots("file", written.as_bytes()).expect("our own"), [snapshot]);
    let alias = Alias { collection: name.clone(), alias: name };
    let written = state_files::aliases_csv(std::slice::from_ref(&alias));
    assert_eq!(state_files::parse_aliases("file", written.as_bytes()).expect("our own"), [alias]);
}

/// Line breaks are written as spaces.
fn breaks(fields: &[&str]) -> bool {
    fields.iter().any(|field| field.contains(['\n', '\r']))
}

/// Some text in one line, and not only of spaces.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace(['\n', '\r'], "");
    if text.trim().is_empty() { "x".to_owned() } else { text }
}
