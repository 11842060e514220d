//! What identifies a source.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::hash;

/// The id of a source: 16 hexadecimal digits, from the lowest of the peer ids that were seen first. So two pods that
/// meet a new source at the same time write the same record. From then on it is an id of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(String);

impl SourceId {
    /// The id of a source of these peers that has no record yet; `None` where no peer is known.
    pub fn of_new(peers: &BTreeSet<u64>) -> Option<Self> {
        peers.first().map(|peer| Self(format!("{:016x}", hash(&peer.to_string()))))
    }

    /// An id as it stands in a manifest or a setting.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source as manifests, reports and lists name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// What people call it: `QDRANT_SOURCE_NAME`, else the host by which it was first found.
    pub name: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.id)
    }
}
