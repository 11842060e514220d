//! Manifests of both kinds, as someone with access to the bucket may have left them.

use qdrant_backup_core::manifest::Manifest;
use qdrant_backup_core::naming::shards_folder;
use qdrant_backup_core::places::Places;
use qdrant_backup_core::restore::{SetSelection, Target};
use qdrant_backup_core::sets::{SetId, SetManifest};

use crate::texts;

const ID: &str = "2026-01-29T11-44-22Z-pod";

pub fn examples() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"schema_version":1,"created_at":"2026-01-29T11:44:22Z","created_by":"x","collection":"docs","distributed":true,"peers":[{"id":7,"host":"http://q","version":"1.18.3","commit":null}],"config":{"params":{}},"payload_schema":{"city":{}},"shards":[{"id":0,"replicas":{"7":"Active"}}],"points":{"before":1,"after":1},"aliases":["live"],"archives":[{"key":"snapshots/docs/x","name":"x","bytes":5,"peer_id":7,"shards":{"0":{"before":1,"after":1}}}]}"#,
        r#"{"schema_version":2}"#,
        "[]",
    ])
}

pub fn check(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let written = serde_json::to_vec(&manifest).expect("it can be written");
        assert_eq!(Manifest::parse(&written), Ok(manifest));
    }
}

pub fn set_examples() -> Vec<Vec<u8>> {
    let set = |more: &str, key: &str, size: &str| {
        format!(
            r#"{{"schema_version":2,"backup_set_id":"{ID}","collection":"docs","qdrant_version":"1.18.3","sharding_method":"auto","shard_count":2,"points_count":53,"collection_config":{{"status":"green","config":{{"params":{{"shard_number":2,"replication_factor":2{more}}}}},"payload_schema":{{"city":{{"data_type":"keyword"}}}}}},"aliases":["live"],"shards":[{{"id":1,"snapshot_name":"a","s3_key":"snapshots/docs/shards/1/a","size":{size},"etag":"e","checksum":"","source_peer_id":7,"created_at":"","key":"acme","replicas":{{"7":"Active","8":"Dead"}},"points":{{"before":{size},"after":{size}}}}},{{"id":2,"snapshot_name":"b","s3_key":"{key}","size":{size},"etag":"e","checksum":"","source_peer_id":7,"created_at":"","key":"acme","replicas":{{"7":"Active"}},"points":{{"before":{size},"after":{size}}}}}],"created_by":"x","source":{{"distributed":true,"peers":[],"points":{{"before":1,"after":2}},"created_at":"","seconds":1}}}}"#
        )
        .into_bytes()
    };
    vec![
        set("", "snapshots/docs/shards/2/b", "10"),
        set(r#","sharding_method":"custom""#, "snapshots/docs/shards/2/b", "10"),
        set("", "snapshots/docs/shards/2/../../../other/b", "10"),
        set("", "snapshots/docs/shards/2/b", "18446744073709551615"),
    ]
}

pub fn check_set(bytes: &[u8]) {
    let id = SetId::from_text(ID);
    let Ok(manifest) = SetManifest::parse(bytes, "docs", &id, "snapshots", &Places::default()) else { return };
    let written = serde_json::to_vec(&manifest).expect("it can be written");
    assert_eq!(SetManifest::parse(&written, "docs", &id, "snapshots", &Places::default()).as_ref(), Ok(&manifest));
    let folder = shards_folder("snapshots", "docs");
    for shard in &manifest.shards {
        let streamed = format!("streamed/{}/docs/{ID}/", manifest.source_id.as_deref().unwrap_or_default());
        let inside = shard.s3_key.strip_prefix(&folder).or_else(|| {
            let inside = shard.s3_key.strip_prefix(&streamed);
            inside.or_else(|| shard.s3_key.strip_prefix("streamed/")?.split_once('/')?.1.strip_prefix("docs/"))
        });
        let inside = inside.expect("a key in the collection's folder");
        assert!(!inside.split('/').any(|part| matches!(part, "" | "." | "..")), "{}", shard.s3_key);
    }
    let _ = (manifest.bytes(), manifest.exact_points(), manifest.peers(), manifest.has_checksums());
    for (peers, distributed) in [(vec![7], true), (vec![1, 2, 3], true), (vec![0], false)] {
        let target = Target { peers: peers.iter().copied().collect(), distributed };
        let selection = SetSelection {
            manifest: manifest.clone(),
            name: "docs".to_owned(),
            replication_factor: bytes.len().is_multiple_of(2).then_some(2),
            free: false,
            drill: false,
            content: qdrant_backup_core::sets::RecordedContent::default(),
        };
        let Ok(plan) = selection.plan(&target) else { continue };
        for shard in &manifest.shards {
            let places = plan.wanted.get(&shard.id).expect("every shard has a place");
            assert!(!places.is_empty() && places.iter().all(|peer| peers.contains(peer)));
            for peer in places {
                let fed = plan.recoveries.iter().filter(|one| one.peer == *peer && one.shards.contains_key(&shard.id));
                assert_eq!(fed.map(|one| one.key.as_str()).collect::<Vec<_>>(), [shard.s3_key.as_str()]);
            }
        }
    }
}
