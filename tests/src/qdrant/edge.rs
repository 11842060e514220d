//! Points in Qdrant's own storage engine. An empty shard has no engine yet: making one costs files and time.

use std::fs;
use std::path::{Path, PathBuf};

use qdrant_edge::{
    CountRequest, CreateIndex, EdgeConfig, EdgeShard, FieldIndexOperations, PointInsertOperations, PointOperations,
    PointStructPersisted, ScrollRequest, UpdateOperation, VectorInternal, VectorStructInternal,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::replica::{Engine, append};

/// The points of one replica.
pub struct Edge {
    config: Value,
    // Before its files: it writes them when it is dropped.
    engine: Option<EdgeShard>,
    files: TempDir,
}

impl Edge {
    /// No points, of a collection with these parameters (`params` as `GET /collections/{c}` shows them).
    pub fn empty(params: &Value) -> Self {
        Self { config: engine_config(params), engine: None, files: TempDir::new().expect("a temporary folder") }
    }

    fn discard(&mut self) {
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

impl Engine for Edge {
    fn upsert(&mut self, points: &[Value]) -> Result<(), String> {
        let points: Result<Vec<PointStructPersisted>, _> = points.iter().cloned().map(serde_json::from_value).collect();
        let points = PointInsertOperations::PointsList(points.map_err(|error| error.to_string())?);
        self.update(UpdateOperation::PointOperation(PointOperations::UpsertPoints(points)))
    }

    fn delete(&mut self, ids: &[Value]) -> Result<(), String> {
        let ids: Result<_, _> = ids.iter().cloned().map(serde_json::from_value).collect();
        let ids = ids.map_err(|error| error.to_string())?;
        self.update(UpdateOperation::PointOperation(PointOperations::DeletePoints { ids }))
    }

    fn index(&mut self, field: &str, schema: &Value) -> Result<(), String> {
        let field_name = serde_json::from_value(json!(field)).map_err(|error| error.to_string())?;
        let field_schema = Some(serde_json::from_value(schema.clone()).map_err(|error| error.to_string())?);
        let create = FieldIndexOperations::CreateIndex(CreateIndex { field_name, field_schema });
        self.update(UpdateOperation::FieldIndexOperation(create))
    }

    fn count(&self) -> u64 {
        let count =
            |engine: &EdgeShard| engine.count(CountRequest { filter: None, exact: true }).expect("the engine counts");
        self.engine.as_ref().map_or(0, |engine| count(engine) as u64)
    }

    fn indexes(&self) -> Vec<(String, Value)> {
        let schema = self.engine.as_ref().map(|engine| engine.info().payload_schema).unwrap_or_default();
        schema.into_iter().map(|(field, index)| (field.to_string(), json!(index))).collect()
    }

    fn scroll(&self, request: &Value) -> Result<(Vec<Value>, Option<Value>), String> {
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

    fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    fn is_small(&self) -> bool {
        false
    }

    fn clear(&mut self) {
        self.discard();
    }

    fn pack(&mut self, folder: &Path) {
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

    fn unpack(&mut self, folder: &Path) -> Result<(), String> {
        self.discard();
        let archive = self.files.path().join("archive.tar");
        let mut tar = tar::Builder::new(fs::File::create(&archive).map_err(|error| error.to_string())?);
        append(&mut tar, folder, Path::new(""));
        tar.finish().map_err(|error| error.to_string())?;
        EdgeShard::unpack_snapshot(&archive, &self.path()).map_err(|error| error.to_string())?;
        fs::remove_file(&archive).map_err(|error| error.to_string())?;
        // What was written and not yet applied to the segments is in the WAL; the stand-in's snapshots have none.
        let wal = self.path().join("wal");
        fs::remove_dir_all(&wal).and_then(|()| fs::create_dir(&wal)).map_err(|error| error.to_string())?;
        let config: EdgeConfig = serde_json::from_value(self.config.clone()).map_err(|error| error.to_string())?;
        self.engine = Some(EdgeShard::load(&self.path(), Some(config)).map_err(|error| error.to_string())?);
        Ok(())
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
        VectorStructInternal::MultiDense(multi) => multi.multi_vectors().map(numbers).collect(),
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
        VectorInternal::MultiDense(multi) => multi.multi_vectors().map(numbers).collect(),
    }
}

/// As short as Qdrant writes them, and not with the digits of a wider type.
fn numbers(vector: &[f32]) -> Value {
    vector.iter().map(|number| serde_json::from_str::<Value>(&number.to_string()).expect("a number")).collect()
}
