//! Variables that look like settings and are none.

use super::in_files::names_a_file;
use super::table::VARIABLES;

/// What is wrong with a setting of this name, where that is none of ours: the nearest one that is.
pub(super) fn unknown(name: &str) -> Option<String> {
    let known = || VARIABLES.iter().map(|variable| variable.name);
    if known().any(|known| known == name) {
        return None;
    }
    let alike = name.to_ascii_uppercase();
    let nearest = known().min_by_key(|known| {
        let bare = known.strip_prefix("QDRANT_").unwrap_or(known);
        strsim::levenshtein(&alike, known).min(strsim::levenshtein(&alike, bare))
    });
    let nearest = nearest.unwrap_or_default();
    Some(format!("there is no such setting; did you mean {nearest}?"))
}

/// A warning for each of `names` that looks like one of ours and isn't, with the nearest one that is.
pub fn unknown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known = || VARIABLES.iter().map(|variable| variable.name);
    let mut warnings = Vec::new();
    for name in names {
        if names_a_file(name) {
            continue;
        }
        if known().any(|known| known == name) || made_by_kubernetes(name) || name.starts_with("QDRANT__") {
            continue;
        }
        // Foreign names are none of our business unless they are a typing error away from ours. A pod has hundreds of
        // them, which are not worth the start's time.
        const TYPING_ERROR: usize = 2;
        let length = name.chars().count();
        let may_be = |known: &&str| name.starts_with("QDRANT_") || known.len().abs_diff(length) <= TYPING_ERROR;
        let nearest = known().filter(may_be).map(|known| (strsim::levenshtein(name, known), known)).min();
        let Some((distance, nearest)) = nearest else { continue };
        if distance <= TYPING_ERROR && name.len() > 6 && !name.starts_with("AWS_") {
            warnings.push(format!("the variable {name} is not known and ignored; did you mean {nearest}?"));
        } else if name.starts_with("QDRANT_") {
            warnings.push(format!("the variable {name} is not known and ignored (the nearest known one is {nearest})"));
        }
    }
    warnings
}

/// `QDRANT_SERVICE_HOST`, `QDRANT_PORT_6333_TCP_ADDR` and their kind: Kubernetes sets them for a Service named
/// qdrant, or qdrant-something.
fn made_by_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_TCP") && name.contains("_PORT_")
        || name.contains("_UDP") && name.contains("_PORT_")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_named_and_kubernetes_is_left_alone() {
        let warn = |name| unknown_names(std::iter::once(name));
        assert!(warn("QDRANT_SOURCE_HOST").first().unwrap().contains("QDRANT_SOURCE_HOSTS"));
        assert!(warn("CURL_TIMOUT").first().unwrap().contains("CURL_TIMEOUT"));
        assert!(warn("QDRANT_S3_BUCKET").first().unwrap().contains("QDRANT_S3_BUCKET_NAME"));
        for name in [
            "QDRANT_SERVICE_HOST",
            "QDRANT_PORT",
            "QDRANT_PORT_6333_TCP_ADDR",
            "QDRANT__SERVICE__API_KEY",
            "PATH",
            "HOME",
            "AWS_PROFILE",
            "QDRANT_API_KEY_FILE",
            "QDRANT_HTTP_PORT",
            "QDRANT_BACKUP_RETENTION_SETS",
        ] {
            assert!(warn(name).is_empty(), "{name}: {:?}", warn(name));
        }
    }
}
