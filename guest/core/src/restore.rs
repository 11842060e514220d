//! Restoring: choose the archives, plan, lay out, recover every peer at once, settle, prove.
//!
//! The order is what makes it safe: all that can be refused is refused before anything is changed; empty shards
//! are moved to where their data will be, so that no replica ever has to be killed and copied; and nothing is
//! called restored before the counts of every replica say so.

mod apply;
mod archives;
mod backup;
mod body;
mod candidates;
mod layout;
mod ledger;
mod plan;
mod prove;
mod recover;
mod selection;
mod set;
mod settle;
mod shard_keys;
mod side_by_side;
mod state;
mod version;
mod whose;

pub use apply::{Choice, Restored, given, restore};
pub use archives::{BucketArchive, archives_in, by_time, each_archive_in, generations};
pub use backup::Backup;
pub(crate) use candidates::{Wanted, no_set, wanted};
pub use layout::{Placement, Step, Transfer, next_steps};
pub use plan::{Plan, Recovery, ShardArchive, Target, plan};
pub(crate) use selection::newest_manifest;
pub use selection::{Described, Selection, complete, select};
pub use set::{SetSelection, present, select_set};
pub use shard_keys::ShardKey;
pub(crate) use side_by_side::drop_replaced;
pub(crate) use whose::{Samples, Survey, Whose, all_sources, of_target};
