//! The real component in the real host, end to end, against S3 and Qdrant.
//!
//! With `QDRANT_BIN=/path/to/qdrant` the same tests run against real servers. Those that only the stand-in can serve are then
//! listed as ignored, each with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod aliases;
mod all_requests;
mod attacks;
mod backup;
mod changes;
mod check;
mod content;
mod credentials;
mod cross;
mod dead_peer;
mod doubt;
mod drill;
mod evidence;
mod faults;
mod lists;
mod locks;
mod names;
mod refusals;
mod restore;
mod retention;
mod s3;
mod set_faults;
mod sets;
mod sources;
mod stream;
mod terminal;
mod uploads;
