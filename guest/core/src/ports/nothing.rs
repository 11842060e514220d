//! For tests of what has no business with files, the console or time.

use std::cell::Cell;
use std::time::Duration;

use time::OffsetDateTime;

use super::{Clock, Console, FileError, Files, Http, HttpError, LocalBoxFuture, Request, Response};

/// No files at all, and nobody who listens.
pub(crate) struct Nothing;

/// A clock that stands still, and always gives this random number.
pub(crate) struct StoppedClock(pub(crate) u64);

/// A clock on which time passes by sleeping alone, and at once; always gives this random number.
#[derive(Default)]
pub(crate) struct Passing(pub(crate) Cell<Duration>, pub(crate) u64);

impl Files for Nothing {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>, FileError> {
        unreachable!()
    }
    fn replace(&self, _: &str, _: &[u8]) -> Result<(), FileError> {
        unreachable!()
    }
    fn append(&self, _: &str, _: &[u8]) -> Result<(), FileError> {
        unreachable!()
    }
    fn rename(&self, _: &str, _: &str) -> Result<(), FileError> {
        unreachable!()
    }
    fn remove(&self, _: &str) -> Result<bool, FileError> {
        unreachable!()
    }
    fn read_path(&self, _: &str) -> Result<Vec<u8>, FileError> {
        unreachable!()
    }
}

impl Console for Nothing {
    fn data(&self, _: &str) {}
    fn log(&self, _: &str) {}
}

impl Clock for StoppedClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    fn random(&self) -> u64 {
        self.0
    }
}

impl Clock for Passing {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.0.get()
    }
    fn monotonic(&self) -> Duration {
        self.0.get()
    }
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        self.0.set(self.0.get() + duration);
        Box::pin(std::future::ready(()))
    }
    fn random(&self) -> u64 {
        self.1
    }
}

impl Http for Nothing {
    fn send(&self, _: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        unreachable!()
    }
}
