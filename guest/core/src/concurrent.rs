//! Many things at the same time, on the one thread there is.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::iter;

/// Does `work`, `limit` pieces at the same time, and calls `each` with every result as it comes. A piece is made only
/// when its turn comes.
pub(crate) async fn at_most<T>(
    limit: usize,
    work: impl IntoIterator<Item = impl Future<Output = T>>,
    mut each: impl FnMut(T),
) {
    let mut results = iter(work).buffer_unordered(limit);
    while let Some(result) = results.next().await {
        each(result);
    }
}

/// How many collections are backed up at the same time. What is heavy for a peer, a snapshot, has a limit of its own,
/// `per_peer`; around it a collection waits five times for small answers. Six collections for each of these places keep
/// all peers busy meanwhile.
pub(crate) fn backups_at_once(peers: usize, per_peer: usize) -> usize {
    at_once(peers, per_peer, 6)
}

/// How many collections are restored at the same time: more, as each waits most of its time for the cluster to
/// settle, which must not keep others from peers that are idle.
pub(crate) fn restores_at_once(peers: usize, per_peer: usize) -> usize {
    at_once(peers, per_peer, 32)
}

fn at_once(peers: usize, per_peer: usize, for_each: usize) -> usize {
    /// A small cluster answers faster than it works.
    const LEAST: usize = 32;
    /// More would only wait in the queue of the one peer that is asked about collections.
    const MOST: usize = 512;
    peers.saturating_mul(per_peer).saturating_mul(for_each).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use std::cell::Cell;
    use std::task::Poll;

    /// Is pending once, so that others get their turn.
    async fn pause() {
        let mut paused = false;
        std::future::poll_fn(|context| {
            if paused {
                return Poll::Ready(());
            }
            paused = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn more_peers_have_more_collections_at_work_but_not_without_end() {
        assert_eq!(
            [(1, 1), (3, 1), (3, 4), (10, 2), (50, 4)].map(|(peers, each)| backups_at_once(peers, each)),
            [32, 32, 72, 120, 512]
        );
        assert_eq!(
            [(1, 1), (3, 1), (10, 1), (50, 1)].map(|(peers, each)| restores_at_once(peers, each)),
            [32, 96, 320, 512]
        );
    }

    #[test]
    fn no_more_than_the_limit_run_and_all_do() {
        let (running, most, done) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let work = (0..40).map(|_| async {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            pause().await;
            running.set(running.get() - 1);
        });
        block_on(at_most(7, work, |()| done.set(done.get() + 1)));
        assert_eq!((most.get(), done.get(), running.get()), (7, 40, 0));
    }
}
