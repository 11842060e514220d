//! Colours by outcome.

/// Colours text for a terminal, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// False for text without colours (`NO_COLOR`).
    pub colours: bool,
}

impl Paint {
    /// Failed.
    pub fn red(self, text: &str) -> String {
        self.sgr("31", text)
    }

    /// A warning, or skipped.
    pub fn yellow(self, text: &str) -> String {
        self.sgr("33", text)
    }

    /// Done.
    pub fn green(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// What counts.
    pub fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// What counts less.
    pub fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }

    /// A log line in its text form: its timestamp dim, what it says coloured by its outcome.
    pub fn log_line(self, line: &str) -> String {
        let Some((time, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else {
            return line.to_owned();
        };
        let host = rest.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let (host, text) = host.map_or((String::new(), rest), |(host, text)| (format!("[{host}] "), text));
        let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
        let text = if begins(&["FAILED", "PARTLY FAILED", "what failed", "error:"]) {
            self.red(text)
        } else if begins(&["warning: ", "skipped: "]) {
            self.yellow(text)
        } else if begins(&["done: ", "all done"]) {
            self.green(text)
        } else {
            text.to_owned()
        };
        format!("{} {}{text}", self.dim(&format!("[{time}]")), self.dim(&host))
    }

    /// `text` between two codes (ECMA-48, "Select Graphic Rendition").
    fn sgr(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_coloured_by_outcome() {
        let paint = Paint { colours: true };
        for (line, code) in [
            ("[2026-01-29 11:44:22] [http://a:6333] done: set of `docs`", "\x1b[32mdone: "),
            ("[2026-01-29 11:44:22] [http://a:6333] FAILED: set of `docs`", "\x1b[31mFAILED: "),
            ("[2026-01-29 11:44:22] PARTLY FAILED: 1 done", "\x1b[31mPARTLY FAILED"),
            ("[2026-01-29 11:44:22] warning: odd", "\x1b[33mwarning: "),
            ("[2026-01-29 11:44:22] all done: 3 done", "\x1b[32mall done"),
        ] {
            assert!(paint.log_line(line).contains(code), "{:?}", paint.log_line(line));
            assert_eq!(Paint { colours: false }.log_line(line), line);
            assert_eq!(console::strip_ansi_codes(&paint.log_line(line)), line);
        }
        assert_eq!(paint.log_line("FAILED"), "FAILED");
    }
}
