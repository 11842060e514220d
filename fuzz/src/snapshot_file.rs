//! Objects that claim to be snapshots.

use qdrant_backup_core::snapshot_file;
use tar::{Builder, Header};

use crate::ports::World;
use crate::s3::open;

pub fn examples() -> Vec<Vec<u8>> {
    let replica = r#"{"is_local":true,"this_peer_id":7,"peers":{"7":"Active","18446744073709551615":"Dead"}}"#;
    let config = r#"{"params":{"shard_number":1,"replication_factor":2},"uuid":"u"}"#;
    let collection = [
        ("0/segments/a.tar", "xxxxx"),
        ("0/wal/open-1", "x"),
        ("0/replica_state.json", replica),
        ("config.json", config),
        ("payload_index.json", r#"{"schema":{"city":"keyword"}}"#),
        ("shard_key_mapping.json", r#"[{"key":"acme","shard_ids":[0]}]"#),
        ("version.info", ""),
    ];
    let shard =
        [("segments/a.tar", "x"), ("wal/open-1", ""), ("shard_config.json", "{}"), ("replica_state.json", replica)];
    let long = "long/".repeat(40);
    vec![pack(&collection), pack(&shard), pack(&[(&long, "x")]), vec![0; 1024], b"<html>".repeat(200)]
}

fn pack(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_bytes()).expect("memory");
    }
    builder.into_inner().expect("memory")
}

pub fn check(bytes: &[u8]) {
    let mended = with_checksums(bytes);
    for object in [bytes, &mended] {
        let world = World::answering(200, b"");
        let ports = world.ports();
        let bucket = open(&world, &ports);
        world.serve(object);
        let length = object.len() as u64;
        futures_executor::block_on(async {
            if let Ok(description) = snapshot_file::describe(&bucket, "a", length).await {
                assert!(description.custom_sharding || !description.shards.is_empty());
                let held: u64 = description.shards.values().map(|shard| shard.bytes).sum();
                assert!(held <= length, "{held} of {length}");
            }
            let _ = snapshot_file::check_shard(&bucket, "a", length).await;
            assert!(snapshot_file::describe(&bucket, "a", length + 512).await.is_err(), "less than it shall be");
        });
    }
}

/// The same with a right checksum in every header, as whoever means harm would write it.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let block: &mut [u8; 512] = block.try_into().expect("512 bytes");
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        *block = *header.as_bytes();
        let size = header.entry_size().unwrap_or(0);
        let Some(next) = usize::try_from(size).ok().and_then(|size| size.checked_next_multiple_of(512)) else { break };
        let Some(next) = at.checked_add(512).and_then(|at| at.checked_add(next)) else { break };
        at = next;
    }
    bytes
}
