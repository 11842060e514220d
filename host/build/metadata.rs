//! What the component says of itself, where `wasm-tools metadata show`, registries and scanners look: custom sections, by the
//! names that OCI annotations have (WebAssembly/tool-conventions, "Metadata").

/// The header of a component.
const HEADER: usize = 8;

/// What is written, by the section's name.
pub struct Metadata<'a>(pub &'a [(&'a str, &'a str)]);

/// `component` with the name `name` and the metadata. Its own section of names, which has one for each function that it
/// imports and is for debuggers, goes.
///
/// # Errors
/// It is no component.
pub fn write(component: &[u8], name: &str, metadata: &Metadata<'_>) -> Result<Vec<u8>, String> {
    let broken = || "it is not a component".to_string();
    let mut written = component.get(..HEADER).ok_or_else(broken)?.to_vec();
    let mut rest = component.get(HEADER..).ok_or_else(broken)?;
    while let Some((id, after)) = rest.split_first() {
        let (size, content) = number(after).ok_or_else(broken)?;
        let content = content.get(..size).ok_or_else(broken)?;
        let length = rest.len() - after.len() + (content.as_ptr() as usize - after.as_ptr() as usize) + size;
        let is_names = *id == 0 && custom_name(content) == Some(b"component-name");
        if !is_names {
            written.extend(rest.get(..length).ok_or_else(broken)?);
        }
        rest = rest.get(length..).ok_or_else(broken)?;
    }
    let mut names = vec![0];
    let mut own = Vec::new();
    push_text(&mut own, name);
    push_number(&mut names, own.len());
    names.extend(own);
    push_custom(&mut written, "component-name", &names);
    for (name, value) in metadata.0.iter().filter(|(_, value)| !value.is_empty()) {
        push_custom(&mut written, name, value.as_bytes());
    }
    Ok(written)
}

fn custom_name(content: &[u8]) -> Option<&[u8]> {
    let (length, rest) = number(content)?;
    rest.get(..length)
}

/// An unsigned LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

fn push_number(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn push_text(to: &mut Vec<u8>, text: &str) {
    push_number(to, text.len());
    to.extend(text.as_bytes());
}

fn push_custom(to: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::new();
    push_text(&mut section, name);
    section.extend(content);
    to.push(0);
    push_number(to, section.len());
    to.extend(section);
}
