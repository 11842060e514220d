//! Standard output and standard error.

use std::io::Write;

use qdrant_backup_core::ports::Console;

/// The standard streams.
pub struct Standard;

impl Console for Standard {
    fn data(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes());
        let _ = stdout.flush();
    }

    fn log(&self, line: &str) {
        // In one piece, so that lines stay whole where others write to the same stream.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
}
