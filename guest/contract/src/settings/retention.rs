//! Which backups are kept, and how much may be deleted.

use std::time::Duration;

/// The rules of retention. A set is kept if any of them keeps it; the newest good one always is, but for collections that
/// were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// keep-last: how many of the newest.
    pub last: u64,
    /// keep-hourly: the newest of each of the last hours that have one; of how many hours.
    pub hourly: u64,
    /// The same for days.
    pub daily: u64,
    /// The same for weeks, which begin on Monday.
    pub weekly: u64,
    /// The same for months.
    pub monthly: u64,
    /// The same for years.
    pub yearly: u64,
    /// All that were begun within this time before now.
    pub within: Duration,
    /// For how long a collection must have been missing at its source before all its sets go; zero: they stay.
    pub dropped: Duration,
}

impl Keep {
    /// True where any rule is set for the collections that there are.
    pub fn has_rules(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().any(|count| *count > 0) || !self.within.is_zero()
    }
}

/// Limits of deleting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// How old an orphaned snapshot has to be to be deleted: a backup may be running.
    pub grace: Duration,
    /// Where a larger part of a collection's snapshots is orphaned, in percent, none is deleted.
    pub cap_percent: u64,
    /// How many generations of a collection `prune_snap --legacy` keeps.
    pub legacy_runs: u64,
}
