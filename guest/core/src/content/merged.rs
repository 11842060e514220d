//! The points of several shards as one row, in the order of their ids.

use std::cmp::Ordering;

use serde_json::Value;

use super::reader::order;

/// Iterators that are each in the order of their points' ids, merged.
pub struct Merged<I>(Vec<(I, Option<Value>)>);

impl<I: Iterator<Item = Result<Value, E>>, E> Merged<I> {
    /// Reads the first point of each.
    ///
    /// # Errors
    /// One can't be read.
    pub fn new(parts: impl IntoIterator<Item = I>) -> Result<Self, E> {
        let first = |mut part: I| part.next().transpose().map(|point| (part, point));
        parts.into_iter().map(first).collect::<Result<_, _>>().map(Self)
    }
}

impl<I: Iterator<Item = Result<Value, E>>, E> Iterator for Merged<I> {
    type Item = Result<Value, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = |point: &Value| point.get("id").cloned().unwrap_or_default();
        let before = |one: &Value, other: &Value| order(&id(one), &id(other)) == Ordering::Less;
        let mut least: Option<usize> = None;
        for (at, (_, point)) in self.0.iter().enumerate() {
            let Some(point) = point else { continue };
            let so_far = least.and_then(|least| self.0.get(least)).and_then(|(_, point)| point.as_ref());
            if so_far.is_none_or(|so_far| before(point, so_far)) {
                least = Some(at);
            }
        }
        let (part, point) = self.0.get_mut(least?)?;
        match part.next().transpose() {
            Ok(next) => std::mem::replace(point, next).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    const UUID: &str = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26";

    fn merged(parts: &[&[Value]]) -> Result<Vec<Value>, String> {
        let part = |ids: &&[Value]| {
            let points: Vec<_> = ids.iter().map(|id| Ok::<_, String>(json!({ "id": id }))).collect();
            points.into_iter()
        };
        Merged::new(parts.iter().map(part))?.map(|point| Ok(point?["id"].clone())).collect()
    }

    #[test]
    fn points_come_in_the_order_of_their_ids() {
        let (first, second, third) = ([json!(2), json!(9)], [json!(1), json!(10), json!(UUID)], [json!(3)]);
        let all = merged(&[&first, &[], &second, &third]);
        assert_eq!(all, Ok(vec![json!(1), json!(2), json!(3), json!(9), json!(10), json!(UUID)]));
        // An id that two shards have comes twice.
        assert_eq!(merged(&[&[json!(1)], &[json!(1)]]), Ok(vec![json!(1), json!(1)]));
        assert_eq!(merged(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_can_t_be_read_is_an_error_wherever_it_is() {
        let one = || vec![Ok(json!({"id": 1})), Err("broken")].into_iter();
        assert!(Merged::new([vec![Err("broken")].into_iter(), one()]).is_err());
        let all: Vec<_> = Merged::new([one(), vec![Ok(json!({"id": 7}))].into_iter()]).into_iter().flatten().collect();
        assert_eq!(all.first(), Some(&Err("broken")));
    }
}
