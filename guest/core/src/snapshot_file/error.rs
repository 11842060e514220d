//! Why a snapshot is no use.

use std::fmt;

use crate::error::{Code, Error};

/// Why a snapshot can't be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFileError {
    /// It can't be read.
    Unreadable(Error),
    /// It is damaged, or not a snapshot of a collection: says where and what.
    Broken(String),
}

impl fmt::Display for SnapshotFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::Broken(what) => write!(f, "the snapshot can't be used: {what}"),
        }
    }
}

impl std::error::Error for SnapshotFileError {}

impl From<SnapshotFileError> for Error {
    fn from(error: SnapshotFileError) -> Self {
        match error {
            SnapshotFileError::Unreadable(error) => error,
            SnapshotFileError::Broken(_) => Self::new(Code::SnapshotDamaged, "", error.to_string()),
        }
    }
}
