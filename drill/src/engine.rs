//! A snapshot in Qdrant's own engine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use qdrant_backup_core::content::{Digest, Sample, hash};
use qdrant_backup_core::snapshot_file::{LOG_START, has_log_entries};
use qdrant_edge::{CountRequest, EdgeShard, Record, ScrollRequest, VectorInternal, VectorStructInternal};
use serde_json::{Value, json};

/// The engine, and its version.
pub(super) const ENGINE: &str = "qdrant-edge 0.7.2";

/// What a snapshot holds.
pub(super) struct Found {
    /// Points, counted and read.
    pub points: u64,
    /// The indexed payload fields.
    pub indexes: Vec<String>,
    /// The digests of all points, and of a sample; `None` where there are writes in its log that the engine does not read.
    pub content: Option<(Digest, Digest)>,
}

/// Points read at a time.
const PAGE: usize = 1000;

/// Opens `snapshot` in the new folder `folder` and reads every point with its payload and vectors; `sample` of them are a
/// sample.
///
/// # Errors
/// The engine does not take it, or does not give back what it counts.
pub(super) fn read(snapshot: &Path, folder: &Path, sample: u64) -> Result<Found, String> {
    let is_whole = unpack(snapshot, folder)?;
    let mut shard = Shard::load(folder)?;
    let points = shard.points()?;
    let (mut all, mut sampled) = (Digest::default(), Sample::default());
    for point in &mut shard {
        let point = point?;
        let hash = hash(&point).map_err(|why| refused("tell all of", &why))?;
        all.add(&hash);
        sampled.add(&point, sample, hash).map_err(|why| refused("tell all of", &why))?;
    }
    if all.points() != points {
        return Err(refused("read all of", &format!("{} of {points} points came", all.points())));
    }
    let mut sample = Digest::default();
    sampled.into_chosen().for_each(|hash| sample.add(&hash));
    Ok(Found { points, indexes: shard.indexes()?, content: is_whole.then_some((all, sample)) })
}

/// Unpacks `snapshot` into the new folder `folder`. True where all that is in it will be read: its log is empty.
///
/// # Errors
/// The engine does not take it.
pub(super) fn unpack(snapshot: &Path, folder: &Path) -> Result<bool, String> {
    guarded("unpack", || EdgeShard::unpack_snapshot(snapshot, folder).map_err(|why| why.to_string()))?;
    let has_log = has_log(folder).map_err(|why| refused("read the log of", &why.to_string()))?;
    Ok(!has_log)
}

/// A shard that was unpacked, whose points come one after another in the order of their ids.
pub(super) struct Shard {
    engine: EdgeShard,
    page: std::vec::IntoIter<Record>,
    /// Where the next page begins; `None` after the last one.
    next: Option<Value>,
}

impl Shard {
    /// Opens what [`unpack`] has put into `folder`.
    ///
    /// # Errors
    /// The engine does not take it.
    pub(super) fn load(folder: &Path) -> Result<Self, String> {
        let engine = guarded("open", || EdgeShard::load(folder, None).map_err(|why| why.to_string()))?;
        Ok(Self { engine, page: Vec::new().into_iter(), next: Some(Value::Null) })
    }

    fn points(&self) -> Result<u64, String> {
        let counted = || self.engine.count(CountRequest { filter: None, exact: true }).map_err(|why| why.to_string());
        guarded("count", counted).map(|points| points as u64)
    }

    fn indexes(&self) -> Result<Vec<String>, String> {
        let fields = || Ok(self.engine.info().payload_schema.into_keys().map(|field| field.to_string()).collect());
        guarded("describe", fields)
    }

    fn turn(&mut self, offset: &Value) -> Result<(), String> {
        let page = json!({"limit": PAGE, "offset": offset, "with_payload": true, "with_vector": true});
        let page: ScrollRequest = serde_json::from_value(page).map_err(|why| refused("read", &why.to_string()))?;
        let (records, next) = guarded("read", || self.engine.scroll(page).map_err(|why| why.to_string()))?;
        self.page = records.into_iter();
        self.next = next.map(|next| json!(next));
        Ok(())
    }
}

impl Iterator for Shard {
    type Item = Result<Value, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.page.next() {
                return Some(Ok(told(record)));
            }
            let offset = self.next.take()?;
            if let Err(why) = self.turn(&offset) {
                return Some(Err(why));
            }
        }
    }
}

fn refused(what: &str, why: &str) -> String {
    format!("Qdrant's engine ({ENGINE}) can't {what} it: {why}")
}

/// What the engine answers: it panics on some files that are not as it wrote them.
fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(|why| refused(what, &why)),
        Err(_) => Err(format!("Qdrant's engine ({ENGINE}) crashes on it")),
    }
}

/// True where the write-ahead log has entries, which the engine does not read. Snapshots of shards have empty logs.
fn has_log(folder: &Path) -> io::Result<bool> {
    let wal = folder.join("wal");
    if !wal.exists() {
        return Ok(false);
    }
    for file in fs::read_dir(wal)? {
        let mut start = Vec::new();
        File::open(file?.path())?.take(LOG_START).read_to_end(&mut start)?;
        if has_log_entries(&start) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A point as Qdrant's REST API tells it.
fn told(record: Record) -> Value {
    let payload = record.payload.map(|payload| Value::Object(payload.0)).unwrap_or_default();
    let vector = match record.vector {
        None => Value::Null,
        Some(VectorStructInternal::Single(numbers)) => floats(&numbers),
        Some(VectorStructInternal::MultiDense(rows)) => rows.multi_vectors().map(floats).collect(),
        Some(VectorStructInternal::Named(named)) => {
            Value::Object(named.into_iter().map(|(name, vector)| (name.to_string(), self::vector(&vector))).collect())
        }
    };
    json!({"id": record.id, "payload": payload, "vector": vector})
}

fn vector(vector: &VectorInternal) -> Value {
    match vector {
        VectorInternal::Dense(numbers) => floats(numbers),
        VectorInternal::Sparse(sparse) => json!({"indices": sparse.indices, "values": floats(&sparse.values)}),
        VectorInternal::MultiDense(rows) => rows.multi_vectors().map(floats).collect(),
    }
}

/// Every float is itself again when it was a double on the way.
fn floats(numbers: &[f32]) -> Value {
    numbers.iter().map(|number| Value::from(f64::from(*number))).collect()
}
