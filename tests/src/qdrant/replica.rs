//! A replica of a shard: its state, and its points in an engine.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::memory::Memory;
use crate::scratch;

/// What holds the points of a replica.
pub trait Engine: Send {
    /// Adds points as `PUT /collections/{c}/points` has them.
    fn upsert(&mut self, points: &[Value]) -> Result<(), String>;

    /// Deletes points by id.
    fn delete(&mut self, ids: &[Value]) -> Result<(), String>;

    /// Indexes a payload field.
    fn index(&mut self, field: &str, schema: &Value) -> Result<(), String>;

    /// How many points there are.
    fn count(&self) -> u64;

    /// The payload indexes that it has: field to type, parameters and points.
    fn indexes(&self) -> Vec<(String, Value)>;

    /// A page of points, and where the next one begins.
    fn scroll(&self, request: &Value) -> Result<(Vec<Value>, Option<Value>), String>;

    /// True where nothing was ever written.
    fn is_empty(&self) -> bool;

    /// True where its snapshots are small.
    fn is_small(&self) -> bool;

    /// Has nothing any more.
    fn clear(&mut self);

    /// Writes the data files of a shard snapshot into `folder`: `segments/<id>.tar`, `wal/`, `newest_clocks.json`.
    fn pack(&mut self, folder: &Path);

    /// Takes the data of a shard snapshot that was unpacked into `folder`, in place of what was there.
    fn unpack(&mut self, folder: &Path) -> Result<(), String>;
}

/// A replica.
pub struct Replica {
    /// `Active`, `Dead`, `Partial`, `ManualRecovery`, ...
    pub state: String,
    /// Its points.
    pub engine: Box<dyn Engine>,
}

impl Replica {
    /// An empty replica of a collection with these parameters (`params` as `GET /collections/{c}` shows them).
    pub fn empty(params: &Value, memory: bool) -> Self {
        let engine: Box<dyn Engine> = if memory { Box::new(Memory::default()) } else { engine(params) };
        Self { state: "Active".to_owned(), engine }
    }

    /// Becomes a copy of `other`, index structures included.
    pub fn copy(&mut self, other: &mut Self) {
        if other.engine.is_empty() {
            self.engine.clear();
            return;
        }
        let folder = scratch::folder(self.engine.is_small());
        other.engine.pack(folder.path());
        self.engine.unpack(folder.path()).expect("what was packed is unpacked");
    }
}

#[cfg(feature = "program")]
fn engine(params: &Value) -> Box<dyn Engine> {
    Box::new(super::edge::Edge::empty(params))
}

#[cfg(not(feature = "program"))]
fn engine(_: &Value) -> Box<dyn Engine> {
    panic!("this test needs Qdrant's engine: build it with the feature `program`")
}

/// Puts a folder's content into a tar, in the order of names.
pub fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, folder: &Path, under: &Path) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    // Qdrant writes these two of a shard last.
    let is_last =
        |entry: &fs::DirEntry| matches!(entry.file_name().to_str(), Some("replica_state.json" | "shard_config.json"));
    entries.sort_by_key(|entry| (is_last(entry), entry.file_name()));
    for entry in entries {
        let name = under.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            if fs::read_dir(entry.path()).expect("a folder").next().is_none() {
                tar.append_dir(&name, entry.path()).expect("an entry");
            }
            append(tar, &entry.path(), &name);
        } else {
            tar.append_path_with_name(entry.path(), &name).expect("an entry");
        }
    }
}
