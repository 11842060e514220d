//! The values that are one of a few words.

use super::setting::Word;

/// Where the bucket's name goes in a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// `https://host/bucket/key`: works everywhere, and what Qdrant itself does.
    #[default]
    Path,
    /// `https://bucket.host/key`.
    Virtual,
}

/// `QDRANT_S3_SSE`: the value of `x-amz-server-side-encryption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// What the bucket does by itself: no header.
    #[default]
    OfBucket,
    /// By the store's own keys.
    Aes256,
    /// By a key of the KMS.
    Kms,
    /// By a key of the KMS, twice.
    KmsTwice,
}

impl Algorithm {
    /// As the header has it; `None`: no header.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::OfBucket => None,
            Self::Aes256 => Some("AES256"),
            Self::Kms => Some("aws:kms"),
            Self::KmsTwice => Some("aws:kms:dsse"),
        }
    }
}

/// `QDRANT_REPORT_FORMAT`: what is in the report's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportFormat {
    /// An object, for programs.
    #[default]
    Json,
    /// A summary, for the page of a CI job.
    Markdown,
}

impl Word for ReportFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("markdown", Self::Markdown)];
}

/// `QDRANT_ARCHIVE_CHECK`: how a new snapshot is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotCheck {
    /// Read whole: its structure to the end, and its SHA-256, which Qdrant compares at the restore.
    #[default]
    Full,
    /// Its structure to the end, by small requests.
    Tail,
    /// Found in the bucket, with the size that Qdrant says.
    None,
}

impl SnapshotCheck {
    /// Its name, as the setting's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Tail => "tail",
            Self::None => "none",
        }
    }
}

/// `QDRANT_VERIFY_CONTENT`: how much of a restored collection's content is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentCheck {
    /// Nothing of it.
    #[default]
    Off,
    /// Some points of each shard, on each replica.
    Sample,
    /// Every point on each replica.
    Full,
}

/// `QDRANT_S3_CREDENTIALS`: which source is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialChoice {
    /// The first that is configured.
    #[default]
    Auto,
    /// Keys in settings.
    Keys,
    /// A role by a token.
    WebIdentity,
    /// A container's service.
    Container,
    /// The machine's role.
    Instance,
}

/// `QDRANT_SNAPSHOT_TRANSFER`: how a shard's snapshot gets into the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// Found out once a source.
    #[default]
    Auto,
    /// Qdrant stores it there itself.
    Storage,
    /// Qdrant sends it to this program, which stores it.
    Stream,
}

impl Transfer {
    /// Its name, as the setting's value and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Storage => "storage",
            Self::Stream => "stream",
        }
    }
}

/// `QDRANT_OUTPUT`: how lists are printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// `QDRANT_RESTORE_PLACEMENT`: which peers the shards of a restored set are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePlacement {
    /// Those that Qdrant chooses when it creates the collection: no shard has to be moved.
    #[default]
    Auto,
    /// Those that had them when they were backed up, as far as the target has these.
    AsBackedUp,
}

/// `LOG_FORMAT`: how log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `[2026-01-29 11:44:22] [host] what happened`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for Addressing {
    const WORDS: &'static [(&'static str, Self)] = &[("path", Self::Path), ("virtual", Self::Virtual)];
}

impl Word for Algorithm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("the bucket's", Self::OfBucket),
        ("AES256", Self::Aes256),
        ("aws:kms", Self::Kms),
        ("aws:kms:dsse", Self::KmsTwice),
    ];
}

impl Word for SnapshotCheck {
    const WORDS: &'static [(&'static str, Self)] = &[("full", Self::Full), ("tail", Self::Tail), ("none", Self::None)];
}

impl Word for RestorePlacement {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("as-backed-up", Self::AsBackedUp)];
}

impl Word for ContentCheck {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("sample", Self::Sample), ("full", Self::Full)];
}

impl Word for CredentialChoice {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("keys", Self::Keys),
        ("web-identity", Self::WebIdentity),
        ("container", Self::Container),
        ("instance", Self::Instance),
    ];
}

impl Word for Transfer {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("storage", Self::Storage), ("stream", Self::Stream)];
}

impl Word for Output {
    const WORDS: &'static [(&'static str, Self)] = &[("table", Self::Table), ("json", Self::Json)];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
