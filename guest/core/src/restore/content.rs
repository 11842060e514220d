//! What is compared of the content of a restored collection (`QDRANT_VERIFY_CONTENT`): each shard's replicas with one
//! another, and with the snapshot where a drill has read that.

use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::fmt;

use super::equalise::Counts;
use super::job::Job;
use crate::content::{self, Digest, Extent};
use crate::error::{Code, Error};
use crate::settings::ContentCheck;

/// What of the content was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    #[default]
    None,
    /// The replicas of each shard with one another: they hold the same.
    Replicas(ContentCheck),
    /// And with what the drill program has read of the snapshots: the same.
    Backup(ContentCheck),
}

impl Content {
    /// Its name in reports; `None` where nothing was compared.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Replicas(_) => Some("replicas-equal"),
            Self::Backup(_) => Some("verified"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (check, how) = match self {
            Self::None => return Ok(()),
            Self::Replicas(check) => (check, "replicas equal, not compared with the backup"),
            Self::Backup(check) => (check, "content verified against the backup"),
        };
        let what = if *check == ContentCheck::Sample { "a sample of points" } else { "every point" };
        write!(f, ", {what}: {how}")
    }
}

/// Compares the content as far as the settings ask for it; `deferred` points are not to be seen yet. What can't be
/// compared is noted in `notes`.
///
/// # Errors
/// Replicas differ, or differ from the backup: says which points. Or they can't be read.
pub(super) async fn compare(
    job: &Job<'_>,
    counts: &Counts,
    deferred: u64,
    notes: &mut Vec<String>,
) -> Result<Content, Error> {
    let settings = &job.context.settings;
    let (extent, recorded) = match settings.verify_content {
        ContentCheck::Off => return Ok(Content::None),
        ContentCheck::Full => (Extent::Full, &job.plan.content.all),
        ContentCheck::Sample => {
            (Extent::Sample(settings.sample_points), job.plan.content.sample_of(settings.sample_points))
        }
    };
    if deferred > 0 {
        // They are not read either, and at another moment they are.
        notes.push("its content was not compared before all of it is optimised".to_owned());
        return Ok(Content::None);
    }
    let replicas = counts.iter().flat_map(|(shard, peers)| peers.keys().map(move |peer| (*shard, *peer)));
    let read =
        join_all(replicas.map(|(shard, peer)| async move { (shard, peer, job.digest(shard, peer, extent).await) }));
    let mut digests: BTreeMap<u32, BTreeMap<u64, Digest>> = BTreeMap::new();
    for (shard, peer, digest) in read.await {
        match digest {
            Ok(digest) => drop(digests.entry(shard).or_default().insert(peer, digest)),
            // Strict mode may forbid it, or the key.
            Err(error) if matches!(error.code(), Code::QdrantRefused | Code::QdrantUnauthorized) => {
                notes.push(format!("its content can't be compared: {error}"));
                return Ok(Content::None);
            }
            Err(error) => return Err(error.of(format!("the content of shard {shard} on peer {peer} can't be read"))),
        }
    }
    let mut with_backup = digests.keys().eq(recorded.keys());
    for (shard, replicas) in &digests {
        let Some((first, digest)) = replicas.first_key_value() else { continue };
        if let Some((other, _)) = replicas.iter().find(|(_, other)| *other != digest) {
            let (one, two) = (job.replica(*shard, *first)?, job.replica(*shard, *other)?);
            return Err(content::replicas_differ(job.context, *shard, (one, *first), (two, *other)).await);
        }
        match recorded.get(shard).map(|text| text.parse::<Digest>()) {
            Some(Ok(recorded)) if recorded != *digest => {
                let cause = format!(
                    "the content of shard {shard} is not that of its snapshot: its digest is {digest}, and \
                     qdrant-backup-drill has read {recorded}"
                );
                return Err(Error::new(Code::VerificationFailed, "", cause)
                    .advice("`compare` names points that differ from a source that is still there"));
            }
            Some(Ok(_)) => {}
            // By a later version, or nobody.
            Some(Err(_)) | None => with_backup = false,
        }
    }
    let of = if with_backup { Content::Backup } else { Content::Replicas };
    Ok(of(settings.verify_content))
}
