//! The content of a collection, point by point: a digest of it, and where two points differ. What the digest is made of
//! is docs/content-digest.md, so that others can compute it, too.

mod difference;
mod digest;
mod lockstep;
mod point;
mod reader;
mod replica;
mod sample;

pub use difference::difference;
pub use digest::Digest;
pub(crate) use lockstep::{compare, replicas_differ, told};
pub use point::hash;
pub(crate) use reader::Points;
pub(crate) use replica::{Extent, digest};
pub use sample::Sample;
