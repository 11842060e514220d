//! Backs up and restores Qdrant: the logic, free of WASI, of any runtime and of I/O of its own.
//!
//! Whatever touches the world goes through the four traits in [`ports`], so that the same code runs as a
//! WASI component (`guest/component`) and in native tests. Dependencies point downwards only:
//!
//! ```text
//! tasks            one module a task: what a person asks for
//! backup, restore, prune, check  the procedures; their plans are values, made before anything is changed
//! content          what points are: their digest, and where two of them differ
//! qdrant, s3       the two servers, as typed calls; credentials: the keys for the second
//! sets, lock       backup sets: their manifests, in the bucket; who is at work
//! snapshot, manifest, state_files, naming   what is read and written: snapshots, JSON, CSV, keys
//! report, event, metrics, log, redact  what goes out; what comes in is of `qdrant-backup-contract`
//! ports            HTTP, clock, files, console
//! ```
#![forbid(unsafe_code)]

// By these names within this crate; others take them from the contract itself.
use qdrant_backup_contract::{printable, settings, timestamp};

mod aliases;
pub mod backup;
mod check;
pub mod clusters;
mod concurrent;
pub mod content;
pub mod context;
mod creation;
mod credentials;
mod decode;
mod encode;
pub mod error;
pub mod event;
pub mod generations;
mod held;
pub mod limits;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod marker;
pub mod metrics;
pub mod naming;
mod overview;
pub mod places;
pub mod ports;
mod presigned_url;
pub mod prune;
pub mod publish;
pub mod qdrant;
pub mod redact;
pub mod report;
pub mod reporter;
pub mod restore;
mod retry;
pub mod run_id;
pub mod runs;
pub mod s3;
pub mod sets;
pub mod snapshot_file;
pub mod source;
pub mod state_files;
pub mod store;
mod summary;
mod table;
pub mod tasks;

/// The tool and its version, as manifests name it.
pub const CREATED_BY: &str = concat!("qdrant-backup ", env!("CARGO_PKG_VERSION"));
