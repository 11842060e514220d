//! Why a snapshot is no use.

use std::fmt;

use crate::error::{Code, Error};

/// Why a snapshot can't be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// It can't be read.
    Unreadable(Error),
    /// It is damaged, or not a snapshot of a collection: says where and what.
    Broken(String),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::Broken(what) => write!(f, "the snapshot can't be used: {what}"),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unreadable(error) => error,
            ArchiveError::Broken(_) => Self::new(Code::SnapshotDamaged, "", error.to_string()),
        }
    }
}
