//! A value in the `binaryData` of a ConfigMap's manifest.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use yaml_edit::{Document, Mapping, YamlFile, YamlNode};

/// What the API server accepts as the sum of all values, decoded (`MaxSecretSize`, which holds for ConfigMaps, too).
pub const LIMIT: usize = 1 << 20;

/// What to put into a ConfigMap.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The key in `binaryData`.
    pub key: String,
    /// A key in whose place it comes, if that is there.
    pub replaces: Option<&'a str>,
    /// The bytes.
    pub value: &'a [u8],
}

/// A manifest with the entry in it.
#[derive(Debug)]
pub struct Filled<'a> {
    /// The manifest.
    pub text: String,
    /// How many bytes of [`LIMIT`] its values have.
    pub size: usize,
    /// The key that was replaced.
    pub replaced: Option<&'a str>,
}

/// Sets `entry` in the `binaryData` of the ConfigMap in `manifest`. Everything else, comments too, stays as it is.
///
/// # Errors
/// The text is not YAML, has no ConfigMap or several, the key can't be one, or the values are too large together.
pub fn fill<'a>(manifest: &str, entry: &Entry<'a>) -> Result<Filled<'a>, String> {
    let key = entry.key.as_str();
    check_key(key)?;
    let file = YamlFile::from_str(manifest).map_err(|error| format!("it is not YAML: {error}"))?;
    let (before, config_map) = find(&file)?;
    if before.data.contains_key(key) {
        return Err(format!("`{key}` is a key of `data`, and can't be one of `binaryData` as well"));
    }
    let root = config_map.as_mapping().ok_or("the ConfigMap is not a mapping")?;
    let value = STANDARD.encode(entry.value);
    let replaced = entry.replaces.filter(|old| *old != key && before.binary.contains_key(*old));
    match root.get("binaryData").filter(|node| node.as_mapping().is_some_and(|entries| !entries.is_empty())) {
        Some(node) => {
            if let Some(entries) = node.as_mapping() {
                if let Some(old) = replaced {
                    entries.rename_key(old, key);
                }
                entries.set(key, value.as_str());
            }
        }
        None => {
            let entries = Mapping::new();
            entries.set(key, value.as_str());
            root.set("binaryData", entries);
        }
    }
    let text = file.to_string();

    // What was written is read again: an editor's mistake must not reach a cluster.
    let edited = YamlFile::from_str(&text).map_err(|error| format!("can't be edited: {error}"))?;
    let (after, _) = find(&edited)?;
    let mut expected = before;
    if let Some(old) = replaced {
        expected.binary.remove(old);
    }
    expected.binary.insert(key.to_owned(), value);
    if after != expected {
        return Err("can't be edited without changing something else; write `binaryData` as a plain block".to_owned());
    }
    let size = after.size()?;
    if size > LIMIT {
        return Err(format!(
            "with `{key}` of {} bytes its values would have {size} bytes, and Kubernetes accepts {LIMIT}; \
             use a ConfigMap of its own, the image or an image volume",
            entry.value.len()
        ));
    }
    Ok(Filled { text, size, replaced })
}

/// The rule of Kubernetes for keys of ConfigMaps.
fn check_key(key: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > 253 || !key.chars().all(good) || key == "." || key.starts_with("..") {
        return Err(format!("`{key}` can't be a key of a ConfigMap: letters, digits, `-`, `_` and `.`, up to 253"));
    }
    Ok(())
}

/// All that matters of a manifest with one ConfigMap.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    name: String,
    documents: usize,
    data: BTreeMap<String, String>,
    binary: BTreeMap<String, String>,
}

impl Content {
    fn size(&self) -> Result<usize, String> {
        let mut size = self.data.values().map(String::len).sum();
        for (key, value) in &self.binary {
            let packed: String = value.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(packed).map_err(|error| format!("`{key}` of `binaryData`: {error}"))?;
            size += bytes.len();
        }
        Ok(size)
    }
}

fn find(file: &YamlFile) -> Result<(Content, Document), String> {
    let text = |node: Option<YamlNode>| node.and_then(|node| node.as_scalar().map(|scalar| scalar.as_string()));
    let mut found = Vec::new();
    let mut documents = 0;
    for document in file.documents() {
        documents += 1;
        if text(document.get("kind")).as_deref() == Some("ConfigMap") {
            found.push(document);
        }
    }
    let config_map = match found.len() {
        0 => return Err("there is no ConfigMap in it (`kind: ConfigMap`)".to_owned()),
        1 => found.remove(0),
        several => return Err(format!("there are {several} ConfigMaps in it; give each a file of its own")),
    };
    let entries = |field: &str| -> Result<BTreeMap<String, String>, String> {
        let Some(node) = config_map.get(field) else { return Ok(BTreeMap::new()) };
        let Some(mapping) = node.as_mapping() else {
            let empty = node.as_scalar().is_some_and(|scalar| scalar.is_null());
            return if empty { Ok(BTreeMap::new()) } else { Err(format!("`{field}` is not a mapping")) };
        };
        let pairs = mapping.iter().map(|(key, value)| Some((text(Some(key))?, text(Some(value))?)));
        pairs.collect::<Option<_>>().ok_or_else(|| format!("`{field}` has something else than texts"))
    };
    let content = Content {
        name: text(config_map.get("metadata").and_then(|node| node.get("name"))).unwrap_or_default(),
        documents,
        data: entries("data")?,
        binary: entries("binaryData")?,
    };
    Ok((content, config_map))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fill<'a>(manifest: &str, key: &str, value: &'a [u8]) -> Result<Filled<'a>, String> {
        super::fill(manifest, &Entry { key: key.to_owned(), replaces: None, value })
    }

    const MANIFEST: &str = "\
# Ours.
apiVersion: v1
kind: ConfigMap # not a Secret
metadata:
  name: component
# Notes.
data:
  note: |
    two
      lines
binaryData:
  # Another tool's.
  other.bin: QUJD # ABC
  our.wasm: \"\" # filled in
# The end.
";

    #[test]
    fn the_component_is_put_in_and_all_else_stays() {
        let filled = fill(MANIFEST, "our.wasm", b"\0asm").unwrap();
        assert_eq!(filled.text, MANIFEST.replace("\"\"", "AGFzbQ=="));
        assert_eq!(filled.size, "two\n  lines\n".len() + 3 + 4);
        let again = fill(&filled.text, "our.wasm", b"\0asm2").unwrap();
        assert_eq!(again.text, MANIFEST.replace("\"\"", "AGFzbTI="));
        let added = fill(MANIFEST, "new.wasm", b"\0asm").unwrap();
        assert!(added.text.contains("\n  new.wasm: AGFzbQ==\n") && added.text.contains("our.wasm: \"\" # filled in\n"));
    }

    #[test]
    fn a_key_takes_the_place_of_another() {
        let entry = |value| Entry { key: "our.wasm.gz".to_owned(), replaces: Some("our.wasm"), value };
        let filled = super::fill(MANIFEST, &entry(b"\0asm")).unwrap();
        assert_eq!(filled.text, MANIFEST.replace("our.wasm: \"\"", "our.wasm.gz: AGFzbQ=="));
        assert_eq!((filled.replaced, filled.size), (Some("our.wasm"), "two\n  lines\n".len() + 3 + 4));
        let again = super::fill(&filled.text, &entry(b"\0asm2")).unwrap();
        assert_eq!(again.text, MANIFEST.replace("our.wasm: \"\"", "our.wasm.gz: AGFzbTI="));
        assert_eq!(again.replaced, None);
        // Where both are there, the old one does not count any more.
        let large = STANDARD.encode(vec![0; LIMIT - 100]);
        let both = filled.text.replace("  our.wasm.gz", &format!("  our.wasm: {large}\n  our.wasm.gz"));
        let filled = super::fill(&both, &entry(&[0; 1000])).unwrap();
        assert_eq!(filled.size, "two\n  lines\n".len() + 3 + 1000);
        assert!(!filled.text.contains("our.wasm:") && filled.text.contains("other.bin: QUJD # ABC"));
    }

    #[test]
    fn a_manifest_without_binary_data_gets_it() {
        for start in ["", "binaryData:\n", "binaryData: {}\n"] {
            let manifest = format!("kind: ConfigMap\nmetadata: {{name: c}}\n{start}# The end.\n");
            let filled = fill(&manifest, "our.wasm", b"\0asm").unwrap();
            assert!(
                filled.text.contains("our.wasm: AGFzbQ==\n") && filled.text.contains("# The end."),
                "{}",
                filled.text
            );
        }
        let two = "kind: Secret\n---\nkind: ConfigMap\nmetadata:\n  name: c\n---\nkind: Job\n";
        let filled = fill(two, "our.wasm", b"\0asm").unwrap().text;
        assert!(filled.contains("name: c\nbinaryData:\n  our.wasm: AGFzbQ==\n---\nkind: Job\n"), "{filled}");
    }

    #[test]
    fn what_kubernetes_would_refuse_is_refused() {
        let largest = vec![0; LIMIT - "two\n  lines\n".len() - 3];
        assert_eq!(fill(MANIFEST, "our.wasm", &largest).unwrap().size, LIMIT);
        let more = [&largest[..], b"x"].concat();
        assert!(fill(MANIFEST, "our.wasm", &more).unwrap_err().contains("Kubernetes accepts 1048576"));
        for (manifest, key, why) in [
            (MANIFEST, "a/b", "can't be a key"),
            (MANIFEST, "", "can't be a key"),
            (MANIFEST, "note", "a key of `data`"),
            ("kind: Secret\n", "k", "no ConfigMap"),
            ("kind: ConfigMap\n---\nkind: ConfigMap\n", "k", "2 ConfigMaps"),
            ("kind: ConfigMap\nbinaryData: [a]\n", "k", "not a mapping"),
            ("kind: ConfigMap\nbinaryData:\n  a: \"%\"\n", "k", "`a` of `binaryData`"),
            ("kind: [ConfigMap\n", "k", "not YAML"),
        ] {
            let error = fill(manifest, key, b"x").unwrap_err();
            assert!(error.contains(why), "{manifest}: {error}");
        }
    }
}
