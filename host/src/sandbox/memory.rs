//! The limit on the component's memory.

use std::fmt;

use wasmtime::ResourceLimiter;

use crate::units::show_size;

/// Counts what all memories of the component hold together and refuses more than the limit.
#[derive(Debug)]
pub struct MemoryLimit {
    limit: u64,
    used: u64,
}

/// The component asked for more memory than it may have.
#[derive(Debug)]
pub struct MemoryExhausted {
    limit: u64,
}

impl MemoryLimit {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }
}

impl ResourceLimiter for MemoryLimit {
    /// An error ends the run at once. To return `false` instead would make the component's allocator give up,
    /// which looks like any other crash.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = desired.saturating_sub(current) as u64;
        let used = self.used.saturating_add(grown);
        if used > self.limit {
            return Err(MemoryExhausted { limit: self.limit }.into());
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Tables hold the component's functions; they don't grow with data.
        Ok(desired <= 100_000)
    }
}

impl fmt::Display for MemoryExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the run needs more memory than its limit of {}; allow it more, for example by --memory-limit {} or \
             QDRANT_MEMORY_LIMIT={1}, within the memory of the container",
            show_size(self.limit),
            show_size(self.limit.saturating_mul(2)),
        )
    }
}

impl std::error::Error for MemoryExhausted {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limit = MemoryLimit::new(300);
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(0, 100, None).unwrap(), "another memory");
        assert!(limit.memory_growing(100, 200, None).unwrap());
        let error = limit.memory_growing(200, 201, None).unwrap_err();
        assert!(error.downcast_ref::<MemoryExhausted>().is_some());
    }

    #[test]
    fn the_error_says_how_to_raise_the_limit() {
        let text = MemoryExhausted { limit: 256 << 20 }.to_string();
        assert!(text.contains("limit of 256MiB"), "{text}");
        assert!(text.contains("--memory-limit 512MiB") && text.contains("QDRANT_MEMORY_LIMIT=512MiB"), "{text}");
    }
}
