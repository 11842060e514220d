//! The tables of the README that are made from the tables here.

/// The README has `table` between the marks of `section`. Set `UPDATE_README=1` to write it.
#[allow(clippy::unwrap_used)]
pub fn check(section: &str, table: &str) {
    // The tables are in one file, and tests run at the same time.
    static FILE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = FILE.lock();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(&format!("<!-- {section}: begin")).unwrap();
    let (mark, rest) = rest.split_once('\n').unwrap();
    let (now, after) = rest.split_once(&format!("<!-- {section}: end -->")).unwrap();
    if std::env::var_os("UPDATE_README").is_none() {
        assert_eq!(now, table, "run this test with UPDATE_README=1");
        return;
    }
    let updated = format!("{before}<!-- {section}: begin{mark}\n{table}<!-- {section}: end -->{after}");
    std::fs::write(path, updated).unwrap();
}
