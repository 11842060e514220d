//! What a collection is restored from: snapshots of whole collections, or a set.

use time::OffsetDateTime;

use super::plan::{Plan, Target};
use super::selection::Selection;
use super::set::SetSelection;
use super::whole::plan;
use crate::error::Error;

/// A chosen backup of one collection.
pub enum Backup {
    /// Snapshots that peers made of their parts.
    Snapshots(Selection),
    /// One snapshot of each shard.
    Set(SetSelection),
}

impl Backup {
    /// The collection's name on the target.
    pub fn collection(&self) -> &str {
        match self {
            Self::Snapshots(selection) => &selection.collection,
            Self::Set(selection) => &selection.name,
        }
    }

    /// Its name when it was backed up.
    pub fn was(&self) -> &str {
        match self {
            Self::Snapshots(selection) => &selection.collection,
            Self::Set(selection) => &selection.manifest.collection,
        }
    }

    /// When it was begun, where that is known.
    pub fn started(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Snapshots(selection) => selection.snapshots.iter().map(|one| one.snapshot.started).min(),
            Self::Set(selection) => selection.manifest.id().started(),
        }
    }

    /// The aliases that a manifest names.
    pub fn aliases(&self) -> &[String] {
        match self {
            Self::Snapshots(selection) => selection.manifest.as_ref().map_or(&[], |manifest| &manifest.aliases),
            Self::Set(selection) => &selection.manifest.aliases,
        }
    }

    /// The versions of Qdrant that made the snapshots; `None` where nobody wrote them down.
    pub(super) fn versions(&self) -> Option<Vec<&str>> {
        let (peers, one) = match self {
            Self::Snapshots(selection) => (selection.manifest.as_ref().map(|manifest| &manifest.peers), None),
            Self::Set(selection) => {
                let manifest = &selection.manifest;
                (manifest.source.as_ref().map(|source| &source.peers), Some(manifest.qdrant_version.as_str()))
            }
        };
        let all: Vec<&str> = peers.into_iter().flatten().map(|peer| peer.version.as_str()).chain(one).collect();
        (!all.is_empty()).then_some(all)
    }

    pub(super) fn plan(&self, target: &Target) -> Result<Plan, Error> {
        match self {
            Self::Snapshots(selection) => plan(selection, target),
            Self::Set(selection) => selection.plan(target),
        }
    }

    /// The names of its snapshots.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Snapshots(selection) => {
                selection.snapshots.iter().map(|snapshot| snapshot.snapshot.name.as_str()).collect()
            }
            Self::Set(selection) => {
                selection.manifest.shards.iter().map(|shard| shard.snapshot_name.as_str()).collect()
            }
        }
    }
}
