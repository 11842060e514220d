//! Two places that should hold the same points, read side by side: which points differ, and in what.

use std::cmp::Ordering;
use std::collections::VecDeque;

use futures_util::future::join;
use serde_json::Value;

use super::difference;
use super::reader::{Points, Reader, order};
use crate::context::Context;
use crate::error::{Code, Error};

/// How many points that differ are named.
const NAMED: usize = 10;

/// What differs between two places.
#[derive(Default)]
pub(crate) struct Differences {
    named: Vec<String>,
    points: u64,
}

impl Differences {
    fn note(&mut self, id: &Value, what: &str) {
        self.points += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("point {id} {what}"));
        }
    }
}

/// The first points that differ, and how many more, for people; `None`: none does.
pub(crate) fn told(differences: &Differences) -> Option<String> {
    let more = differences.points.saturating_sub(differences.named.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (differences.points > 0).then(|| format!("{}{more}", differences.named.join(", ")))
}

/// Where points come from, in the order of their ids.
pub(crate) enum Place<'a> {
    /// Read from a server.
    Server(Reader<'a>),
    /// At hand, as those of a snapshot that is open.
    Open(&'a mut dyn Iterator<Item = Result<Value, Error>>),
}

impl<'a> From<Points<'a>> for Place<'a> {
    fn from(points: Points<'a>) -> Self {
        Self::Server(Reader::new(points, true))
    }
}

/// Points that were read and not compared yet.
struct Side<'a> {
    from: Place<'a>,
    page: VecDeque<Value>,
    /// Where it is, for people, such as `on peer 7`.
    place: String,
}

impl<'a> Side<'a> {
    fn new(from: Place<'a>, place: &str) -> Self {
        Self { from, page: VecDeque::new(), place: place.to_owned() }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if self.page.is_empty() {
            match &mut self.from {
                Place::Server(reader) => self.page.extend(reader.page().await?.into_iter().flatten()),
                Place::Open(points) => self.page.extend(points.next().transpose()?),
            }
        }
        Ok(())
    }
}

/// Compares the points in two places, each with what people call it: `on peer 7`, `in the set`.
///
/// # Errors
/// One of them can't be read.
pub(crate) async fn compare(
    context: &Context,
    (one, at_one): (Place<'_>, &str),
    (other, at_other): (Place<'_>, &str),
) -> Result<Differences, Error> {
    let _permit = context.limits.reader().await;
    let (mut one, mut other) = (Side::new(one, at_one), Side::new(other, at_other));
    let mut differences = Differences::default();
    loop {
        let (filled, other_filled) = join(one.fill(), other.fill()).await;
        filled.and(other_filled)?;
        let id = |side: &Side<'_>| side.page.front().map(|point| point.get("id").cloned().unwrap_or_default());
        let (at, with) = match (id(&one), id(&other)) {
            (None, None) => return Ok(differences),
            (Some(id), None) => (id, Ordering::Less),
            (None, Some(id)) => (id, Ordering::Greater),
            (Some(id), Some(of_other)) => match order(&id, &of_other) {
                Ordering::Greater => (of_other, Ordering::Greater),
                with => (id, with),
            },
        };
        match with {
            Ordering::Less => {
                one.page.pop_front();
                differences.note(&at, &format!("is not {}", other.place));
            }
            Ordering::Greater => {
                other.page.pop_front();
                differences.note(&at, &format!("is not {}", one.place));
            }
            Ordering::Equal => {
                let points = one.page.pop_front().zip(other.page.pop_front());
                if let Some(path) = points.and_then(|(one, other)| difference(&one, &other)) {
                    differences.note(&at, &format!("in {path}"));
                }
            }
        }
    }
}

/// That two peers' replicas of a shard differ, and in which points.
pub(crate) async fn replicas_differ(
    context: &Context,
    shard: u32,
    (one, peer): (Points<'_>, u64),
    (other, other_peer): (Points<'_>, u64),
) -> Error {
    let (at_one, at_other) = (format!("on peer {peer}"), format!("on peer {other_peer}"));
    let which = match compare(context, (one.into(), &at_one), (other.into(), &at_other)).await {
        Ok(differences) => told(&differences).unwrap_or_else(|| "and are equal now: something is written".to_owned()),
        Err(error) => format!("which points can't be told: {error}"),
    };
    let cause = format!("the replicas of shard {shard} on peers {peer} and {other_peer} differ: {which}");
    Error::new(Code::VerificationFailed, "", cause)
}
