//! Polls futures and waits for WASI: all waiting is done in one `wasi:io/poll` call over everything waited for.
//!
//! Every call of that kind looks at all that is waited for, so that there is as little of it as can be: all times share
//! one pollable, that of the earliest.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

/// Completes when what `pollable` stands for has happened.
pub fn ready(pollable: Pollable) -> Event {
    Event { what: Some(What::Pollable(pollable)), place: None }
}

/// Completes after `duration`. More than 584 years is as good as 584 years.
pub fn sleep(duration: Duration) -> Event {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Event { what: Some(What::Time(monotonic_clock::now().saturating_add(nanoseconds))), place: None }
}

/// See [`ready`] and [`sleep`]. May be dropped at any time.
pub struct Event {
    /// Until it is waited for.
    what: Option<What>,
    /// From then on.
    place: Option<usize>,
}

enum What {
    Pollable(Pollable),
    /// A moment of the monotonic clock.
    Time(u64),
}

enum Place {
    Free,
    Waiting(What, Waker),
    Happened,
}

#[derive(Default)]
struct Reactor {
    places: Vec<Place>,
    free: Vec<usize>,
    /// For the earliest time, or one before it.
    alarm: Option<(u64, Pollable)>,
}

thread_local! {
    static REACTOR: RefCell<Reactor> = RefCell::default();
}

impl Future for Event {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        REACTOR.with_borrow_mut(|reactor| {
            if let Some(what) = self.what.take() {
                self.place = Some(reactor.wait_for(what, context.waker()));
                return Poll::Pending;
            }
            match self.place.and_then(|place| reactor.places.get_mut(place)) {
                Some(Place::Waiting(_, waker)) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            REACTOR.with_borrow_mut(|reactor| reactor.release(place));
        }
    }
}

impl Reactor {
    fn wait_for(&mut self, what: What, waker: &Waker) -> usize {
        let waiting = Place::Waiting(what, waker.clone());
        match self.free.pop() {
            Some(free) => {
                if let Some(place) = self.places.get_mut(free) {
                    *place = waiting;
                }
                free
            }
            None => {
                self.places.push(waiting);
                self.places.len() - 1
            }
        }
    }

    fn release(&mut self, place: usize) {
        if let Some(free) = self.places.get_mut(place) {
            *free = Place::Free;
            self.free.push(place);
        }
    }

    /// Waits until something has happened; returns who waited for it.
    fn wait(&mut self) -> Vec<Waker> {
        let mut earliest: Option<u64> = None;
        for place in &self.places {
            if let Place::Waiting(What::Time(time), _) = place {
                earliest = Some(earliest.map_or(*time, |earliest| earliest.min(*time)));
            }
        }
        match earliest {
            None => self.alarm = None,
            Some(earliest) if self.alarm.as_ref().is_none_or(|(time, _)| *time > earliest) => {
                self.alarm = Some((earliest, monotonic_clock::subscribe_instant(earliest)));
            }
            Some(_) => {}
        }
        let mut numbers = Vec::new();
        let mut pollables = Vec::new();
        for (number, place) in self.places.iter().enumerate() {
            if let Place::Waiting(What::Pollable(pollable), _) = place {
                numbers.push(number);
                pollables.push(pollable);
            }
        }
        pollables.extend(self.alarm.as_ref().map(|(_, pollable)| pollable));
        // Nobody is woken and nobody waits: no answer can come any more, and a poll of nothing traps. A future that
        // does this is a mistake in this program.
        assert!(!pollables.is_empty(), "the program waits for nothing");
        let happened = poll(&pollables);
        let mut wakers = Vec::new();
        for index in happened.into_iter().filter_map(|index| usize::try_from(index).ok()) {
            match numbers.get(index) {
                Some(number) => wakers.extend(self.happened(*number)),
                None => {
                    self.alarm = None;
                    let now = monotonic_clock::now();
                    for number in 0..self.places.len() {
                        if matches!(self.places.get(number), Some(Place::Waiting(What::Time(time), _)) if *time <= now)
                        {
                            wakers.extend(self.happened(number));
                        }
                    }
                }
            }
        }
        wakers
    }

    fn happened(&mut self, number: usize) -> Option<Waker> {
        match std::mem::replace(self.places.get_mut(number)?, Place::Happened) {
            Place::Waiting(_, waker) => Some(waker),
            Place::Free | Place::Happened => None,
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future that is worked at in several calls. Others may be worked at in between.
pub struct Work<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Woken>,
}

impl<T> Work<T> {
    /// Nothing is done yet.
    pub fn new(future: Pin<Box<dyn Future<Output = T>>>) -> Self {
        Self { future, woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    /// Makes the future look around at the next call, whatever it waits for.
    pub fn wake(&self) {
        self.woken.0.store(true, Ordering::Relaxed);
    }

    /// Works until the future's end, for `limit` (`None`: as long as it takes), or until `pause` is true; `None` unless it
    /// has ended.
    pub fn work(&mut self, limit: Option<Duration>, pause: &dyn Fn() -> bool) -> Option<T> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let mut over = limit.map(sleep);
        loop {
            if self.woken.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(output) = self.future.as_mut().poll(&mut context)
            {
                return Some(output);
            }
            if pause() {
                return None;
            }
            if let Some(over) = &mut over
                && Pin::new(over).poll(&mut context).is_ready()
            {
                // Woken by that, too: what was waited for besides is looked at in the next call.
                return None;
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                REACTOR.with_borrow_mut(Reactor::wait).into_iter().for_each(Waker::wake);
            }
        }
    }
}

/// Runs `future` to its end.
pub fn block_on<T>(future: Pin<Box<dyn Future<Output = T>>>) -> T {
    let mut work = Work::new(future);
    loop {
        if let Some(output) = work.work(None, &|| false) {
            return output;
        }
    }
}
