//! Waiting until a cluster has settled: a 200 from Qdrant means "proposed", not "done".

use crate::error::{Code, Error};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

use super::job::Job;
use super::layout::{Placement, Step, Transfer, next_steps};
use crate::context::Context;
use crate::qdrant::{Cluster, Layout, Peer, QdrantError};

/// The first pause between two looks; it doubles up to `QDRANT_VERIFY_POLL_INTERVAL_SECONDS`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Rounds of steps after which a layout that still isn't reached never will be.
const ROUNDS: usize = 64;

/// Waits until every peer sees every replica of `collection` active and nothing moving, twice in a row, and
/// returns the layout.
///
/// # Errors
/// The time is up: says what is still wrong.
pub(super) async fn settled(context: &Context, cluster: &Cluster, collection: &str) -> Result<Layout, Error> {
    let clock = &context.ports.clock;
    let started = clock.monotonic();
    let mut pause = FIRST_PAUSE;
    let mut before: Option<Layout> = None;
    // Who saw it move is the one to ask until it does not; all peers, each time, would be a storm.
    let mut waiting_for: Option<&Peer> = None;
    loop {
        let look = match waiting_for {
            Some(peer) => at_rest(cluster, collection, std::slice::from_ref(peer)).await.map(|_| None),
            None => at_rest(cluster, collection, &cluster.peers).await.map(Some),
        };
        match look {
            Ok(None) => {
                waiting_for = None;
                continue;
            }
            Ok(Some(layout)) if before.as_ref().is_some_and(|before| before.shards == layout.shards) => {
                return Ok(layout);
            }
            Ok(Some(layout)) => {
                before = Some(layout);
                // However long it took to settle, the second look need not.
                pause = FIRST_PAUSE;
            }
            Err((peer, why)) => {
                before = None;
                waiting_for = peer;
                let elapsed = clock.monotonic().saturating_sub(started);
                if elapsed > context.settings.settle_timeout {
                    let seconds = context.settings.settle_timeout.as_secs();
                    let cause = format!("the cluster did not settle within {seconds} s: {why}");
                    return Err(Error::new(Code::NotSettled, "", cause)
                        .advice("QDRANT_VERIFY_GREEN_TIMEOUT_SECONDS sets the limit"));
                }
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(context.settings.poll_interval);
    }
}

/// How long points that are hidden until they are optimised are waited for: with much to optimise it may be hours.
const DEFERRED: Duration = Duration::from_secs(60);

/// Waits a while until no point of the collection is hidden from counts; returns how many still are.
///
/// # Errors
/// A peer can't be asked.
pub(super) async fn deferred(job: &Job<'_>) -> Result<u64, Error> {
    let clock = &job.context.ports.clock;
    let started = clock.monotonic();
    let mut pause = FIRST_PAUSE;
    loop {
        let info = job.client()?.collection(&job.plan.collection).await?;
        let deferred = info.map_or(0, |info| info.deferred_points());
        let waited = clock.monotonic().saturating_sub(started);
        if deferred == 0 || waited >= DEFERRED.min(job.context.settings.settle_timeout) {
            return Ok(deferred);
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(job.context.settings.poll_interval);
    }
}

/// One look from each of `peers`. An error comes with the peer that does not see it settled, where it is one.
async fn at_rest<'a>(
    cluster: &'a Cluster,
    collection: &str,
    peers: &'a [Peer],
) -> Result<Layout, (Option<&'a Peer>, Error)> {
    let looks = join_all(peers.iter().map(|peer| async move { (peer, cluster.layout(peer, collection).await) }));
    let mut first: Option<Layout> = None;
    for (peer, look) in looks.await {
        let layout = seen_at_rest(peer, look).map_err(|why| (Some(peer), why))?;
        match &first {
            None => first = Some(layout),
            Some(first) if first.placement() != layout.placement() => {
                return Err((None, restless(format!("{} sees another layout than the first peer", peer.address()))));
            }
            Some(_) => {}
        }
    }
    first.ok_or_else(|| (None, nobody()))
}

/// What one peer sees has not settled.
fn restless(cause: String) -> Error {
    Error::new(Code::NotSettled, "", cause)
}

fn nobody() -> Error {
    Error::new(Code::NoPeer, "", "there is no peer to ask")
}

/// What one peer sees, where all is active and nothing is moving.
fn seen_at_rest(peer: &Peer, look: Result<Option<Layout>, QdrantError>) -> Result<Layout, Error> {
    let host = peer.address();
    let layout = look?.ok_or_else(|| restless(format!("{host} does not know the collection yet")))?;
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
        layout = settled(context, cluster, collection).await?;
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

    /// Four peers, of which peer 2 sees one collection's replica as not active for its first looks.
    struct Servers {
        looks: RefCell<Vec<String>>,
        restless: Cell<usize>,
        away: Cell<bool>,
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
            self.looks.borrow_mut().push(peer);
            let state = if restless { "Partial" } else { "Active" };
            let answer = json!({"status": "ok", "result": {
                "peer_id": 1, "local_shards": [], "remote_shards": [{"shard_id": 0, "peer_id": 3, "state": state}],
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
            clock: Cell::default(),
        });
        let ports =
            Ports { http: servers.clone(), clock: servers.clone(), files: Rc::new(Nothing), console: Rc::new(Nothing) };
        let variables = [("QDRANT_SOURCE_HOSTS".to_owned(), "peer-0".to_owned())];
        let needs = Needs { source: true, ..Needs::NOTHING };
        let (settings, _) = from_variables(&variables, needs).unwrap();
        let host = |number: u64| Host::parse(&format!("http://peer-{number}"), DefaultPort::Always(6333)).unwrap();
        let peers = (0..4).map(|number| Peer {
            id: Some(number),
            client: Client::new(ports.clone(), host(number), None, Duration::from_secs(1)),
            version: "1.18.3".to_owned(),
            commit: None,
        });
        let cluster = Cluster {
            host: host(0),
            distributed: true,
            members: std::collections::BTreeSet::new(),
            peers: peers.collect(),
            missing: Vec::new(),
        };
        (servers, Context::new(ports, settings), cluster)
    }

    #[test]
    fn all_peers_are_asked_twice() {
        let (servers, context, cluster) = place(0);
        block_on(settled(&context, &cluster, "docs")).unwrap();
        assert_eq!(servers.looks.take().len(), 2 * 4);
        assert_eq!(servers.clock.get(), FIRST_PAUSE);
    }

    #[test]
    fn the_peer_that_sees_it_move_is_asked_alone_until_it_settles() {
        let (servers, context, cluster) = place(6);
        block_on(settled(&context, &cluster, "docs")).unwrap();
        let looks = servers.looks.take();
        assert_eq!(looks.iter().filter(|peer| *peer == "peer-2").count(), 6 + 1 + 2, "{looks:?}");
        for other in ["peer-0", "peer-1", "peer-3"] {
            assert_eq!(looks.iter().filter(|peer| *peer == other).count(), 1 + 2, "{looks:?}");
        }
        // 50 ms, doubled each time; and 50 ms between the two looks at the end.
        assert_eq!(servers.clock.get(), Duration::from_millis(50 * (1 + 2 + 4 + 8 + 16 + 32) + 50));
    }

    #[test]
    fn a_peer_that_just_answered_is_asked_again_a_second_later() {
        let (servers, _, cluster) = place(0);
        // All of them say that they are peer 1.
        let client = &cluster.peers.first().unwrap().client;
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
        let error = block_on(settled(&context, &cluster, "docs")).unwrap_err().to_string();
        assert!(error.contains("http://peer-2:6333 sees the replica of shard 0 on peer 3 as Partial"), "{error}");
    }
}
