//! When a call is sent again, how long is waited before that, and when it is given up: the one loop for all calls.
//!
//! Faults that pass by themselves are waited out for minutes (`QDRANT_RETRY_MAX_DURATION`), as a backup of hours must not
//! fail because a store asks for less, or a pod is restarted. What would end the same way again is not repeated.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use time::OffsetDateTime;

use crate::log::Log;
use crate::ports::{Clock, HttpError, LocalBoxFuture, Ports};
use crate::settings::{LogFormat, Settings};
use crate::timestamp;

/// The longest pause that is not asked for by the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a server is waited for that has not answered once: most often its address is wrong, and nothing is lost by
/// then.
const FIRST_CONTACT: Duration = Duration::from_secs(60);

/// A wait that gets longer than this is told in the log.
const SILENT: Duration = Duration::from_secs(2);

/// How often it is told while it lasts.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Failures that are further apart are two faults: longer than the longest pause and the longest wait for an answer.
const APART: Duration = Duration::from_secs(180);

/// The limit where no settings are: five minutes.
const DEFAULT_LIMIT: Duration = Duration::from_secs(300);

/// What a failed call means for sending it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// The same call may succeed a little later, and sending it again can do no harm.
    Passing,
    /// As [`Nature::Passing`] from a server that has answered before in this run: TLS that failed, as it does while a
    /// proxy is restarted. At the first contact it is a wrong certificate, and lasts.
    PassingIfAnswered,
    /// The server said it, and would say it again.
    Answer,
    /// Nothing was asked, or sending it again could do harm.
    Lasting,
}

/// A failed call.
pub(crate) trait Fault: fmt::Display {
    /// Whether it is worth, and safe, to send the call again.
    fn nature(&self) -> Nature;

    /// How long the server asks to be left alone (`Retry-After`).
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl HttpError {
    /// What it means for a call that may be sent twice.
    pub(crate) fn nature(&self) -> Nature {
        match self {
            Self::Denied | Self::ReadOnly(_) | Self::Invalid(_) => Nature::Lasting,
            Self::Tls(_) => Nature::PassingIfAnswered,
            Self::Connect(_) | Self::Timeout(_) | Self::Interrupted(_) => Nature::Passing,
        }
    }
}

/// Sends the calls to one server again. Clones share what is known of the server.
#[derive(Clone)]
pub struct Retries {
    clock: Rc<dyn Clock>,
    log: Log,
    limit: Duration,
    server: String,
    state: Rc<RefCell<State>>,
}

/// What is known of the server.
#[derive(Default)]
struct State {
    /// It has answered in this run.
    answered: bool,
    /// Since when and until when calls have failed with none that succeeded in between.
    failing: Option<(Duration, Duration)>,
    /// When its failing was told in the log.
    told: Option<Duration>,
}

/// How one call went so far.
struct Tries {
    begun: Duration,
    failed: Option<Duration>,
    number: u32,
}

impl Retries {
    /// For the calls to `server` (a name for the log) with the limit of `settings`.
    pub(crate) fn new(ports: &Ports, settings: &Settings, server: impl Into<String>) -> Self {
        Self::with(ports, Log::new(ports, settings), settings.retry_limit, server.into())
    }

    /// For programs without settings: the default limit.
    pub(crate) fn without_settings(ports: &Ports, server: impl Into<String>) -> Self {
        Self::with(ports, Log::plain(ports, LogFormat::Text), DEFAULT_LIMIT, server.into())
    }

    fn with(ports: &Ports, log: Log, limit: Duration, server: String) -> Self {
        Self { clock: Rc::clone(&ports.clock), log, limit, server, state: Rc::default() }
    }

    /// The same for another server, of which nothing is known yet.
    pub(crate) fn for_server(&self, server: impl Into<String>) -> Self {
        Self { server: server.into(), state: Rc::default(), ..self.clone() }
    }

    /// Calls `call` until it succeeds, fails in a way that lasts, or the limit is reached.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn run<T, E: Fault>(&self, mut call: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
        let mut tries = Tries { begun: self.clock.monotonic(), failed: None, number: 0 };
        loop {
            match self.attended(call()).await {
                Ok(value) => {
                    self.answered();
                    return Ok(value);
                }
                Err(fault) => match self.pause(&mut tries, &fault) {
                    Some(pause) => self.clock.sleep(pause).await,
                    None => return Err(fault),
                },
            }
        }
    }

    /// Waits for `call`. A server that has not answered once is told of while it does not: most often nobody is there.
    async fn attended<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let mut silence: Option<LocalBoxFuture<'_, ()>> = None;
        poll_fn(|context| {
            if let Poll::Ready(ended) = call.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let silence = silence.get_or_insert_with(|| self.clock.sleep(SILENT));
            if silence.as_mut().poll(context).is_ready() {
                *silence = Box::pin(std::future::pending());
                self.tell_of_silence();
            }
            Poll::Pending
        })
        .await
    }

    fn tell_of_silence(&self) {
        let mut state = self.state.borrow_mut();
        if !state.answered && state.told.is_none() {
            state.told = Some(self.clock.monotonic());
            let seconds = SILENT.as_secs();
            self.log.warn(None, &format!("{} has not answered yet, after {seconds} s", self.server));
        }
    }

    /// The server gave an answer, if not the one that was asked for: from now on it is waited for as one that is there.
    pub(crate) fn is_there(&self) {
        self.state.borrow_mut().answered = true;
    }

    /// The server answered: what failed before has passed.
    fn answered(&self) {
        let mut state = self.state.borrow_mut();
        state.answered = true;
        let failing = state.failing.take();
        if let (Some(_), Some((since, _))) = (state.told.take(), failing) {
            let seconds = self.clock.monotonic().saturating_sub(since).as_secs();
            self.log.info(None, &format!("{} answers again, after {seconds} s", self.server));
        }
    }

    /// How long to wait before the next try; `None`: there is none.
    fn pause(&self, tries: &mut Tries, fault: &dyn Fault) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut state = self.state.borrow_mut();
        match fault.nature() {
            Nature::Passing => {}
            Nature::PassingIfAnswered if state.answered => {}
            Nature::PassingIfAnswered | Nature::Lasting => return None,
            Nature::Answer => {
                state.answered = true;
                return None;
            }
        }
        // A server that is down is down for all calls: those that come later don't begin to wait anew.
        let before = state.failing.filter(|(_, until)| now.saturating_sub(*until) < APART);
        let since = before.map_or(now, |(since, _)| since);
        state.failing = Some((since, now));
        tries.number += 1;
        let since = since.min(*tries.failed.get_or_insert(now));
        let limit = if state.answered { self.limit } else { self.limit.min(FIRST_CONTACT) };
        let left = limit.saturating_sub(now.saturating_sub(since));
        if left.is_zero() {
            return None;
        }
        let pause = backoff(self.clock.as_ref(), tries.number).max(fault.retry_after().unwrap_or_default()).min(left);
        self.log.waiting(&fault.to_string());
        // Who has not answered once will most often not do so: that is said at once.
        let long = !state.answered || now.saturating_sub(tries.begun) + pause >= SILENT;
        if long && state.told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY) {
            state.told = Some(now);
            let waited = now.saturating_sub(since).as_secs();
            let limit = limit.as_secs();
            self.log
                .warn(None, &format!("{fault}; retrying, {waited} s of {limit} s so far (QDRANT_RETRY_MAX_DURATION)"));
        }
        Some(pause)
    }
}

/// The pause after the failure `number` (from 1): exponential, with jitter so that many calls do not come back together.
fn backoff(clock: &dyn Clock, number: u32) -> Duration {
    let longest = u64::try_from(LONGEST_PAUSE.as_millis()).unwrap_or(u64::MAX);
    let ceiling = (250_u64 << number.min(16)).min(longest);
    Duration::from_millis(ceiling / 2 + clock.random() % (ceiling / 2))
}

/// `Retry-After` in its two forms, seconds and a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Duration::try_from(timestamp::read_http(text)? - now).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::cell::Cell;

    use futures_executor::block_on;
    use http::HeaderValue;
    use time::macros::datetime;

    use super::*;
    use crate::ports::nothing::Nothing;
    use crate::ports::{Console, Http, Request, Response};

    /// Time that passes by sleeping alone, and the lines of the log with their moments.
    #[derive(Default)]
    struct World {
        now: Cell<Duration>,
        lines: RefCell<Vec<(u64, String)>>,
    }

    impl Clock for World {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH + self.now.get()
        }
        fn monotonic(&self) -> Duration {
            self.now.get()
        }
        fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
            self.now.set(self.now.get() + duration);
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> u64 {
            0
        }
    }

    impl Console for World {
        fn data(&self, _: &str) {}
        fn log(&self, line: &str) {
            self.lines.borrow_mut().push((self.now.get().as_secs(), line.to_owned()));
        }
    }

    impl Http for World {
        fn send(&self, _: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            unreachable!()
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Failure(Nature, Option<u64>);

    impl Fault for Failure {
        fn nature(&self) -> Nature {
            self.0
        }
        fn retry_after(&self) -> Option<Duration> {
            self.1.map(Duration::from_secs)
        }
    }

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("S3 answered 503")
        }
    }

    const PASSING: Failure = Failure(Nature::Passing, None);

    fn place(limit: u64) -> (Rc<World>, Retries) {
        let world = Rc::new(World::default());
        let nothing = Rc::new(Nothing);
        let ports = Ports { http: world.clone(), clock: world.clone(), files: nothing, console: world.clone() };
        let log = Log::plain(&ports, LogFormat::Text);
        (world, Retries::with(&ports, log, Duration::from_secs(limit), "S3".to_owned()))
    }

    /// A call that fails as `failure` says until the second `until`; the moments of its tries.
    fn outage(world: &World, retries: &Retries, failure: Failure, until: u64) -> (Result<(), Failure>, Vec<u64>) {
        let mut tries = Vec::new();
        let ended = block_on(retries.run(async || {
            tries.push(world.now.get().as_secs());
            if world.now.get().as_secs() < until { Err(failure) } else { Ok(()) }
        }));
        (ended, tries)
    }

    /// The server has answered once.
    fn answered(world: &World, retries: &Retries) {
        outage(world, retries, PASSING, 0).0.unwrap();
    }

    #[test]
    fn outages_up_to_the_limit_are_waited_out() {
        for seconds in [5, 12, 30, 60, 290] {
            let (world, retries) = place(300);
            answered(&world, &retries);
            let (ended, tries) = outage(&world, &retries, PASSING, seconds);
            ended.unwrap();
            assert!(tries.len() < 30, "{seconds}: {tries:?}");
        }
    }

    #[test]
    fn a_fault_that_does_not_pass_is_given_up_at_the_limit() {
        let (world, retries) = place(300);
        answered(&world, &retries);
        let (ended, tries) = outage(&world, &retries, PASSING, u64::MAX);
        assert_eq!(ended, Err(PASSING));
        assert_eq!((tries.last(), tries.len() < 30), (Some(&300), true), "{tries:?}");
        assert!(tries.windows(2).all(|pair| pair[1] - pair[0] <= 30), "{tries:?}");
    }

    #[test]
    fn who_gave_up_on_a_server_does_not_wait_again_until_it_answers() {
        let (world, retries) = place(300);
        answered(&world, &retries);
        outage(&world, &retries, PASSING, u64::MAX).0.unwrap_err();
        assert_eq!(outage(&world, &retries, PASSING, u64::MAX).1.len(), 1);
        answered(&world, &retries);
        assert!(outage(&world, &retries, PASSING, u64::MAX).1.len() > 5);
        // Another server, or another fault much later, is waited for.
        answered(&world, &retries.for_server("Qdrant"));
        block_on(world.sleep(Duration::from_secs(3600)));
        assert!(outage(&world, &retries, PASSING, u64::MAX).1.len() > 5);
    }

    #[test]
    fn a_server_that_never_answered_is_waited_for_a_minute() {
        let (world, retries) = place(300);
        let (ended, tries) = outage(&world, &retries, PASSING, u64::MAX);
        assert_eq!((ended, tries.last()), (Err(PASSING), Some(&60)));
        // An answer that is a refusal is one, too.
        let (world, retries) = place(300);
        outage(&world, &retries, Failure(Nature::Answer, None), 1).0.unwrap_err();
        assert_eq!(outage(&world, &retries, PASSING, u64::MAX).1.last(), Some(&300));
    }

    #[test]
    fn who_has_not_answered_once_is_told_at_once() {
        let (world, retries) = place(300);
        outage(&world, &retries, PASSING, 1).0.unwrap();
        let lines = world.lines.take();
        assert!(
            lines.first().is_some_and(|(at, line)| *at == 0 && line.contains("S3 answered 503; retrying, 0 s of 60 s")),
            "{lines:?}"
        );
        // One that takes the connection and says nothing.
        let (world, retries) = place(300);
        let mut slow = pin!(retries.run(async || {
            std::future::pending::<()>().await;
            Err::<(), Failure>(PASSING)
        }));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(slow.as_mut().poll(&mut context).is_pending());
        let lines = world.lines.take();
        assert!(lines.len() == 1 && lines[0].0 <= 2 && lines[0].1.contains("S3 has not answered yet"), "{lines:?}");
        // One that is there may take its time.
        let (world, retries) = place(300);
        answered(&world, &retries);
        let mut slow = pin!(retries.run(async || {
            std::future::pending::<()>().await;
            Err::<(), Failure>(PASSING)
        }));
        assert!(slow.as_mut().poll(&mut context).is_pending());
        assert!(world.lines.take().is_empty());
    }

    #[test]
    fn what_lasts_is_not_repeated() {
        for nature in [Nature::Lasting, Nature::Answer, Nature::PassingIfAnswered] {
            let (world, retries) = place(300);
            let (ended, tries) = outage(&world, &retries, Failure(nature, None), 9);
            assert_eq!((ended.is_err(), tries), (true, vec![0]), "{nature:?}");
        }
        let (world, retries) = place(300);
        answered(&world, &retries);
        outage(&world, &retries, Failure(Nature::PassingIfAnswered, None), 9).0.unwrap();
        let (world, retries) = place(0);
        assert_eq!(outage(&world, &retries, PASSING, 9).1, [0]);
    }

    #[test]
    fn the_server_s_own_wish_is_respected() {
        let (world, retries) = place(300);
        answered(&world, &retries);
        let (ended, tries) = outage(&world, &retries, Failure(Nature::Passing, Some(120)), 100);
        assert_eq!((ended, tries), (Ok(()), vec![0, 120]));
        // Who asks for no pause at all does not get one call after another.
        let (world, retries) = place(300);
        answered(&world, &retries);
        assert!(outage(&world, &retries, Failure(Nature::Passing, Some(0)), 100).1.len() < 30);
        // Not beyond the limit.
        let (world, retries) = place(90);
        answered(&world, &retries);
        let (ended, tries) = outage(&world, &retries, Failure(Nature::Passing, Some(3600)), 100);
        assert_eq!((ended.is_err(), tries), (true, vec![0, 90]));
    }

    #[test]
    fn a_wait_is_told_within_two_seconds_and_then_every_30() {
        let (world, retries) = place(300);
        answered(&world, &retries);
        outage(&world, &retries, PASSING, 1).0.unwrap();
        assert!(world.lines.take().is_empty(), "a short one is nobody's business");
        let begun = world.now.get().as_secs();
        // Two calls at the same server are one outage.
        outage(&world, &retries, PASSING, begun + 200).0.unwrap();
        let lines = world.lines.take();
        let times: Vec<u64> = lines.iter().map(|(time, _)| time - begun).collect();
        assert!(times[0] <= 2 && times.len() <= 9, "{lines:?}");
        let (last, told) = times.split_last().unwrap();
        assert!(told.windows(2).all(|pair| (30..=60).contains(&(pair[1] - pair[0]))), "{lines:?}");
        assert!(lines[0].1.contains("S3 answered 503; retrying, 1 s of 300 s"), "{lines:?}");
        assert!(*last >= 200 && lines.last().unwrap().1.contains("S3 answers again, after"), "{lines:?}");
    }

    #[test]
    fn pauses_grow_with_jitter_and_stay_bounded() {
        struct Random(u64);
        impl Clock for Random {
            fn now(&self) -> OffsetDateTime {
                unreachable!()
            }
            fn monotonic(&self) -> Duration {
                unreachable!()
            }
            fn sleep(&self, _: Duration) -> LocalBoxFuture<'_, ()> {
                unreachable!()
            }
            fn random(&self) -> u64 {
                self.0
            }
        }
        for random in [0, 7, u64::MAX] {
            for number in 1..100 {
                let pause = backoff(&Random(random), number);
                let ceiling = Duration::from_millis(250 << number.min(16)).min(LONGEST_PAUSE);
                assert!(pause >= ceiling / 2 && pause <= ceiling, "{number}: {pause:?}");
            }
        }
    }

    #[test]
    fn retry_after_has_two_forms() {
        let now = datetime!(2026-01-29 11:44:22 UTC);
        let read = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]), now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Thu, 29 Jan 2026 11:45:00 GMT"), Some(Duration::from_secs(38)));
        assert_eq!(read("Thu, 29 Jan 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
