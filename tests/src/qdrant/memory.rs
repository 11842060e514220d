//! Points in memory, for native runs: what the core sees of a snapshot is the same, and nothing costs time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::replica::Engine;

/// Where the points are in a segment.
const CONTENT: &str = "snapshot/files/points.json";

/// The points of one replica.
#[derive(Default)]
pub struct Memory {
    points: BTreeMap<Id, Value>,
    indexes: BTreeMap<String, Value>,
    written: bool,
}

/// Numbers before UUIDs, as Qdrant has them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Number(u64),
    Uuid(String),
}

impl Id {
    fn of(id: &Value) -> Result<Self, String> {
        match (id.as_u64(), id.as_str()) {
            (Some(number), _) => Ok(Self::Number(number)),
            (_, Some(uuid)) => Ok(Self::Uuid(uuid.to_owned())),
            _ => Err(format!("value {id} is not a valid point ID")),
        }
    }
}

impl Engine for Memory {
    fn upsert(&mut self, points: &[Value]) -> Result<(), String> {
        self.written = true;
        for point in points {
            self.points.insert(Id::of(&point["id"])?, point.clone());
        }
        Ok(())
    }

    fn delete(&mut self, ids: &[Value]) -> Result<(), String> {
        self.written = true;
        for id in ids {
            self.points.remove(&Id::of(id)?);
        }
        Ok(())
    }

    fn index(&mut self, field: &str, schema: &Value) -> Result<(), String> {
        self.written = true;
        self.indexes.insert(field.to_owned(), schema.clone());
        Ok(())
    }

    fn count(&self) -> u64 {
        self.points.len() as u64
    }

    fn indexes(&self) -> Vec<(String, Value)> {
        let shown = |schema: &Value| match schema {
            Value::Object(params) => json!({"data_type": params["type"], "params": schema, "points": self.count()}),
            name => json!({"data_type": name, "points": self.count()}),
        };
        self.indexes.iter().map(|(field, schema)| (field.clone(), shown(schema))).collect()
    }

    fn scroll(&self, request: &Value) -> Result<(Vec<Value>, Option<Value>), String> {
        let limit = request["limit"].as_u64().unwrap_or(10) as usize;
        let from = request.get("offset").filter(|offset| !offset.is_null()).map(Id::of).transpose()?;
        let mut rest = self.points.iter().filter(|(id, _)| from.as_ref().is_none_or(|from| *id >= from));
        let wanted = |part: &str, usual: bool| request.get(part).and_then(Value::as_bool).unwrap_or(usual);
        let (payload, vector) = (wanted("with_payload", true), wanted("with_vector", false));
        let page = rest.by_ref().take(limit).map(|(_, point)| {
            let mut shown =
                json!({"id": point["id"], "payload": if payload { point["payload"].clone() } else { Value::Null }});
            if vector {
                shown["vector"] = point["vector"].clone();
            }
            shown
        });
        let page: Vec<Value> = page.collect();
        Ok((page, rest.next().map(|(_, point)| point["id"].clone())))
    }

    fn is_empty(&self) -> bool {
        !self.written
    }

    fn is_small(&self) -> bool {
        true
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn pack(&mut self, folder: &Path) {
        fs::create_dir_all(folder.join("segments")).expect("a folder");
        fs::create_dir_all(folder.join("wal")).expect("a folder");
        fs::write(folder.join("newest_clocks.json"), r#"{"clocks":[]}"#).expect("a file");
        let points: Vec<&Value> = self.points.values().collect();
        let content = json!({"points": points, "indexes": self.indexes}).to_string();
        // As the engine has it: of each point that came a byte for the kind, its id, and its place.
        let mappings: Vec<u8> =
            (0..points.len() as u64).flat_map(|id| [&[1], &id.to_le_bytes()[..], &[0; 4]].concat()).collect();
        let file = folder.join("segments").join("00000000-0000-4000-8000-000000000000.tar");
        let mut segment = tar::Builder::new(fs::File::create(file).expect("a file"));
        for (name, content) in
            [(CONTENT, content.as_bytes()), ("snapshot/files/mutable_id_tracker.mappings", &mappings)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            segment.append_data(&mut header, name, content).expect("an entry");
        }
        segment.finish().expect("a tar");
    }

    fn unpack(&mut self, folder: &Path) -> Result<(), String> {
        self.clear();
        let segments = fs::read_dir(folder.join("segments")).map_err(|error| error.to_string())?;
        for segment in segments {
            let path = segment.map_err(|error| error.to_string())?.path();
            let bytes = fs::read(path).map_err(|error| error.to_string())?;
            let segment: Value = serde_json::from_slice(&content_of(&bytes)?).map_err(|error| error.to_string())?;
            self.upsert(segment["points"].as_array().map_or(&[][..], Vec::as_slice))?;
            for (field, schema) in segment["indexes"].as_object().into_iter().flatten() {
                self.index(field, schema)?;
            }
        }
        Ok(())
    }
}

/// The points in a segment. Those that were recorded by an earlier version of the stand-in are no tars.
fn content_of(segment: &[u8]) -> Result<Vec<u8>, String> {
    if segment.starts_with(b"{") {
        return Ok(segment.to_vec());
    }
    let mut tar = tar::Archive::new(segment);
    let entries = tar.entries().map_err(|error| error.to_string())?;
    for entry in entries {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if *entry.path_bytes() == *CONTENT.as_bytes() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
            return Ok(content);
        }
    }
    Err("Invalid segment".to_owned())
}
