//! A replica of a shard: real points in Qdrant's own storage engine.

use std::fs;
use std::path::{Path, PathBuf};

use qdrant_edge::{
    CountRequest, CreateIndex, EdgeConfig, EdgeShard, FieldIndexOperations, PointInsertOperations, PointOperations,
    PointStructPersisted, ScrollRequest, UpdateOperation, VectorInternal, VectorStructInternal,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A replica. An empty one has no engine yet: making one costs files and time.
pub struct Replica {
    /// `Active`, `Dead`, `Partial`, `ManualRecovery`, ...
    pub state: String,
    config: Value,
    // Before its files: it writes them when it is dropped.
    engine: Option<EdgeShard>,
    files: TempDir,
}

impl Replica {
    /// An empty replica of a collection with these parameters (`params` as `GET /collections/{c}` shows them).
    pub fn empty(params: &Value) -> Self {
        Self {
            state: "Active".to_owned(),
            config: engine_config(params),
            files: TempDir::new().expect("a temporary folder"),
            engine: None,
        }
    }

    /// Adds points as `PUT /collections/{c}/points` has them.
    pub fn upsert(&mut self, points: &[Value]) -> Result<(), String> {
        let points: Result<Vec<PointStructPersisted>, _> = points.iter().cloned().map(serde_json::from_value).collect();
        let points = PointInsertOperations::PointsList(points.map_err(|error| error.to_string())?);
        self.update(UpdateOperation::PointOperation(PointOperations::UpsertPoints(points)))
    }

    /// Deletes points by id.
    pub fn delete(&mut self, ids: &[Value]) -> Result<(), String> {
        let ids: Result<_, _> = ids.iter().cloned().map(serde_json::from_value).collect();
        let ids = ids.map_err(|error| error.to_string())?;
        self.update(UpdateOperation::PointOperation(PointOperations::DeletePoints { ids }))
    }

    /// Indexes a payload field.
    pub fn index(&mut self, field: &str, schema: &Value) -> Result<(), String> {
        let field_name = serde_json::from_value(json!(field)).map_err(|error| error.to_string())?;
        let field_schema = Some(serde_json::from_value(schema.clone()).map_err(|error| error.to_string())?);
        let create = FieldIndexOperations::CreateIndex(CreateIndex { field_name, field_schema });
        self.update(UpdateOperation::FieldIndexOperation(create))
    }

    /// How many points there are.
    pub fn count(&self) -> u64 {
        let count =
            |engine: &EdgeShard| engine.count(CountRequest { filter: None, exact: true }).expect("the engine counts");
        self.engine.as_ref().map_or(0, |engine| count(engine) as u64)
    }

    /// The payload indexes that the engine has: field to type, parameters and points.
    pub fn indexes(&self) -> Vec<(String, Value)> {
        let schema = self.engine.as_ref().map(|engine| engine.info().payload_schema).unwrap_or_default();
        schema.into_iter().map(|(field, index)| (field.to_string(), json!(index))).collect()
    }

    /// A page of points, and where the next one begins.
    pub fn scroll(&self, request: &Value) -> Result<(Vec<Value>, Option<Value>), String> {
        let Some(engine) = &self.engine else { return Ok((Vec::new(), None)) };
        let request: ScrollRequest = serde_json::from_value(request.clone()).map_err(|error| error.to_string())?;
        let (records, next) = engine.scroll(request).map_err(|error| error.to_string())?;
        let points = records.into_iter().map(|record| {
            let mut point = json!({"id": record.id, "payload": record.payload});
            if let Some(vector) = record.vector {
                point["vector"] = vectors(vector);
            }
            point
        });
        Ok((points.collect(), next.map(|id| json!(id))))
    }

    /// Becomes a copy of `other`, index structures included.
    pub fn copy(&mut self, other: &mut Self) {
        if other.engine.is_none() {
            self.clear();
            return;
        }
        let folder = TempDir::new().expect("a temporary folder");
        other.pack(folder.path());
        self.unpack(folder.path()).expect("what was packed is unpacked");
    }

    /// Writes the data files of a shard archive into `folder`: `segments/<id>.tar`, `wal/`, `newest_clocks.json`.
    pub fn pack(&mut self, folder: &Path) {
        let engine = self.engine();
        engine.flush();
        let segments = folder.join("segments");
        fs::create_dir_all(&segments).expect("a folder");
        fs::create_dir_all(folder.join("wal")).expect("a folder");
        fs::write(folder.join("newest_clocks.json"), r#"{"clocks":[]}"#).expect("a file");
        for segment in fs::read_dir(engine.path().join("segments")).expect("the engine's folder") {
            let segment = segment.expect("an entry");
            let name = segment.file_name().into_string().expect("a segment's name");
            let file = fs::File::create(segments.join(format!("{name}.tar"))).expect("a file");
            let mut tar = tar::Builder::new(file);
            // The engine's files are mostly holes.
            tar.sparse(true);
            append(&mut tar, &segment.path(), Path::new("snapshot/files"));
            tar.finish().expect("a tar");
        }
    }

    /// Takes the data of a shard archive that was unpacked into `folder`, in place of what was there.
    pub fn unpack(&mut self, folder: &Path) -> Result<(), String> {
        self.clear();
        let archive = self.files.path().join("archive.tar");
        let mut tar = tar::Builder::new(fs::File::create(&archive).map_err(|error| error.to_string())?);
        append(&mut tar, folder, Path::new(""));
        tar.finish().map_err(|error| error.to_string())?;
        EdgeShard::unpack_snapshot(&archive, &self.path()).map_err(|error| error.to_string())?;
        fs::remove_file(&archive).map_err(|error| error.to_string())?;
        // What was written and not yet applied to the segments is in the WAL; the stand-in's archives have none.
        let wal = self.path().join("wal");
        fs::remove_dir_all(&wal).and_then(|()| fs::create_dir(&wal)).map_err(|error| error.to_string())?;
        let config: EdgeConfig = serde_json::from_value(self.config.clone()).map_err(|error| error.to_string())?;
        self.engine = Some(EdgeShard::load(&self.path(), Some(config)).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn clear(&mut self) {
        self.engine = None;
        if self.path().exists() {
            fs::remove_dir_all(self.path()).expect("the engine's folder");
        }
    }

    fn path(&self) -> PathBuf {
        self.files.path().join("shard")
    }

    fn update(&mut self, operation: UpdateOperation) -> Result<(), String> {
        self.engine().update(operation).map_err(|error| error.to_string())
    }

    fn engine(&mut self) -> &EdgeShard {
        let path = self.path();
        let config = &self.config;
        self.engine.get_or_insert_with(|| {
            fs::create_dir_all(&path).expect("a folder");
            let config: EdgeConfig = serde_json::from_value(config.clone()).expect("the engine's configuration");
            EdgeShard::new(&path, config).expect("an engine")
        })
    }
}

/// Puts a folder's content into a tar, in the order of names.
pub fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, folder: &Path, under: &Path) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
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

/// The engine's configuration of a collection with `params`.
fn engine_config(params: &Value) -> Value {
    let vectors = match params.get("vectors") {
        Some(single) if single.get("size").is_some() => json!({ "": single }),
        Some(Value::Object(named)) => Value::Object(named.clone()),
        _ => json!({}),
    };
    json!({
        "on_disk_payload": params.get("on_disk_payload").cloned().unwrap_or(json!(true)),
        "vectors": vectors,
        "sparse_vectors": params.get("sparse_vectors").cloned().unwrap_or(json!({})),
        "wal_options": {"segment_capacity": 1 << 20, "segment_queue_len": 0, "retain_closed": 1},
    })
}

fn vectors(vectors: VectorStructInternal) -> Value {
    match vectors {
        VectorStructInternal::Single(vector) => numbers(&vector),
        VectorStructInternal::MultiDense(multi) => numbers(&multi.flattened_vectors),
        VectorStructInternal::Named(named) => {
            let named: Map<String, Value> =
                named.into_iter().map(|(name, vector)| (name, self::vector(vector))).collect();
            Value::Object(named)
        }
    }
}

fn vector(vector: VectorInternal) -> Value {
    match vector {
        VectorInternal::Dense(vector) => numbers(&vector),
        VectorInternal::Sparse(vector) => json!({"indices": vector.indices, "values": numbers(&vector.values)}),
        VectorInternal::MultiDense(multi) => numbers(&multi.flattened_vectors),
    }
}

/// As short as Qdrant writes them, and not with the digits of a wider type.
fn numbers(vector: &[f32]) -> Value {
    vector.iter().map(|number| serde_json::from_str::<Value>(&number.to_string()).expect("a number")).collect()
}
