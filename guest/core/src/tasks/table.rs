//! Tables for people.

use crate::printable;

/// Rows as lines whose columns are one below the other. What is in the cells may come from elsewhere.
pub(super) fn columns<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let rows: Vec<_> =
        rows.iter().map(|row| row.each_ref().map(|cell| printable::visible(cell).into_owned())).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_of_what_can_be_seen() {
        let rows = [["a\n\u{1b}[31mb", "\u{202e}x"], ["c", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a\\u{a}\\u{1b}[31mb  \\u{202e}x\nc                  d\n");
    }
}
