//! How a run ends, and the exit codes that say so.

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing failed: exit code 0.
    Done,
    /// Something failed, and nothing was done: exit code 1.
    Failed,
    /// Something failed, something was done: exit code 3.
    Partial,
}

impl Status {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Partial => "partial",
        }
    }

    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Partial => 3,
        }
    }
}

/// Exit code for a wrong command line or wrong settings; nothing was sent anywhere.
pub const EXIT_USAGE: u8 = 2;

/// Exit code for a run whose deadline ran out, as with `timeout(1)`.
pub const EXIT_DEADLINE: u8 = 124;
