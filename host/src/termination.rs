//! What a pod's status says of how its container ended: Kubernetes shows there what stands in `/dev/termination-log`
//! (Kubernetes, "Determine the Reason for Pod Failure"). It is the last log line, which is the summary of the run.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Where the kubelet mounts the file; outside of a pod there is none.
const FILE: &str = "/dev/termination-log";

/// What Kubernetes keeps of a container's message, in bytes.
const LIMIT: usize = 4096;

/// How much is written to standard error at a time.
const CHUNK: usize = 64 << 10;

/// True in a pod, whose status has a place for it.
pub(crate) fn is_asked_for() -> bool {
    Path::new(FILE).is_file()
}

/// Leaves the last log line to the pod's status. That it can't be written must not change how the run ends.
pub(crate) fn write(last: &LastLine) {
    let _ = std::fs::write(FILE, last.get());
}

/// The last line that went to standard error.
#[derive(Clone, Debug, Default)]
pub struct LastLine {
    line: Arc<Mutex<Vec<u8>>>,
}

impl LastLine {
    /// What was written.
    pub(crate) fn note(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // The line break stays until the next line begins.
            if line.last() == Some(&b'\n') {
                line.clear();
            }
            let room = LIMIT.saturating_sub(line.len());
            line.extend(part.iter().take(room));
            if part.ends_with(b"\n") && !line.ends_with(b"\n") {
                line.pop();
                line.push(b'\n');
            }
        }
    }

    fn get(&self) -> String {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }
}

/// Standard error, each line noted.
pub(crate) struct Stderr(pub LastLine);

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        std::io::IsTerminal::is_terminal(&std::io::stderr())
    }
}

impl StdoutStream for Stderr {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone()))
    }

    /// For components of WASI 0.3, which ours is none of.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        StdoutStream::async_stream(&std::io::stderr())
    }
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.note(&bytes);
        std::io::stderr().write_all(&bytes).map_err(|error| StreamError::LastOperationFailed(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_kept_and_no_more_than_fits() {
        let last = LastLine::default();
        assert_eq!(last.get(), "");
        last.note(b"one\ntwo\nall ");
        last.note(b"done");
        assert_eq!(last.get(), "all done");
        last.note(b"\n");
        assert_eq!(last.get(), "all done");
        last.note(&[b'x'; 5000]);
        last.note(b"\n");
        assert_eq!(last.get().len(), LIMIT - 1);
        last.note(b"end\n");
        assert_eq!(last.get(), "end");
    }
}
