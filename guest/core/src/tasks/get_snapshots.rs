//! `get_snap` and `get_snap_s3`: the snapshots that can be restored, into the file `snapshots`.

use std::collections::BTreeSet;

use crate::clusters::source;
use crate::context::Context;
use crate::error::Error;
use crate::generations::{self, BucketSnapshot};
use crate::naming::{SnapshotFilter, SnapshotName};
use crate::ports::FileError;
use crate::printable;
use crate::qdrant::Cluster;
use crate::report::Item;
use crate::settings::Output;
use crate::state_files;
use crate::tasks::listing;

/// As Qdrant lists them.
pub(super) async fn run(context: &Context) -> Result<(), Error> {
    if let Some(item) = kept(context)? {
        context.reporter.report(item);
        return Ok(());
    }
    let source = source::find(context).await?;
    context.reporter.report_all(source.missing_items());
    let mut listed = Listed { lines: BTreeSet::new(), whole: source.is_whole() };
    for (cluster, selected) in source::select(context, &source).await? {
        match selected {
            Ok(collections) => listed.list(context, cluster, &collections).await,
            Err(error) => {
                listed.whole = false;
                context.reporter.report(source::failed(cluster, error));
            }
        }
    }
    let Listed { lines, whole } = listed;
    let line =
        |(collection, snapshot_name, host)| state_files::Snapshot { host: Some(host), collection, snapshot_name };
    let lines: Vec<state_files::Snapshot> = lines.into_iter().map(line).collect();
    let csv = state_files::snapshots_csv(&lines);
    if whole {
        context.ports.files.replace(state_files::SNAPSHOTS, csv.as_bytes())?;
    }
    listing::print(context, &csv, lines.iter().map(listing::snapshot));
    if whole {
        context.reporter.report(done(lines.len()));
    } else {
        // A file with some of them would pass for all of them, and is not made anew while it is there.
        let what = format!("the file `{}` is not written, as the list is incomplete", state_files::SNAPSHOTS);
        context.log.warn(None, &what);
    }
    Ok(())
}

/// What Qdrant lists.
struct Listed {
    /// Collection, snapshot and host.
    lines: BTreeSet<(String, String, String)>,
    /// False where somebody could not be asked.
    whole: bool,
}

impl Listed {
    /// Asks all peers: those with disks of their own each know their own snapshots; with S3 all know all.
    async fn list(&mut self, context: &Context, cluster: &Cluster, collections: &[String]) {
        let filter = SnapshotFilter::new(&context.settings.snapshot_filter);
        let all = collections.iter().flat_map(|collection| cluster.peers.iter().map(move |peer| (collection, peer)));
        for (collection, peer) in all {
            let snapshots = match peer.client.snapshots(collection).await {
                Ok(snapshots) => snapshots,
                Err(error) => {
                    self.whole = false;
                    context.reporter.report(Item::failed("cluster", error).host(peer.address()).collection(collection));
                    continue;
                }
            };
            let meant = |name: &String| SnapshotName::parse(collection, name).is_some() && filter.matches(name);
            let names = snapshots.into_iter().map(|snapshot| snapshot.name).filter(meant);
            self.lines.extend(names.map(|name| (collection.clone(), name, cluster.host.to_string())));
        }
    }
}

/// As the bucket has them.
pub(super) async fn run_s3(context: &Context) -> Result<(), Error> {
    if let Some(item) = kept(context)? {
        context.reporter.report(item);
        return Ok(());
    }
    let bucket = context.store()?;
    let chosen = state_files::chosen_collections(context.ports.files.as_ref())?;
    let chosen: BTreeSet<String> = chosen.into_iter().map(|line| line.collection).collect();
    let filter = SnapshotFilter::new(&context.settings.snapshot_filter);
    let mut list = List { context, snapshots: Vec::new(), text: String::new(), objects: String::new(), lines: 0 };
    list.clear()?;
    let mut written = Ok(());
    let mut each = |snapshot: BucketSnapshot| {
        if written.is_ok() && (chosen.is_empty() || chosen.contains(&snapshot.collection)) {
            written = list.add(snapshot);
        }
    };
    let listed = generations::each_snapshot_in(bucket, &filter, &mut each).await;
    let listed = listed.and_then(|()| written.and_then(|()| list.end()).map_err(Error::from));
    if listed.is_err() {
        let _ = list.clear();
    }
    context.reporter.report(done(listed?));
    Ok(())
}

/// The file `snapshots` while the bucket is listed: a bucket may hold more snapshots than a pod has memory for.
struct List<'a> {
    context: &'a Context,
    /// The snapshots of one collection, which the bucket lists by peer.
    snapshots: Vec<BucketSnapshot>,
    /// Lines that are not written yet.
    text: String,
    /// The same for programs, where that is wanted: items of an array that begins with the first and ends with the list.
    objects: String,
    lines: usize,
}

impl List<'_> {
    /// The name that the file has until it is whole.
    const UNFINISHED: &'static str = ".snapshots.new";

    /// Removes what this run, or an earlier one, has not ended.
    fn clear(&self) -> Result<(), FileError> {
        self.context.ports.files.remove(Self::UNFINISHED).map(drop)
    }

    fn add(&mut self, snapshot: BucketSnapshot) -> Result<(), FileError> {
        const ENOUGH: usize = 64 << 10;
        if self.snapshots.first().is_some_and(|first| first.collection != snapshot.collection) {
            self.write_lines();
        }
        self.snapshots.push(snapshot);
        if self.text.len() > ENOUGH { self.write() } else { Ok(()) }
    }

    fn write_lines(&mut self) {
        generations::by_time(&mut self.snapshots);
        let first = self.lines;
        self.lines += self.snapshots.len();
        for (index, snapshot) in (first..).zip(self.snapshots.drain(..)) {
            let BucketSnapshot { collection, name: snapshot_name, .. } = snapshot;
            let line = state_files::Snapshot { host: None, collection, snapshot_name };
            self.text.push_str(&state_files::snapshot_line(&line));
            if self.context.settings.output == Output::Json {
                self.objects.push_str(if index == 0 { "[\n" } else { ",\n" });
                self.objects.push_str(&printable::json(&listing::snapshot(&line)));
            }
        }
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.context.ports.files.append(Self::UNFINISHED, self.text.as_bytes())?;
        let json = self.context.settings.output == Output::Json;
        self.context.ports.console.data(if json { &self.objects } else { &self.text });
        self.text.clear();
        self.objects.clear();
        Ok(())
    }

    /// Puts the whole file in its place; returns the number of its lines.
    fn end(&mut self) -> Result<usize, FileError> {
        self.write_lines();
        if self.context.settings.output == Output::Json {
            self.objects.push_str(if self.lines == 0 { "[]\n" } else { "\n]\n" });
        }
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
    listing::print(context, &state_files::snapshots_csv(&lines), lines.iter().map(listing::snapshot));
    let item = Item::skipped("file", "the file exists and is kept; `reset` removes it");
    Ok(Some(item.name(state_files::SNAPSHOTS)))
}

fn done(lines: usize) -> Item {
    Item::done("file").name(state_files::SNAPSHOTS).cause(format!("{lines} snapshots"))
}
