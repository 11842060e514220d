//! A set that was found in a listing.

use super::manifest::SetId;

/// The largest manifest: 1,000 shards take 1 MB.
pub(super) const LIMIT: usize = 64 << 20;

/// A manifest that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The set.
    pub id: SetId,
    /// The manifest's key, as the server lists it.
    pub key: String,
    /// Its size, as the server lists it.
    pub bytes: u64,
    /// The key and the size of the record of a drill of it, where one lies beside it.
    pub drill: Option<(String, u64)>,
}
