//! What a task can't do without.

/// What a task needs of the settings: checked together with the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// At least one source host.
    pub source: bool,
    /// At least one restore host.
    pub restore: bool,
    /// What it does with the bucket.
    pub bucket: BucketUse,
}

/// What a task does with the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketUse {
    /// Nothing.
    Never,
    /// It keeps aliases there, if the settings say so.
    WithAliases,
    /// It looks into it where one is configured, and keeps aliases there, if the settings say so.
    IfSet,
    /// It can't do without.
    Always,
}

impl Needs {
    /// No host, no bucket.
    pub const NOTHING: Self = Self { source: false, restore: false, bucket: BucketUse::Never };

    /// True when the bucket has to be configured.
    pub fn bucket_is_needed(&self, aliases_on_s3: bool) -> bool {
        match self.bucket {
            BucketUse::Never => false,
            BucketUse::WithAliases | BucketUse::IfSet => aliases_on_s3,
            BucketUse::Always => true,
        }
    }

    /// True when a configured bucket is used.
    pub fn bucket_is_used(&self, aliases_on_s3: bool) -> bool {
        self.bucket == BucketUse::IfSet || self.bucket_is_needed(aliases_on_s3)
    }
}
