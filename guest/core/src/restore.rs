//! Restoring: inspect the target, decide, create, place, recover, equalise, verify, finish.
//!
//! The order is what makes it safe: all that can be refused is refused before anything is changed; the
//! snapshots of a set go where Qdrant has put its shards, and for others empty shards are moved to where their data will be,
//! so that no replica ever has to be killed and copied; and nothing is
//! called verified that was not compared with what the backup says. Each stage is a file, takes what only the one before
//! can give, and is entered once (`run`). What a restore is known by to later runs is written in one place (`record`).

mod aliases;
mod backup;
mod beside;
mod candidates;
mod cluster_state;
mod config;
mod content;
mod create;
mod decide;
mod equalise;
mod expected;
mod finish;
mod history;
mod inspect;
mod job;
mod layout;
mod names;
mod noted;
mod place;
mod plan;
mod readers;
mod record;
mod recover;
mod run;
mod selection;
mod set;
mod settle;
mod side_by_side;
mod snapshots;
mod stages;
mod verify;
mod version;
mod whole;
mod whose;

use crate::creation::{body, shard_keys};
pub use crate::generations::Described;

pub use aliases::Aliases;
pub use backup::Backup;
pub(crate) use candidates::{Wanted, no_set, wanted};
pub(crate) use cluster_state::restore_cluster_state;
pub use expected::{Bounds, Kind};
pub use layout::{Placement, Step, Transfer, next_steps};
pub use plan::{Plan, Recovery, Role, ShardSnapshot, Target};
pub(crate) use record::ended;
pub use run::{Choice, Evidence, Restored, given, restore};
pub use selection::{Selection, select, warn_of_older};
pub(crate) use set::recorded_content;
pub use set::{SetSelection, select_set};
pub use shard_keys::ShardKey;
pub(crate) use side_by_side::{drop_replaced, look, no_two_in_one};
pub(crate) use version::check as version_fits;
pub use whole::plan;
pub(crate) use whose::{KnownSets, OfSource, Samples, Survey, all_sources, of_target};
pub use whose::{Whose, sets_of_target};
