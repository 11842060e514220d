//! The source and the target: each peer by its own address, as a backup and a restore find and call it.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::bucket::Probe;
use super::clock;
use super::row::{Row, Verdict};
use crate::backup;
use crate::clusters::{source as collections_of, target};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::presigned_url::PresignedUrl;
use crate::qdrant::{Cluster, Discovered, Missing, Peer, Reach, discover_source, discover_target};
use crate::restore;
use crate::source;
use crate::store::ObjectStore;

const SOURCE: &str = "source";
const TARGET: &str = "target";

/// What names the collections and snapshots that are asked for and that nobody has.
const NOBODYS: &str = "qdrant-backup-check-";

/// Looks at the source. Returns the versions of its peers.
pub(super) async fn source(
    context: &Context,
    bucket: Option<&dyn ObjectStore>,
    rows: &mut Vec<Row>,
) -> BTreeSet<String> {
    if context.settings.source_hosts.is_empty() {
        let finding = "QDRANT_SOURCE_HOSTS is not set: nothing is known of what a backup needs";
        rows.push(Row::unknown(SOURCE, "hosts", finding));
        return BTreeSet::new();
    }
    let found = discover_source(&context.ports, &context.settings).await;
    hosts(SOURCE, &found, rows);
    for cluster in &found.clusters {
        for missing in backup::missed(cluster).await {
            let what = name(&missing.peer);
            rows.push(match missing.needless {
                Some(why) => Row::warning(SOURCE, what, why),
                None => Row::failed(SOURCE, what, missing.peer.error()),
            });
        }
        answers(SOURCE, cluster, rows).await;
        rows.push(may_snapshot(context, cluster).await);
        if let Some(bucket) = bucket {
            rows.push(identity(context, bucket, cluster).await);
        }
    }
    found.clusters.iter().flat_map(|cluster| &cluster.peers).map(|peer| peer.version.clone()).collect()
}

/// Looks at the target. `versions` are those of the source, as far as they are known.
pub(super) async fn target(
    context: &Context,
    link: Option<(&Probe, Result<PresignedUrl, Error>)>,
    versions: &BTreeSet<String>,
    rows: &mut Vec<Row>,
) {
    if context.settings.restore_hosts.is_empty() {
        let finding = "QDRANT_RESTORE_HOSTS is not set: nothing is known of what a restore needs";
        rows.push(Row::unknown(TARGET, "hosts", finding));
        return;
    }
    let found = discover_target(&context.ports, &context.settings).await;
    hosts(TARGET, &found, rows);
    for cluster in &found.clusters {
        rows.extend(
            cluster.missing.iter().map(|missing| Row::failed(TARGET, name(missing), target::unusable(missing))),
        );
        answers(TARGET, cluster, rows).await;
        if !versions.is_empty() {
            rows.push(fits(context, versions, cluster));
        }
        match &link {
            None => {
                let finding = "it is seen by a link to an object in the bucket, and there is none";
                rows.push(Row::unknown(TARGET, "permission: manage; fetches links", finding));
            }
            Some((_, Err(error))) => rows.push(Row::failed(TARGET, "link", error.clone())),
            Some((probe, Ok(link))) => {
                let reach = cluster.peers.iter().map(|peer| reaches(context, peer, probe, link));
                rows.extend(join_all(reach).await.into_iter().flatten());
            }
        }
        let finding = "Qdrant does not tell how much room its disks have left";
        rows.push(Row::unknown(TARGET, "free space", finding).advice(
            "a restore needs room for the data, and while a snapshot is fetched for that snapshot a second time",
        ));
    }
}

fn name(missing: &Missing) -> String {
    missing.id.map_or_else(|| missing.host.clone(), |id| format!("peer {id} at {}", missing.host))
}

/// The hosts that are configured and don't answer, and the peers that do.
fn hosts(area: &'static str, found: &Discovered, rows: &mut Vec<Row>) {
    rows.extend(found.missing.iter().map(|missing| Row::failed(area, name(missing), missing.error())));
    if area == SOURCE && found.clusters.len() > 1 {
        let finding = "several clusters: `create_snap` backs them up, `create_snap_shards` one at a time";
        rows.push(Row::warning(area, "hosts", finding));
    }
}

/// What the peers of a cluster say of themselves.
async fn answers(area: &'static str, cluster: &Cluster, rows: &mut Vec<Row>) {
    for peer in &cluster.peers {
        let id = peer.id.map_or_else(|| "a server without clustering".to_owned(), |id| format!("peer {id}"));
        rows.push(Row::ok(area, peer.address(), format!("{id}, Qdrant {}", peer.version)));
    }
    rows.extend(cluster.version_warnings().into_iter().map(|warning| Row::warning(area, "versions", warning)));
    for peer in &cluster.peers {
        let what = format!("clock of {}", peer.address());
        match peer.client.clock_ahead().await {
            // One row for each peer that is off, and none for those that agree.
            Ok(ahead) => {
                rows.extend(Some(clock::row(area, &what, ahead, None)).filter(|row| row.verdict != Verdict::Ok));
            }
            Err(error) => rows.push(Row::failed(area, what, error)),
        }
    }
    if !cluster.peers.is_empty() {
        let names = collections_of::collections(cluster).await;
        rows.push(Row::of(area, "permission: read", names.map(|names| format!("{} collections", names.len()))));
    }
}

/// Whether the key may make snapshots: Qdrant looks at that before it looks for the snapshot that it is to delete, and which
/// nobody has.
async fn may_snapshot(context: &Context, cluster: &Cluster) -> Row {
    const WHAT: &str = "permission: make snapshots";
    let Some(peer) = cluster.peers.first() else { return Row::unknown(SOURCE, WHAT, "no peer answers") };
    let nobodys = format!("{NOBODYS}{:016x}", context.ports.clock.random());
    let names = peer.client.collections().await.unwrap_or_default();
    // Keys may be good for certain collections only.
    let asked = names.iter().find(|name| context.settings.collections.takes(name)).unwrap_or(&nobodys);
    match peer.client.delete_snapshot(asked, None, &format!("{nobodys}.snapshot")).await {
        Ok(()) => Row::ok(SOURCE, WHAT, "allowed"),
        Err(error) => match Error::from(error) {
            error if matches!(error.code(), Code::QdrantUnauthorized | Code::DryRun) => {
                Row::failed(SOURCE, WHAT, error)
            }
            error => Row::unknown(SOURCE, WHAT, error.reason()),
        },
    }
}

/// Whose backups those of this cluster are, and would be.
async fn identity(context: &Context, bucket: &dyn ObjectStore, cluster: &Cluster) -> Row {
    const WHAT: &str = "identity";
    let peers = match source::peers(cluster).await {
        Ok(peers) if peers.is_empty() => {
            return Row::unknown(SOURCE, WHAT, "a server without clustering and without a collection tells no id");
        }
        Ok(peers) => peers,
        Err(error) => return Row::failed(SOURCE, WHAT, error),
    };
    let records = match source::list_allowed(context, bucket).await {
        Ok(records) => records,
        Err(error) => return Row::failed(SOURCE, WHAT, error),
    };
    let found = source::matching(&records, &peers).map(|record| match record {
        Some(record) => format!("the source {}", record.source()),
        None => "new: there is no backup of it yet, or none that this program has recorded".to_owned(),
    });
    Row::of(SOURCE, WHAT, found)
}

/// Whether the target may read what the source's peers make.
fn fits(context: &Context, versions: &BTreeSet<String>, target: &Cluster) -> Row {
    const WHAT: &str = "versions";
    match restore::version_fits(Some(versions.iter().map(String::as_str).collect()), target) {
        Ok(_) => Row::ok(TARGET, WHAT, "reads snapshots of the source"),
        Err(error) if context.settings.skip_version_check => {
            Row::warning(TARGET, WHAT, format!("{}: not refused (QDRANT_SKIP_VERSION_CHECK)", error.reason()))
        }
        Err(error) => Row::failed(TARGET, WHAT, error.advice("QDRANT_SKIP_VERSION_CHECK=true restores anyway")),
    }
}

/// Whether a peer may be restored into and can fetch a link: it is given one with a wrong checksum, for a collection that is
/// not there. It fetches the object, sees the checksum, and does nothing.
async fn reaches(context: &Context, peer: &Peer, probe: &Probe, link: &PresignedUrl) -> Vec<Row> {
    let (manage, fetches) = ("permission: manage", format!("link fetched by {}", peer.address()));
    let nobodys = format!("{NOBODYS}{:016x}", context.ports.clock.random());
    match peer.client.try_link(&nobodys, link, &probe.sha256).await {
        Ok(Reach::Fetched) => vec![
            Row::ok(TARGET, format!("{manage} at {}", peer.address()), "allowed"),
            Row::ok(TARGET, fetches, "the probe, with the right SHA-256"),
        ],
        Ok(Reach::NotFetched(error)) => {
            let advice = "snapshots are sent through this program instead, which takes longer (docs/transfer.md)";
            let row = Row::warning(TARGET, fetches, error.to_string()).advice(advice);
            vec![Row::ok(TARGET, format!("{manage} at {}", peer.address()), "allowed"), row]
        }
        Err(error) => match Error::from(error) {
            error if error.code() == Code::QdrantUnauthorized => {
                let unknown = "the key is refused before that";
                vec![
                    Row::failed(TARGET, format!("{manage} at {}", peer.address()), error),
                    Row::unknown(TARGET, fetches, unknown),
                ]
            }
            error => vec![Row::unknown(TARGET, format!("{manage}; {fetches}"), error.reason())],
        },
    }
}
