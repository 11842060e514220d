//! The aliases: saved with a backup, set again at the end of a restore.

mod restore;
mod save;

pub(crate) use restore::{find, restore_of_sets, restore_some, switch};
pub(crate) use save::{of_runs, save};
