//! The terminal: the log scrolls, and what a run is at stands below it.

use std::fmt;
use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::Term;
use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::lines::Room;
use super::paint::Paint;

/// How much is written at a time.
const CHUNK: usize = 64 << 10;

/// A terminal with lines below the log. Clones are the same.
///
/// The cursor stands in front of the line below them and is never hidden: what the terminal echoes there (`^C`) is wiped
/// with them, and a program that is killed leaves nothing to be mended.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Inner>>);

struct Inner {
    paint: Paint,
    /// The lines below the log, as they are drawn.
    drawn: Vec<String>,
    has_ended: bool,
    /// What was written of a line that has not ended.
    log: Vec<u8>,
    data: Vec<u8>,
    /// Both streams end at the same terminal.
    is_data_shown: bool,
}

/// One of the two streams.
#[derive(Clone, Copy)]
enum Which {
    Log,
    Data,
}

impl Screen {
    /// The terminal behind standard error.
    pub fn new(paint: Paint) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            paint,
            drawn: Vec::new(),
            has_ended: false,
            log: Vec::new(),
            data: Vec::new(),
            is_data_shown: std::io::stdout().is_terminal(),
        })))
    }

    /// Its colours.
    pub fn paint(&self) -> Paint {
        self.lock().paint
    }

    /// How much room there is now.
    pub fn room() -> Room {
        let (rows, columns) = Term::stderr().size();
        Room { columns: columns.into(), rows: rows.into() }
    }

    /// Draws `lines` below the log, none of which is wider than the terminal.
    pub fn draw(&self, lines: Vec<String>) {
        let mut inner = self.lock();
        if !inner.has_ended && inner.drawn != lines {
            let text = format!("{}{}", over(inner.drawn.len()), drawing(&lines));
            inner.drawn = lines;
            to_stderr(&text);
        }
    }

    /// Leaves the log alone on the terminal. Nothing is drawn from here on.
    pub fn end(&self) {
        let mut inner = self.lock();
        let lines = std::mem::take(&mut inner.drawn);
        to_stderr(&wiped(lines.len()));
        for which in [Which::Log, Which::Data] {
            let rest = std::mem::take(inner.rest(which));
            inner.show(which, &rest);
        }
        inner.has_ended = true;
    }

    /// Writes to standard error.
    pub fn log(&self, bytes: &[u8]) {
        self.lock().write(Which::Log, bytes);
    }

    /// Writes to standard output.
    pub fn data(&self, bytes: &[u8]) {
        self.lock().write(Which::Data, bytes);
    }

    /// Standard output and standard error for the component.
    pub(crate) fn streams(&self) -> (impl StdoutStream + 'static, impl StdoutStream + 'static) {
        (Stream(self.clone(), Which::Data), Stream(self.clone(), Which::Log))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

impl Inner {
    fn rest(&mut self, which: Which) -> &mut Vec<u8> {
        match which {
            Which::Log => &mut self.log,
            Which::Data => &mut self.data,
        }
    }

    /// Shows the lines that are whole; the rest waits, as the lines below would be drawn behind it.
    fn write(&mut self, which: Which, bytes: &[u8]) {
        let rest = self.rest(which);
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let after = rest.split_off(end + 1);
        let whole = std::mem::replace(self.rest(which), after);
        self.show(which, &whole);
    }

    fn show(&self, which: Which, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let wiped = wiped(self.drawn.len());
        let drawn = drawing(&self.drawn);
        match which {
            // In one piece, so that nothing flickers.
            Which::Log => to_stderr(&format!("{wiped}{}{drawn}", self.painted(&String::from_utf8_lossy(bytes)))),
            Which::Data if self.is_data_shown => {
                to_stderr(&wiped);
                to_stdout(bytes);
                to_stderr(&drawn);
            }
            Which::Data => to_stdout(bytes),
        }
    }

    fn painted(&self, text: &str) -> String {
        let lines = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
            Some(line) => format!("{}\n", self.paint.log_line(line)),
            None => self.paint.log_line(line),
        });
        lines.collect()
    }
}

/// A closed stream must not stop a backup, so that errors are ignored.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn to_stdout(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// To the first of N lines above the cursor (ECMA-48, "Cursor Up").
fn over(lines: usize) -> String {
    if lines > 0 { format!("\x1b[{lines}A\r") } else { String::new() }
}

/// The same, and everything from there on is wiped ("Erase in Page").
fn wiped(lines: usize) -> String {
    if lines > 0 { format!("{}\x1b[J", over(lines)) } else { String::new() }
}

/// `lines` over what was there ("Erase in Line"), and nothing below them.
fn drawing(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("{lines}\x1b[J")
}

/// One of the streams, for the component.
struct Stream(Screen, Which);

impl wasmtime_wasi::cli::IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        match self.1 {
            Which::Log => std::io::IsTerminal::is_terminal(&std::io::stderr()),
            Which::Data => std::io::IsTerminal::is_terminal(&std::io::stdout()),
        }
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone(), self.1))
    }

    /// For components of WASI 0.3, which ours is none of.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        match self.1 {
            Which::Log => StdoutStream::async_stream(&std::io::stderr()),
            Which::Data => StdoutStream::async_stream(&std::io::stdout()),
        }
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().write(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_those_before_and_wiped() {
        let mut terminal = Vec::new();
        let lines = |lines: &[&str]| drawing(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        for text in [lines(&["one", "two"]), format!("{}{}", over(2), lines(&["1"])), wiped(1)] {
            terminal.push(text);
        }
        let expected = ["one\x1b[K\ntwo\x1b[K\n\x1b[J", "\x1b[2A\r1\x1b[K\n\x1b[J", "\x1b[1A\r\x1b[J"];
        assert_eq!(terminal, expected);
        assert_eq!((drawing(&[]), wiped(0)), (String::new(), String::new()));
    }
}
