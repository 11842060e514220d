//! A component as wasm OCI artifact: an image layout on disk (OCI image-spec, image-layout.md), with the media types of
//! the CNCF's guidance for wasm artifacts.

use std::path::Path;

use serde_json::{Value, json};

use super::files::{self, sha256};
use crate::sandbox::interfaces;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";

/// Writes the layout of `component` into `directory`. Returns the manifest's digest.
///
/// # Errors
/// `directory` has something else in it or can't be written, or `component` can't be read.
pub fn write(directory: &Path, component: &[u8]) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("can't write {}: {error}", directory.display());
    let layout = directory.join("oci-layout");
    let occupied = std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !layout.is_file() {
        return Err(format!("{} is not empty and no OCI layout; give it a directory of its own", directory.display()));
    }
    let (imports, exports) = interfaces(component)?;
    let blobs = directory.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).map_err(failed)?;

    let layer = Blob::write(&blobs, LAYER, component)?;
    let config = json!({
        // The same component gives the same artifact.
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest()],
        "component": {"exports": exports, "imports": imports, "target": null},
    });
    let config = Blob::write(&blobs, CONFIG, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
        "annotations": {
            "org.opencontainers.image.title": "qdrant-backup",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        },
    });
    let manifest = Blob::write(&blobs, MANIFEST, manifest.to_string().as_bytes())?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": manifest.media_type,
            "digest": manifest.digest(),
            "size": manifest.size,
            "annotations": {"org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION")},
        }],
    });
    files::write(&layout, json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
    files::write(&directory.join("index.json"), index.to_string().as_bytes())?;
    // Blobs of an earlier component are nobody's now.
    for entry in std::fs::read_dir(&blobs).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if ![&layer, &config, &manifest].iter().any(|blob| entry.file_name() == blob.hash.as_str()) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(manifest.digest())
}

/// A stored blob.
struct Blob {
    media_type: &'static str,
    /// sha256, hexadecimal: also the file's name.
    hash: String,
    size: usize,
}

impl Blob {
    fn write(blobs: &Path, media_type: &'static str, bytes: &[u8]) -> Result<Self, String> {
        let hash = sha256(bytes);
        files::write(&blobs.join(&hash), bytes)?;
        Ok(Self { media_type, hash, size: bytes.len() })
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.size})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::sandbox::COMPONENT;

    #[test]
    fn every_descriptor_has_its_blob_and_the_component_is_the_layer() {
        let directory = tempfile::tempdir().unwrap();
        let read = |descriptor: &Value| {
            let name = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = std::fs::read(directory.path().join("blobs/sha256").join(name)).unwrap();
            assert_eq!(descriptor["digest"], format!("sha256:{}", sha256(&bytes)));
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        std::fs::write(directory.path().join("oci-layout"), "").unwrap();
        std::fs::write(directory.path().join("blobs/sha256/old"), "an earlier one").unwrap();
        let digest = write(directory.path(), COMPONENT).unwrap();
        assert_eq!(write(directory.path(), COMPONENT).unwrap(), digest, "the same again");
        let index: Value =
            serde_json::from_slice(&std::fs::read(directory.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], digest);
        let manifest: Value = serde_json::from_slice(&read(&index["manifests"][0])).unwrap();
        assert_eq!((&manifest["mediaType"], &manifest["config"]["mediaType"]), (&json!(MANIFEST), &json!(CONFIG)));
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(read(&manifest["layers"][0]), COMPONENT);
        let config: Value = serde_json::from_slice(&read(&manifest["config"])).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
        assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
        let exports = config["component"]["exports"].as_array().unwrap();
        assert!(exports.iter().any(|name| name.as_str().unwrap().starts_with("wasi:cli/run@")), "{exports:?}");
        assert_eq!(std::fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 3);
    }

    #[test]
    fn a_directory_with_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("thesis.tex"), "years of work").unwrap();
        assert!(write(directory.path(), COMPONENT).unwrap_err().contains("is not empty"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
