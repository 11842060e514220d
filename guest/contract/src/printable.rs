//! Text from elsewhere (names, labels, answers) as it may be shown to a person: it can't move a terminal's cursor, colour
//! it, begin a line, or have a reader see another order of letters than there is.

use std::borrow::Cow;

use serde_json::Value;

/// True for what is not shown as it is: control characters, and those that have no width or change the direction of
/// reading (Unicode's `Cc`, `Cf`, `Zl` and `Zp`, as far as they matter).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` in one line, with `\u{202e}` and the like in place of what is hidden, so that two names that differ in it alone
/// look different.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// `text` in one line, with a blank in place of each hidden character, as log lines have it.
pub fn in_one_line(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// `value` as JSON in one line: what is hidden is escaped, and means the same.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_hidden) {
        return text;
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json as value;

    const ODD: &str = "a\u{1b}[31m\u{202e}b\r\nc\u{2028}\u{9b}\u{e0041}\u{200b}";

    #[test]
    fn what_is_hidden_is_shown_or_blank() {
        let shown = "a\\u{1b}[31m\\u{202e}b\\u{d}\\u{a}c\\u{2028}\\u{9b}\\u{e0041}\\u{200b}";
        assert_eq!(visible(ODD), shown);
        assert_eq!(in_one_line(ODD), "a [31m b  c    ");
        assert!(matches!(visible("ge ün%,odd 日本 עברית"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_means_the_same() {
        let odd = value!({ODD: [ODD]});
        let text = json(&odd);
        assert!(text.chars().all(|c| !is_hidden(c)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), odd);
        assert_eq!(json(&value!({"a": "日本"})), "{\"a\":\"日本\"}");
    }
}
