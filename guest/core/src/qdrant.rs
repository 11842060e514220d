//! Qdrant's REST API as typed calls, and the peers of a cluster.

mod api;
mod client;
mod collection;
mod discovery;
mod error;
mod stream;
mod upload;
pub mod version;

pub(crate) use api::quotas_alone;
pub use api::{CONSENSUS_TRIES, Reach, SnapshotDescription};
pub use client::Client;
pub use collection::{CollectionInfo, Layout, Replica, ShardReplicas};
pub use discovery::{Cluster, Discovered, Missing, Peer, discover_source, discover_target};
pub use error::QdrantError;
pub use stream::Streamed;
