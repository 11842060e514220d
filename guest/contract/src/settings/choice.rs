//! Which collections a task is about, by globs.

/// Globs that a name has to match, and globs that it must not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `QDRANT_COLLECTIONS`; none: all names.
    pub include: Vec<String>,
    /// `QDRANT_COLLECTIONS_EXCLUDE`.
    pub exclude: Vec<String>,
}

impl Choice {
    /// The collections that are named as they are, without a glob.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let is_glob = |text: &&str| text.contains(['*', '?', '[', ']', '{', '}', '!', '\\']);
        self.include.iter().map(String::as_str).filter(move |text| !is_glob(text))
    }

    /// True when the collection is meant.
    pub fn takes(&self, collection: &str) -> bool {
        let matches = |globs: &[String]| globs.iter().any(|glob| fast_glob::glob_match(glob, collection));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_wins_and_nothing_means_all() {
        let choice = |include: &[&str], exclude: &[&str]| Choice {
            include: include.iter().map(ToString::to_string).collect(),
            exclude: exclude.iter().map(ToString::to_string).collect(),
        };
        assert!(choice(&[], &[]).takes("docs"));
        assert!(choice(&["tenant-*", "docs"], &[]).takes("tenant-7"));
        assert!(!choice(&["tenant-*"], &[]).takes("docs"));
        assert!(!choice(&["*"], &["tenant-{1,7}"]).takes("tenant-7"));
    }
}
