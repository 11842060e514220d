//! Versions of Qdrant: which are supported, and what is said of others. docs/versions.md shows what was tried.

use std::collections::BTreeSet;

/// The oldest minor version that is supported: the first that keeps `metadata` of collections, which marks what a restore
/// has begun.
const OLDEST: (u32, u32) = (1, 16);

/// The newest minor version whose API and configuration are known here.
const NEWEST: (u32, u32) = (1, 20);

/// The parts of a version's number; builds of no release (`1.18.3-dev`) are taken for the release. `None`: it is none.
pub fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let number = version.split(['-', '+']).next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// True where it is this minor version or a later one; false where the version can't be read.
pub fn is_at_least(version: &str, minor: (u32, u32)) -> bool {
    parse(version).is_some_and(|(one, two, _)| (one, two) >= minor)
}

/// Why a version is not supported, and what to do; `None` for one that is.
pub fn unsupported(version: &str) -> Option<String> {
    let Some((one, two, _)) = parse(version) else {
        return Some(format!(
            "its version, `{version}`, can't be read: whether it is supported is not known; have a drill made before you rely \
             on its backups"
        ));
    };
    if (one, two) < OLDEST {
        return Some(format!(
            "Qdrant {version} is older than {}.{}, the oldest that is supported: it is worked with as far as it answers, and a \
             restore that was cut off can't be told from other collections there; upgrade it",
            OLDEST.0, OLDEST.1
        ));
    }
    ((one, two) > NEWEST).then(|| {
        format!(
            "Qdrant {version} is newer than {}.{}, the newest that this program knows: what is new in it may not be in a backup; \
             use a newer qdrant-backup, or have a drill made before you rely on its backups",
            NEWEST.0, NEWEST.1
        )
    })
}

/// What to tell of the versions of a cluster's peers: those that are not supported, and that they differ.
pub(super) fn warnings(versions: BTreeSet<&str>) -> Vec<String> {
    let mut warnings: Vec<String> = versions.iter().filter_map(|version| unsupported(version)).collect();
    if versions.len() > 1 {
        warnings.push(format!(
            "its peers run different versions of Qdrant ({}): a snapshot of a newer one may not be read by an older one; end the \
             upgrade first",
            versions.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_supported_or_something_is_said() {
        for supported in ["1.16.0", "1.16.3", "1.17.1", "1.18.3", "1.19.0", "1.20.0", "1.20.7-dev"] {
            assert_eq!(unsupported(supported), None, "{supported}");
        }
        for (other, said) in [
            ("1.15.5", "older than 1.16"),
            ("0.11.0", "older than 1.16"),
            ("1.21.0", "newer than 1.20"),
            ("2.0.0", "newer than 1.20"),
            ("", "can't be read"),
            ("master", "can't be read"),
        ] {
            assert!(unsupported(other).is_some_and(|text| text.contains(said)), "{other}");
        }
        assert!(is_at_least("1.19.0", (1, 19)) && !is_at_least("1.18.9", (1, 19)) && !is_at_least("master", (1, 0)));
    }
}
