//! The report of a run as Markdown, for the page of a CI job.

use std::fmt::Write;

use serde_json::Value;

use crate::printable;

/// How many rows a table has: more is for the log, and pages have limits.
const MOST: usize = 200;

/// A heading, the counts, and a row for each item, those that failed first. `report` is the report as JSON.
pub(crate) fn markdown(report: &Value) -> String {
    let text = |name: &str| report.get(name).map(plain).unwrap_or_default();
    let mut page = format!(
        "## {}: {}\n\n{} done, {} failed, {} skipped; {} s, run {}\n",
        text("task"),
        text("status"),
        text("done"),
        text("failed"),
        text("skipped"),
        text("seconds"),
        text("run_id")
    );
    let mut items: Vec<&Value> = report.get("items").and_then(Value::as_array).into_iter().flatten().collect();
    let rank = |item: &&Value| match item.get("outcome").and_then(Value::as_str) {
        Some("failed") => 0,
        Some("skipped") => 1,
        _ => 2,
    };
    items.sort_by_key(rank);
    if items.is_empty() {
        return page;
    }
    page.push_str("\n| | what | collection | name | bytes | |\n|---|---|---|---|---:|---|\n");
    for item in items.iter().take(MOST) {
        let cell = |name: &str| item.get(name).map(escaped).unwrap_or_default();
        let verified = match item.get("verified").and_then(Value::as_bool) {
            Some(true) => "verified, ",
            Some(false) => "**not verified**, ",
            None => "",
        };
        let outcome = match cell("outcome") {
            failed if failed == "failed" => "**failed**".to_owned(),
            outcome => outcome,
        };
        let (kind, collection, name) = (cell("kind"), cell("collection"), cell("name"));
        let (bytes, cause) = (cell("bytes"), cell("cause"));
        let _ = writeln!(page, "| {verified}{outcome} | {kind} | {collection} | {name} | {bytes} | {cause} |");
    }
    if let Some(more) = items.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(page, "\nand {more} more, which are in the log");
    }
    page
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As the content of a cell: names and causes are others' words, and must not become links, HTML or another cell.
fn escaped(value: &Value) -> String {
    let mut cell = String::new();
    for letter in printable::visible(&plain(value)).chars() {
        match letter {
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '[' | ']' | '!' | '~' | '#' | '@' => {
                cell.push('\\');
                cell.push(letter);
            }
            other => cell.push(other),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn failures_come_first_and_others_words_are_no_markup() {
        let report = json!({
            "task": "verify", "status": "partial", "done": 1, "failed": 1, "skipped": 0, "seconds": 2, "run_id": "r",
            "items": [
                {"outcome": "done", "kind": "collection", "collection": "a", "bytes": 7, "verified": false, "cause": null},
                {"outcome": "failed", "kind": "set", "collection": "x|y", "name": "<b>[l](http://h)", "cause": "no\nway"},
            ],
        });
        let page = markdown(&report);
        assert!(
            page.starts_with("## verify: partial\n\n1 done, 1 failed, 0 skipped; 2 s, run r\n\n| | what |"),
            "{page}"
        );
        let rows: Vec<&str> = page.lines().skip(6).collect();
        assert_eq!(
            rows,
            [
                "| **failed** | set | x\\|y | &lt;b>\\[l\\](http://h) |  | no\\\\u{a}way |",
                "| **not verified**, done | collection | a |  | 7 |  |"
            ]
        );
    }

    #[test]
    fn a_page_does_not_grow_without_end() {
        let item = json!({"outcome": "done", "kind": "set"});
        let page = markdown(&json!({"items": vec![item; MOST + 3]}));
        assert_eq!(page.matches("| done |").count(), MOST);
        assert!(page.ends_with("\nand 3 more, which are in the log\n"));
    }
}
