//! Which version of Qdrant may restore which snapshot.
//!
//! Qdrant's rule: the same minor version or the next one; a snapshot of a newer version is not read, and minor
//! versions are not skipped (Qdrant documentation, "Snapshots" and "Upgrades"). The server itself checks nothing.

use crate::error::{Code, Error};
use crate::qdrant::Cluster;
use crate::qdrant::version::parse;

/// Holds the target against the source. `Ok(Some(_))` is something to tell.
///
/// # Errors
/// The target is older than the source, or more than one minor version newer.
pub(crate) fn check(versions: Option<Vec<&str>>, target: &Cluster) -> Result<Option<String>, Error> {
    let Some(versions) = versions else {
        return Ok(Some("without a manifest the version of Qdrant that made the snapshots is not known".to_owned()));
    };
    for from in versions {
        for peer in &target.peers {
            compatible(from, &peer.version).map_err(|cause| Error::new(Code::Version, peer.address(), cause))?;
        }
    }
    Ok(None)
}

fn compatible(from: &str, to: &str) -> Result<(), String> {
    let (Some(source), Some(target)) = (parse(from), parse(to)) else {
        return Err(format!("the versions `{from}` and `{to}` can't be compared"));
    };
    if target < source {
        return Err(format!("Qdrant {to} is older than {from}, which made the snapshots, and may not read them"));
    }
    if target.0 != source.0 || target.1 > source.1 + 1 {
        return Err(format!("Qdrant {to} is more than one minor version newer than {from}, which made the snapshots"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_or_the_next_minor_version_and_nothing_else() {
        assert!(compatible("1.18.3", "1.18.3").is_ok());
        assert!(compatible("1.18.3", "1.18.4").is_ok());
        assert!(compatible("1.18.3", "1.19.0").is_ok());
        assert!(compatible("1.18.3", "1.18.2").is_err_and(|cause| cause.contains("older")));
        assert!(compatible("1.18.3", "1.17.9").is_err());
        assert!(compatible("1.18.3", "1.20.0").is_err_and(|cause| cause.contains("more than one")));
        assert!(compatible("1.18.3", "2.0.0").is_err());
        assert!(compatible("1.18.3-dev", "1.18.3").is_ok());
        assert!(compatible("unknown", "1.18.3").is_err());
    }
}
