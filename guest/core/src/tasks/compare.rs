//! `compare`: whether the collections of the target hold the same points as those of the source.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};

use crate::clusters::source;
use crate::clusters::target::{self, Needs};
use crate::content::{self, Digest, Extent, Points};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Cluster, Peer};
use crate::report::Item;
use crate::settings::ContentCheck;

pub(super) async fn run(context: &Context) -> Result<(), Error> {
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    let targets = target::find(context, Needs::EveryPeer).await?;
    context.reporter.report_all(targets.missing_items());
    let mut any = false;
    for (cluster, names) in source::select(context, &source).await? {
        let names = match names {
            Ok(names) => names,
            Err(error) => {
                context.reporter.report(source::failed(cluster, error));
                continue;
            }
        };
        for target in &targets.clusters {
            for name in &names {
                any = true;
                let started = context.ports.clock.monotonic();
                let item = match compare(context, (cluster, name), (target, renamed(context, name))).await {
                    Ok(points) => {
                        let (check, what) = match context.settings.verify_content {
                            ContentCheck::Sample => ("sample-equal", "points of a sample"),
                            ContentCheck::Off | ContentCheck::Full => ("equal", "points"),
                        };
                        Item::done("collection")
                            .cause(format!("{points} {what} are equal on every replica"))
                            .content(Some(check))
                    }
                    Err(error) => {
                        let different = error.code() == Code::VerificationFailed;
                        Item::failed("collection", error).content(different.then_some("different"))
                    }
                };
                let elapsed = context.ports.clock.monotonic().saturating_sub(started);
                context.reporter.report(item.host(&target.host).collection(name).elapsed(elapsed));
            }
        }
    }
    if any {
        return Ok(());
    }
    Err(Error::new(Code::NothingSelected, "", "there is no collection to compare").advice("look at QDRANT_COLLECTIONS"))
}

/// The name of a collection on the target.
fn renamed<'a>(context: &'a Context, name: &'a str) -> &'a str {
    context.settings.rename.iter().find(|(old, _)| old == name).map_or(name, |(_, new)| new)
}

/// Compares one collection; how many points were.
///
/// # Errors
/// Points differ: says which. Or they can't be read.
async fn compare(
    context: &Context,
    (source, name): (&Cluster, &str),
    (target, new_name): (&Cluster, &str),
) -> Result<u64, Error> {
    let extent = match context.settings.verify_content {
        ContentCheck::Sample => Extent::Sample(context.settings.sample_points),
        ContentCheck::Off | ContentCheck::Full => Extent::Full,
    };
    let address = |cluster: &Cluster| cluster.peers.iter().map(Peer::address).collect::<BTreeSet<_>>();
    if name == new_name && !address(source).is_disjoint(&address(target)) {
        // It would be equal to itself.
        return Err(Error::new(Code::Configuration, target.host.to_string(), "it is source and target")
            .advice("compare it with another one (`--with`, QDRANT_RESTORE_HOSTS)"));
    }
    if source.distributed && !source.ids().is_disjoint(&target.ids()) {
        let text =
            "source and target have a peer id in common: they are one cluster, or one is a copy of the other's volumes";
        context.log.warn(Some(&target.host.to_string()), text);
    }
    let read = join(digest(context, source, name, extent), digest(context, target, new_name, extent)).await;
    let (here, there) = (read.0?, read.1?);
    if here == there {
        return Ok(here.points());
    }
    let (at_source, at_target) = (format!("the source ({})", source.host), format!("the target ({})", target.host));
    let whole = |cluster, collection| {
        Ok::<_, Error>(Points { client: &asked(cluster, collection)?.client, collection, shard: None })
    };
    let (one, other) = (whole(source, name)?, whole(target, new_name)?);
    let differences = content::compare(context, (one, &at_source), (other, &at_target)).await?;
    let which = content::told(&differences);
    if which.is_none() && extent != Extent::Full {
        // Their shards have other points, and so had the samples. By now all were compared.
        return Ok(here.points());
    }
    let cause =
        which.unwrap_or_else(|| "its digests differed, and now its points are equal: something is written".to_owned());
    Err(Error::new(Code::VerificationFailed, "", format!("it is not the same on both: {cause}")))
}

fn asked<'a>(cluster: &'a Cluster, collection: &str) -> Result<&'a Peer, Error> {
    cluster.peer_to_ask(collection).ok_or_else(|| Error::new(Code::NoPeer, cluster.host.to_string(), "no peer answers"))
}

/// The digest of a collection, the same on every replica of each of its shards.
async fn digest(context: &Context, cluster: &Cluster, collection: &str, extent: Extent) -> Result<Digest, Error> {
    let at = || cluster.host.to_string();
    let layout = cluster.layout(asked(cluster, collection)?, collection).await?;
    let layout = layout.ok_or_else(|| Error::new(Code::VerificationFailed, at(), "it is not there"))?;
    let points = |shard, peer| {
        let gone = || Error::new(Code::NoPeer, at(), format!("peer {peer} does not answer"));
        let client = &cluster.peer(peer).ok_or_else(gone)?.client;
        Ok::<_, Error>(Points { client, collection, shard: Some(shard) })
    };
    // All of them wait for their turn to be read.
    let shards = layout.shards.iter().map(|(shard, replicas)| async move {
        let active = replicas.replicas.iter().filter(|(_, replica)| replica.is_active()).map(|(peer, _)| *peer);
        let read = active.collect::<BTreeSet<u64>>().into_iter().map(|peer| async move {
            Ok::<_, Error>((peer, content::digest(context, points(*shard, peer)?, extent).await?))
        });
        let read = join_all(read).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let nobody = || Error::new(Code::NoPeer, at(), format!("shard {shard} has no active replica"));
        let (first, digest) = *read.first().ok_or_else(nobody)?;
        match read.iter().find(|(_, other)| *other != digest) {
            None => Ok(digest),
            Some((other, _)) => {
                let (one, two) = (points(*shard, first)?, points(*shard, *other)?);
                Err(content::replicas_differ(context, *shard, (one, first), (two, *other)).await)
            }
        }
    });
    let mut whole = Digest::default();
    for digest in join_all(shards).await {
        whole.merge(&digest?);
    }
    Ok(whole)
}
