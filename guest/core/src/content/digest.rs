//! The digest of many points: the sum of their hashes, and how many they are.

use std::fmt;
use std::str::FromStr;

/// The version of the digest; another one is never equal.
const VERSION: &str = "v1";

/// The sum of the hashes of points modulo 2^256, and their number. It is the same in whichever order points come, and of
/// parts that are added up; two equal changes don't cancel each other out, as they would where hashes are combined by
/// exclusive or. As text: `v1:<points>:<64 hexadecimal digits>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    points: u64,
    /// Big-endian.
    sum: [u8; 32],
}

impl Digest {
    /// Adds a point by its hash.
    pub fn add(&mut self, hash: &[u8; 32]) {
        self.merge(&Self { points: 1, sum: *hash });
    }

    /// Adds all points of another digest.
    pub fn merge(&mut self, other: &Self) {
        self.points = self.points.wrapping_add(other.points);
        let mut carry = 0;
        for (byte, other) in self.sum.iter_mut().zip(other.sum).rev() {
            let sum = u16::from(*byte) + u16::from(other) + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
    }

    /// How many points there are.
    pub fn points(&self) -> u64 {
        self.points
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}:{}:", self.points)?;
        self.sum.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no digest that this version knows ({VERSION})");
        let mut parts = text.split(':');
        let (version, points, sum) = (parts.next(), parts.next(), parts.next());
        let (Some(VERSION), Some(points), Some(hex), None) = (version, points, sum, parts.next()) else {
            return Err(wrong());
        };
        let mut digest = Self { points: points.parse().map_err(|_| wrong())?, ..Self::default() };
        if hex.len() != 2 * digest.sum.len() {
            return Err(wrong());
        }
        for (place, byte) in digest.sum.iter_mut().enumerate() {
            let two = hex.get(2 * place..2 * place + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(two, 16).map_err(|_| wrong())?;
        }
        Ok(digest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::hash;
    use super::*;
    use serde_json::{Value, json};

    fn of(points: &[Value]) -> Digest {
        let mut digest = Digest::default();
        points.iter().for_each(|point| digest.add(&hash(point).unwrap()));
        digest
    }

    #[test]
    fn the_page_s_points_have_the_page_s_digests() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../../../../docs/content-digest.json")).unwrap();
        assert!(cases.len() > 10);
        for case in &cases {
            let points = case.get("points").and_then(Value::as_array).unwrap();
            let written = case.get("digest").and_then(Value::as_str).unwrap();
            assert_eq!(of(points).to_string(), written, "{case}");
            assert_eq!(written.parse(), Ok(of(points)));
        }
    }

    #[test]
    fn equal_changes_of_two_points_don_t_cancel_out() {
        let point = |id: u64, changed: bool| json!({"id": id, "payload": {"changed": changed}, "vector": [1.0]});
        let before = of(&[point(1, false), point(2, false)]);
        for after in [[true, true], [true, false], [false, true]] {
            let after = of(&[point(1, after[0]), point(2, after[1])]);
            assert_ne!(before, after);
        }
        assert_ne!(of(&[point(1, true), point(1, true)]), of(&[point(1, false), point(1, false)]));
        let mut swapped = of(&[point(2, false)]);
        swapped.merge(&of(&[point(1, false)]));
        assert_eq!(swapped, before);
    }

    #[test]
    fn a_carry_goes_through_and_is_lost_at_the_end() {
        let mut digest = Digest { points: 1, sum: [0xff; 32] };
        let mut one = [0; 32];
        one[31] = 2;
        digest.add(&one);
        assert_eq!(digest.to_string(), format!("v1:2:{:064x}", 1));
    }

    #[test]
    fn what_is_no_digest_of_this_version_is_not_read() {
        let whole = format!("v1:0:{:064}", 0);
        assert_eq!(whole.parse(), Ok(Digest::default()));
        let others = [whole.replace("v1", "v2"), format!("{whole}0"), format!("{whole}:"), whole.replace(":0:", "::")];
        for text in others.iter().map(String::as_str).chain(["", "v1:0", "v1:-1:0"]) {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
