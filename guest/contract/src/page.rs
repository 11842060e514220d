//! The tables in `docs/` that are generated from the tables here.

use std::error::Error;

/// The page `docs/<page>.md` has `table` between its marks. With `UPDATE_DOCS=1` it is written there.
///
/// # Errors
/// The page has another table, or no marks.
pub fn check(page: &str, table: &str) -> Result<(), Box<dyn Error>> {
    let path = format!("{}/../../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path)?;
    let (begin, end) = (format!("<!-- {page}: begin"), format!("<!-- {page}: end -->"));
    let (before, rest) = text.split_once(&begin).ok_or("the table has no beginning")?;
    let (mark, rest) = rest.split_once('\n').ok_or("the table has no beginning")?;
    let (now, after) = rest.split_once(&end).ok_or("the table has no end")?;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{mark}\n{table}{end}{after}"))?;
    } else if now != table {
        return Err(format!(
            "docs/{page}.md is stale; `UPDATE_DOCS=1 cargo test -p {} the_page` writes it:\n{table}",
            env!("CARGO_PKG_NAME")
        )
        .into());
    }
    Ok(())
}
