//! Which backups are kept, and how much may be deleted.

use std::time::Duration;

/// The rules of retention. A set is kept if any of them keeps it; the newest good one always is, but for collections that
/// were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u64,
    /// The newest of each of the last so many hours that have one.
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
    /// Objects that belong to no set are left alone for so long: a backup may be running.
    pub grace: Duration,
    /// More than so many percent of a collection's archives are not swept.
    pub cap_percent: u64,
    /// How many archives of each peer `prune_snap --legacy` keeps of a collection.
    pub legacy_runs: u64,
}
