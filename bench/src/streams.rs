//! What streams from a peer into the bucket: a snapshot that is made while it is sent, and thrown away as it comes.

use std::time::Duration;

use crate::measure::Run;
use crate::points::{Bench, PEERS, Who};
use crate::stub::Options;
use crate::table::{Figures, Goal, Table, seconds, size, times};

impl Bench {
    /// A stream of 20 GiB, beside a native copy with the same checks: into a bucket by https, as in a cloud, and by http, as
    /// beside the cluster.
    pub fn streams(&self, table: &mut Table) {
        self.stream(table, true);
        self.stream(table, false);
    }

    fn stream(&self, table: &mut Table, tls: bool) {
        let gib = if self.quick { 1 } else { 20 };
        let options =
            Options { peers: 1, spread: 1, collections: 1, latency: Duration::ZERO, data: gib << 30, tls, ..PEERS };
        let stream = [("QDRANT_SNAPSHOT_TRANSFER", "stream".to_owned())];
        let pairs: Vec<(Run, Run)> = (0..if self.quick { 3 } else { 1 })
            .map(|_| {
                let own = self.with(&self.command(Who::Program, "create_snap_shards"), options, 1, &stream);
                let parts = own.kinds.get("S3 PUT streamed").copied().unwrap_or_default();
                assert!(parts >= gib * 128, "it was not streamed: {:?}", own.kinds);
                (own.run, self.with(&self.command(Who::Native, "stream"), options, 1, &[]).run)
            })
            .collect();
        let mib = gib as f64 * 1024.0;
        let shown = |rate| format!("{rate:.0} MiB/s");
        let by = if tls { "https" } else { "http" };
        let case = format!("create_snap_shards, a stream of {gib} GiB by {by}");
        let rates = Figures::new(pairs.iter().map(|(own, _)| mib / seconds(own.wall)));
        table.add(&case, &rates, shown, Goal::None);
        let rates = Figures::new(pairs.iter().map(|(_, native)| mib / seconds(native.wall)));
        table.add("the native copy with SHA-256 and tar walk", &rates, shown, Goal::None);
        let ratios = Figures::new(pairs.iter().map(|(own, native)| seconds(native.wall) / seconds(own.wall)));
        table.add("its throughput to that of the native copy", &ratios, times, Goal::AtLeast(0.8));
        let memory = Figures::new(pairs.iter().map(|(own, _)| own.memory as f64));
        table.add("its peak memory", &memory, size, Goal::AtMost(32.0 * 1_048_576.0));
    }
}
