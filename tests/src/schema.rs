//! The schemas in `docs/schemas`, by which the program prints JSON.

use boon::{Compiler, Schemas};
use serde_json::Value;

/// Asserts that `document` is as `docs/schemas/<name>.json` says.
///
/// # Panics
/// It is not, or there is no such schema.
#[track_caller]
pub fn conforms(name: &str, document: &Value) {
    let file = format!("{}/../docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let place = format!("http://schemas.invalid/{name}.json");
    compiler.add_resource(&place, schema).expect("a schema");
    let index = compiler.compile(&place, &mut schemas).expect("a schema");
    if let Err(wrong) = schemas.validate(document, index) {
        panic!("not as docs/schemas/{name}.json says: {wrong}\n{document:#}");
    }
}
