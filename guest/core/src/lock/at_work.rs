//! Which backups are at work beside a run that removes: what they have made and not recorded yet belongs to no set, and must
//! not pass for an orphan.
//!
//! A backup writes its lock before its first snapshot, and removes it after its last manifest. So whoever lists snapshots,
//! then looks at the locks, and then lists the manifests knows of every snapshot either its manifest or the backup that is
//! still at work. No clock is asked.

use std::collections::BTreeSet;

use async_lock::Mutex;

use super::{Claim, Maker, Other, Watched, Work, describe, others, remove_stale, text, watch};
use crate::context::Context;
use crate::error::Error;
use crate::source::Record;
use crate::store::ObjectStore;

/// A backup that is at work.
pub(crate) struct BackupAtWork {
    claim: Claim,
    /// Its run, where its lock says it.
    pub run: Option<String>,
    /// Who it is, for people.
    pub who: String,
}

impl BackupAtWork {
    /// True where it may have made what `maker` says of itself.
    pub(crate) fn may_have_made(&self, maker: &Maker, records: &[Record]) -> bool {
        self.claim.may_have_made(maker, records)
    }
}

/// Looks for the backups at work, again and again in one run.
pub(crate) struct BackupsAtWork<'a> {
    context: &'a Context,
    bucket: &'a dyn ObjectStore,
    work: Work,
    /// The locks that were seen to be written anew: as long as they are there, their runs are at work. One look at a time.
    alive: Mutex<BTreeSet<String>>,
}

impl<'a> BackupsAtWork<'a> {
    /// For `work`, which removes.
    pub(crate) fn new(context: &'a Context, bucket: &'a dyn ObjectStore, work: Work) -> Self {
        Self { context, bucket, work, alive: Mutex::default() }
    }

    /// The backups that are at work now. A lock that is seen for the first time is watched; the stale lock of a backup that
    /// was killed is removed.
    ///
    /// # Errors
    /// The bucket can't be read: who is at work is not known.
    pub(crate) async fn look(&self) -> Result<Vec<BackupAtWork>, Error> {
        let &Self { context, bucket, work, .. } = self;
        let mut alive = self.alive.lock().await;
        let mut at_work = Vec::new();
        for (other, claim) in others(context, bucket, |_| ()).await? {
            if claim.is_spared_by(work) && (alive.contains(&other.key) || self.is_alive(&other).await?) {
                alive.insert(other.key.clone());
                let (run, who) = (text(&other.content, "run_id"), describe(&other));
                at_work.push(BackupAtWork { claim, run, who });
            }
        }
        Ok(at_work)
    }

    /// The runs of which there are locks of backups: they are at work, or were killed not long ago.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub(crate) async fn runs(&self) -> Result<BTreeSet<String>, Error> {
        let others = others(self.context, self.bucket, |_| ()).await?;
        let backups = others.into_iter().filter(|(_, claim)| claim.is_spared_by(self.work));
        Ok(backups.filter_map(|(other, _)| text(&other.content, "run_id")).collect())
    }

    async fn is_alive(&self, other: &Other) -> Result<bool, Error> {
        Ok(match watch(self.context, self.bucket, other).await? {
            Watched::AtWork => true,
            Watched::Ended => false,
            Watched::Silent(keys) => {
                if !self.context.settings.dry_run {
                    remove_stale(self.context, self.bucket, other, &keys).await?;
                }
                false
            }
        })
    }
}
