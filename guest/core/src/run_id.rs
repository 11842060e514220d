//! The id of a run: what its sets, manifests, aliases, locks and report have in common.

use std::fmt;

use time::OffsetDateTime;

use crate::ports::Clock;
use crate::settings::{Settings, hash};
use crate::timestamp;

/// `2026-01-29T11-44-22Z-1a2b3c4d`: when the run began and eight random digits, so that no two runs have one. The pods of
/// an Indexed Job are one run, `job-` and sixteen digits, as they begin at different times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// The id of the run that begins now.
    pub fn of_this(clock: &dyn Clock, settings: &Settings) -> Self {
        let job = settings.share.and_then(|share| {
            let named = settings.backup_run.clone();
            named.or_else(|| job_of_pod(settings.pod.as_deref()?, share.index).map(str::to_owned))
        });
        match job {
            Some(job) => Self(format!("job-{:016x}", hash(&job))),
            None => Self::new(clock.now(), clock.random()),
        }
    }

    /// The id of a run that begins at `now`; the low half of `random` tells it from others of this second.
    pub fn new(now: OffsetDateTime, random: u64) -> Self {
        Self(format!("{}-{:08x}", timestamp::KEY.write(now), random & 0xffff_ffff))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Job of an Indexed Job's pod: its host name is `<job>-<index>`, and that of some runtimes the pod's own name,
/// `<job>-<index>-<random>` (Kubernetes, "Indexed Job"). The CronJob controller puts the scheduled minute into a Job's
/// name.
fn job_of_pod(pod: &str, index: u64) -> Option<&str> {
    let index = format!("-{index}");
    let of_host = pod.strip_suffix(index.as_str());
    let of_pod = || pod.rsplit_once('-').and_then(|(rest, _)| rest.strip_suffix(index.as_str()));
    of_host.or_else(of_pod).filter(|job| !job.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_id_sorts_by_time_and_tells_runs_of_a_second_apart() {
        let first = RunId::new(datetime!(2026-01-29 11:44:22 UTC), 0x9_1a2b_3c4d);
        assert_eq!(first.as_str(), "2026-01-29T11-44-22Z-1a2b3c4d");
        assert!(first < RunId::new(datetime!(2026-01-29 11:44:23 UTC), 0));
        assert_ne!(first, RunId::new(datetime!(2026-01-29 11:44:22 UTC), 1));
    }

    #[test]
    fn the_pods_of_an_indexed_job_name_one_job() {
        assert_eq!(job_of_pod("backup-29000000-0", 0), Some("backup-29000000"));
        assert_eq!(job_of_pod("backup-29000000-12", 12), Some("backup-29000000"));
        assert_eq!(job_of_pod("backup-29000000-12-x7k2p", 12), Some("backup-29000000"));
        assert_eq!(job_of_pod("backup-29000000-1-x7k2p", 12), None);
        assert_eq!(job_of_pod("-0", 0), None);
    }
}
