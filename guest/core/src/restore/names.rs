//! Names that the target's Qdrant does not take.

use super::plan::Plan;
use crate::creation::names;
use crate::error::{Code, Error};
use crate::qdrant::Cluster;
use crate::qdrant::version::parse;

/// Makes sure that the target takes the names of the collection and its vectors, before anything is touched.
///
/// # Errors
/// Names the one that it does not take.
pub(super) fn check(plan: &Plan, cluster: &Cluster) -> Result<(), Error> {
    let newest = cluster.peers.iter().filter_map(|peer| parse(&peer.version)).max();
    let is_old = newest.is_some_and(|(major, minor, _)| (major, minor) < (1, 18));
    let refused =
        names::of_collection(&plan.collection).or_else(|| if is_old { None } else { names::of_vectors(&plan.create) });
    match refused {
        None => Ok(()),
        Some(cause) => Err(Error::new(Code::Unsupported, "", format!("{cause}; nothing was changed"))
            .advice("restore it into the version that made the backup")),
    }
}
