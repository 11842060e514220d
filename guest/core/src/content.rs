//! The content of a collection, point by point: a digest of it, and where two points differ. What the digest is made of
//! is docs/content-digest.md, so that others can compute it, too.

mod difference;
mod digest;
mod point;

pub use difference::difference;
pub use digest::Digest;
pub use point::{hash, sample_rank};
