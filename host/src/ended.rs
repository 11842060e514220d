//! How a run ended, for those who show it and those who embed it.

use crate::sandbox::operations::{Error, Report};

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code of [`crate::execute`].
    pub exit_code: u8,
    /// What was done; `None` where the run could not start or go on, which `io` was told.
    pub report: Option<Report>,
    /// Why the component could not do its task, in its own words; `None` where it did, or something else ended the run.
    pub error: Option<Error>,
}
