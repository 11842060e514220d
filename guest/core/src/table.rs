//! Tables for people.

use crate::printable;

/// Lines whose columns are one below the other, that of `heads` first. Cells of figures alone stand at the right of their
/// column. What is in the cells may come from elsewhere.
pub(crate) fn lines(heads: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let head = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows)
        .map(|row: Vec<String>| row.iter().map(|cell| printable::visible(cell).into_owned()).collect())
        .collect();
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let mut text = vec![String::new(); rows.len()];
    for column in 0..heads.len() {
        let width = rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or_default();
        let at_right = rows.len() > 1 && rows.iter().skip(1).all(|row| is_figure(&cell(row, column)));
        for (text, row) in text.iter_mut().zip(&rows) {
            let cell = cell(row, column);
            let cell = if at_right { format!("{cell:>width$}") } else { format!("{cell:width$}") };
            text.push_str(if column == 0 { "" } else { "  " });
            text.push_str(&cell);
        }
    }
    text.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A number, with its unit.
fn is_figure(cell: &str) -> bool {
    cell.is_empty() || cell.trim_end_matches(" B").parse::<u64>().is_ok() || cell.ends_with("iB")
}

/// The same as one text.
pub(crate) fn columns(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    lines(heads, rows).join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn a_cell_is_one_line_of_what_can_be_seen() {
        let rows = vec![row(&["a\n\u{1b}[31mb", "\u{202e}x"]), row(&["c", "d"])];
        assert_eq!(
            columns(&["A", "B"], rows),
            "A                  B\na\\u{a}\\u{1b}[31mb  \\u{202e}x\nc                  d\n"
        );
    }

    #[test]
    fn figures_stand_at_the_right() {
        let rows = vec![row(&["docs", "7", "1.5 MiB"]), row(&["x", "1234", "12 B"])];
        assert_eq!(
            columns(&["COLLECTION", "POINTS", "SIZE"], rows),
            "COLLECTION  POINTS     SIZE\ndocs             7  1.5 MiB\nx             1234     12 B\n"
        );
    }
}
