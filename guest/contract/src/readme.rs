//! The tables of the README that are made from the tables here.

use std::error::Error;
use std::sync::Mutex;

/// The tables are in one file, and tests run at the same time.
static FILE: Mutex<()> = Mutex::new(());

/// The README has `table` between the marks of `section`. With `UPDATE_README=1` it is written there.
///
/// # Errors
/// It has another, or there are no marks.
pub fn check(section: &str, table: &str) -> Result<(), Box<dyn Error>> {
    let _guard = FILE.lock();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path)?;
    let (begin, end) = (format!("<!-- {section}: begin"), format!("<!-- {section}: end -->"));
    let (before, rest) = readme.split_once(&begin).ok_or("the table has no beginning")?;
    let (mark, rest) = rest.split_once('\n').ok_or("the table has no beginning")?;
    let (now, after) = rest.split_once(&end).ok_or("the table has no end")?;
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(path, format!("{before}{begin}{mark}\n{table}{end}{after}"))?;
    } else if now != table {
        return Err(format!("run the tests with UPDATE_README=1, as the table of the {section} is\n{table}").into());
    }
    Ok(())
}
