//! Qdrant's side: the calls of a backup and of a restore, in the form of its recorded answers.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Instant;

use http::Method;
use http_body_util::combinators::BoxBody;
use hyper::body::Bytes;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::archive::{self, config};
use super::state::{Answer, Collection, Object, POINTS, State, address, id};

/// The name of collection `number`.
pub fn name(number: usize) -> String {
    format!("collection-{number:05}")
}

pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix("collection-")?.parse().ok()
}

/// The name of a snapshot of all that `peer` has of a collection, made `seconds` after the beginning of 2026.
pub fn archive_name(number: usize, peer: usize, seconds: i64) -> String {
    format!("{}-{}-{}.snapshot", name(number), id(peer), moment(seconds))
}

fn moment(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(1_767_225_600 + seconds).unwrap();
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{}-{:02}-{:02}-{hour:02}-{minute:02}-{second:02}", at.year(), u8::from(at.month()), at.day())
}

/// A call without its names and numbers.
pub fn kind(method: &Method, path: &[&str]) -> String {
    let path: Vec<&str> = path
        .iter()
        .enumerate()
        .map(|(index, part)| match index {
            1 if path[0] == "collections" => "{c}",
            3 if path[2] == "shards" => "{s}",
            _ => part,
        })
        .collect();
    format!("{method} /{}", path.join("/"))
}

/// True for calls that a peer has a limit for: snapshots and recoveries.
pub fn is_work(method: &Method, path: &[&str]) -> bool {
    (*method == Method::POST && path.last() == Some(&"snapshots"))
        || matches!(path.last(), Some(&"recover" | &"upload"))
}

/// The snapshot of a shard that is sent while it is made, where that is asked for.
pub fn streamed(state: &State, peer: usize, method: &Method, path: &[&str]) -> Option<BoxBody<Bytes, Infallible>> {
    let ["collections", collection, "shards", shard, "snapshot"] = path else { return None };
    let number = number(collection).filter(|number| method == Method::GET && *number < state.options.collections)?;
    Some(archive::flowing(&state.options, number, peer, shard.parse().ok()?))
}

pub fn answer(state: &State, peer: usize, port: u16, method: &Method, path: &[&str], body: &Bytes) -> Answer {
    let options = &state.options;
    match (method.as_str(), path) {
        ("GET", []) => plain(json!({"title": "qdrant - vector search engine", "version": "1.18.3", "commit": "0"})),
        ("GET", ["cluster"]) => {
            let uri = |peer: usize| json!({"uri": format!("http://{}:{}/", address(peer + 1), port + 2)});
            let peers: serde_json::Map<String, Value> =
                (0..options.peers).map(|peer| (id(peer).to_string(), uri(peer))).collect();
            ok(json!({"status": "enabled", "peer_id": id(peer), "peers": peers}))
        }
        ("GET", ["collections"]) => {
            let mut there: Vec<usize> = state.collections.lock().unwrap().keys().copied().collect();
            there.sort_unstable();
            let there: Vec<Value> = there.into_iter().map(|number| json!({"name": name(number)})).collect();
            ok(json!({ "collections": there }))
        }
        ("GET", ["aliases"]) => ok(json!({"aliases": []})),
        (_, ["collections", collection, rest @ ..]) => match number(collection) {
            Some(number) if number < options.collections => of_collection(state, peer, number, method, rest, body),
            _ => error(404, "no such collection"),
        },
        _ => error(404, "not a call of this stub"),
    }
}

fn of_collection(state: &State, peer: usize, number: usize, method: &Method, rest: &[&str], body: &Bytes) -> Answer {
    let spread = state.options.spread;
    let holder = |shard: usize| (number + shard) % state.options.peers;
    let mut collections = state.collections.lock().unwrap();
    if (method.as_str(), rest) == ("PUT", &[]) {
        let new = Collection { recovered: HashSet::new(), rest: Instant::now() + state.options.settle };
        collections.insert(number, new);
        return ok(json!(true));
    }
    let Some(there) = collections.get_mut(&number) else {
        return error(404, &format!("Not found: Collection `{}` doesn't exist!", name(number)));
    };
    let points = |shard: usize| if there.recovered.contains(&shard) { POINTS } else { 0 };
    match (method.as_str(), rest) {
        ("GET", []) => ok(json!({
            "status": "green", "optimizer_status": "ok", "indexed_vectors_count": 0, "segments_count": 2 * spread,
            "points_count": (0..spread).map(points).sum::<u64>(), "config": config(spread), "payload_schema": {},
        })),
        ("GET", ["cluster"]) => {
            let state = if Instant::now() < there.rest { "Initializing" } else { "Active" };
            let (local, remote): (Vec<usize>, Vec<usize>) = (0..spread).partition(|shard| holder(*shard) == peer);
            let local =
                local.into_iter().map(|shard| json!({"shard_id": shard, "points_count": POINTS, "state": state}));
            let remote = remote
                .into_iter()
                .map(|shard| json!({"shard_id": shard, "peer_id": id(holder(shard)), "state": state}));
            ok(json!({
                "peer_id": id(peer), "shard_count": spread, "local_shards": local.collect::<Vec<_>>(),
                "remote_shards": remote.collect::<Vec<_>>(), "shard_transfers": [],
            }))
        }
        ("GET", ["aliases"]) => ok(json!({"aliases": []})),
        // The mark of a restore is taken away.
        ("PATCH", []) => ok(json!(true)),
        ("POST", ["points", "count"]) => ok(json!({"count": (0..spread).map(points).sum::<u64>()})),
        ("POST", ["shards", shard, "points", "count"]) => ok(json!({"count": points(shard.parse().unwrap())})),
        ("POST", ["shards", _, "points", "scroll"]) => scrolled(state.options.points, body),
        ("POST", ["points", "query"]) => {
            let limit = serde_json::from_slice::<Value>(body).ok().and_then(|body| body["limit"].as_u64()).unwrap();
            let point =
                |id: u64| json!({"id": id, "version": 1, "score": 0.0, "payload": {}, "vector": [0.1, 0.2, 0.3, 0.4]});
            ok(json!({"points": (0..limit).map(point).collect::<Vec<_>>()}))
        }
        ("GET", ["snapshots"] | ["shards", _, "snapshots"]) => ok(json!([])),
        ("POST", ["snapshots"]) => stored(state, number, peer, None),
        ("POST", ["shards", shard, "snapshots"]) => stored(state, number, peer, Some(shard.parse().unwrap())),
        ("PUT", ["snapshots", "recover"]) if !state.options.links => {
            error(403, "Snapshot recovery from remote URLs is disabled in the configuration")
        }
        ("POST", ["shards", shard, "snapshots", "upload"]) => {
            there.recovered.insert(shard.parse().unwrap());
            ok(Value::Null)
        }
        ("PUT", ["snapshots", "recover"]) => {
            there.recovered.extend((0..spread).filter(|shard| holder(*shard) == peer));
            there.rest = Instant::now() + state.options.settle;
            ok(json!(true))
        }
        _ => error(404, "not a call of this stub"),
    }
}

/// A page of points of 384 dimensions, which differ by their ids alone.
fn scrolled(points: u64, body: &Bytes) -> Answer {
    static REST: LazyLock<String> = LazyLock::new(|| {
        let vector: Vec<String> =
            (0..384).map(|place| (f64::from(place * 37 % 101) as f32 / 137.0).to_string()).collect();
        format!(r#","payload":{{"city":"Nairobi","n":4711,"nested":{{"f":0.25}}}},"vector":[{}]}}"#, vector.join(","))
    });
    let body: Value = serde_json::from_slice(body).unwrap();
    let from = body["offset"].as_u64().unwrap_or_default();
    let to = points.min(from + body["limit"].as_u64().unwrap());
    let page: Vec<String> = (from..to).map(|id| format!(r#"{{"id":{id}{}"#, REST.as_str())).collect();
    let next = if to < points { to.to_string() } else { "null".to_owned() };
    let text =
        format!(r#"{{"result":{{"points":[{}],"next_page_offset":{next}}},"status":"ok","time":0.1}}"#, page.join(","));
    Answer { body: text.into(), ..plain(Value::Null) }
}

/// Makes a snapshot.
fn stored(state: &State, collection: usize, peer: usize, shard: Option<usize>) -> Answer {
    let seconds = OffsetDateTime::now_utc().unix_timestamp() - 1_767_225_600;
    let folder = name(collection);
    let (name, key) = match shard {
        None => {
            let name = archive_name(collection, peer, seconds);
            (name.clone(), format!("snapshots/{folder}/{name}"))
        }
        Some(shard) => {
            let name = format!("{folder}-shard-{shard}-{}.snapshot", moment(seconds));
            (name.clone(), format!("snapshots/{folder}/shards/{shard}/{name}"))
        }
    };
    let size = archive::size(&state.options, collection, peer, shard);
    state.objects.lock().unwrap().insert(key, Object::Archive { collection, peer, shard });
    ok(json!({"name": name, "creation_time": "2026-01-01T00:00:00", "size": size}))
}

fn ok(result: Value) -> Answer {
    plain(json!({"result": result, "status": "ok", "time": 0.000_02}))
}

fn error(status: u16, text: &str) -> Answer {
    Answer { status, ..plain(json!({"status": {"error": text}, "time": 0.0})) }
}

fn plain(value: Value) -> Answer {
    let headers = vec![("content-type", "application/json".to_owned())];
    Answer { status: 200, headers, body: value.to_string().into(), length: None }
}
