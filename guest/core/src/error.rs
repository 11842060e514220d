//! Why something could not be done: the one error type of the program.

mod explained;

use std::fmt;

pub use explained::Explained;

/// What went wrong: the thing, the cause, and what to do next. Its code can be searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    thing: String,
    cause: String,
    advice: String,
}

impl Error {
    /// An error about `thing` (may be empty where the cause names it), in words without a full stop.
    pub fn new(code: Code, thing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { code, thing: thing.into(), cause: cause.into(), advice: String::new() }
    }

    /// With what to do next.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The same error as one about `thing`; what it was about before becomes a part of the cause.
    #[must_use]
    pub fn of(mut self, thing: impl Into<String>) -> Self {
        if !self.thing.is_empty() {
            self.cause = format!("{}: {}", self.thing, self.cause);
        }
        self.thing = thing.into();
        self
    }

    /// The same error with each of its texts as `text` makes it.
    #[must_use]
    pub fn map_text(self, text: impl Fn(&str) -> String) -> Self {
        Self { code: self.code, thing: text(&self.thing), cause: text(&self.cause), advice: text(&self.advice) }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What to do next; empty where the cause says it.
    pub fn what_to_do(&self) -> &str {
        &self.advice
    }

    /// What it is about and its cause, without what to do next.
    pub fn reason(&self) -> String {
        if self.thing.is_empty() { self.cause.clone() } else { format!("{}: {}", self.thing, self.cause) }
    }

    /// True where nothing is known of the thing, as opposed to something bad being known of it: it could not be asked.
    pub fn is_unknown(&self) -> bool {
        matches!(
            self.code,
            Code::StoreUnreachable
                | Code::StoreUnauthorized
                | Code::StoreRefused
                | Code::StoreAnswer
                | Code::QdrantUnreachable
                | Code::QdrantUnauthorized
                | Code::QdrantAnswer
                | Code::DryRun
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.thing.is_empty() {
            write!(f, "{}: ", self.thing)?;
        }
        f.write_str(&self.cause)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl std::error::Error for Error {}

/// The kinds of errors. Their names are an interface: they stand in reports and in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A setting or a file that a person wrote can't be used.
    Configuration,
    /// The work directory can't be read or written.
    WorkDirectory,
    /// Qdrant does not answer.
    QdrantUnreachable,
    /// Qdrant refuses the key.
    QdrantUnauthorized,
    /// Qdrant refuses the call.
    QdrantRefused,
    /// Qdrant answers with something else than it documents.
    QdrantAnswer,
    /// The object store does not answer.
    StoreUnreachable,
    /// The object store refuses the keys.
    StoreUnauthorized,
    /// The object store refuses the call.
    StoreRefused,
    /// The object store answers with something else than S3 documents.
    StoreAnswer,
    /// The clock of this machine, or that of the object store, is wrong.
    Clock,
    /// Another run is at work.
    Locked,
    /// No peer, source or target that can be used.
    NoPeer,
    /// A choice that nothing fits.
    NothingSelected,
    /// A snapshot that is not where it has to be.
    SnapshotMissing,
    /// A snapshot that is not whole, or not the one that was made.
    SnapshotDamaged,
    /// A manifest that can't be used.
    ManifestUnusable,
    /// A backup that lacks a part.
    Incomplete,
    /// Something changed meanwhile.
    Changed,
    /// A cluster that does not settle.
    NotSettled,
    /// The collection on the target may not be touched.
    TargetOccupied,
    /// A version of Qdrant that does not fit.
    Version,
    /// Something that can't be done with this backup, or this target.
    Unsupported,
    /// A restored collection that is not as it was backed up.
    VerificationFailed,
    /// An alias that can't be set.
    Alias,
    /// Whose a backup is, or which source is meant, can't be told.
    SourceUnclear,
    /// What a dry run does not do.
    DryRun,
    /// What was not done, as the run was cancelled.
    Cancelled,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 28] = [
        Self::Configuration,
        Self::WorkDirectory,
        Self::QdrantUnreachable,
        Self::QdrantUnauthorized,
        Self::QdrantRefused,
        Self::QdrantAnswer,
        Self::StoreUnreachable,
        Self::StoreUnauthorized,
        Self::StoreRefused,
        Self::StoreAnswer,
        Self::Clock,
        Self::Locked,
        Self::NoPeer,
        Self::NothingSelected,
        Self::SnapshotMissing,
        Self::SnapshotDamaged,
        Self::ManifestUnusable,
        Self::Incomplete,
        Self::Changed,
        Self::NotSettled,
        Self::TargetOccupied,
        Self::Version,
        Self::Unsupported,
        Self::VerificationFailed,
        Self::Alias,
        Self::SourceUnclear,
        Self::DryRun,
        Self::Cancelled,
    ];

    /// True where the same run may succeed later without anybody changing anything.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::QdrantUnreachable
                | Self::QdrantAnswer
                | Self::StoreUnreachable
                | Self::StoreAnswer
                | Self::Locked
                | Self::Changed
                | Self::NotSettled
                | Self::Cancelled
        )
    }

    /// Its name in reports and documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::WorkDirectory => "work-directory",
            Self::QdrantUnreachable => "qdrant-unreachable",
            Self::QdrantUnauthorized => "qdrant-unauthorized",
            Self::QdrantRefused => "qdrant-refused",
            Self::QdrantAnswer => "qdrant-answer",
            Self::StoreUnreachable => "store-unreachable",
            Self::StoreUnauthorized => "store-unauthorized",
            Self::StoreRefused => "store-refused",
            Self::StoreAnswer => "store-answer",
            Self::Clock => "clock",
            Self::Locked => "locked",
            Self::NoPeer => "no-peer",
            Self::NothingSelected => "nothing-selected",
            Self::SnapshotMissing => "snapshot-missing",
            Self::SnapshotDamaged => "snapshot-damaged",
            Self::ManifestUnusable => "manifest-unusable",
            Self::Incomplete => "incomplete",
            Self::Changed => "changed",
            Self::NotSettled => "not-settled",
            Self::TargetOccupied => "target-occupied",
            Self::Version => "version",
            Self::Unsupported => "unsupported",
            Self::VerificationFailed => "verification-failed",
            Self::Alias => "alias",
            Self::SourceUnclear => "source-unclear",
            Self::DryRun => "dry-run",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_thing_cause_and_what_to_do() {
        let error = Error::new(Code::Locked, "the lock `x`", "another run holds it").advice("wait for it");
        assert_eq!(error.to_string(), "the lock `x`: another run holds it; wait for it");
        assert_eq!(error.of("`docs`").to_string(), "`docs`: the lock `x`: another run holds it; wait for it");
        assert_eq!(Error::new(Code::Locked, "", "another run").to_string(), "another run");
    }

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
