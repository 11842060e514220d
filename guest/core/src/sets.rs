//! Backup sets: one snapshot of each shard, and a manifest that describes the whole and makes it a set.
//!
//! A set is there when its manifest is: it is written last, and deleted first. Sets of the bash script are the same
//! (`schema_version` 2), and it reads ours: what we add it does not look at.

mod drilled;
mod found;
mod header;
mod manifest;
pub mod quality;
pub mod retention;
mod store;
mod streamed;

pub use drilled::{DrillRecord, RecordedContent, read_drill};
pub use found::Found;
pub use header::{Headed, Meant, SetHeader, headers};
pub use manifest::{MANIFESTS, SetId, SetManifest, SetShard, SetSource};
pub use quality::Level;
pub use store::{list, list_one, read, read_anywhere, read_with_header};
pub use streamed::StreamedKey;
