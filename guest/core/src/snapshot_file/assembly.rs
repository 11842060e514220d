//! A snapshot that is put together from pieces of an object while it is sent, in constant memory.

use super::Piece;
use crate::error::Error;
use crate::ports::{Body, HttpError, LocalBoxFuture};
use crate::store::{ObjectReader, ObjectStore};

/// What lies between two pieces is read and thrown away where it is not more than this: headers, mostly.
const GAP: u64 = 1 << 20;

/// Pieces of the object `key`, one after another.
pub struct Assembly<'a> {
    bucket: &'a dyn ObjectStore,
    key: &'a str,
    total: u64,
    length: u64,
    pieces: std::vec::IntoIter<Piece>,
    /// What is still to be copied of the piece that is sent now.
    copying: (u64, u64),
    /// The end of the last piece.
    end: u64,
    reader: Option<Box<dyn ObjectReader + 'a>>,
    /// Bytes that were read and are not sent yet; the first is that at `at`.
    read: Vec<u8>,
    at: u64,
    failure: Option<Error>,
}

impl<'a> Assembly<'a> {
    /// Puts `pieces` of the object `key` of `total` bytes together.
    pub fn new(bucket: &'a dyn ObjectStore, key: &'a str, total: u64, pieces: Vec<Piece>) -> Self {
        let length = pieces.iter().map(Piece::length).sum();
        let ends = pieces.iter().filter_map(|piece| match piece {
            Piece::Copy { end, .. } => Some(*end),
            Piece::Bytes(_) => None,
        });
        let end = ends.max().unwrap_or_default();
        let pieces = pieces.into_iter();
        Self {
            bucket,
            key,
            total,
            length,
            pieces,
            copying: (0, 0),
            end,
            reader: None,
            read: Vec::new(),
            at: 0,
            failure: None,
        }
    }

    /// How many bytes it has in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Why the object could not be read, where that broke it off.
    pub fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let (start, end) = self.copying;
            if start < end {
                return self.copy(start, end).await.map(Some);
            }
            match self.pieces.next() {
                Some(Piece::Bytes(bytes)) => return Ok(Some(bytes)),
                Some(Piece::Copy { start, end }) => self.copying = (start, end),
                None => return Ok(None),
            }
        }
    }

    /// Some of the bytes from `start` until before `end`.
    async fn copy(&mut self, start: u64, end: u64) -> Result<Vec<u8>, Error> {
        let goes_on = self.reader.is_some() && start.checked_sub(self.at).is_some_and(|gap| gap <= GAP);
        if !goes_on {
            self.reader = Some(self.bucket.reader(self.key, self.total, start, self.end));
            self.read.clear();
            self.at = start;
        }
        loop {
            let skipped = usize::try_from(start - self.at).unwrap_or(usize::MAX).min(self.read.len());
            self.read.drain(..skipped);
            self.at += skipped as u64;
            if !self.read.is_empty() {
                break;
            }
            let Some(reader) = &mut self.reader else { break };
            match reader.next().await? {
                Some(chunk) => self.read = chunk,
                // A reader ends where the last piece does.
                None => break,
            }
        }
        let taken = usize::try_from(end - start).unwrap_or(usize::MAX).min(self.read.len());
        let rest = self.read.split_off(taken);
        let chunk = std::mem::replace(&mut self.read, rest);
        self.at += chunk.len() as u64;
        self.copying.0 += chunk.len() as u64;
        Ok(chunk)
    }
}

impl Body for Assembly<'_> {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            self.next().await.map_err(|error| {
                let text = error.to_string();
                self.failure = Some(error);
                HttpError::Interrupted(text)
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use futures_executor::block_on;

    /// Each reader is a request; and what is thrown away is paid for.
    #[test]
    fn a_small_gap_is_read_through_and_a_large_one_is_not() {
        let whole: Vec<u8> = (0..4 * GAP).map(|at| (at % 251) as u8).collect();
        let store = Memory::default();
        store.store("x", &whole, "made");
        // Gaps of 10 bytes, of all that is read through, and of one byte more; the last piece lies before the others.
        let starts = [100, 120, 130 + GAP, 141 + 2 * GAP, 0];
        let pieces: Vec<_> = starts.iter().map(|start| Piece::Copy { start: *start, end: start + 10 }).collect();
        let mut assembly = Assembly::new(&store, "x", whole.len() as u64, pieces);
        let mut came = Vec::new();
        while let Some(chunk) = block_on(assembly.next()).unwrap() {
            came.extend(chunk);
        }
        let expected = starts.iter().flat_map(|start| whole.iter().skip(*start as usize).take(10));
        assert!(came.iter().eq(expected));
        assert_eq!(*store.readers.borrow(), [100, 141 + 2 * GAP, 0]);
    }
}
