//! How snapshots get into the bucket: stored there by Qdrant and read back, or streamed through the program.

use http::Method;
use serde_json::json;

use crate::points::{Bench, Who};
use crate::table::{Figures, Goal, Table, seconds, size, time, times};

/// The dimensions of its vectors.
const DIMENSIONS: usize = 768;

/// How many shards it has.
const SHARDS: usize = 4;

/// How many points a request writes.
const BATCH: usize = 2000;

impl Bench {
    /// `stream` beside `storage`, each with its checks.
    pub fn real_transfer(&self, table: &mut Table) {
        let case = "create_snap_shards of a real server";
        let Some(place) = self.place(table, case, 1, false) else { return };
        // 600 MB, or a fifth of it.
        let points = if self.quick { 40_000 } else { 200_000 };
        self.runtime.block_on(async {
            let client = place.client();
            let body = json!({
                "vectors": {"size": DIMENSIONS, "distance": "Dot", "on_disk": true}, "shard_number": SHARDS,
                "optimizers_config": {"indexing_threshold": 0}, "hnsw_config": {"m": 0},
            });
            client.ok(Method::PUT, "/collections/docs?timeout=60", Some(&body)).await;
            // Whole numbers are soon read, and their vectors are as large as any.
            let vectors: Vec<Vec<i64>> =
                (0..97).map(|one| (0..DIMENSIONS as i64).map(|at| (at * one) % 7).collect()).collect();
            for first in (0..points).step_by(BATCH) {
                let batch: Vec<_> =
                    (first..first + BATCH).map(|id| json!({"id": id, "vector": vectors[id % vectors.len()]})).collect();
                let path = format!("/collections/docs/points?wait={}", first + BATCH >= points);
                client.ok(Method::PUT, &path, Some(&json!({ "points": batch }))).await;
            }
            while client.count(0, "docs").await < points as u64 {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        });
        let mut walls = Vec::new();
        let mut memory = Vec::new();
        let mut bytes = 0;
        for _ in 0..self.times(3) {
            let mut pair = [0.0; 2];
            for (wall, transfer) in pair.iter_mut().zip(["storage", "stream"]) {
                let run =
                    place.run(self, Who::Program, "create_snap_shards", &[("QDRANT_SNAPSHOT_TRANSFER", transfer)]);
                *wall = seconds(run.wall);
                if transfer == "stream" {
                    memory.push(run.memory as f64);
                }
                // The next one has the memory of this process for its own objects.
                let keys = place.s3.keys("").into_iter().filter(|key| key.ends_with(".snapshot"));
                bytes = keys
                    .map(|key| place.s3.get(&key).inspect(|_| place.s3.delete(&key)).unwrap_or_default().len())
                    .sum();
            }
            walls.push(pair);
        }
        let what = format!("{case}, {:.0} MB in {SHARDS} shards", bytes as f64 / 1e6);
        table.add(
            &format!("{what}: storage"),
            &Figures::new(walls.iter().map(|[storage, _]| *storage)),
            time,
            Goal::None,
        );
        table.add(&format!("{what}: stream"), &Figures::new(walls.iter().map(|[_, stream]| *stream)), time, Goal::None);
        let ratios = Figures::new(walls.iter().map(|[storage, stream]| stream / storage));
        table.add("its wall as a stream to that by storage", &ratios, times, Goal::AtMost(0.67));
        table.add("its peak memory as a stream", &Figures::new(memory), size, Goal::None);
    }
}
