//! Polls futures and waits for WASI: all waiting is done in one `wasi:io/poll` call over everything waited for.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use wasip2::io::poll::{Pollable, poll};

/// Completes when what `pollable` stands for has happened.
pub fn ready(pollable: Pollable) -> Ready {
    Ready { pollable: Arc::new(pollable), id: None }
}

/// See [`ready`]. May be dropped at any time.
pub struct Ready {
    pollable: Arc<Pollable>,
    id: Option<u64>,
}

/// Something that is waited for.
struct Waiting {
    id: u64,
    pollable: Arc<Pollable>,
    waker: Waker,
}

#[derive(Default)]
struct Reactor {
    last_id: u64,
    waiting: Vec<Waiting>,
}

thread_local! {
    static REACTOR: RefCell<Reactor> = RefCell::default();
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pollable.ready() {
            return Poll::Ready(());
        }
        REACTOR.with_borrow_mut(|reactor| {
            let known = self.id.and_then(|id| reactor.waiting.iter_mut().find(|waiting| waiting.id == id));
            match known {
                Some(waiting) => waiting.waker.clone_from(context.waker()),
                None => {
                    reactor.last_id += 1;
                    self.id = Some(reactor.last_id);
                    reactor.waiting.push(Waiting {
                        id: reactor.last_id,
                        pollable: Arc::clone(&self.pollable),
                        waker: context.waker().clone(),
                    });
                }
            }
        });
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            REACTOR.with_borrow_mut(|reactor| reactor.waiting.retain(|waiting| waiting.id != id));
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `future` to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        } else {
            wait();
        }
    }
}

/// Waits until something has happened, and wakes who waited for it.
fn wait() {
    let pollables: Vec<Arc<Pollable>> =
        REACTOR.with_borrow(|reactor| reactor.waiting.iter().map(|waiting| Arc::clone(&waiting.pollable)).collect());
    // Nobody is woken and nobody waits: no answer can come any more, and a poll of nothing traps. A future that
    // does this is a mistake in this program.
    assert!(!pollables.is_empty(), "the program waits for nothing");
    let mut happened = poll(&pollables.iter().map(Arc::as_ref).collect::<Vec<_>>());
    happened.sort_unstable();
    let wakers: Vec<Waker> = REACTOR.with_borrow_mut(|reactor| {
        let indexes = happened.into_iter().rev().filter_map(|index| usize::try_from(index).ok());
        indexes
            .filter(|index| *index < reactor.waiting.len())
            .collect::<Vec<_>>()
            .into_iter()
            .map(|index| reactor.waiting.swap_remove(index).waker)
            .collect()
    });
    wakers.into_iter().for_each(Waker::wake);
}
