//! Where the run's text goes: the process's own streams, or buffers for a program that embeds it.

use std::io::Write;

use hyper::body::Bytes;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::OutputStream;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use crate::live::Screen;
use crate::termination::{self, LastLine, Stderr};

/// Standard output (data) and standard error (log lines) of a run.
#[derive(Clone, Debug)]
pub enum Io {
    /// The process's own streams.
    Inherit,
    /// The same, and the last line of standard error is kept.
    Noted(LastLine),
    /// The same, on a terminal with lines below the log.
    Live(Screen),
    /// Buffers in memory.
    Capture(Captured),
}

/// What a run wrote.
#[derive(Clone, Debug)]
pub struct Captured {
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Io {
    /// The streams of this process; in a pod the last line of standard error is kept.
    pub fn of_process() -> Self {
        if termination::is_asked_for() { Self::Noted(LastLine::default()) } else { Self::Inherit }
    }

    /// Leaves the last log line to the pod's status, where it was kept.
    pub fn leave_last_line(&self) {
        if let Self::Noted(last) = self {
            termination::write(last);
        }
    }

    /// Buffers, and where to read them afterwards (or meanwhile).
    pub fn capture() -> (Self, Captured) {
        let captured =
            Captured { stdout: MemoryOutputPipe::new(usize::MAX), stderr: MemoryOutputPipe::new(usize::MAX) };
        (Self::Capture(captured.clone()), captured)
    }

    /// Writes `text` to standard output. A closed pipe must not stop a backup, so that errors are ignored.
    pub fn data(&self, text: &str) {
        match self {
            Self::Inherit | Self::Noted(_) => {
                let mut stdout = std::io::stdout().lock();
                let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            }
            Self::Live(screen) => screen.data(text.as_bytes()),
            Self::Capture(captured) => append(&captured.stdout, text),
        }
    }

    /// Writes one line to standard error, errors ignored as in [`Io::data`].
    pub fn line(&self, line: &str) {
        let line = format!("{line}\n");
        if let Self::Noted(last) = self {
            last.note(line.as_bytes());
        }
        match self {
            Self::Inherit | Self::Noted(_) => {
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            Self::Live(screen) => screen.log(line.as_bytes()),
            Self::Capture(captured) => append(&captured.stderr, &line),
        }
    }

    /// Gives the component these streams. Standard input stays closed.
    pub(crate) fn connect(&self, wasi: &mut WasiCtxBuilder) {
        match self {
            Self::Inherit => wasi.inherit_stdout().inherit_stderr(),
            Self::Noted(last) => wasi.inherit_stdout().stderr(Stderr(last.clone())),
            Self::Live(screen) => {
                let (stdout, stderr) = screen.streams();
                wasi.stdout(stdout).stderr(stderr)
            }
            Self::Capture(captured) => wasi.stdout(captured.stdout.clone()).stderr(captured.stderr.clone()),
        };
    }
}

impl Captured {
    /// Standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.contents()).into_owned()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.contents()).into_owned()
    }
}

fn append(pipe: &MemoryOutputPipe, text: &str) {
    let _ = pipe.clone().write(Bytes::copy_from_slice(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_text_is_kept_apart() {
        let (io, captured) = Io::capture();
        io.data("one\n");
        io.line("two");
        io.clone().line("three");
        assert_eq!(captured.stdout(), "one\n");
        assert_eq!(captured.stderr(), "two\nthree\n");
    }
}
