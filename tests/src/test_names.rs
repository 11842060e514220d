//! The tests that a file of Rust has.

/// The names of all functions in `text` that have a test's attribute in front.
pub fn of(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if !line.starts_with("//") {
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            names.extend(name.filter(|_| is_test).and_then(|name| name.split_once('(')).map(|(name, _)| name));
            is_test = false;
        }
    }
    names
}
