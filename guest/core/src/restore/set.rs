//! From a set to a plan: every replica gets the snapshot of its shard, all at once.

use crate::context::Context;
use crate::error::{Code, Error};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::body;
use super::expected::Bounds;
use super::layout::Placement;
use super::plan::{Plan, Recovery, Role, ShardSnapshot, Target, with_more_replicas};
use super::shard_keys::{note_replicas, of_shards, replicas_of};
use crate::sets::quality::{self, Depth};
use crate::sets::{self, Found, Level, RecordedContent, SetId, SetManifest};
use crate::store::ObjectStore;

/// A set chosen for one collection.
#[derive(Clone, Debug)]
pub struct SetSelection {
    /// Its manifest.
    pub manifest: SetManifest,
    /// The collection's name on the target.
    pub name: String,
    /// The number of replicas of each shard, where it is not to be the backup's.
    pub replication_factor: Option<u64>,
    /// Its shards may be on the peers that Qdrant gives them.
    pub free: bool,
    /// It is dropped again, and no restore is to go on with it.
    pub drill: bool,
    /// What is on record of the content of its snapshots.
    pub content: RecordedContent,
}

/// Chooses the newest good one of `sets` (the oldest first), and says how good it is. An older one is taken
/// only in place of one that is known to be damaged, and not of one that can't be read right now. Also returns the damaged
/// ones, the newest first, each with what is wrong with it.
///
/// # Errors
/// There is none: says what is wrong with each.
pub async fn select_set(
    bucket: &dyn ObjectStore,
    collection: &str,
    sets: &[Found],
) -> Result<(SetManifest, Level, Vec<(SetId, Error)>), Error> {
    let mut skipped = Vec::new();
    let mut causes = Vec::new();
    for found in sets.iter().rev() {
        let wrong = match sets::read(bucket, collection, found).await {
            Ok(manifest) => match quality::of_set(bucket, &manifest, &|_| Depth::Identity).await {
                Ok(level) => return Ok((manifest, level, skipped)),
                Err(wrong) => wrong,
            },
            Err(error) => vec![error],
        };
        let cause = quality::as_one(&wrong);
        if quality::is_unknown(&wrong) {
            let advice = "it is not known whether this set is good, and no older one is used instead";
            return Err(cause.of(format!("the set {}", found.id)).advice(advice));
        }
        causes.push(format!("{}: {cause}", found.id));
        skipped.push((found.id.clone(), cause));
    }
    Err(Error::new(Code::Incomplete, "", format!("no set of it can be restored: {}", causes.join("; ")))
        .advice("`verify` says what is wrong with each set"))
}

/// What is on record of the content of the chosen one of `sets`.
pub(crate) async fn recorded_content(
    context: &Context,
    bucket: &dyn ObjectStore,
    sets: &[Found],
    manifest: &SetManifest,
) -> RecordedContent {
    let found = sets.iter().find(|found| found.id.as_str() == manifest.backup_set_id);
    let Some(found) = found else { return RecordedContent::default() };
    match sets::read_drill(bucket, found, manifest).await {
        Ok(record) => record.map(|record| record.content).unwrap_or_default(),
        Err(error) => {
            let text = format!("`{}`: what is on record of its content can't be read: {error}", manifest.collection);
            context.log.warn(None, &text);
            RecordedContent::default()
        }
    }
}

impl SetSelection {
    /// Plans the restore into `target`.
    ///
    /// # Errors
    /// It can't come out right: says why.
    pub fn plan(&self, target: &Target) -> Result<Plan, Error> {
        let manifest = &self.manifest;
        let config = manifest.collection_config.get("config").ok_or_else(|| {
            Error::new(Code::ManifestUnusable, "its manifest", "it has no configuration of the collection")
        })?;
        let (mut create, finish) = body::of(config)?;
        let custom = config.pointer("/params/sharding_method").and_then(Value::as_str) == Some("custom");
        target.takes(custom)?;
        let factor = self
            .replication_factor
            .or_else(|| config.pointer("/params/replication_factor").and_then(Value::as_u64))
            .unwrap_or(1)
            .max(1);
        if let (Some(factor), Some(fields)) = (self.replication_factor, create.as_object_mut()) {
            fields.insert("replication_factor".to_owned(), json!(factor));
            // More confirmations than replicas would make every write fail.
            if let Some(confirmations) = fields.get("write_consistency_factor").and_then(Value::as_u64) {
                fields.insert("write_consistency_factor".to_owned(), json!(confirmations.min(factor)));
            }
        }
        let factor = usize::try_from(factor).unwrap_or(usize::MAX);
        let mut shard_keys = if custom { self.shard_keys()? } else { Vec::new() };
        if self.replication_factor.is_none() {
            let there = manifest.shards.iter().map(|shard| (shard.id, shard.replicas.len()));
            note_replicas(&mut shard_keys, &there.collect(), factor);
        }
        let placement = self.placement(target, &|shard| replicas_of(&shard_keys, shard, factor));
        Ok(Plan {
            collection: self.name.clone(),
            create,
            finish,
            indexes: indexes(&manifest.collection_config),
            shard_keys,
            recoveries: self.recoveries(&placement),
            wanted: placement.clone(),
            placement,
            stale: Placement::new(),
            total: manifest.source.as_ref().and_then(|source| Bounds::of(source.points)).or_else(|| {
                // The script's, which is not exact. 0 also stands for what it could not ask.
                Some(manifest.points_count).filter(|points| *points > 0).map(Bounds::estimate)
            }),
            config: config.clone(),
            version: Some(manifest.qdrant_version.clone()),
            free: self.free && target.distributed,
            content: self.content.clone(),
            backup: format!("{}/{}", manifest.collection, manifest.backup_set_id),
            role: if self.drill { Role::Drill } else { Role::Lasting },
        })
    }

    /// The peers of the backup where the target has them, and more up to the `factor` of each shard.
    fn placement(&self, target: &Target, factor: &dyn Fn(u32) -> usize) -> Placement {
        let places = self.manifest.shards.iter().map(|shard| {
            let old = shard.replicas.iter().filter(|(_, state)| *state == "Active");
            let old = old.filter_map(|(peer, _)| peer.parse().ok()).filter(|peer| target.peers.contains(peer));
            let peers: BTreeSet<u64> =
                if target.distributed { old.take(factor(shard.id)).collect() } else { BTreeSet::new() };
            (shard.id, peers)
        });
        with_more_replicas(&places.collect(), factor, &target.peers)
    }

    fn shard_keys(&self) -> Result<Vec<super::ShardKey>, Error> {
        let shards: Vec<_> = self.manifest.shards.iter().map(|shard| (shard.id, shard.key.clone())).collect();
        of_shards(&shards)
    }

    fn recoveries(&self, placement: &Placement) -> Vec<Recovery> {
        let mut recoveries = Vec::new();
        for shard in &self.manifest.shards {
            for peer in placement.get(&shard.id).into_iter().flatten() {
                recoveries.push(Recovery {
                    peer: *peer,
                    name: shard.snapshot_name.clone(),
                    key: shard.s3_key.clone(),
                    bytes: shard.size.unwrap_or_default(),
                    shards: [(shard.id, Bounds::of(shard.points))].into_iter().collect(),
                    shard: Some(ShardSnapshot {
                        id: shard.id,
                        checksum: Some(shard.checksum.clone()).filter(|checksum| !checksum.is_empty()),
                        in_collection: false,
                    }),
                });
            }
        }
        recoveries
    }
}

/// The payload indexes as `PUT /collections/{c}/index` takes them, from `payload_schema` of `GET /collections/{c}`.
fn indexes(told: &Value) -> BTreeMap<String, Value> {
    let schema = told.get("payload_schema").and_then(Value::as_object);
    let field = |(field, index): (&String, &Value)| {
        let params = index.get("params").filter(|params| params.is_object());
        let kind = index.get("data_type").and_then(Value::as_str);
        let wanted = params.cloned().or_else(|| kind.map(|kind| Value::from(kind.to_ascii_lowercase())))?;
        Some((field.clone(), wanted))
    };
    schema.into_iter().flatten().filter_map(field).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::manifest::Points;
    use crate::sets::SetShard;

    fn set(layout: &[&[u64]], config: Value) -> SetSelection {
        let shards = layout.iter().enumerate().map(|(id, peers)| SetShard {
            snapshot_name: format!("docs-shard-{id}"),
            replicas: peers.iter().map(|peer| (peer.to_string(), "Active".to_owned())).collect(),
            ..SetShard::example(id as u32)
        });
        let config = json!({"config": config, "payload_schema": {
            "city": {"data_type": "keyword", "points": 3},
            "n": {"data_type": "integer", "params": {"type": "integer", "lookup": true}, "points": 3},
        }});
        let manifest = SetManifest::example(config, shards.collect());
        SetSelection {
            manifest,
            name: "docs".to_owned(),
            replication_factor: None,
            free: true,
            drill: false,
            content: RecordedContent::default(),
        }
    }

    fn config(factor: u64) -> Value {
        json!({"params": {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 3, "replication_factor": factor,
            "write_consistency_factor": 2}})
    }

    fn cluster(peers: &[u64]) -> Target {
        Target { peers: peers.iter().copied().collect(), distributed: true }
    }

    #[test]
    fn the_same_cluster_gets_back_its_layout_and_its_snapshots() {
        let plan = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2)).plan(&cluster(&[1, 2, 3])).unwrap();
        let expected: Placement = [(0, [1, 2].into()), (1, [2, 3].into()), (2, [1, 3].into())].into();
        assert_eq!((&plan.placement, &plan.wanted), (&expected, &expected));
        assert_eq!(plan.recoveries.len(), 6);
        assert!(plan.recoveries.iter().all(|recovery| recovery.shard.as_ref().unwrap().checksum.is_none()));
        assert!(plan.recoveries.iter().all(|one| one.is_counted()));
        assert_eq!(plan.indexes["city"], "keyword");
        assert_eq!(plan.indexes["n"], json!({"type": "integer", "lookup": true}));
    }

    #[test]
    fn a_set_is_restored_where_qdrant_has_put_its_shards() {
        let selection = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2));
        let plan = selection.plan(&cluster(&[1, 2, 3])).unwrap();
        let there: Placement = [(0, [2, 3].into()), (1, [3, 1].into()), (2, [1, 2].into())].into();
        let peers = [1, 2, 3].into();
        let adopted = plan.adopting(&there, &peers).unwrap();
        assert_eq!((&adopted.placement, &adopted.wanted), (&there, &there));
        let given = |one: &Recovery| (one.shard.as_ref().unwrap().id, one.peer);
        assert_eq!(
            adopted.recoveries.iter().map(given).collect::<Vec<_>>(),
            [(0, 2), (0, 3), (1, 1), (1, 3), (2, 1), (2, 2)]
        );
        assert!(adopted.recoveries.iter().all(|one| one.name == format!("docs-shard-{}", given(one).0)));
        // What is not as good: fewer replicas, a peer that does not answer, a shard too few or one of another number.
        let fewer: Placement = [(0, [2].into()), (1, [3, 1].into()), (2, [1, 2].into())].into();
        let away: Placement = [(0, [2, 9].into()), (1, [3, 1].into()), (2, [1, 2].into())].into();
        let short: Placement = [(0, [2, 3].into()), (1, [3, 1].into())].into();
        let other: Placement = [(0, [2, 3].into()), (1, [3, 1].into()), (7, [1, 2].into())].into();
        for placement in [fewer, away, short, other] {
            assert_eq!(plan.adopting(&placement, &peers), None, "{placement:?}");
        }
        let as_backed_up = SetSelection { free: false, ..selection }.plan(&cluster(&[1, 2, 3])).unwrap();
        assert_eq!(as_backed_up.adopting(&there, &peers), None);
    }

    /// That a shard has no points looks the same before its snapshot is recovered.
    #[test]
    fn a_count_of_none_does_not_tell_that_it_was_brought() {
        for (points, counted) in [(Some(1), true), (Some(0), false), (None, false)] {
            let mut selection = set(&[&[1]], config(1));
            selection.manifest.shards[0].points = Points { before: points, after: points };
            assert_eq!(selection.plan(&cluster(&[1])).unwrap().recoveries[0].is_counted(), counted, "{points:?}");
        }
    }

    #[test]
    fn a_set_of_the_script_has_a_count_unless_it_is_0() {
        let mut selection = set(&[&[1]], config(1));
        for (points, total) in [(0, None), (1, Some(Bounds::estimate(1))), (300, Some(Bounds::estimate(300)))] {
            selection.manifest.points_count = points;
            assert_eq!(selection.plan(&cluster(&[1])).unwrap().total, total);
        }
    }

    #[test]
    fn another_cluster_gets_replicas_spread_evenly() {
        let plan = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2)).plan(&cluster(&[7, 8, 9])).unwrap();
        for peer in [7, 8, 9] {
            let replicas = plan.placement.values().filter(|peers| peers.contains(&peer)).count();
            assert_eq!(replicas, 2, "{:?}", plan.placement);
        }
        let alone = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2)).plan(&cluster(&[7])).unwrap();
        assert_eq!(alone.recoveries.len(), 3);
        let single = Target { peers: [0].into(), distributed: false };
        let single = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2)).plan(&single).unwrap();
        assert!(single.recoveries.len() == 3 && single.recoveries.iter().all(|recovery| recovery.peer == 0));
    }

    #[test]
    fn another_replication_factor_keeps_writes_possible() {
        let mut selection = set(&[&[1, 2], &[2, 3], &[3, 1]], config(2));
        selection.replication_factor = Some(1);
        let plan = selection.plan(&cluster(&[1, 2, 3])).unwrap();
        assert!(plan.placement.values().all(|peers| peers.len() == 1));
        assert_eq!(
            (&plan.create["replication_factor"], &plan.create["write_consistency_factor"]),
            (&json!(1), &json!(1))
        );
        selection.replication_factor = Some(3);
        assert!(selection.plan(&cluster(&[1, 2, 3])).unwrap().placement.values().all(|peers| peers.len() == 3));
    }

    #[test]
    fn custom_sharding_needs_its_keys_and_a_cluster() {
        let mut config = config(1);
        config["params"]["sharding_method"] = json!("custom");
        let mut selection = set(&[&[1], &[1]], config);
        for (shard, (id, key)) in selection.manifest.shards.iter_mut().zip([(1, json!("acme")), (2, json!(7))]) {
            shard.id = id;
            shard.key = Some(key);
        }
        let plan = selection.plan(&cluster(&[1])).unwrap();
        assert_eq!(plan.shard_keys.iter().map(|key| key.key.clone()).collect::<Vec<_>>(), [json!("acme"), json!(7)]);
        let single = Target { peers: [0].into(), distributed: false };
        assert!(selection.plan(&single).unwrap_err().to_string().contains("custom sharding"));
        selection.manifest.shards[1].key = None;
        assert!(selection.plan(&cluster(&[1])).unwrap_err().to_string().contains("which shard key"));
    }

    /// Whatever the set's layout, its states, and the target's peers: every replica gets the snapshot of its own shard and
    /// none twice, nothing goes to a peer outside the target, and there are as many replicas as there can be.
    #[test]
    fn every_replica_gets_the_snapshot_of_its_shard_in_the_target() {
        let mut state = 11_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for round in 0..2000 {
            let layout: Vec<Vec<u64>> =
                (0..1 + below(6)).map(|_| (1..=5).filter(|_| below(2) == 0).collect()).collect();
            let layout: Vec<&[u64]> = layout.iter().map(Vec::as_slice).collect();
            let mut selection = set(&layout, config(1 + below(4)));
            for shard in &mut selection.manifest.shards {
                for state in shard.replicas.values_mut().filter(|_| below(4) == 0) {
                    *state = "Dead".to_owned();
                }
            }
            selection.replication_factor = [None, Some(1 + below(6))][below(2) as usize];
            let first = below(4);
            let peers: Vec<u64> = (first..=first + below(5)).collect();
            let alone = below(4) == 0;
            let target = if alone { Target { peers: [0].into(), distributed: false } } else { cluster(&peers) };
            let plan = selection.plan(&target).unwrap();
            let factor = selection.replication_factor.or_else(|| plan.create["replication_factor"].as_u64()).unwrap();
            for shard in &selection.manifest.shards {
                let places = &plan.wanted[&shard.id];
                assert_eq!(places, &plan.placement[&shard.id], "round {round}");
                assert!(places.is_subset(&target.peers), "round {round}");
                assert_eq!(places.len(), (factor as usize).min(target.peers.len()), "round {round}");
                let fed: Vec<(u64, &str)> = plan
                    .recoveries
                    .iter()
                    .filter(|one| one.shards.contains_key(&shard.id))
                    .map(|one| (one.peer, one.key.as_str()))
                    .collect();
                let all: Vec<(u64, &str)> = places.iter().map(|peer| (*peer, shard.s3_key.as_str())).collect();
                assert_eq!(fed, all, "round {round}");
            }
            assert!(plan.recoveries.iter().all(|one| one.shards.len() == 1), "round {round}");
        }
    }
}
