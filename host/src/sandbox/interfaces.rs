//! What a component asks for and offers, read from its bytes.

use wasmparser::{Parser, Payload};

/// The names of what `component` imports and exports.
///
/// # Errors
/// It is no component.
pub fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    // Modules and components inside have imports and exports of their own.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(|error| error.to_string())?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(|error| error.to_string())?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sandbox::{COMPONENT, engine};

    #[test]
    fn they_are_what_the_engine_sees() {
        let component = engine::component(None).unwrap();
        let engine = component.engine();
        let kind = component.component_type();
        let imports: Vec<_> = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports: Vec<_> = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
        assert!(imports.len() > 10 && exports.len() > 1, "{imports:?} {exports:?}");
        assert_eq!(interfaces(COMPONENT), Ok((imports, exports)));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(interfaces(b"hello").is_err());
        assert!(COMPONENT.get(..COMPONENT.len() / 2).is_some_and(|half| interfaces(half).is_err()));
    }
}
