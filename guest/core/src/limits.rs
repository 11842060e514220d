//! What spares the servers: how much each peer does at a time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_lock::{Mutex, Semaphore, SemaphoreGuard, SemaphoreGuardArc};

use crate::log::Log;
use crate::settings::Host;

/// The permits of one run.
pub struct Limits {
    per_peer: usize,
    peers: RefCell<BTreeMap<Host, Arc<Semaphore>>>,
    memory: Memory,
    readers: Semaphore,
    layouts: Semaphore,
    /// How long the last collection took to settle.
    pub settling: Cell<Duration>,
}

/// How many collections are created or laid out at the same time. These are operations of consensus, which come one after
/// another however many wait: with 60 at once, three real peers of 1.19.0 let nearly a hundred run out of time, and with 12 two.
const LAYOUTS: usize = 12;

/// How many replicas are read at the same time. All of them feed the one thread that computes.
const READERS: usize = 4;

impl Limits {
    /// `per_peer` (`QDRANT_SNAPSHOTS_PER_PEER`, at least 1) snapshots or recoveries at a time on each peer, and buffers for
    /// what is sent through this program as far as `memory_limit` (`QDRANT_MEMORY_LIMIT`, bytes) allows.
    pub fn new(per_peer: usize, memory_limit: u64) -> Self {
        Self {
            per_peer: per_peer.max(1),
            peers: RefCell::default(),
            memory: Memory::new(memory_limit),
            readers: Semaphore::new(READERS),
            layouts: Semaphore::new(LAYOUTS),
            settling: Cell::default(),
        }
    }

    /// The memory for buffers.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Waits until the peer at `host` may be given work (a snapshot, a recovery); it is free again when the permit is
    /// dropped.
    pub async fn peer(&self, host: &Host) -> SemaphoreGuardArc {
        self.of(host).acquire_arc().await
    }

    /// Waits until points may be read; the next one may when the permit is dropped.
    pub async fn reader(&self) -> SemaphoreGuard<'_> {
        self.readers.acquire().await
    }

    /// Waits until a collection may be created or laid out; the next one may when the permit is dropped.
    pub async fn layout(&self) -> SemaphoreGuard<'_> {
        self.layouts.acquire().await
    }

    fn of(&self, host: &Host) -> Arc<Semaphore> {
        let mut peers = self.peers.borrow_mut();
        Arc::clone(peers.entry(host.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.per_peer))))
    }
}

/// The memory for buffers: all of them together fit below the limit.
pub struct Memory {
    /// Free pieces of [`PIECE`].
    free: Semaphore,
    /// How many there are in all.
    pieces: usize,
    /// Who waits for several pieces gets them before the next one does.
    queue: Mutex<()>,
    logged: Cell<bool>,
}

/// What memory is counted in: the smallest part of an upload.
const PIECE: u64 = 8 << 20;

/// Memory that was given out; free again when it is dropped.
pub struct Buffers<'a>(Vec<SemaphoreGuard<'a>>);

impl Memory {
    fn new(limit: u64) -> Self {
        // However little it is, one piece to fill and one to send: what does not fit is told when it fails.
        // The other half is for lists of objects, manifests and answers, and for what the host itself needs in a pod.
        let pieces = usize::try_from((limit / 2 / PIECE).max(2)).unwrap_or(usize::MAX);
        Self { free: Semaphore::new(pieces), pieces, queue: Mutex::new(()), logged: Cell::new(false) }
    }

    /// The largest buffer of which there can be two.
    pub fn largest_of_two(&self) -> u64 {
        (self.pieces / 2) as u64 * PIECE
    }

    /// Waits until two buffers of `bytes` fit, which have to be no more than [`Memory::largest_of_two`].
    pub async fn two_of(&self, bytes: u64, log: &Log) -> Buffers<'_> {
        let wanted = usize::try_from(2 * bytes.div_ceil(PIECE)).unwrap_or(usize::MAX).min(self.pieces);
        let mut pieces = Vec::new();
        let _turn = match self.queue.try_lock() {
            Some(turn) => turn,
            None => {
                self.log_wait(log);
                self.queue.lock().await
            }
        };
        while pieces.len() < wanted {
            match self.free.try_acquire() {
                Some(piece) => pieces.push(piece),
                None => {
                    self.log_wait(log);
                    pieces.push(self.free.acquire().await);
                }
            }
        }
        Buffers(pieces)
    }

    fn log_wait(&self, log: &Log) {
        if !self.logged.replace(true) {
            let most = self.pieces / 2;
            let what = format!(
                "no more than {most} snapshots are streamed at the same time, as each takes 16 MiB or more, and all of them \
                 half of --memory-limit (QDRANT_MEMORY_LIMIT)"
            );
            log.info(None, &what);
        }
    }
}

impl Buffers<'_> {
    /// How much it is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.len() as u64 * PIECE
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use futures_util::FutureExt;

    use super::*;
    use crate::ports::nothing::{Nothing, StoppedClock};
    use crate::ports::{Http, HttpError, LocalBoxFuture, Ports, Request, Response};
    use crate::settings::LogFormat;

    struct NoServer;

    impl Http for NoServer {
        fn send(&self, _: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            unreachable!()
        }
    }

    #[test]
    fn buffers_fit_below_the_limit_and_wait_for_each_other() {
        let nothing = std::rc::Rc::new(Nothing);
        let clock = std::rc::Rc::new(StoppedClock(0));
        let ports = Ports { http: std::rc::Rc::new(NoServer), clock, files: nothing.clone(), console: nothing };
        let log = Log::plain(&ports, LogFormat::Text);
        let memory = Memory::new(256 << 20);
        assert_eq!(memory.largest_of_two(), 64 << 20);
        let small: Vec<_> = (0..7).map(|_| block_on(memory.two_of(8 << 20, &log))).collect();
        assert!(small.iter().all(|buffers| buffers.bytes() == 16 << 20));
        // Two pieces are left, and four are wanted; who comes later does not overtake.
        let mut large = Box::pin(memory.two_of(16 << 20, &log));
        assert!((&mut large).now_or_never().is_none());
        assert!(memory.two_of(8 << 20, &log).now_or_never().is_none());
        drop(small);
        assert_eq!(block_on(large).bytes(), 32 << 20);
        assert_eq!(Memory::new(16 << 20).largest_of_two(), 8 << 20);
    }
}
