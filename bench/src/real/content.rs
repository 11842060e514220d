//! Every point of a large collection read and compared, and one that differs found among them.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::points::{Bench, Who};
use crate::real::Place;
use crate::table::{Figures, Goal, Table, seconds, size, times};

/// The dimensions of its vectors.
const DIMENSIONS: u64 = 384;

/// How many shards it has.
const SHARDS: u32 = 2;

/// How many points a request writes.
const BATCH: u64 = 1000;

/// How long points are written: a server that is slow gets fewer.
const FILL: Duration = Duration::from_secs(120);

/// What the compared collections are called.
const NAMES: [&str; 2] = ["docs", "again"];

impl Bench {
    /// `compare` of a collection with the one that was restored from its backup, beside a plain scroll of both.
    pub fn real_content(&self, table: &mut Table) {
        let case = "compare on a real server";
        let Some(place) = self.place(table, case, 1, false) else { return };
        let wanted = if self.quick { 50_000 } else { 1_000_000 };
        let points = self.runtime.block_on(fill(&place, wanted));
        let renamed = format!("{}={}", NAMES[0], NAMES[1]);
        let both = [("QDRANT_RESTORE_RENAME", renamed.as_str()), ("QDRANT_COLLECTIONS", NAMES[0])];
        place.run(self, Who::Program, "create_snap_shards", &[("QDRANT_SNAPSHOT_TRANSFER", "stream"), both[1]]);
        let full = [both[0], both[1], ("QDRANT_VERIFY_CONTENT", "full")];
        let restored = place.run(self, Who::Program, "recover_snap_shards", &full);
        let own = place.run(self, Who::Program, "compare", &full);
        let replicas = NAMES.iter().flat_map(|name| (0..SHARDS).map(move |shard| format!("{name}/shards/{shard}")));
        let replicas = replicas.collect::<Vec<_>>().join(" ");
        let native = place.run(self, Who::Native, "scroll", &[("BENCH_SCROLL", &replicas)]);
        let rate = |wall, points: u64| Figures::new([points as f64 / seconds(wall)]);
        let shown = |rate| format!("{rate:.0} points/s");
        let case = format!("{case}, {points} points of {DIMENSIONS} dimensions on each side");
        table.add(&case, &rate(own.wall, 2 * points), shown, Goal::None);
        table.add("a plain scroll of the same points", &rate(native.wall, 2 * points), shown, Goal::None);
        let ratio = Figures::new([seconds(own.wall) / seconds(native.wall)]);
        table.add("its wall to that of the plain scroll", &ratio, times, Goal::None);
        table.add("its peak memory", &Figures::new([own.memory as f64]), size, Goal::None);
        let restored = [Figures::new([seconds(restored.wall)]), Figures::new([restored.memory as f64])];
        table.add("its restore, with QDRANT_VERIFY_CONTENT=full", &restored[0], crate::table::time, Goal::None);
        table.add("the peak memory of that", &restored[1], size, Goal::None);
        self.one_byte(table, &place, points, &full);
    }

    /// One byte of one payload is changed: `compare` has to name the point and its field.
    fn one_byte(&self, table: &mut Table, place: &Place, points: u64, settings: &[(&'static str, &str)]) {
        let id = points * 7 / 10;
        self.runtime.block_on(async {
            let changed = json!({"payload": {"city": "Nairobj"}, "points": [id]});
            let path = format!("/collections/{}/points/payload?wait=true", NAMES[1]);
            place.client().ok(Method::POST, &path, Some(&changed)).await;
        });
        let (output, took) = place.output(self, "compare", settings);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let named = format!("point {id} in payload.city");
        assert!(!output.status.success() && text.contains(&named), "`{named}` is not in: {text}");
        let found = format!("found and named in {:.1} s: {named}", took.as_secs_f64());
        table.note(&format!("one byte of one payload changed among {points} points"), found);
    }
}

/// Writes so many points, or as many as the server takes meanwhile; how many.
async fn fill(place: &Place, wanted: u64) -> u64 {
    let client = place.client();
    let body = json!({
        "vectors": {"size": DIMENSIONS, "distance": "Dot", "on_disk": true}, "shard_number": SHARDS,
        "optimizers_config": {"indexing_threshold": 0}, "hnsw_config": {"m": 0},
    });
    client.ok(Method::PUT, &format!("/collections/{}?timeout=60", NAMES[0]), Some(&body)).await;
    let started = Instant::now();
    let limit = std::env::var("BENCH_FILL_SECONDS").ok().and_then(|text| text.parse().ok());
    let limit = limit.map_or(FILL, Duration::from_secs);
    let mut written = 0;
    while written < wanted && started.elapsed() < limit {
        let point = |id: u64| {
            let vector: Vec<f64> = (0..DIMENSIONS).map(|at| ((id * 31 + at * 37) % 199) as f64 / 100.0).collect();
            json!({"id": id, "payload": {"city": "Nairobi", "n": id, "nested": {"f": 0.25}}, "vector": vector})
        };
        let points: Vec<_> = (written..written + BATCH).map(point).collect();
        let path = format!("/collections/{}/points?wait=false", NAMES[0]);
        client.ok(Method::PUT, &path, Some(&json!({ "points": points }))).await;
        written += BATCH;
    }
    while client.count(0, NAMES[0]).await < written {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    written
}
