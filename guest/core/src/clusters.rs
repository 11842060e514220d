//! The clusters a run is about: where backups come from, and where restores go.

pub(crate) mod source;
pub(crate) mod state;
pub mod target;
