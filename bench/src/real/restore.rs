//! The restore of many collections into three peers, beside a plain client that does no more than has to be done.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::{Value, json};

use qdrant_backup_tests::client::Client;

use crate::points::{Bench, Who};
use crate::real::Place;
use crate::served::Served;
use crate::table::{Figures, Goal, Table, seconds, time, times};

/// How many collections are made, filled or deleted at the same time.
const AT_ONCE: usize = 12;

/// How many points a collection has.
const POINTS: u64 = 60;

/// How long pairs of runs are begun: servers that are slow get fewer than five.
const LONG: Duration = Duration::from_secs(300);

/// What each collection is.
fn body() -> Value {
    json!({"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 3, "replication_factor": 2})
}

impl Bench {
    /// 60 collections of 3 shards and 2 replicas.
    pub fn real_restore(&self, table: &mut Table) {
        let collections = if self.quick { 12 } else { 60 };
        let case =
            format!("recover_snap_shards of {collections} collections, 3 shards × 2 replicas, into 3 real peers");
        let Some(place) = self.place(table, &case, 3, true) else { return };
        let names: Vec<String> = (0..collections).map(|number| format!("collection-{number:02}")).collect();
        self.runtime.block_on(each(&names, |name| {
            let client = place.client();
            async move {
                until_done(&client, Method::PUT, &name, Some(&body())).await;
                client.fill(&name, 0, POINTS).await;
            }
        }));
        place.run(self, Who::Program, "create_snap_shards", &[("QDRANT_SNAPSHOT_TRANSFER", "storage")]);
        let served = self.runtime.block_on(Served::start(place.s3.store()));
        std::fs::write(place.work.path().join("restore.json"), self.links(&place, &served).to_string()).unwrap();
        let mut walls = Vec::new();
        let started = Instant::now();
        for number in 0..self.times(5) {
            if number > 0 && started.elapsed() > LONG {
                break;
            }
            let mut pair = [0.0; 2];
            // Who is first takes turns.
            let mut whose = [(0, Who::Program, "recover_snap_shards"), (1, Who::Native, "recover_snap_shards")];
            whose.rotate_left(number % 2);
            for (side, who, task) in whose {
                self.wipe(&place, &names);
                let id = format!("bench-{number}");
                pair[side] = seconds(place.run(self, who, task, &[("QDRANT_RESTORE_ID", &id)]).wall);
            }
            walls.push(pair);
        }
        let walls_of = |side: usize| Figures::new(walls.iter().map(|pair| pair[side]));
        let (own, native) = (walls_of(0), walls_of(1));
        table.add(&format!("{case}: wall"), &own, time, Goal::None);
        table.add(&format!("{case}: a plain client's"), &native, time, Goal::None);
        let ratio = |wall: f64| Figures::new([wall / native.median()]);
        table.add("the median to that of the plain client", &ratio(own.median()), times, Goal::AtMost(1.2));
        table.add("the worst to the median of the plain client", &ratio(own.worst()), times, Goal::AtMost(1.5));
    }

    /// What the plain client restores: a collection's body, and where each shard's snapshot is.
    fn links(&self, place: &Place, served: &Served) -> Value {
        let mut collections = serde_json::Map::new();
        for key in place.s3.keys("snapshots/").into_iter().filter(|key| key.ends_with(".snapshot")) {
            let parts: Vec<&str> = key.split('/').collect();
            let [_, collection, "shards", shard, _] = parts[..] else { panic!("{key}") };
            let entry = collections.entry(collection).or_insert_with(|| json!({"body": body(), "shards": {}}));
            entry["shards"][shard] = served.url(&key).into();
        }
        Value::Object(collections)
    }

    fn wipe(&self, place: &Place, names: &[String]) {
        self.runtime.block_on(each(names, |name| {
            let client = place.client();
            async move { until_done(&client, Method::DELETE, &name, None).await }
        }));
    }
}

/// Has a collection made or deleted: now and then a cluster never does what it was asked for, until it is asked again.
async fn until_done(client: &Client, method: Method, name: &str, body: Option<&Value>) {
    let path = format!("/collections/{name}");
    for _ in 0..12 {
        let (status, _) = client.call(0, method.clone(), &format!("{path}?timeout=10"), body).await;
        let is_there = client.call(0, Method::GET, &path, None).await.0 == 200;
        if status == 200 || is_there == (method == Method::PUT) {
            return;
        }
    }
    panic!("{method} {path} is never done");
}

/// Does something with each of `names`, some at a time.
async fn each<F: Future<Output = ()>>(names: &[String], work: impl Fn(String) -> F) {
    stream::iter(names.iter().cloned().map(work)).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}
