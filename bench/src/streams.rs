//! What streams from a peer into the bucket: a snapshot that is made while it is sent, and thrown away as it comes.

use std::time::Duration;

use crate::measure::Run;
use crate::points::{Bench, PEERS, Who};
use crate::stub::Options;
use crate::table::{Figures, Goal, Table, seconds, size, times};

impl Bench {
    /// A stream of 20 GiB, beside a native copy with the same checks.
    pub fn streams(&self, table: &mut Table) {
        let gib = if self.quick { 1 } else { 20 };
        let options =
            Options { peers: 1, spread: 1, collections: 1, latency: Duration::ZERO, data: gib << 30, ..PEERS };
        let stream = [("QDRANT_SNAPSHOT_TRANSFER", "stream".to_owned())];
        let own = self.with(&self.command(Who::Program, "create_snap_shards"), options, 1, &stream);
        let parts = own.kinds.get("S3 PUT streamed").copied().unwrap_or_default();
        assert!(parts >= gib * 128, "it was not streamed: {:?}", own.kinds);
        let native = self.with(&self.command(Who::Native, "stream"), options, 1, &[]);
        let rate = |run: &Run| Figures::new([gib as f64 * 1024.0 / seconds(run.wall)]);
        let shown = |rate| format!("{rate:.0} MiB/s");
        table.add(&format!("create_snap_shards, a stream of {gib} GiB"), &rate(&own.run), shown, Goal::None);
        table.add("the native copy with SHA-256 and tar walk", &rate(&native.run), shown, Goal::None);
        let ratio = seconds(native.run.wall) / seconds(own.run.wall);
        table.add("its throughput to that of the native copy", &Figures::new([ratio]), times, Goal::AtLeast(0.8));
        let memory = Figures::new([own.run.memory as f64]);
        table.add("its peak memory", &memory, size, Goal::AtMost(32.0 * 1_048_576.0));
    }
}
