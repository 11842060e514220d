//! What a run is told while it lasts, and tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bindings::operations::Event;

/// What a run is told while it lasts, and tells.
pub struct Watch<'a> {
    /// Is called with what happens.
    pub events: &'a mut (dyn FnMut(&Event) + Send),
    /// When it is asked to end.
    pub cancel: Cancel,
}

/// Asks a run to end: its lock is released and its uploads are aborted, and it ends as one that has failed. Clones ask the same run.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks. It takes a moment.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once somebody has asked.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
