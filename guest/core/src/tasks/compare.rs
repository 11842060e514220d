//! `compare`: whether the collections of the target hold the same points as those of the source.

use std::collections::BTreeSet;

use futures_util::future::join;

use crate::clusters::source;
use crate::clusters::target::{self, Needs};
use crate::content::{self, Extent};
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
                let item = match compare(context, (cluster, name), (target, context.settings.renamed(name))).await {
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
    let (one, other) =
        (content::Collection { cluster: source, name }, content::Collection { cluster: target, name: new_name });
    let read = join(one.digest(context, extent), other.digest(context, extent)).await;
    let (here, there) = (read.0?, read.1?);
    if here == there {
        return Ok(here.points());
    }
    let (at_source, at_target) =
        (format!("on the source ({})", source.host), format!("on the target ({})", target.host));
    let differences =
        content::compare(context, (one.points()?.into(), &at_source), (other.points()?.into(), &at_target)).await?;
    let which = content::told(&differences);
    if which.is_none() && extent != Extent::Full {
        // Their shards have other points, and so had the samples. By now all were compared.
        return Ok(here.points());
    }
    Err(content::not_the_same(which))
}
