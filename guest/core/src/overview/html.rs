//! HTML as it is written: markup is part of the program, and everything else is text, which is escaped.

use qdrant_backup_contract::printable;

/// A page that grows.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup, which is nobody else's words.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, within an element or between the quotes of an attribute. What is hidden in it is made visible.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in printable::visible(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '`' => self.0.push_str("&#96;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// The program's own words, with what stands between backticks as code.
    pub(super) fn with_code(&mut self, words: &'static str) -> &mut Self {
        for (place, part) in words.split('`').enumerate() {
            if place % 2 == 1 {
                self.markup("<code>").text(part).markup("</code>");
            } else {
                self.text(part);
            }
        }
        self
    }

    /// A number, its thousands set apart.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        let digits = number.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                // Narrow, and no place to break a line.
                self.0.push('\u{202f}');
            }
            self.0.push(digit);
        }
        self
    }

    /// Places in a picture, as `points` has them.
    pub(super) fn places(&mut self, places: &[(u64, u64)]) -> &mut Self {
        for (x, y) in places {
            self.0.push_str(&format!("{x},{y} "));
        }
        self
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let mut html = Html::default();
        html.text("<script>alert('1')</script> & \"x\" `y`\u{202e}\n");
        assert_eq!(
            html.end(),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot; &#96;y&#96;\\u{202e}\\u{a}"
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        let written = |number: u64| {
            let mut html = Html::default();
            html.number(number);
            html.end()
        };
        assert_eq!([0, 999, 1000, 1_234_567].map(written), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }
}
