//! Where a snapshot is read from.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use super::error::SnapshotFileError;
use crate::ports::LocalBoxFuture;
use crate::store::ObjectStore;

/// Where a snapshot's bytes come from.
pub(super) trait Source {
    /// How many bytes there are, where that is known before the last one has come.
    fn total(&self) -> Option<u64>;

    /// The bytes from `start` on: at least `least` of them and at most `most`; fewer than `least` only where there are no
    /// more. No read begins before the one before it.
    fn read(&self, start: u64, least: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>>;
}

/// An object of `bytes` bytes.
pub(super) struct Stored<'a> {
    pub bucket: &'a dyn ObjectStore,
    pub key: &'a str,
    pub bytes: u64,
}

impl Source for Stored<'_> {
    fn total(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn read(&self, start: u64, _: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
        let left = usize::try_from(self.bytes.saturating_sub(start)).unwrap_or(usize::MAX);
        Box::pin(async move {
            self.bucket.range(self.key, start, most.min(left)).await.map_err(SnapshotFileError::Unreadable)
        })
    }
}

/// Bytes that come one after another. What lies before the place that is read is let go, so that little is held.
#[derive(Default)]
pub(super) struct Feed(RefCell<Held>);

#[derive(Default)]
struct Held {
    /// The place of the first byte that is held.
    start: u64,
    bytes: Vec<u8>,
    /// The place that is read now: nothing before it is needed any more.
    wanted: u64,
    ended: bool,
}

impl Feed {
    /// The next bytes.
    pub(super) fn push(&self, chunk: &[u8]) {
        let held = &mut *self.0.borrow_mut();
        let at = held.start + held.bytes.len() as u64;
        let skipped = usize::try_from(held.wanted.saturating_sub(at)).unwrap_or(usize::MAX).min(chunk.len());
        if skipped > 0 {
            held.bytes.clear();
            held.start = at + skipped as u64;
        }
        held.bytes.extend(chunk.iter().skip(skipped));
    }

    /// There are no more.
    pub(super) fn end(&self) {
        self.0.borrow_mut().ended = true;
    }
}

impl Source for Feed {
    fn total(&self) -> Option<u64> {
        None
    }

    fn read(&self, start: u64, least: usize, most: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, SnapshotFileError>> {
        {
            let held = &mut *self.0.borrow_mut();
            held.wanted = start;
            let gone = usize::try_from(start.saturating_sub(held.start)).unwrap_or(usize::MAX).min(held.bytes.len());
            held.bytes.drain(..gone);
            held.start += gone as u64;
        }
        // Who pushes asks again: nobody has to be woken.
        Box::pin(poll_fn(move |_| {
            let held = self.0.borrow();
            if held.start > start {
                return Poll::Ready(Err(SnapshotFileError::Broken("it was read backwards".to_owned())));
            }
            let there = if held.start == start { held.bytes.as_slice() } else { &[] };
            if there.len() >= least || held.ended {
                return Poll::Ready(Ok(there.iter().take(most).copied().collect()));
            }
            Poll::Pending
        }))
    }
}
