//! Which points are a sample: the same ones whoever chooses, and in whichever order they come.

use std::collections::BTreeMap;

use serde_json::Value;

use super::point;

/// What is kept of each point of a sample, by the place of the point.
#[derive(Default)]
pub struct Sample<T>(BTreeMap<[u8; 32], T>);

impl<T> Sample<T> {
    /// Keeps `what` of a point that is among the first `most`.
    ///
    /// # Errors
    /// The point has no id.
    pub fn add(&mut self, point: &Value, most: u64, what: T) -> Result<(), String> {
        self.0.insert(point::sample_rank(point)?, what);
        if self.0.len() as u64 > most {
            self.0.pop_last();
        }
        Ok(())
    }

    /// What was kept.
    pub fn into_chosen(self) -> impl Iterator<Item = T> {
        self.0.into_values()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everybody_chooses_the_same_points() {
        let sample = |ids: &mut dyn Iterator<Item = u64>, most: u64| {
            let mut sample = Sample::default();
            ids.for_each(|id| sample.add(&json!({"id": id}), most, id).unwrap());
            sample.into_chosen().collect::<Vec<u64>>()
        };
        let ten = sample(&mut (0..1000), 10);
        assert_eq!(ten, sample(&mut (0..1000).rev(), 10));
        assert_eq!(ten.len(), 10);
        assert_eq!(ten.first(), sample(&mut (0..1000), 1).first());
        assert_eq!(sample(&mut (0..3), 10).len(), 3);
        assert!(sample(&mut (0..3), 0).is_empty());
        assert!(Sample::default().add(&json!({}), 1, ()).is_err());
    }
}
