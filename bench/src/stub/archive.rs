//! Snapshots of the form that Qdrant writes, their data nothing but zeros.

use std::convert::Infallible;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tar::{Builder, Header};

use super::state::{Options, POINTS, id};

/// What all collections are configured as.
pub fn config(spread: usize) -> Value {
    json!({
        "params": {
            "vectors": {"size": 4, "distance": "Dot"}, "shard_number": spread, "replication_factor": 1,
            "write_consistency_factor": 1, "on_disk_payload": true,
        },
        "hnsw_config": {
            "m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": false,
        },
        "optimizer_config": {
            "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
            "max_segment_size": null, "memmap_threshold": null, "indexing_threshold": 10000, "flush_interval_sec": 5,
            "max_optimization_threads": null, "prevent_unoptimized": null,
        },
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1},
        "quantization_config": null,
    })
}

/// A snapshot without the zeros of its data, which lie between `head` and `tail`.
struct Archive {
    head: Vec<u8>,
    zeros: u64,
    tail: Vec<u8>,
}

/// How many bytes it has.
pub fn size(options: &Options, collection: usize, peer: usize, shard: Option<usize>) -> u64 {
    let archive = make(options, collection, peer, shard);
    archive.head.len() as u64 + archive.zeros + archive.tail.len() as u64
}

/// The bytes from `from` to before `to`.
pub fn range(options: &Options, collection: usize, peer: usize, shard: Option<usize>, from: u64, to: u64) -> Bytes {
    let archive = make(options, collection, peer, shard);
    let data = archive.head.len() as u64;
    let tail = data + archive.zeros;
    let cut = |bytes: &[u8], at: u64| {
        let place = |position: u64| usize::try_from(position.clamp(at, at + bytes.len() as u64) - at).unwrap();
        bytes[place(from)..place(to)].to_vec()
    };
    let mut bytes = cut(&archive.head, 0);
    let zeros = to.min(tail).saturating_sub(from.max(data));
    bytes.resize(bytes.len() + usize::try_from(zeros).unwrap(), 0);
    bytes.extend(cut(&archive.tail, tail));
    bytes.into()
}

/// All of it as a body that is made while it is sent: nobody knows its length before.
pub fn flowing(options: &Options, collection: usize, peer: usize, shard: usize) -> BoxBody<Bytes, Infallible> {
    /// What a server sends at a time.
    const PIECE: usize = 64 << 10;
    let archive = make(options, collection, peer, Some(shard));
    let zeros = Bytes::from(vec![0; PIECE]);
    let whole = archive.zeros / PIECE as u64;
    let rest = zeros.slice(..usize::try_from(archive.zeros % PIECE as u64).unwrap());
    let data = (0..whole).map(move |_| zeros.clone()).chain([rest]);
    let pieces = [archive.head.into()].into_iter().chain(data).chain([archive.tail.into()]);
    BodyExt::boxed(StreamBody::new(stream::iter(pieces.map(|piece| Ok(Frame::data(piece))))))
}

fn make(options: &Options, collection: usize, peer: usize, shard: Option<usize>) -> Archive {
    let holder = |shard: usize| (collection + shard) % options.peers;
    let state = |shard: usize| {
        let owner = id(holder(shard)).to_string();
        json!({"is_local": holder(shard) == peer, "this_peer_id": id(peer), "peers": {owner: "Active"}})
    };
    let zeros = options.data.next_multiple_of(512);
    let mut first = Builder::new(Vec::new());
    let mut last = Builder::new(Vec::new());
    let segments = match shard {
        Some(shard) => {
            file(&mut last, "wal/closed-4", &[0; 512]);
            json_file(&mut last, "replica_state.json", &state(shard));
            json_file(&mut last, "shard_config.json", &json!({"type": "ReplicaSet"}));
            "segments/0.tar".to_owned()
        }
        None => {
            for shard in 0..options.spread {
                json_file(&mut first, &format!("{shard}/replica_state.json"), &state(shard));
                json_file(&mut first, &format!("{shard}/shard_config.json"), &json!({"type": "ReplicaSet"}));
            }
            let mut config = config(options.spread);
            config["uuid"] = format!("00000000-0000-4000-8000-{collection:012}").into();
            json_file(&mut last, "config.json", &config);
            json_file(&mut last, "payload_index.json", &json!({"schema": {}}));
            json_file(&mut last, "shard_key_mapping.json", &json!([]));
            file(&mut last, "version.info", b"1.18.3");
            let shard = (0..options.spread).find(|shard| holder(*shard) == peer).unwrap_or_default();
            format!("{shard}/segments/{POINTS}.tar")
        }
    };
    let mut header = Header::new_ustar();
    header.set_path(segments).unwrap();
    header.set_size(options.data);
    header.set_mode(0o644);
    header.set_cksum();
    let mut head = first.into_inner().unwrap();
    head.truncate(head.len() - 1024);
    head.extend_from_slice(header.as_bytes());
    Archive { head, zeros, tail: last.into_inner().unwrap() }
}

fn json_file(tar: &mut Builder<Vec<u8>>, path: &str, content: &Value) {
    file(tar, path, content.to_string().as_bytes());
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content).unwrap();
}
