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

/// Points that were read and not compared yet.
struct Side<'a> {
    reader: Reader<'a>,
    page: VecDeque<Value>,
    /// Where it is, for people.
    place: String,
}

impl<'a> Side<'a> {
    fn new(points: Points<'a>, place: &str) -> Self {
        Self { reader: Reader::new(points, true), page: VecDeque::new(), place: place.to_owned() }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if self.page.is_empty() {
            self.page.extend(self.reader.page().await?.into_iter().flatten());
        }
        Ok(())
    }
}

/// Compares the points in two places, each with what people call it.
///
/// # Errors
/// One of them can't be read.
pub(crate) async fn compare(
    context: &Context,
    (one, at_one): (Points<'_>, &str),
    (other, at_other): (Points<'_>, &str),
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
                differences.note(&at, &format!("is not on {}", other.place));
            }
            Ordering::Greater => {
                other.page.pop_front();
                differences.note(&at, &format!("is not on {}", one.place));
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
    let (at_one, at_other) = (format!("peer {peer}"), format!("peer {other_peer}"));
    let which = match compare(context, (one, &at_one), (other, &at_other)).await {
        Ok(differences) => told(&differences).unwrap_or_else(|| "and are equal now: something is written".to_owned()),
        Err(error) => format!("which points can't be told: {error}"),
    };
    let cause = format!("the replicas of shard {shard} on peers {peer} and {other_peer} differ: {which}");
    Error::new(Code::VerificationFailed, "", cause)
}
