//! The write-ahead log in the snapshot of a shard. Qdrant applies its entries to the segments when it takes the snapshot; whoever
//! reads the segments alone does not see them.

/// How many bytes at the start of a log file tell whether it has entries: 8 of its header (Qdrant's crate `wal`, segment.rs),
/// and 8 of the first entry's length. What was not written yet is zeros.
pub const LOG_START: u64 = 16;

/// True where the log file that begins with `start` has entries.
pub fn has_log_entries(start: &[u8]) -> bool {
    start.iter().skip(8).any(|byte| *byte != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;

    /// As a real server wrote it, after several writes.
    #[test]
    fn the_log_in_a_shard_s_snapshot_is_empty() {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/qdrant-1.18.3/archives/");
        let file = std::fs::File::open(format!("{data}docs-shard-0-2026-11-22-09-32-18.snapshot")).unwrap();
        let mut logs = 0;
        for entry in tar::Archive::new(file).entries().unwrap() {
            let entry = entry.unwrap();
            if entry.path().unwrap().starts_with("wal") && entry.header().entry_type() != tar::EntryType::Directory {
                let mut start = Vec::new();
                entry.take(LOG_START).read_to_end(&mut start).unwrap();
                assert!(start.starts_with(b"wal\0") && !has_log_entries(&start), "{start:?}");
                logs += 1;
            }
        }
        assert_eq!(logs, 1);
        assert!(has_log_entries(b"wal\0seed\x05\0\0\0\0\0\0\0"));
    }
}
