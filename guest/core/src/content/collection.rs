//! The content of a whole collection of a cluster.

use futures_util::future::join_all;
use serde_json::Value;

use super::lockstep::{self, Place};
use super::replica::{self, Extent};
use super::{Digest, Points};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Cluster, Peer};

/// A collection of a cluster.
#[derive(Clone, Copy)]
pub struct Collection<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Its name there.
    pub name: &'a str,
}

impl Collection<'_> {
    /// Compares all of its points with those whose digest is `expected`; how many they are. Where they differ, the first of
    /// them are named: `points` gives the expected ones then, in the order of their ids, and `place` says where they are,
    /// such as `in the set`.
    ///
    /// # Errors
    /// Replicas of a shard differ, or points from the expected ones: says which. Or they can't be read.
    pub async fn compare_with<P>(
        self,
        context: &Context,
        expected: Digest,
        place: &str,
        points: impl AsyncFnOnce() -> Result<P, Error>,
    ) -> Result<u64, Error>
    where
        P: Iterator<Item = Result<Value, Error>>,
    {
        let found = self.digest(context, Extent::Full).await?;
        if found == expected {
            return Ok(found.points());
        }
        let mut expected = points().await?;
        let here = format!("on the target ({})", self.cluster.host);
        let sides = ((self.points()?.into(), here.as_str()), (Place::Open(&mut expected), place));
        let differences = lockstep::compare(context, sides.0, sides.1).await?;
        Err(not_the_same(lockstep::told(&differences)))
    }

    /// Its points, as a reader gets them.
    pub(crate) fn points(&self) -> Result<Points<'_>, Error> {
        Ok(Points { client: &self.asked()?.client, collection: self.name, shard: None })
    }

    /// The digest of its points, the same on every replica of each of its shards.
    pub(crate) async fn digest(self, context: &Context, extent: Extent) -> Result<Digest, Error> {
        let Self { cluster, name } = self;
        let at = || cluster.host.to_string();
        let layout = cluster.layout(self.asked()?, name).await?;
        let layout = layout.ok_or_else(|| Error::new(Code::VerificationFailed, at(), "it is not there"))?;
        let points = |shard, peer| {
            let gone = || Error::new(Code::NoPeer, at(), format!("peer {peer} does not answer"));
            let client = &cluster.peer(peer).ok_or_else(gone)?.client;
            Ok::<_, Error>(Points { client, collection: name, shard: Some(shard) })
        };
        // All of them wait for their turn to be read.
        let shards = layout.shards.iter().map(|(shard, replicas)| async move {
            // What is not read is not equal on every replica.
            if let Some((peer, replica)) = replicas.replicas.iter().find(|(_, replica)| !replica.is_active()) {
                let cause = format!("shard {shard} is {} on peer {peer}, so that it can't be compared", replica.state);
                return Err(Error::new(Code::NotSettled, at(), cause).advice("wait until every replica is active"));
            }
            let read = replicas.replicas.keys().copied().map(|peer| async move {
                Ok::<_, Error>((peer, replica::digest(context, points(*shard, peer)?, extent).await?))
            });
            let read = join_all(read).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            let nobody = || Error::new(Code::NoPeer, at(), format!("shard {shard} has no replica"));
            let (first, digest) = *read.first().ok_or_else(nobody)?;
            match read.iter().find(|(_, other)| *other != digest) {
                None => Ok(digest),
                Some((other, _)) => {
                    let (one, two) = (points(*shard, first)?, points(*shard, *other)?);
                    Err(lockstep::replicas_differ(context, *shard, (one, first), (two, *other)).await)
                }
            }
        });
        let mut whole = Digest::default();
        for digest in join_all(shards).await {
            whole.merge(&digest?);
        }
        Ok(whole)
    }

    fn asked(&self) -> Result<&Peer, Error> {
        let nobody = || Error::new(Code::NoPeer, self.cluster.host.to_string(), "no peer answers");
        self.cluster.peer_to_ask(self.name).ok_or_else(nobody)
    }
}

/// That two collections whose digests differ are not the same; `which` of their points, where some still differ.
pub(crate) fn not_the_same(which: Option<String>) -> Error {
    let equal_now = || "its digests differed, and now its points are equal: something is written".to_owned();
    let cause = format!("it is not the same on both: {}", which.unwrap_or_else(equal_now));
    Error::new(Code::VerificationFailed, "", cause)
}
