//! `get_snap` and `get_snap_s3`: the snapshots that can be restored, into the file `snapshots`.

use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::naming::{SnapshotFilter, SnapshotName};
use crate::ports::FileError;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::restore::{self, BucketArchive};
use crate::state_files;
use std::collections::BTreeSet;

/// As Qdrant lists them.
pub(super) async fn run(context: &Context) -> Result<(), Error> {
    if let Some(item) = kept(context)? {
        context.reporter.report(item);
        return Ok(());
    }
    let source = source::find(context).await?;
    let filter = SnapshotFilter::new(&context.settings.snapshot_filter);
    context.reporter.report_all(source.missing_items());
    let mut lines = BTreeSet::new();
    let mut whole = source.is_whole();
    for cluster in &source.clusters {
        let (found, failed) = snapshots_of(context, cluster, &filter).await;
        whole &= failed.is_empty();
        context.reporter.report_all(failed);
        lines.extend(found);
    }
    let lines = lines.into_iter().map(|(collection, snapshot_name, host)| state_files::Snapshot {
        host: Some(host),
        collection,
        snapshot_name,
    });
    if !whole {
        // A file with some of them would pass for all of them, and is not made anew while it is there.
        context.ports.console.data(&state_files::snapshots_csv(&lines.collect::<Vec<_>>()));
        context
            .log
            .warn(None, &format!("the file `{}` is not written, as the list is not whole", state_files::SNAPSHOTS));
        return Ok(());
    }
    context.reporter.report(write(context, lines.collect())?);
    Ok(())
}

/// Collection, snapshot and host, in the order of the file.
type Line = (String, String, String);

/// What the peers of `cluster` list, and what could not be asked.
async fn snapshots_of(context: &Context, cluster: &Cluster, filter: &SnapshotFilter) -> (Vec<Line>, Vec<Item>) {
    let collections = match source::selected(context, cluster).await {
        Ok(collections) => collections,
        Err(error) => return (Vec::new(), vec![Item::failed("cluster", error).host(&cluster.host)]),
    };
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    // Peers with their own disks each know their own snapshots; with S3 all know all.
    for (collection, peer) in collections.iter().flat_map(|name| cluster.peers.iter().map(move |peer| (name, peer))) {
        match peer.client.snapshots(collection).await {
            Ok(snapshots) => {
                let names = snapshots.into_iter().map(|snapshot| snapshot.name);
                let names =
                    names.filter(|name| SnapshotName::parse(collection, name).is_some() && filter.matches(name));
                lines.extend(names.map(|name| (collection.clone(), name, cluster.host.to_string())));
            }
            Err(error) => {
                failed.push(Item::failed("cluster", error).host(peer.address()).collection(collection.as_str()));
            }
        }
    }
    (lines, failed)
}

/// As the bucket has them.
pub(super) async fn run_s3(context: &Context) -> Result<(), Error> {
    if let Some(item) = kept(context)? {
        context.reporter.report(item);
        return Ok(());
    }
    let bucket = context.store()?;
    let chosen: BTreeSet<String> =
        state_files::read_collections(context.ports.files.as_ref())?.into_iter().map(|line| line.collection).collect();
    let filter = SnapshotFilter::new(&context.settings.snapshot_filter);
    let mut list = List { context, archives: Vec::new(), text: String::new(), lines: 0 };
    list.clear()?;
    let mut written = Ok(());
    let mut each = |archive: BucketArchive| {
        if written.is_ok() && (chosen.is_empty() || chosen.contains(&archive.collection)) {
            written = list.add(archive);
        }
    };
    let listed = restore::each_archive_in(bucket, &filter, &mut each).await;
    let listed = listed.and_then(|()| written.and_then(|()| list.end()).map_err(Error::from));
    if listed.is_err() {
        let _ = list.clear();
    }
    context.reporter.report(done(listed?));
    Ok(())
}

/// The file `snapshots` while the bucket is listed: a bucket may hold more archives than a pod has memory for.
struct List<'a> {
    context: &'a Context,
    /// The archives of one collection, which the bucket lists by peer.
    archives: Vec<BucketArchive>,
    /// Lines that are not written yet.
    text: String,
    lines: usize,
}

impl List<'_> {
    /// The name that the file has until it is whole.
    const UNFINISHED: &'static str = ".snapshots.new";

    /// Removes what this run, or an earlier one, has not ended.
    fn clear(&self) -> Result<(), FileError> {
        self.context.ports.files.remove(Self::UNFINISHED).map(drop)
    }

    fn add(&mut self, archive: BucketArchive) -> Result<(), FileError> {
        const ENOUGH: usize = 64 << 10;
        if self.archives.first().is_some_and(|first| first.collection != archive.collection) {
            self.write_lines();
        }
        self.archives.push(archive);
        if self.text.len() > ENOUGH { self.write() } else { Ok(()) }
    }

    fn write_lines(&mut self) {
        restore::by_time(&mut self.archives);
        self.lines += self.archives.len();
        for archive in self.archives.drain(..) {
            let BucketArchive { collection, name: snapshot_name, .. } = archive;
            self.text.push_str(&state_files::snapshot_line(&state_files::Snapshot {
                host: None,
                collection,
                snapshot_name,
            }));
        }
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.context.ports.files.append(Self::UNFINISHED, self.text.as_bytes())?;
        self.context.ports.console.data(&self.text);
        self.text.clear();
        Ok(())
    }

    /// Puts the whole file in its place; returns the number of its lines.
    fn end(&mut self) -> Result<usize, FileError> {
        self.write_lines();
        self.write()?;
        self.context.ports.files.rename(Self::UNFINISHED, state_files::SNAPSHOTS)?;
        Ok(self.lines)
    }
}

/// A `snapshots` file that is there is kept: it may be a person's own choice.
fn kept(context: &Context) -> Result<Option<Item>, Error> {
    let lines = state_files::read_snapshots(context.ports.files.as_ref())?;
    if lines.is_empty() {
        return Ok(None);
    }
    context.ports.console.data(&state_files::snapshots_csv(&lines));
    let reason = "the file is there already and is kept; `reset` removes it";
    Ok(Some(Item::skipped("file", reason).name(state_files::SNAPSHOTS)))
}

fn write(context: &Context, lines: Vec<state_files::Snapshot>) -> Result<Item, Error> {
    let csv = state_files::snapshots_csv(&lines);
    context.ports.files.replace(state_files::SNAPSHOTS, csv.as_bytes())?;
    context.ports.console.data(&csv);
    Ok(done(lines.len()))
}

fn done(lines: usize) -> Item {
    Item::done("file").name(state_files::SNAPSHOTS).cause(format!("{lines} snapshots"))
}
