//! Waiting until a cluster has settled: a 200 from Qdrant means "proposed", not "done".

use crate::error::{Code, Error};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

use super::job::Job;
use super::layout::{Placement, Step, Transfer, next_steps};
use crate::context::Context;
use crate::qdrant::{Cluster, CollectionInfo, Layout, Peer};

/// The first pause between two looks; it doubles up to `QDRANT_VERIFY_POLL_INTERVAL_SECONDS`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause that is made because others took that long.
const LEARNT_PAUSE: Duration = Duration::from_secs(1);

/// Rounds of steps after which a layout that still isn't reached never will be.
const ROUNDS: usize = 64;

/// Waits until the next step can be taken: one peer and all that hold a part of `collection` see every replica active and
/// nothing moving. Where one of the others does not, that step fails; whether all is right is looked at in the end
/// ([`settled`]). Returns the layout.
///
/// # Errors
/// The time is up: says what is still wrong.
pub(super) async fn ready(context: &Context, cluster: &Cluster, collection: &str) -> Result<Layout, Error> {
    until_settled(context, cluster, collection, Who::Holders).await
}

/// Waits until every peer sees every replica of `collection` active, nothing moving, and the same shards at the same places
/// as the one peer that was asked a moment before; returns the layout.
///
/// Every peer has a look of its own: one that takes a replica for dead leaves it out of its writes, whatever others see.
///
/// # Errors
/// The time is up: says what is still wrong.
pub(super) async fn settled(context: &Context, cluster: &Cluster, collection: &str) -> Result<Layout, Error> {
    until_settled(context, cluster, collection, Who::Everyone).await
}

/// Who has to see that a collection has settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The peers that hold a part of it.
    Holders,
    /// All peers, a moment after the first look: a 200 may come before what it is about is to be seen.
    Everyone,
}

async fn until_settled(context: &Context, cluster: &Cluster, collection: &str, who: Who) -> Result<Layout, Error> {
    let mut wait = Wait::begin(context);
    let first = cluster.peer_to_ask(collection).ok_or_else(nobody)?;
    // Who saw it move is the one to ask until it does not; all peers, each time, would be a storm.
    let mut asked = first;
    loop {
        let layout = match look_at(cluster, collection, asked).await {
            Ok(layout) => layout,
            Err(why) => {
                wait.pause(&why).await?;
                continue;
            }
        };
        if !std::ptr::eq(asked, first) {
            asked = first;
            continue;
        }
        wait.end();
        let others: Vec<&Peer> = match who {
            Who::Holders => {
                let holders = layout.peers();
                let holds =
                    |peer: &&Peer| peer.id.is_some_and(|id| holders.contains(&id)) && !std::ptr::eq(*peer, first);
                cluster.peers.iter().filter(holds).collect()
            }
            Who::Everyone => {
                // However long it took to settle, the second look need not.
                context.ports.clock.sleep(FIRST_PAUSE).await;
                cluster.peers.iter().collect()
            }
        };
        let looks = others.iter().map(|peer| async move { (*peer, look_at(cluster, collection, peer).await) });
        let mut differs = None;
        for (peer, look) in join_all(looks).await {
            match look {
                Ok(other) if other.shards == layout.shards => {}
                // Who is behind is not known.
                Ok(_) => {
                    let cause = format!("{} sees another layout than {}", peer.address(), first.address());
                    differs = differs.or(Some((first, restless(cause))));
                }
                Err(why) => differs = differs.or(Some((peer, why))),
            }
        }
        let Some((peer, why)) = differs else { return Ok(layout) };
        asked = peer;
        wait.pause(&why).await?;
    }
}

/// The wait for one collection.
struct Wait<'a> {
    context: &'a Context,
    started: Duration,
    /// The next pause; none was made yet where there is none.
    pause: Option<Duration>,
}

impl<'a> Wait<'a> {
    fn begin(context: &'a Context) -> Self {
        Self { context, started: context.ports.clock.monotonic(), pause: None }
    }

    fn elapsed(&self) -> Duration {
        self.context.ports.clock.monotonic().saturating_sub(self.started)
    }

    /// Waits until the next look. The first time about as long as the last collection took: with many of them, looks
    /// before are as many in vain.
    async fn pause(&mut self, why: &Error) -> Result<(), Error> {
        let settings = &self.context.settings;
        if self.elapsed() > settings.settle_timeout {
            let seconds = settings.settle_timeout.as_secs();
            let cause = format!("the cluster did not settle within {seconds} s: {why}");
            return Err(
                Error::new(Code::NotSettled, "", cause).advice("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS sets the limit")
            );
        }
        let learnt = || (self.context.limits.settling.get() * 9 / 10).clamp(FIRST_PAUSE, LEARNT_PAUSE);
        let pause = self.pause.unwrap_or_else(learnt).min(settings.poll_interval);
        self.pause = Some(self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(settings.poll_interval)));
        self.context.ports.clock.sleep(pause).await;
        Ok(())
    }

    /// It has settled: notes how long it took, where it took any time.
    fn end(&self) {
        if self.pause.is_some() {
            self.context.limits.settling.set(self.elapsed());
        }
    }
}

/// How long points that are hidden until they are optimised are waited for: with much to optimise it may be hours.
const DEFERRED: Duration = Duration::from_secs(60);

/// Waits a while until no point of the collection is hidden from counts; returns what it is then.
///
/// # Errors
/// A peer can't be asked, or the collection is gone.
pub(super) async fn optimised(job: &Job<'_>) -> Result<CollectionInfo, Error> {
    let clock = &job.context.ports.clock;
    let started = clock.monotonic();
    let mut pause = FIRST_PAUSE;
    loop {
        let info = job.info().await?;
        let waited = clock.monotonic().saturating_sub(started);
        if info.deferred_points() == 0 || waited >= DEFERRED.min(job.context.settings.settle_timeout) {
            return Ok(info);
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(job.context.settings.poll_interval);
    }
}

/// What one peer sees has not settled.
fn restless(cause: String) -> Error {
    Error::new(Code::NotSettled, "", cause)
}

fn nobody() -> Error {
    Error::new(Code::NoPeer, "", "there is no peer to ask")
}

/// What one peer sees, where all is active and nothing is moving. It has to be the peer itself that says it: two looks from
/// one are no looks from two.
async fn look_at(cluster: &Cluster, collection: &str, peer: &Peer) -> Result<Layout, Error> {
    let host = peer.address();
    let look = cluster.layout(peer, collection).await;
    let layout = look?.ok_or_else(|| restless(format!("{host} does not know the collection yet")))?;
    if peer.id.is_some_and(|id| id != layout.peer_id) {
        return Err(restless(format!("{host} answers as peer {} now", layout.peer_id)));
    }
    if layout.transfers + layout.resharding > 0 {
        return Err(restless(format!("{host} sees {} shard transfers running", layout.transfers + layout.resharding)));
    }
    for (shard, replicas) in &layout.shards {
        if let Some((peer, replica)) = replicas.replicas.iter().find(|(_, replica)| !replica.is_active()) {
            let state = &replica.state;
            return Err(restless(format!("{host} sees the replica of shard {shard} on peer {peer} as {state}")));
        }
    }
    Ok(layout)
}

/// Brings the replicas of `collection` from the settled `layout` to the peers in `wanted`, one step a shard at a time;
/// returns the layout in the end.
///
/// # Errors
/// Qdrant refuses a step, or the cluster does not settle.
pub(super) async fn lay_out(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    mut layout: Layout,
    wanted: &Placement,
    transfer: Transfer,
) -> Result<Layout, Error> {
    // Shards whose last step had no known outcome.
    let mut open = BTreeSet::new();
    for _ in 0..ROUNDS {
        let steps = next_steps(&layout.placement(), wanted);
        if steps.is_empty() {
            return Ok(layout);
        }
        let mut still_open = BTreeSet::new();
        for step in &steps {
            if !take(context, cluster, collection, *step, transfer, &open).await? {
                still_open.insert(step.shard());
            }
        }
        open = still_open;
        layout = ready(context, cluster, collection).await?;
    }
    let cause = "the shards can't be brought to the peers that will get their data";
    Err(Error::new(Code::NotSettled, "", cause).advice("see the log of the Qdrant pods"))
}

/// Takes a step. False where it may be under way, or may never be done: the next look tells, and it is repeated if it is not.
/// `open`: the shards whose last step was such a one, which may be what a refusal is about.
async fn take(
    context: &Context,
    cluster: &Cluster,
    collection: &str,
    step: Step,
    transfer: Transfer,
    open: &BTreeSet<u32>,
) -> Result<bool, Error> {
    let peer = cluster.peer_to_ask(collection).ok_or_else(nobody)?;
    match peer.client.change_layout(collection, &step.body(transfer)).await {
        Ok(()) => Ok(true),
        Err(error) if error.outcome_is_unknown() => {
            context.log.warn(Some(&peer.address()), &format!("`{collection}`: {error}; checking whether it was done"));
            Ok(false)
        }
        // It was done meanwhile, or is; a refusal of another kind comes again.
        Err(error) if error.is_refused() && open.contains(&step.shard()) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::unreachable)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use futures_executor::block_on;
    use http::{HeaderMap, StatusCode};
    use serde_json::json;
    use time::OffsetDateTime;

    use crate::ports::nothing::Nothing;
    use crate::ports::{Body, Clock, Http, HttpError, LocalBoxFuture, Ports, Request, Response};
    use crate::qdrant::Client;
    use crate::settings::{DefaultPort, Host, Needs, from_variables};

    /// Four peers, of which peer 2 sees the replica on peer 3 as not active for its first looks.
    struct Servers {
        looks: RefCell<Vec<String>>,
        restless: Cell<usize>,
        away: Cell<bool>,
        /// Where that is, who answers at the address of peer 4.
        fourth: Cell<u64>,
        clock: Cell<Duration>,
    }

    struct Text(Option<Vec<u8>>);

    impl Body for Text {
        fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
            Box::pin(std::future::ready(Ok(self.0.take())))
        }
    }

    impl Http for Servers {
        fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            let peer = request.uri.host().unwrap().to_owned();
            if self.away.get() {
                return Box::pin(std::future::ready(Err(HttpError::Interrupted("reset".to_owned()))));
            }
            let restless = peer == "peer-2" && self.restless.get() > 0;
            if restless {
                self.restless.set(self.restless.get() - 1);
            }
            let id: u64 = peer.trim_start_matches("peer-").parse().unwrap();
            let id = if id == 4 { self.fourth.get() } else { id };
            self.looks.borrow_mut().push(peer);
            let state = if restless { "Partial" } else { "Active" };
            let answer = json!({"status": "ok", "result": {
                "peer_id": id, "local_shards": [], "remote_shards": [{"shard_id": 0, "peer_id": 3, "state": state}],
                "shard_transfers": [],
            }});
            let body = Box::new(Text(Some(answer.to_string().into_bytes())));
            Box::pin(std::future::ready(Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body })))
        }
    }

    impl Clock for Servers {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            self.clock.get()
        }
        fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
            self.clock.set(self.clock.get() + duration);
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> u64 {
            0
        }
    }

    fn place(restless: usize) -> (Rc<Servers>, Context, Cluster) {
        let servers = Rc::new(Servers {
            looks: RefCell::default(),
            restless: Cell::new(restless),
            away: Cell::default(),
            fourth: Cell::new(4),
            clock: Cell::default(),
        });
        let ports =
            Ports { http: servers.clone(), clock: servers.clone(), files: Rc::new(Nothing), console: Rc::new(Nothing) };
        let variables = [("QDRANT_SOURCE_HOSTS".to_owned(), "peer-1".to_owned())];
        let needs = Needs { source: true, ..Needs::NOTHING };
        let (settings, _) = from_variables(&variables, needs).unwrap();
        let host = |number: u64| Host::parse(&format!("http://peer-{number}"), DefaultPort::Always(6333)).unwrap();
        let peers = (1..=4).map(|number| Peer {
            id: Some(number),
            client: Client::new(ports.clone(), host(number), None, Duration::from_secs(1)),
            version: "1.18.3".to_owned(),
            commit: None,
        });
        let cluster = Cluster {
            host: host(1),
            distributed: true,
            members: std::collections::BTreeSet::new(),
            peers: peers.collect(),
            missing: Vec::new(),
        };
        (servers, Context::new(ports, settings), cluster)
    }

    /// A name of a collection about which this peer is asked.
    fn asked_of(cluster: &Cluster, id: u64) -> String {
        let mut names = (0..).map(|number: u32| format!("docs-{number}"));
        names.find(|name| cluster.peer_to_ask(name).unwrap().id == Some(id)).unwrap()
    }

    /// How often each peer was asked.
    fn looks(servers: &Servers) -> [usize; 4] {
        let looks = servers.looks.take();
        [1, 2, 3, 4].map(|id| looks.iter().filter(|peer| **peer == format!("peer-{id}")).count())
    }

    #[test]
    fn in_the_end_every_peer_has_a_look_of_its_own() {
        let (servers, context, cluster) = place(0);
        block_on(settled(&context, &cluster, &asked_of(&cluster, 1))).unwrap();
        assert_eq!(looks(&servers), [2, 1, 1, 1]);
        assert_eq!(servers.clock.get(), FIRST_PAUSE);
    }

    #[test]
    fn on_the_way_those_look_that_hold_a_part() {
        for (asked, expected) in [(1, [1, 0, 1, 0]), (3, [0, 0, 1, 0])] {
            let (servers, context, cluster) = place(0);
            block_on(ready(&context, &cluster, &asked_of(&cluster, asked))).unwrap();
            assert_eq!((looks(&servers), servers.clock.get()), (expected, Duration::ZERO));
        }
    }

    #[test]
    fn who_sees_it_move_is_asked_alone_until_it_settles() {
        let (servers, context, cluster) = place(6);
        block_on(settled(&context, &cluster, &asked_of(&cluster, 2))).unwrap();
        assert_eq!(looks(&servers), [1, 6 + 2, 1, 1]);
        // 50 ms, doubled each time but the first; and 50 ms before the look of all.
        let took = Duration::from_millis(50 * (1 + 1 + 2 + 4 + 8 + 16));
        assert_eq!(servers.clock.get(), took + FIRST_PAUSE);
        // Whoever it is: all are asked again when it has settled there.
        servers.restless.set(6);
        context.limits.settling.take();
        block_on(settled(&context, &cluster, &asked_of(&cluster, 1))).unwrap();
        assert_eq!(looks(&servers), [2 + 2, 6 + 1 + 1, 2, 2]);
    }

    #[test]
    fn the_first_pause_is_what_the_last_one_took() {
        let (servers, context, cluster) = place(1);
        context.limits.settling.set(Duration::from_millis(500));
        block_on(ready(&context, &cluster, &asked_of(&cluster, 2))).unwrap();
        let took = servers.clock.get();
        assert_eq!(took.as_millis(), 450);
        assert_eq!(context.limits.settling.get(), took);
        // Never a long one.
        context.limits.settling.set(Duration::from_secs(600));
        servers.restless.set(1);
        block_on(ready(&context, &cluster, &asked_of(&cluster, 2))).unwrap();
        assert_eq!(servers.clock.get() - took, LEARNT_PAUSE);
    }

    #[test]
    fn another_peer_at_its_address_is_no_look_of_a_peer() {
        let (servers, context, cluster) = place(0);
        servers.fourth.set(1);
        let error = block_on(settled(&context, &cluster, &asked_of(&cluster, 1))).unwrap_err().to_string();
        assert!(error.contains("http://peer-4:6333 answers as peer 1 now"), "{error}");
    }

    #[test]
    fn a_peer_that_just_answered_is_asked_again_a_second_later() {
        let (servers, _, cluster) = place(0);
        let client = &cluster.peer(1).unwrap().client;
        let expect = |id| block_on(client.expect_peer("docs", id));
        expect(1).unwrap();
        expect(1).unwrap();
        assert_eq!(servers.looks.take().len(), 1);
        assert!(expect(2).unwrap_err().contains("answers as peer 1 now and not as peer 2"));
        assert_eq!(servers.looks.take().len(), 1);
        servers.clock.set(servers.clock.get() + Duration::from_secs(1));
        expect(1).unwrap();
        assert_eq!(servers.looks.take().len(), 1, "it may have been replaced meanwhile");
        servers.away.set(true);
        assert!(block_on(client.count("docs")).is_err());
        assert!(expect(1).is_err());
        servers.away.set(false);
        servers.looks.take();
        expect(1).unwrap();
        assert_eq!(servers.looks.take().len(), 1, "what was away may be another one");
    }

    #[test]
    fn what_never_rests_is_an_error_that_names_who_sees_it() {
        let (_, context, cluster) = place(usize::MAX);
        let error = block_on(settled(&context, &cluster, &asked_of(&cluster, 1))).unwrap_err().to_string();
        assert!(error.contains("http://peer-2:6333 sees the replica of shard 0 on peer 3 as Partial"), "{error}");
    }
}
