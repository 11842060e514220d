//! The clusters a run is about: where backups come from, and where restores go.

pub mod source;
pub mod state;
pub mod target;
